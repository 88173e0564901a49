#![allow(clippy::unwrap_used)]

use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingWebhookConfiguration, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
use serde_json::{Value, json};

use crate::builtin::testing::{made, wrong};

fn rule() -> Value {
    json!({"apiGroups": ["x.y"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["things"]})
}

fn hooks(change: &Value) -> Value {
    let mut hook = json!({"name": "a.b.c", "admissionReviewVersions": ["v1"], "sideEffects": "None", "rules": [rule()],
        "clientConfig": {"service": {"name": "s", "namespace": "n"}}});
    json_patch::merge(&mut hook, change);
    json!({"metadata": {"name": "h"}, "webhooks": [hook]})
}

#[test]
fn webhooks_get_what_they_leave_out() {
    let object = made::<MutatingWebhookConfiguration>(hooks(&json!({})));
    let hook = &object["webhooks"][0];
    for (field, value) in [
        ("failurePolicy", json!("Fail")),
        ("matchPolicy", json!("Equivalent")),
        ("reinvocationPolicy", json!("Never")),
        ("timeoutSeconds", json!(10)),
        ("objectSelector", json!({})),
    ] {
        assert_eq!(hook[field], value, "{field}");
    }
    assert_eq!(
        (&hook["rules"][0]["scope"], &hook["clientConfig"]["service"]["port"]),
        (&json!("*"), &json!(443))
    );
    let object = made::<ValidatingWebhookConfiguration>(hooks(&json!({})));
    assert_eq!(object["webhooks"][0].get("reinvocationPolicy"), None);
}

#[test]
fn what_is_wrong_with_webhooks_is_named() {
    for (change, expected) in [
        (json!({}), vec![]),
        (
            json!({"name": "a.b", "sideEffects": null, "timeoutSeconds": 31, "failurePolicy": "Maybe"}),
            vec![
                "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots",
                "webhooks[0].failurePolicy: Unsupported value: \"Maybe\": supported values: \"Fail\", \"Ignore\"",
                "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
                "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
            ],
        ),
        (
            json!({"clientConfig": {"url": "http://me@h/x?y#z", "service": null}, "admissionReviewVersions": ["v2", "v2"]}),
            vec![
                "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
                "webhooks[0].clientConfig.url: Invalid value: \"me\": user information is not permitted in the URL",
                "webhooks[0].clientConfig.url: Invalid value: \"z\": fragments are not permitted in the URL",
                "webhooks[0].clientConfig.url: Invalid value: \"y\": query parameters are not permitted in the URL",
                "webhooks[0].admissionReviewVersions[1]: Invalid value: \"v2\": duplicate version",
                "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\",\"v2\"]: must include at least one of v1, v1beta1",
            ],
        ),
        (
            json!({"clientConfig": {"service": {"path": "/a//B/", "port": 0}}}),
            vec![
                "webhooks[0].clientConfig.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive",
                "webhooks[0].clientConfig.service.path: Invalid value: \"/a//B/\": segment[1] may not be empty",
                "webhooks[0].clientConfig.service.path: Invalid value: \"/a//B/\": segment[2]: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            ],
        ),
        (
            json!({"clientConfig": {"service": {"name": "", "namespace": "n"}}}),
            vec!["webhooks[0].clientConfig.service.namespace: Required value"],
        ),
        (
            json!({"clientConfig": {"service": null}}),
            vec!["webhooks[0].clientConfig: Required value: exactly one of url or service is required"],
        ),
        (
            json!({"rules": [{"apiGroups": ["*", "a"], "apiVersions": [""], "operations": ["*", "LOOK"], "resources": ["*", "pods", "pods/*", "pods/log"], "scope": "All"}]}),
            vec![
                "webhooks[0].rules[0].operations: Invalid value: [\"*\",\"LOOK\"]: if '*' is present, must not specify other operations",
                "webhooks[0].rules[0].operations[1]: Unsupported value: \"LOOK\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\"",
                "webhooks[0].rules[0].apiGroups: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other API groups",
                "webhooks[0].rules[0].apiVersions[0]: Required value",
                "webhooks[0].rules[0].resources[3]: Invalid value: \"pods/log\": if 'pods/*' is present, must not specify pods/log",
                "webhooks[0].rules[0].resources: Invalid value: [\"*\",\"pods\",\"pods/*\",\"pods/log\"]: if '*' is present, must not specify other resources without subresources",
                "webhooks[0].rules[0].scope: Unsupported value: \"All\": supported values: \"*\", \"Cluster\", \"Namespaced\"",
            ],
        ),
        (
            json!({"matchConditions": [{"name": "a", "expression": "true"}, {"name": "a", "expression": " "}]}),
            vec![
                "webhooks[0].matchConditions[1].expression: Required value",
                "webhooks[0].matchConditions[1].name: Duplicate value: \"a\"",
            ],
        ),
    ] {
        let object = made::<ValidatingWebhookConfiguration>(hooks(&change));
        assert_eq!(wrong::<ValidatingWebhookConfiguration>(&object), expected, "{change}");
    }
}

#[test]
fn policies_match_something_and_say_something() {
    let policy = |change: Value| {
        let mut spec =
            json!({"matchConstraints": {"resourceRules": [rule()]}, "validations": [{"expression": "true"}]});
        json_patch::merge(&mut spec, &change);
        made::<ValidatingAdmissionPolicy>(json!({"metadata": {"name": "p"}, "spec": spec}))
    };
    let whole = policy(json!({}));
    assert_eq!(whole["spec"]["matchConstraints"]["matchPolicy"], "Equivalent");
    for (change, expected) in [
        (json!({}), vec![]),
        (
            json!({"matchConstraints": null, "validations": null, "paramKind": {"apiVersion": "a/b/c", "kind": ""}}),
            vec![
                "spec.paramKind.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
                "spec.paramKind.kind: Required value",
                "spec.matchConstraints: Required value",
                "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
                "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item",
            ],
        ),
        (
            json!({"validations": [{"expression": " ", "message": "a\nb", "reason": "Odd"}], "variables": [{"name": "if", "expression": ""}],
                "auditAnnotations": [{"key": "k", "valueExpression": "'x'"}, {"key": "k", "valueExpression": ""}]}),
            vec![
                "spec.variables[0].name: Invalid value: \"if\": must be a valid CEL identifier",
                "spec.variables[0].expression: Required value: expression is not specified",
                "spec.validations[0].expression: Required value: expression is not specified",
                "spec.validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks",
                "spec.validations[0].reason: Unsupported value: \"Odd\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\"",
                "spec.auditAnnotations[1].valueExpression: Required value: valueExpression is not specified",
                "spec.auditAnnotations[1].key: Duplicate value: \"k\"",
            ],
        ),
    ] {
        assert_eq!(wrong::<ValidatingAdmissionPolicy>(&policy(change.clone())), expected, "{change}");
    }
    let mutating = made::<MutatingAdmissionPolicy>(
        json!({"metadata": {"name": "p"}, "spec": {"matchConstraints": {"resourceRules": [rule()]}, "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "applyConfiguration": {"expression": "x"}}, {"patchType": "Odd"}]}}),
    );
    assert_eq!(
        wrong::<MutatingAdmissionPolicy>(&mutating),
        [
            "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch",
            "spec.mutations[0].applyConfiguration: Forbidden: must not be specified when patchType is JSONPatch",
            "spec.mutations[1].patchType: Unsupported value: \"Odd\": supported values: \"ApplyConfiguration\", \"JSONPatch\"",
        ]
    );
}

#[test]
fn expressions_are_compiled_with_what_their_place_knows() {
    let undeclared = |name: &str, text: &str| {
        format!(
            "Invalid value: {text:?}: compilation failed: ERROR: <input>:1:1: undeclared reference to '{name}' (in container '')\n | {text}\n | ^"
        )
    };
    let cases: Vec<(Value, Vec<String>)> = vec![
        (
            json!({
                "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
                "matchConditions": [{"name": "m", "expression": "request.userInfo.username != 'x' && params.data.on == 'yes'"}],
                "variables": [
                    {"name": "names", "expression": "object.spec.containers.map(c, c.name)"},
                    {"name": "many", "expression": "size(variables.names) > 3"},
                ],
                "validations": [
                    {"expression": "!variables.many || namespaceObject.metadata.labels['big'] == 'true'", "messageExpression": "'no: ' + object.metadata.name"},
                    {"expression": "authorizer.group('').resource('pods').namespace(request.namespace).check('get').allowed()"},
                    {"expression": "authorizer.requestResource.check('update').allowed() || has(oldObject.spec)"},
                ],
                "auditAnnotations": [{"key": "k", "valueExpression": "null"}],
            }),
            vec![],
        ),
        (
            json!({"validations": [{"expression": "params.x == 1"}]}),
            vec![format!("spec.validations[0].expression: {}", undeclared("params", "params.x == 1"))],
        ),
        (
            json!({"validations": [{"expression": "1 + 1", "messageExpression": "1"}], "auditAnnotations": [{"key": "k", "valueExpression": "1"}]}),
            vec![
                "spec.validations[0].expression: Invalid value: \"1 + 1\": must evaluate to bool but got int".to_owned(),
                "spec.validations[0].messageExpression: Invalid value: \"1\": must evaluate to string but got int".to_owned(),
                "spec.auditAnnotations[0].valueExpression: Invalid value: \"1\": must evaluate to one of [string null_type]".to_owned(),
            ],
        ),
        (
            json!({"variables": [{"name": "a", "expression": "b"}, {"name": "c", "expression": "variables.d"}]}),
            vec![
                format!("spec.variables[0].expression: {}", undeclared("b", "b")),
                "spec.variables[1].expression: Invalid value: \"variables.d\": compilation failed: ERROR: <input>:1:10: undefined field 'd'\n | variables.d\n | .........^".to_owned(),
            ],
        ),
        (
            json!({"validations": [{"expression": "true", "messageExpression": "authorizer.path('/').check('get').reason()"}]}),
            vec![format!(
                "spec.validations[0].messageExpression: {}",
                undeclared("authorizer", "authorizer.path('/').check('get').reason()")
            )],
        ),
    ];
    for (change, expected) in cases {
        let mut spec =
            json!({"matchConstraints": {"resourceRules": [rule()]}, "validations": [{"expression": "true"}]});
        json_patch::merge(&mut spec, &change);
        let policy = made::<ValidatingAdmissionPolicy>(json!({"metadata": {"name": "p"}, "spec": spec}));
        assert_eq!(wrong::<ValidatingAdmissionPolicy>(&policy), expected, "{change}");
    }
    let mutation = |kind: &str, field: &str, expression: &str| {
        let spec = json!({"matchConstraints": {"resourceRules": [rule()]}, "reinvocationPolicy": "Never", "mutations": [{"patchType": kind, field: {"expression": expression}}]});
        let policy = made::<MutatingAdmissionPolicy>(json!({"metadata": {"name": "p"}, "spec": spec}));
        wrong::<MutatingAdmissionPolicy>(&policy).join("")
    };
    let apply = |expression| mutation("ApplyConfiguration", "applyConfiguration", expression);
    let patch = |expression| mutation("JSONPatch", "jsonPatch", expression);
    assert_eq!(
        apply("Object{spec: Object.spec{replicas: object.spec.replicas + 1, ?paused: optional.of(true)}}"),
        ""
    );
    assert_eq!(
        patch("[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: 'c'}]"),
        ""
    );
    assert!(apply("true").ends_with("must evaluate to Object but got bool"));
    assert!(patch("[JSONPatch{operation: 'add'}]").contains("undefined field 'operation'"));
    assert!(
        patch("[JSONPatch{op: 1}]")
            .contains("expected type of field 'op' is 'string' but provided type is 'int'")
    );
    assert!(apply("Other{}").contains("undeclared reference to 'Other'"));
}

#[test]
fn bindings_name_a_policy_and_an_action() {
    let binding = |spec: Value| {
        made::<ValidatingAdmissionPolicyBinding>(json!({"metadata": {"name": "b"}, "spec": spec}))
    };
    for (spec, expected) in [
        (json!({"policyName": "p", "validationActions": ["Deny"]}), vec![]),
        (
            json!({"policyName": "", "paramRef": {"name": "x", "selector": {}}, "validationActions": ["Deny", "Warn", "Warn", "Cry"]}),
            vec![
                "spec.policyName: Required value",
                "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
                "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
                "spec.paramRef.parameterNotFoundAction: Required value",
                "spec.validationActions[2]: Duplicate value: \"Warn\"",
                "spec.validationActions[3]: Unsupported value: \"Cry\": supported values: \"Audit\", \"Deny\", \"Warn\"",
                "spec.validationActions: Invalid value: [\"Deny\",\"Warn\",\"Warn\",\"Cry\"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
            ],
        ),
        (
            json!({"policyName": "p", "paramRef": {}}),
            vec![
                "spec.paramRef: Required value: one of name or selector must be specified",
                "spec.paramRef.parameterNotFoundAction: Required value",
                "spec.validationActions: Required value: at least one validation action is required",
            ],
        ),
    ] {
        assert_eq!(wrong::<ValidatingAdmissionPolicyBinding>(&binding(spec.clone())), expected, "{spec}");
    }
}

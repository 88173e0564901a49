//! Admission policies and their bindings, over HTTP: what they refuse, warn of and change, in the real API server's words.

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use harness::{Answer, Server};
use serde_json::{Value, json};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// What a policy is about.
fn about(group: &str, resource: &str, operations: &[&str]) -> Value {
    let rule = json!({"apiGroups": [group], "apiVersions": ["*"], "operations": operations, "resources": [resource]});
    json!({"resourceRules": [rule]})
}

/// Makes an object of the group; the write after it sees it once the server's cache has it.
async fn make(server: &Server, resource: &str, name: &str, spec: Value) {
    let object = json!({"metadata": {"name": name}, "spec": spec});
    let answer = server.send("POST", &format!("{GROUP}/{resource}"), &object).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    server.get(&format!("{GROUP}/{resource}/{name}")).await;
}

async fn policy(server: &Server, name: &str, spec: Value) {
    make(server, "validatingadmissionpolicies", name, spec).await;
}

async fn bind(server: &Server, policy: &str, more: Value) {
    let mut spec = json!({"policyName": policy, "validationActions": ["Deny"]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    make(server, "validatingadmissionpolicybindings", policy, spec).await;
}

async fn mutation(server: &Server, name: &str, spec: Value) {
    make(server, "mutatingadmissionpolicies", name, spec).await;
    make(server, "mutatingadmissionpolicybindings", name, json!({"policyName": name})).await;
}

async fn map(server: &Server, name: &str, data: Value) -> Answer {
    server.send("POST", MAPS, &json!({"metadata": {"name": name}, "data": data})).await
}

/// The message of a refusal without what comes before the policy's own words.
fn why(answer: &Answer) -> &str {
    let message = answer.body["message"].as_str().unwrap_or("");
    message.split_once("denied request: ").map_or(message, |(_, why)| why)
}

#[tokio::test]
async fn rules_hold_once_they_are_bound() {
    let server = Server::start().await;
    let spec = json!({
        "matchConstraints": about("", "configmaps", &["CREATE", "UPDATE", "DELETE"]),
        "matchConditions": [{"name": "c", "expression": "request.operation == 'DELETE' || !has(object.data.skip)"}],
        "variables": [
            {"name": "all", "expression": "has(object.data) ? object.data : {}"},
            {"name": "bad", "expression": "variables.all.bad"},
        ],
        "validations": [
            {
                "expression": "request.operation == 'DELETE' || !('bad' in variables.all)",
                "messageExpression": "'bad is ' + variables.bad + ' ' + string(request.dryRun)",
            },
            {
                "expression": "request.operation == 'DELETE' || !('big' in variables.all)",
                "reason": "RequestEntityTooLarge",
                "message": "too big",
            },
            {"expression": "request.operation == 'DELETE' || !('err' in variables.all) || variables.bad == ''"},
            {
                "expression": "request.operation != 'DELETE' || oldObject.data.keep != 'yes' || object != null",
                "reason": "Forbidden",
            },
            {
                "expression": "request.operation != 'UPDATE' || oldObject.data == object.data",
                "message": "is as it is in default",
                "messageExpression": "'is as it is in ' + namespaceObject.metadata.name",
            },
            {"expression": "authorizer.group('').resource('configmaps').namespace('default').check('create').allowed() && authorizer.requestResource.check('create').allowed()"},
            {"expression": "!authorizer.serviceAccount('a', 'b').path('/x').check('get').errored()"},
        ],
    });
    policy(&server, "p", spec).await;
    assert_eq!(map(&server, "free", json!({"bad": "x"})).await.code, 201);
    bind(&server, "p", json!({})).await;

    let refused = map(&server, "a", json!({"bad": "x"})).await;
    let message = "ValidatingAdmissionPolicy 'p' with binding 'p' denied request: bad is x false";
    assert_eq!(
        refused.body,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Invalid", "code": 422,
            "message": format!("configmaps \"a\" is forbidden: {message}"),
            "details": {"name": "a", "kind": "configmaps", "causes": [{"message": message}]},
        })
    );
    let bad = json!({"metadata": {"name": "a"}, "data": {"bad": "x"}});
    let dry = server.send("POST", &format!("{MAPS}?dryRun=All"), &bad).await;
    assert_eq!(why(&dry), "bad is x true");
    let big = map(&server, "a", json!({"big": ""})).await;
    assert_eq!((big.code, why(&big), &big.body["reason"]), (413, "too big", &json!("RequestEntityTooLarge")));
    let wrong = map(&server, "a", json!({"err": ""})).await;
    let expression = "request.operation == 'DELETE' || !('err' in variables.all) || variables.bad == ''";
    assert_eq!(why(&wrong), format!("expression '{expression}' resulted in error: no such key: bad"));
    assert_eq!(map(&server, "a", json!({"skip": "", "bad": ""})).await.code, 201, "conditions");
    assert_eq!(map(&server, "keep", json!({"keep": "yes"})).await.code, 201);
    let path = format!("{MAPS}/keep");
    let changed = server.send("PATCH", &path, &json!({"data": {"keep": "no"}})).await;
    assert_eq!((changed.code, why(&changed)), (422, "is as it is in default"));
    let gone = server.send("DELETE", &path, &Value::Null).await;
    assert_eq!((gone.code, &gone.body["reason"]), (403, &json!("Forbidden")), "{}", gone.body);
    assert!(why(&gone).starts_with("failed expression: request.operation != 'DELETE'"));

    let binding = format!("{GROUP}/validatingadmissionpolicybindings/p");
    let warns =
        server.send("PATCH", &binding, &json!({"spec": {"validationActions": ["Warn", "Audit"]}})).await;
    assert_eq!(warns.code, 200, "{}", warns.body);
    server.get(&binding).await;
    let warned = map(&server, "warned", json!({"bad": "x"})).await;
    assert_eq!(warned.code, 201);
    let text =
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p': bad is x false\"";
    assert_eq!(warned.warnings, [text]);
    assert_eq!(server.send("DELETE", &binding, &Value::Null).await.code, 200);
    server.get(&binding).await;
    assert!(map(&server, "unbound", json!({"bad": "x"})).await.warnings.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_judged_for_ever_and_what_cannot_be_judged_fails() {
    let server = Server::start().await;
    let many = json!(
        (0..200).map(|n| (format!("k{n}"), n.to_string())).collect::<std::collections::BTreeMap<_, _>>()
    );
    let endless = "object.data.all(a, object.data.all(b, object.data.all(c, a + b + c != '')))";
    let limit = "resulted in error: operation cancelled: actual cost limit exceeded";
    let budget =
        "validation failed due to running out of cost budget, no further validation rules will be run";
    for (name, validations, wanted) in [
        ("one", json!([{"expression": endless}]), limit),
        ("all", Value::Array(vec![json!({"expression": endless}); 11]), budget),
    ] {
        let spec =
            json!({"matchConstraints": about("", "configmaps", &["CREATE"]), "validations": validations});
        policy(&server, name, spec).await;
        bind(&server, name, json!({})).await;
        let told = map(&server, "a", many.clone()).await;
        assert!(told.code == 422 && why(&told).contains(wanted), "{}", told.body);
        let path = format!("{GROUP}/validatingadmissionpolicies/{name}");
        let lenient = server.send("PATCH", &path, &json!({"spec": {"failurePolicy": "Ignore"}})).await;
        assert_eq!(lenient.code, 200);
        server.get(&path).await;
        assert_eq!(map(&server, &format!("let-in-by-{name}"), many.clone()).await.code, 201);
        server.send("DELETE", &path, &Value::Null).await;
    }
    // An annotation that cannot be made is a refusal, whatever the binding says.
    let spec = json!({
        "matchConstraints": about("", "configmaps", &["CREATE"]),
        "auditAnnotations": [{"key": "k", "valueExpression": "'is ' + object.data.k"}],
    });
    policy(&server, "notes", spec).await;
    bind(&server, "notes", json!({"validationActions": ["Audit"]})).await;
    assert_eq!(map(&server, "noted", json!({"k": "v"})).await.code, 201);
    let told = map(&server, "not-noted", json!({"l": "v"})).await;
    assert_eq!(why(&told), "expression ''is ' + object.data.k' resulted in error: no such key: k");
    // Nobody is locked out: not from policies, nor from asking what he may do.
    let spec = json!({"matchConstraints": about("*", "*", &["*"]), "validations": [{"expression": "false"}]});
    policy(&server, "nothing", spec).await;
    bind(&server, "nothing", json!({})).await;
    assert_eq!(map(&server, "any", json!({})).await.code, 422);
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(server.send("POST", reviews, &review).await.code, 201);
    for resource in ["validatingadmissionpolicybindings", "validatingadmissionpolicies"] {
        let gone = server.send("DELETE", &format!("{GROUP}/{resource}/nothing"), &Value::Null).await;
        assert_eq!(gone.code, 200, "{}", gone.body);
    }
    server.stop().await;
}

#[tokio::test]
async fn bindings_bring_parameters_and_limits() {
    let server = Server::start().await;
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": about("", "secrets", &["CREATE"]),
        "validations": [{
            "expression": "params == null || object.type == params.data.type",
            "messageExpression": "params.data.type + ' of ' + params.apiVersion + params.kind",
        }],
    });
    policy(&server, "p", spec).await;
    let reference = |more: Value| {
        let mut reference = json!({"parameterNotFoundAction": "Deny"});
        reference.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"spec": {"paramRef": reference}})
    };
    bind(&server, "p", reference(json!({"name": "par"}))["spec"].clone()).await;
    let secret = async |kind: &str| {
        let object = json!({"metadata": {"generateName": "s-"}, "type": kind});
        server.send("POST", "/api/v1/namespaces/default/secrets", &object).await
    };
    let binding = format!("{GROUP}/validatingadmissionpolicybindings/p");
    let rebind = async |patch: Value| {
        let media = [("content-type", "application/merge-patch+json")];
        let patched = server.send_raw("PATCH", &binding, &media, serde_json::to_vec(&patch).unwrap()).await;
        assert_eq!(patched.code, 200, "{}", patched.body);
        server.get(&binding).await;
    };
    let missing =
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    assert_eq!(why(&secret("a").await), missing);
    rebind(reference(json!({"parameterNotFoundAction": "Allow"}))).await;
    assert_eq!(secret("a").await.code, 201);
    let labels = json!({"wanted": "yes"});
    let param = json!({"metadata": {"name": "par", "labels": labels}, "data": {"type": "b"}});
    assert_eq!(server.send("POST", MAPS, &param).await.code, 201);
    server.get(&format!("{MAPS}/par")).await;
    assert_eq!(why(&secret("a").await), "b of v1ConfigMap");
    assert_eq!(secret("b").await.code, 201);
    rebind(reference(json!({"name": null, "selector": {"matchLabels": labels}}))).await;
    assert_eq!(why(&secret("a").await), "b of v1ConfigMap");
    rebind(reference(json!({"namespace": "kube-system"}))).await;
    assert_eq!(why(&secret("a").await), missing);
    rebind(json!({"spec": {"paramRef": null}})).await;
    assert_eq!(secret("a").await.code, 201);
    let elsewhere =
        json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}});
    rebind(reference(json!({"name": "par", "selector": null, "namespace": null}))).await;
    rebind(json!({"spec": {"matchResources": elsewhere}})).await;
    assert_eq!(secret("a").await.code, 201);
    let unknown = json!({
        "paramKind": {"apiVersion": "a.b/v1", "kind": "C"},
        "matchConstraints": about("", "pods", &["CREATE"]),
        "validations": [{"expression": "true"}],
    });
    policy(&server, "unknown", unknown).await;
    bind(&server, "unknown", json!({})).await;
    let pod = json!({"metadata": {"name": "x"}, "spec": {"containers": [{"name": "a", "image": "b"}]}});
    let told = server.send("POST", PODS, &pod).await;
    assert_eq!(
        told.body["message"],
        "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'unknown' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'a.b/v1, Kind=C'"
    );
    server.stop().await;
}

#[tokio::test]
async fn custom_objects_are_judged_and_changed_too() {
    let server = Server::start().await;
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "size": {"type": "integer"}, "shape": {"type": "string", "default": "round"},
        "parts": {"type": "object", "properties": {"left": {"type": "string", "default": "wheel"}}},
    }}}});
    let definition = json!({
        "metadata": {"name": "carts.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "carts", "kind": "Cart"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    });
    let made =
        server.send("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let carts = "/apis/example.com/v1/namespaces/default/carts";
    server.eventually(carts, |answer| answer.code == 200).await;
    let spec = json!({
        "matchConstraints": about("example.com", "carts", &["CREATE", "UPDATE"]),
        "validations": [{"expression": "object.spec.size < 10", "messageExpression": "string(object.spec.size) + ' ' + object.spec.parts.left"}],
    });
    policy(&server, "small", spec).await;
    bind(&server, "small", json!({})).await;
    let patch = "Object{spec: Object.spec{parts: Object.spec.parts{}, size: object.spec.size * 2}}";
    let spec = json!({
        "matchConstraints": about("example.com", "carts", &["CREATE"]),
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": patch}}],
    });
    mutation(&server, "double", spec).await;
    let cart = |size: i64| json!({"apiVersion": "example.com/v1", "kind": "Cart", "metadata": {"name": "c"}, "spec": {"size": size}});
    let told = server.send("POST", carts, &cart(5)).await;
    assert_eq!((told.code, why(&told)), (422, "10 wheel"), "{}", told.body);
    let made = server.send("POST", carts, &cart(4)).await;
    let wanted = json!({"size": 8, "shape": "round", "parts": {"left": "wheel"}});
    assert_eq!((made.code, &made.body["spec"]), (201, &wanted), "{}", made.body);
    server.stop().await;
}

#[tokio::test]
async fn objects_are_changed_in_upstreams_way() {
    let server = Server::start().await;
    let apply = |expression: &str| json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}});
    let patch = |expression: &str| json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}});
    let about = || about("", "pods", &["CREATE"]);
    let mutating = |again: &str, mutations: Value| json!({"matchConstraints": about(), "reinvocationPolicy": again, "mutations": mutations});
    let chosen = "has(object.metadata.labels.atomic) ? Object{spec: Object.spec{containers: [Object.spec.containers{name: 'a', command: ['x']}]}}
        : has(object.metadata.labels.unknown) ? Object{spec: Object.spec{foo: 'x'}}
        : has(object.metadata.labels.wrong) ? Object{spec: Object.wrong{}}
        : Object{metadata: Object.metadata{annotations: {'m': 'yes'}}, spec: Object.spec{containers: [Object.spec.containers{name: 'b', image: 'side'}]}}";
    let steps = "has(object.metadata.labels.patch) ? [JSONPatch{op: 'remove', path: '/spec/nothing'}]
        : has(object.metadata.labels.strict) ? [JSONPatch{op: 'add', path: '/spec/nothing', value: 1}]
        : has(object.metadata.labels.other) ? [JSONPatch{op: 'replace', path: '/kind', value: 'Secret'}]
        : has(object.metadata.labels.unheard) ? [JSONPatch{op: 'replace', path: '/kind', value: 'Nonsense'}]
        : has(object.metadata.labels.nameless) ? [JSONPatch{op: 'remove', path: '/kind'}]
        : has(object.metadata.labels.test) ? [JSONPatch{op: 'test', path: '/metadata/name', value: 'zz'}, JSONPatch{op: 'add', path: '/metadata/annotations/never', value: 'x'}]
        : [JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: 'c'}]";
    mutation(&server, "m", mutating("Never", json!([apply(chosen), patch(steps)]))).await;
    let pod = async |label: &str, query: &str| {
        let pod = json!({
            "metadata": {"name": format!("p-{label}"), "labels": {label: "x"}},
            "spec": {"containers": [{"name": "a", "image": "b"}]},
        });
        server.send("POST", &format!("{PODS}{query}"), &pod).await
    };
    for (label, wanted) in [
        (
            "atomic",
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.containers[0].command",
        ),
        (
            "unknown",
            "error applying patch: failed to convert patch object to typed object: .spec.foo: field not declared in schema",
        ),
        (
            "wrong",
            "type mismatch: unexpected type name \"Object.wrong\", expected \"Object.spec\", which matches field name path from root Object type",
        ),
    ] {
        let told = pod(label, "").await;
        let message = format!("policy 'm' with binding 'm' denied request: {wanted}");
        assert_eq!((told.code, &told.body["reason"]), (403, &json!("Invalid")));
        assert_eq!(told.body["message"], json!(message));
        assert_eq!(told.body["details"]["causes"], json!([{"message": message}]));
    }
    let told = pod("patch", "").await;
    assert!(told.code == 403 && why(&told).starts_with("JSON Patch: "), "{}", told.body);
    for (label, wanted) in [
        ("strict", "strict decoding error: unknown field \"spec.nothing\""),
        ("other", "failed to convert object: converting (v1.Secret) to (core.Pod): unknown conversion"),
        (
            "unheard",
            "no kind \"Nonsense\" is registered for version \"v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
        ),
    ] {
        assert_eq!(why(&pod(label, "").await), format!("Internal error occurred: {wanted}"));
    }
    assert_eq!(pod("nameless", "?dryRun=All").await.body["kind"], "Pod");
    assert_eq!(pod("test", "?dryRun=All").await.body["metadata"]["annotations"], json!({"m": "yes"}));
    let made = pod("plain", "").await.body;
    assert_eq!(made["metadata"]["annotations"], json!({"m": "yes"}), "{made}");
    assert_eq!(made["metadata"]["labels"], json!({"plain": "x", "a/b": "c"}), "{made}");
    // What is new gets the kind's defaults.
    let side =
        made["spec"]["containers"].as_array().unwrap().iter().find(|c| c["name"] == "b").unwrap().clone();
    assert_eq!((&side["image"], &side["terminationMessagePolicy"]), (&json!("side"), &json!("File")));

    // Asked again is who wants to be, once, when another changes something after him; be it that other when asked again.
    let count = "[JSONPatch{op: 'add', path: '/metadata/annotations/NAME', value: string(int(object.metadata.annotations.?NAME.orValue('0')) + 1)}]";
    for (name, again) in [("n", "IfNeeded"), ("o", "Never"), ("z", "IfNeeded")] {
        let counting = patch(&count.replace("NAME", name));
        mutation(&server, name, mutating(again, json!([counting]))).await;
    }
    let made = pod("again", "?dryRun=All").await.body;
    let counted = json!({"m": "yes", "n": "2", "o": "1", "z": "2"});
    assert_eq!(made["metadata"]["annotations"], counted, "{made}");
    server.stop().await;
}

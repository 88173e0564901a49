//! Inputs that no type tells of: forms, patches, selectors, texts with a grammar of their own.

use kinds::patch::PatchType;
use serde_json::{Value, json};

use crate::{
    custom,
    targets::{self, kind},
    wide::Case,
};

pub const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// All of them.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    bodies(&mut cases);
    yaml(&mut cases);
    protobuf(&mut cases);
    patches(&mut cases);
    texts(&mut cases);
    custom::cases(&mut cases);
    cases
}

pub fn add(
    cases: &mut Vec<Case>,
    name: &str,
    size: usize,
    make: impl Fn(usize) -> Vec<u8> + 'static,
    run: impl Fn(&[u8]) -> usize + 'static,
) {
    let requests = targets::WRITES;
    cases.push(Case { name: name.into(), size, requests, make: Box::new(make), run: Box::new(run) });
}

fn pod(spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}, "spec": spec})
}

fn config_map(metadata: &Value) -> Value {
    let mut map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "default"}});
    for (field, value) in metadata.as_object().into_iter().flatten() {
        map["metadata"][field] = value.clone();
    }
    map
}

pub fn list(size: usize, item: impl Fn(usize) -> Value) -> Value {
    (0..size).map(item).collect()
}

pub fn map(size: usize, key: impl Fn(usize) -> String, value: impl Fn(usize) -> Value) -> Value {
    (0..size).map(|i| (key(i), value(i))).collect()
}

/// Objects in JSON.
fn bodies(cases: &mut Vec<Case>) {
    let mut object =
        |name: &str, size: usize, group: &str, version: &str, named: &str, make: fn(usize) -> Value| {
            let kind = kind(group, version, named);
            let bytes = move |size| serde_json::to_vec(&make(size)).unwrap();
            add(cases, name, size, bytes, move |input| targets::whole(kind, JSON, input));
        };
    object("empty containers", 10_000, "", "v1", "Pod", |n| {
        pod(&json!({"containers": list(n, |_| json!({}))}))
    });
    object("nulls", 10_000, "", "v1", "Pod", |n| pod(&json!({"containers": list(n, |_| Value::Null)})));
    object("wrong types", 10_000, "", "v1", "Pod", |n| {
        pod(&json!({"containers": list(n, |_| json!({"name": 1}))}))
    });
    object("strange fields", 5000, "", "v1", "Pod", |n| {
        pod(&map(n, |i| format!("strange{i}"), |i| json!(i)))
    });
    object("strange fields below a long one", 5000, "", "v1", "Pod", |n| {
        pod(&json!({"x".repeat(8 * n): map(n, |i| format!("f{i}"), |_| json!(1))}))
    });
    object("wrong usages", 5000, "certificates.k8s.io", "v1", "CertificateSigningRequest", |n| {
        json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "x"},
            "spec": {"request": "", "signerName": "a.b/c", "usages": list(n, |i| json!(format!("wrong{i}")))}})
    });
    object("labels", 5000, "", "v1", "ConfigMap", |n| {
        config_map(&json!({"labels": map(n, |i| format!("a/b/{i}"), |_| json!("-"))}))
    });
    object("owners after one with a long name", 3000, "", "v1", "ConfigMap", |n| {
        let owner = |i| {
            let name = if i == 0 { "x".repeat(20 * n) } else { format!("o{i}") };
            json!({"apiVersion": "v1", "kind": "A", "name": name, "uid": "1", "controller": true})
        };
        config_map(&json!({"ownerReferences": list(n, owner)}))
    });
    object("managers", 2000, "", "v1", "ConfigMap", |n| {
        config_map(
            &json!({"managedFields": list(n, |i| json!({"manager": format!("m{i}"), "operation": "Update",
            "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {format!("f:k{i}"): {}}}}))}),
        )
    });
    object("managers of the same", 2000, "", "v1", "ConfigMap", |n| {
        config_map(
            &json!({"managedFields": list(n, |i| json!({"manager": format!("m{i}"), "operation": "Apply",
            "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}}))}),
        )
    });
    object("fields of one manager", 5000, "", "v1", "ConfigMap", |n| {
        config_map(&json!({"managedFields": [{"manager": "m", "operation": "Update", "apiVersion": "v1",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:data": map(n, |i| format!("f:k{i}"), |_| json!({}))}}]}))
    });
    object("deep", 100, "", "v1", "Pod", |n| {
        pod(&json!({"affinity": (0..n).fold(json!({}), |below, _| json!({"nodeAffinity": below}))}))
    });
    object("a long name", 100_000, "", "v1", "ConfigMap", |n| {
        config_map(&json!({"name": "a.".repeat(n / 2)}))
    });
    object("quantities with exponents", 2000, "", "v1", "Pod", |n| {
        let limits = map(n, |i| format!("a{i}"), |i| json!(format!("1e{}", i * 100)));
        pod(&json!({"containers": [{"name": "c", "image": "i", "resources": {"limits": limits}}]}))
    });
    object("a long quantity", 50_000, "", "v1", "Pod", |n| {
        let limits = json!({"cpu": "1".repeat(n), "memory": format!("0.{}", "1".repeat(n)), "a/b": format!("1e{}", "9".repeat(n))});
        pod(
            &json!({"containers": [{"name": "c", "image": "i", "resources": {"limits": limits, "requests": limits}}]}),
        )
    });
    object("variables that refer to each other", 5000, "", "v1", "Pod", |n| {
        let env = list(n, |i| json!({"name": format!("A{}", i + 1), "value": format!("$(A{i})$(A{i})")}));
        pod(&json!({"containers": [{"name": "c", "image": "i", "env": env}]}))
    });
    object("scopes and what they cannot count", 2000, "", "v1", "ResourceQuota", |n| {
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "default"}, "spec": {
            "scopes": list(n, |_| json!("BestEffort")), "hard": map(n, |i| format!("count/a{i}"), |_| json!("1"))}})
    });
    object("volumes of a pod with a long name", 2000, "", "v1", "Pod", |n| {
        let claim = json!({"volumeClaimTemplate": {"spec": {}}});
        let mut pod = pod(&json!({"containers": [{"name": "c", "image": "i"}],
            "volumes": list(n, |i| json!({"name": format!("v{i}"), "ephemeral": claim}))}));
        pod["metadata"]["name"] = "x".repeat(50 * n).into();
        pod
    });
    object("scheduling gates", 5000, "", "v1", "Pod", |n| {
        pod(&json!({"containers": [{"name": "c", "image": "i"}],
            "schedulingGates": list(n, |i| json!({"name": format!("a/g{i}")}))}))
    });
    object("requests of a pod and of its containers", 3000, "", "v1", "Pod", |n| {
        let container =
            |i| json!({"name": format!("c{i}"), "image": "i", "resources": {"requests": {"cpu": "1"}}});
        pod(&json!({"containers": list(n, container),
            "resources": {"requests": map(n, |i| format!("a/r{i}"), |_| json!("1"))}}))
    });
    object("audiences", 10_000, "storage.k8s.io", "v1", "CSIDriver", |n| {
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "x"},
            "spec": {"tokenRequests": list(n, |i| json!({"audience": format!("a{i}")}))}})
    });
    object("exceptions of a long range", 3000, "networking.k8s.io", "v1", "NetworkPolicy", |n| {
        let block = json!({"cidr": format!("{}10.0.0.0/8", "0".repeat(50 * n)),
            "except": list(n, |i| json!(format!("10.{}.{}.0/24", i / 256, i % 256)))});
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "x", "namespace": "default"},
            "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": block}]}]}})
    });
    object("a schedule", 20_000, "batch", "v1", "CronJob", |n| {
        json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c", "namespace": "default"},
            "spec": {"schedule": format!("{}0 * * * *", "1,".repeat(n)), "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}})
    });
    for (media, start) in
        [(JSON, "{\"a\":"), (JSON, "["), (JSON, "\""), (JSON, " "), (JSON, "1"), (YAML, "{\"a\":")]
    {
        let name = format!("{media} {start:?} without end");
        let pod = kind("", "v1", "Pod");
        add(
            cases,
            &name,
            50_000,
            |n| start.repeat(n).into_bytes(),
            move |input| targets::whole(pod, media, input),
        );
    }
}

/// Objects in YAML.
fn yaml(cases: &mut Vec<Case>) {
    const HEAD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m, namespace: default}\n";
    let mut text = |name: &str, size: usize, make: fn(usize) -> String| {
        let map = kind("", "v1", "ConfigMap");
        let bytes = move |size| format!("{HEAD}{}", make(size)).into_bytes();
        add(cases, &format!("yaml: {name}"), size, bytes, move |input| targets::whole(map, YAML, input));
        let bytes = move |size| format!("{HEAD}{}", make(size)).into_bytes();
        add(cases, &format!("applied yaml: {name}"), size, bytes, targets::configured);
    };
    text("flow without end", 25_000, |n| format!("a: {}", "[".repeat(n)));
    text("flow maps without end", 25_000, |n| format!("a: {}", "{a: ".repeat(n)));
    text("lines of flow without end", 25_000, |n| format!("a: {}", "[\n".repeat(n)));
    text("flow", 25_000, |n| format!("data: [{}]", "[[a, b: c], {d: e}], ".repeat(n / 20)));
    text("deep flow beside deep flow", 25_000, |n| {
        format!("a: [{}]", format!("{}{},", "[".repeat(100), "]".repeat(100)).repeat(n / 200))
    });
    text("a wide list that is deep", 25_000, |n| {
        format!("a: {}{}{}", "[".repeat(100), "b, ".repeat(n / 3), "]".repeat(100))
    });
    text("lists in lists without end", 25_000, |n| format!("a:\n{}", "- ".repeat(n)));
    text("keys", 5000, |n| (0..n).map(|i| format!("k{i}: {i}\n")).collect());
    text("the same key", 5000, |n| "k: 1\n".repeat(n));
    text("anchors", 5000, |n| (0..n).map(|i| format!("k{i}: &a{i} {i}\n")).collect());
    text("aliases", 5000, |n| format!("a: &a {{b: c}}\nl: [{}]\n", "*a, ".repeat(n)));
    text("merges of one", 5000, |n| {
        format!("a: &a {{b: c}}\n{}", (0..n).map(|i| format!("k{i}: {{<<: *a}}\n")).collect::<String>())
    });
    text("merges of merges", 1000, |n| {
        let merge = |i| format!("k{}: &a{} {{<<: *a{i}, b{i}: c}}\n", i + 1, i + 1);
        format!("a: &a0 {{b: c}}\n{}", (0..n).map(merge).collect::<String>())
    });
    text("aliases of aliases", 25, |n| {
        let level = |i| format!("k{}: &a{} [*a{i}, *a{i}]\n", i + 1, i + 1);
        format!("a: &a0 [b, b, b, b]\n{}", (0..n).map(level).collect::<String>())
    });
    text("tags", 5000, |n| format!("a: [{}]", "!!str a, !b c, ".repeat(n)));
    text("a long tag", 50_000, |n| format!("a: !{} b", "x".repeat(n)));
    text("a long anchor", 50_000, |n| format!("a: &{} b", "x".repeat(n)));
    text("comments", 20_000, |n| "# c\n".repeat(n));
    text("empty lines", 50_000, |n| "\n".repeat(n));
    text("a long plain text", 50_000, |n| format!("a: {}", "b ".repeat(n)));
    text("a long folded text", 20_000, |n| format!("a: >\n{}", "  b\n\n".repeat(n)));
    text("a long text of lines", 20_000, |n| format!("a: \"{}\"", "b\n ".repeat(n)));
    text("escapes", 20_000, |n| format!("a: \"{}\"", "\\u00e9\\x41".repeat(n)));
    text("numbers", 5000, |n| format!("a: [{}]", "1_000, 0o7, 1e3, ".repeat(n)));
    text("a long number", 50_000, |n| format!("a: 1{}", "_0".repeat(n)));
    text("documents", 5000, |n| "---\na: b\n".repeat(n));
}

/// Objects in protobuf.
fn protobuf(cases: &mut Vec<Case>) {
    /// A field with bytes.
    fn field(number: u32, content: &[u8]) -> Vec<u8> {
        let mut bytes = varint(u64::from(number) << 3 | 2);
        bytes.extend(varint(content.len() as u64));
        bytes.extend(content);
        bytes
    }
    fn varint(mut number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number > 127 {
            bytes.push((number & 127 | 128) as u8);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }
    /// Upstream's envelope of an object.
    fn envelope(kind: &str, content: &[u8]) -> Vec<u8> {
        let meta = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        [b"k8s\0".to_vec(), field(1, &meta), field(2, content)].concat()
    }
    let mut object = |name: &str, size: usize, named: &'static str, make: fn(usize) -> Vec<u8>| {
        let kind = kind("", "v1", named);
        let bytes = move |size| envelope(named, &make(size));
        add(cases, &format!("protobuf: {name}"), size, bytes, move |input| {
            targets::whole(kind, PROTOBUF, input)
        });
    };
    object("strange fields", 10_000, "Pod", |n| field(3000, b"a").repeat(n));
    object("containers", 5000, "Pod", |n| field(2, &field(2, &[]).repeat(n)));
    object("specs", 5000, "Pod", |n| field(2, &field(2, b"")).repeat(n));
    object("data", 5000, "ConfigMap", |n| {
        (0..n)
            .flat_map(|i| field(2, &[field(1, format!("k{i}").as_bytes()), field(2, b"v")].concat()))
            .collect()
    });
    object("the same key", 5000, "ConfigMap", |n| {
        field(2, &[field(1, b"k"), field(2, b"v")].concat()).repeat(n)
    });
    object("deep", 5000, "Pod", |n| (0..n).fold(Vec::new(), |below, _| field(2, &below)));
    object("a long text", 50_000, "ConfigMap", |n| {
        field(2, &[field(1, b"k"), field(2, &b"v".repeat(n))].concat())
    });
}

/// Patches of a pod.
fn patches(cases: &mut Vec<Case>) {
    let mut patch = |form: PatchType, name: &str, size: usize, make: fn(usize) -> Value| {
        let name = format!("{form:?}: {name}");
        let bytes = move |size| serde_json::to_vec(&make(size)).unwrap();
        add(cases, &name, size, bytes, move |input| targets::patched(form, input).len());
    };
    patch(
        PatchType::Merge,
        "fields",
        5000,
        |n| json!({"metadata": {"labels": map(n, |i| format!("a{i}"), |_| json!("b"))}}),
    );
    patch(PatchType::Merge, "a deep one", 100, |n| (0..n).fold(json!(1), |below, _| json!({"a": below})));
    patch(
        PatchType::Strategic,
        "containers",
        2000,
        |n| json!({"spec": {"containers": list(n, |i| json!({"name": format!("c{i}"), "image": "i"}))}}),
    );
    patch(
        PatchType::Strategic,
        "the same container",
        2000,
        |n| json!({"spec": {"containers": list(n, |_| json!({"name": "c", "image": "i"}))}}),
    );
    patch(
        PatchType::Strategic,
        "deletions",
        2000,
        |n| json!({"spec": {"containers": list(n, |i| json!({"name": format!("c{i}"), "$patch": "delete"}))}}),
    );
    patch(PatchType::Strategic, "an order", 2000, |n| {
        json!({"spec": {"$setElementOrder/containers": list(n, |i| json!({"name": format!("c{i}")})),
            "containers": list(n, |i| json!({"name": format!("c{}", n - i), "image": "i"}))}})
    });
    patch(PatchType::Strategic, "finalizers", 2000, |n| {
        json!({"metadata": {"finalizers": list(n, |i| json!(format!("a/f{i}"))),
            "$setElementOrder/finalizers": list(n, |i| json!(format!("a/f{}", n - i)))}})
    });
    patch(
        PatchType::Strategic,
        "finalizers that go",
        2000,
        |n| json!({"metadata": {"$deleteFromPrimitiveList/finalizers": list(n, |i| json!(format!("a/f{i}")))}}),
    );
    patch(
        PatchType::Strategic,
        "keys that stay",
        2000,
        |n| json!({"spec": {"volumes": [{"name": "v", "$retainKeys": list(n, |i| json!(format!("k{i}")))}]}}),
    );
    patch(
        PatchType::Strategic,
        "tolerations",
        2000,
        |n| json!({"spec": {"tolerations": list(n, |i| json!({"key": format!("k{i}"), "operator": "Exists"}))}}),
    );
    patch(
        PatchType::Strategic,
        "variables",
        2000,
        |n| json!({"spec": {"containers": [{"name": "c", "env": list(n, |i| json!({"name": format!("A{i}"), "value": "b"}))}]}}),
    );
    let mut apply = |name: &str, size: usize, make: fn(usize) -> Value| {
        let bytes = move |size| {
            let mut config =
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}});
            for (field, value) in make(size).as_object().into_iter().flatten() {
                config[field] = value.clone();
            }
            serde_json::to_vec(&config).unwrap()
        };
        add(cases, &format!("applied: {name}"), size, bytes, |input| targets::applied(input).len());
    };
    apply(
        "containers",
        2000,
        |n| json!({"spec": {"containers": list(n, |i| json!({"name": format!("c{i}"), "image": "i"}))}}),
    );
    apply(
        "the same container",
        2000,
        |n| json!({"spec": {"containers": list(n, |_| json!({"name": "c", "image": "i"}))}}),
    );
    apply("conflicts", 2000, |n| {
        json!({"metadata": {"name": "p", "finalizers": list(n, |i| json!(format!("a/{i}"))),
            "annotations": map(n, |i| format!("a{i}"), |_| json!("b"))}})
    });
    apply("wrong types", 2000, |n| json!({"spec": {"containers": list(n, |_| json!({"name": 1}))}}));
}

/// Queries, selectors, quantities, expressions.
fn texts(cases: &mut Vec<Case>) {
    let mut text = |target: &str, name: &str, size: usize, make: fn(usize) -> String| {
        let (_, run) = targets::ALL.iter().find(|(known, _)| *known == target).unwrap();
        add(
            cases,
            &format!("{target}: {name}"),
            size,
            move |n| make(n).into_bytes(),
            move |input| run(input).len(),
        );
    };
    text("requests", "parameters", 5000, |n| format!("GET /api/v1/pods?{}", "a=b&".repeat(n)));
    text("requests", "the same parameter", 5000, |n| format!("GET /api/v1/pods?{}", "limit=1&".repeat(n)));
    text("requests", "parts of the path", 5000, |n| format!("GET {}", "/a".repeat(n)));
    text("requests", "an encoded path", 5000, |n| format!("GET /api/v1/{}", "%41".repeat(n)));
    text("requests", "a long parameter", 20_000, |n| format!("GET /api/v1/pods?continue={}", "A".repeat(n)));
    text("label_selectors", "requirements", 5000, |n| {
        (0..n).map(|i| format!("a{i}=b,")).collect::<String>() + "c"
    });
    text("label_selectors", "the same requirement", 5000, |n| "a=b,".repeat(n) + "c");
    text("label_selectors", "values", 5000, |n| {
        format!("a in ({})", (0..n).map(|i| format!("b{i},")).collect::<String>() + "c")
    });
    text("label_selectors", "wrong values", 5000, |n| {
        format!("a in ({})", (0..n).map(|i| format!("-{i},")).collect::<String>() + "c")
    });
    text("label_selectors", "wrong values of a long key", 3000, |n| {
        format!("{} in ({}c)", "a".repeat(20 * n), (0..n).map(|i| format!("-{i},")).collect::<String>())
    });
    text("label_selectors", "brackets", 5000, |n| "a in (".repeat(n));
    text("field_selectors", "terms", 5000, |n| {
        (0..n).map(|i| format!("a{i}=b,")).collect::<String>() + "c=d"
    });
    text("field_selectors", "escapes", 5000, |n| format!("a={}", "\\,".repeat(n)));
    text("field_selectors", "commas", 5000, |n| ",".repeat(n));
    text("quantities", "digits", 20_000, |n| "1".repeat(n));
    text("quantities", "digits behind the point", 20_000, |n| format!("0.{}", "1".repeat(n)));
    text("quantities", "zeros", 20_000, |n| format!("1{}", "0".repeat(n)));
    text("quantities", "zeros behind the point", 20_000, |n| format!("0.{}1", "0".repeat(n)));
    text("quantities", "an exponent", 20_000, |n| format!("1e{}", "9".repeat(n)));
    text("quantities", "a large exponent", 2000, |n| format!("1e{n}000"));
    text("quantities", "a small exponent", 2000, |n| format!("1e-{n}000"));
    text("expressions", "alternatives", 1000, |n| "true || ".repeat(n) + "true");
    text("expressions", "brackets", 1000, |n| format!("{}true{}", "(".repeat(n), ")".repeat(n)));
    text("expressions", "brackets without end", 1000, |n| "(".repeat(n));
    text("expressions", "negations", 1000, |n| format!("{}true", "!".repeat(n)));
    text("expressions", "a sum", 1000, |n| format!("{}1 == 1", "1 + ".repeat(n)));
    text("expressions", "choices", 1000, |n| format!("{}true", "true ? true : ".repeat(n)));
    text("expressions", "a list", 1000, |n| format!("1 in [{}1]", "1,".repeat(n)));
    text("expressions", "lists in lists", 1000, |n| format!("{}1{} == []", "[".repeat(n), "]".repeat(n)));
    text("expressions", "a map", 1000, |n| {
        format!("{{{}'b': 1}} == {{}}", (0..n).map(|i| format!("'a{i}': 1,")).collect::<String>())
    });
    text("expressions", "fields", 1000, |n| format!("a{} == 1", ".b".repeat(n)));
    text("expressions", "calls", 1000, |n| format!("'a'{} == 'a'", ".lowerAscii()".repeat(n)));
    text("expressions", "sums of texts", 500, |n| {
        format!("{}'b' == 'c'", "'aaaaaaaaaaaaaaaaaaaaaaaa' + ".repeat(n))
    });
    text("expressions", "macros", 100, |n| format!("[1]{} == []", ".map(x, x + 1)".repeat(n)));
    text("expressions", "macros in macros", 20, |n| {
        format!("{}true{}", (0..n).map(|i| format!("[1].all(x{i}, ")).collect::<String>(), ")".repeat(n))
    });
    text("expressions", "a long text", 20_000, |n| format!("'{}' == 'b'", "a".repeat(n)));
    text("expressions", "a long pattern", 2000, |n| format!("'a'.matches('{}')", "a?".repeat(n)));
    text("expressions", "a pattern that repeats", 100, |n| format!("'a'.matches('(a{{{n}}}){{{n}}}')"));
    text("expressions", "letters of no meaning", 5000, |n| "#".repeat(n));
    text("expressions", "lines of no meaning", 2000, |n| "a b\n".repeat(n));
}

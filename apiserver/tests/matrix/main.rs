//! Everybody × every verb × every kind, on a whole server, against a table.

#![allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own")]
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../harness/mod.rs"]
mod harness;

use std::collections::BTreeMap;

use apiserver::args::Mode;
use futures::{StreamExt as _, stream};
use harness::Server;
use serde_json::{Value, json};

const TABLE: &str = include_str!("table.txt");
const VERBS: [(char, &str); 9] = [
    ('g', "get"),
    ('l', "list"),
    ('w', "watch"),
    ('c', "create"),
    ('u', "update"),
    ('p', "patch"),
    ('d', "delete"),
    ('x', "deletecollection"),
    ('i', "impersonate"),
];
const METHODS: [(char, &str); 5] =
    [('g', "get"), ('c', "post"), ('u', "put"), ('p', "patch"), ('d', "delete")];

/// Who asks.
struct Identity {
    user: String,
    groups: Vec<String>,
}

/// What is asked about: `resource[.group][/subresource][@namespace][:name]`, or a path.
#[derive(Default)]
struct Object<'a> {
    path: Option<&'a str>,
    resource: &'a str,
    group: &'a str,
    subresource: &'a str,
    namespace: &'a str,
    name: &'a str,
}

impl<'a> Object<'a> {
    fn read(text: &'a str) -> Self {
        if text.starts_with('/') {
            return Self { path: Some(text), ..Self::default() };
        }
        let (rest, name) = text.split_once(':').unwrap_or((text, ""));
        let (rest, namespace) = rest.split_once('@').unwrap_or((rest, ""));
        let (rest, subresource) = rest.split_once('/').unwrap_or((rest, ""));
        let (resource, group) = rest.split_once('.').unwrap_or((rest, ""));
        Self { path: None, resource, group, subresource, namespace, name }
    }

    fn verbs(&self) -> &'static [(char, &'static str)] {
        if self.path.is_some() { &METHODS } else { &VERBS }
    }

    fn attributes(&self, verb: &str) -> Value {
        let Self { resource, group, subresource, namespace, name, .. } = self;
        match self.path {
            Some(path) => json!({"nonResourceAttributes": {"verb": verb, "path": path}}),
            None => json!({"resourceAttributes": {"verb": verb, "resource": resource, "group": group,
                "subresource": subresource, "namespace": namespace, "name": name}}),
        }
    }

    /// Where a client reads it, if it is served there, and what for: sessions in pods have to be created as well.
    fn places(&self, served: &BTreeMap<String, String>) -> Vec<(&'static str, String)> {
        if let Some(path) = self.path {
            return vec![("g", path.to_owned())];
        }
        let whole = [self.resource, self.subresource].join("/");
        let Some(version) = served.get(&format!("{}:{}", self.group, whole.trim_end_matches('/'))) else {
            return Vec::new();
        };
        let root = if self.group.is_empty() { "/api".into() } else { format!("/apis/{}", self.group) };
        let within = match (self.namespace, self.resource) {
            ("", _) | (_, "namespaces") => String::new(),
            (namespace, _) => format!("/namespaces/{namespace}"),
        };
        let all = format!("{root}/{version}{within}/{}", self.resource);
        // A name that is not in the table is one that nothing has.
        let name = if self.name.is_empty() { "nothing" } else { self.name };
        match (self.subresource, self.name, self.resource, self.namespace) {
            ("", "", "namespaces", _) => vec![("l", all)],
            ("", "", ..) => vec![("l", all.clone()), ("g", format!("{all}/{name}"))],
            ("", ..) => vec![("g", format!("{all}/{name}"))],
            ("exec" | "portforward", ..) => vec![("gc", format!("{all}/{name}/{}", self.subresource))],
            (part, ..) => vec![("g", format!("{all}/{name}/{part}"))],
        }
    }
}

/// Who, with what, and the letters of what he may do with it.
type Cell = (&'static str, &'static str, &'static str);

/// The table: who there is, and its cells.
fn table() -> (BTreeMap<&'static str, Identity>, Vec<Cell>) {
    let (mut identities, mut columns, mut cells) = (BTreeMap::new(), Vec::new(), Vec::new());
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[0] {
            "identity" => {
                let groups = words[3..].iter().map(|group| (*group).to_owned()).collect();
                identities.insert(words[1], Identity { user: words[2].to_owned(), groups });
            }
            "may" => columns = words[1..].to_vec(),
            what => {
                assert_eq!(words.len(), columns.len() + 1, "{line}");
                cells.extend(columns.iter().zip(&words[1..]).map(|(who, cell)| (*who, what, *cell)));
            }
        }
    }
    (identities, cells)
}

fn allows(cell: &str, verb: char) -> bool {
    cell == "*" || cell.contains(verb)
}

async fn made(server: &Server, path: &str, object: Value) {
    let answer = server.send("POST", path, &object).await;
    assert!([201, 409].contains(&answer.code), "{path}: {}", answer.body);
}

/// Two nodes with a pod each, and a viewer, an editor and an owner of a namespace.
async fn furnish(server: &Server) {
    for namespace in ["team", "other"] {
        made(server, "/api/v1/namespaces", json!({"metadata": {"name": namespace}})).await;
    }
    let of_team = "/api/v1/namespaces/team";
    for name in ["mine", "theirs"] {
        let named = json!({"metadata": {"name": name}});
        made(server, "/api/v1/nodes", named.clone()).await;
        made(server, &format!("{of_team}/serviceaccounts"), named.clone()).await;
        made(server, &format!("{of_team}/secrets"), named.clone()).await;
        let from = json!([{"secretRef": {"name": name}}, {"configMapRef": {"name": name}}]);
        let spec = json!({
            "nodeName": name, "serviceAccountName": name,
            "containers": [{"name": "c", "image": "x", "envFrom": from}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": name}}],
        });
        made(server, &format!("{of_team}/pods"), json!({"metadata": {"name": name}, "spec": spec})).await;
    }
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let bind = async |at: &str, name: &str, role: &str, users: &[&str]| {
        let users: Vec<_> = users.iter().map(|user| json!({"kind": "User", "name": user})).collect();
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role});
        made(server, at, json!({"metadata": {"name": name}, "roleRef": role, "subjects": users})).await;
    };
    // As the controller fills `view`, `edit` and `admin`.
    let at = format!("{rbac}/namespaces/team/rolebindings");
    bind(&at, "view", "system:aggregate-to-view", &["vera", "ed", "ann"]).await;
    bind(&at, "edit", "system:aggregate-to-edit", &["ed", "ann"]).await;
    bind(&at, "admin", "system:aggregate-to-admin", &["ann"]).await;
    bind(&format!("{rbac}/clusterrolebindings"), "kay", "system:kubelet-api-admin", &["kay"]).await;
}

async fn server() -> Server {
    let server = Server::start_with(|config| config.authorization = vec![Mode::Node, Mode::Rbac]).await;
    furnish(&server).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_of_access_say_what_the_table_says() {
    let server = server().await;
    let (identities, cells) = table();
    let questions = cells.iter().flat_map(|(who, what, cell)| {
        let object = Object::read(what);
        let all = object.verbs().iter();
        all.map(move |(letter, verb)| (*who, *what, *verb, object.attributes(verb), allows(cell, *letter)))
            .collect::<Vec<_>>()
    });
    let ask = |(who, what, verb, mut spec, expected): (&'static str, &'static str, _, Value, bool)| {
        let (server, Identity { user, groups }) = (&server, &identities[who]);
        spec["user"] = json!(user);
        spec["groups"] = json!(groups);
        async move {
            let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
            let answer = server.send("POST", path, &json!({"spec": spec})).await;
            assert_eq!(answer.code, 201, "{}", answer.body);
            let allowed = answer.body["status"]["allowed"] == true;
            (allowed != expected).then(|| format!("{who} {verb} {what}: {allowed}"))
        }
    };
    let wrong: Vec<_> = stream::iter(questions).map(ask).buffer_unordered(16).collect().await;
    let wrong: Vec<_> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
    server.stop().await;
}

/// What the server serves, `group:resource[/subresource]`, and in which version.
async fn served(server: &Server) -> BTreeMap<String, String> {
    let mut versions = vec![("/api/v1".to_owned(), String::new(), "v1".to_owned())];
    for group in server.get("/apis").await.body["groups"].as_array().unwrap() {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (name, version) = (text(&group["name"]), text(&group["preferredVersion"]["version"]));
        versions.push((format!("/apis/{name}/{version}"), name, version));
    }
    let mut served = BTreeMap::new();
    for (path, group, version) in versions {
        for resource in server.get(&path).await.body["resources"].as_array().unwrap() {
            let name = resource["name"].as_str().unwrap();
            served.insert(format!("{group}:{name}"), version.clone());
        }
    }
    served
}

/// Every cell's reads, sent by somebody who acts as whom it is about.
#[tokio::test(flavor = "multi_thread")]
async fn reads_are_answered_as_the_table_says() {
    let server = server().await;
    let (identities, cells) = table();
    let served = served(&server).await;
    let requests: Vec<_> = cells
        .iter()
        .flat_map(|(who, what, cell)| {
            let places = Object::read(what).places(&served).into_iter();
            places.map(move |(verbs, path)| (*who, path, verbs.chars().all(|verb| allows(cell, verb))))
        })
        .collect();
    assert!(requests.len() > 1500, "{}", requests.len());
    let ask = |(who, path, expected): (&'static str, String, bool)| {
        let (server, Identity { user, groups }) = (&server, &identities[who]);
        async move {
            let mut headers = vec![("impersonate-user", user.as_str())];
            headers.extend(groups.iter().map(|group| ("impersonate-group", group.as_str())));
            let code = server.send_raw("GET", &path, &headers, Vec::new()).await.code;
            ((code != 403) != expected).then(|| format!("{who} {path}: {code}"))
        }
    };
    let wrong: Vec<_> = stream::iter(requests).map(ask).buffer_unordered(16).collect().await;
    let wrong: Vec<_> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
    server.stop().await;
}

//! The file that says how much is told of which requests (`audit.k8s.io/v1` Policy), read and checked in upstream's words.
//!
//! Counterparts: `apiserver/pkg/audit/policy` and `pkg/apis/audit/validation`.

use std::path::{Path as FilePath, PathBuf};

use api::{
    Message,
    field::{Errors, Path},
    message,
    validation::dns_subdomain,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::event::{Level, Stage};
use crate::{
    auth::{User, authorize::Action},
    body::yaml,
};

/// The levels, from least to most.
pub const LEVELS: [&str; 4] = ["None", "Metadata", "Request", "RequestResponse"];
const STAGES: [&str; 4] = ["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"];

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("loading audit policy file: failed to read file path {0:?}")]
    Read(PathBuf, #[source] std::io::Error),
    /// It says nothing that makes sense.
    #[error("loading audit policy file: {0}: from file {1}")]
    Wrong(Message, String),
}

/// What is done about a request.
#[derive(Debug, Default, Clone)]
pub struct Handling {
    /// How much is told.
    pub level: Level,
    /// The stages of which nothing is.
    pub omitted: Vec<Stage>,
    /// Whether bodies are told without `managedFields`.
    pub omit_managed_fields: bool,
}

/// Which requests are told of, and how. The first rule that is about a request decides; without one nothing is told.
#[derive(Debug, Clone)]
pub struct Policy(Vec<(Rule, Handling)>);

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct File {
    #[serde(rename = "metadata")]
    _metadata: Value,
    omit_stages: Vec<String>,
    omit_managed_fields: bool,
    rules: Vec<Rule>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Rule {
    level: String,
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<Resources>,
    namespaces: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    paths: Vec<String>,
    omit_stages: Vec<String>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Resources {
    group: String,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

/// What a word means, of those that there are.
fn read<T: DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(json!(word)).ok()
}

impl Policy {
    /// Reads the file.
    ///
    /// # Errors
    /// When it makes no sense, or says what there is no field for.
    pub fn load(file: &FilePath) -> Result<Self, PolicyError> {
        let bytes = std::fs::read(file).map_err(|why| PolicyError::Read(file.into(), why))?;
        Self::parse(&bytes).map_err(|why| PolicyError::Wrong(why, file.display().to_string()))
    }

    /// What the file says.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Message> {
        if bytes.trim_ascii().is_empty() {
            return Err("unknown group version field audit.k8s.io/__internal, Kind=Policy in policy".into());
        }
        let file: File = yaml::read_file(bytes, "Policy", &["audit.k8s.io/v1"])
            .map_err(|why| message!("failed decoding: {why}"))?;
        let mut errors = Errors::default();
        let stages = stages(&file.omit_stages, &Path::new("omitStages"), &mut errors);
        let mut rules = Vec::new();
        for (i, rule) in file.rules.into_iter().enumerate() {
            let mut handling = rule.check(&Path::new("rules").index(i), &mut errors);
            handling.omitted.extend(&stages);
            handling.omit_managed_fields = rule.omit_managed_fields.unwrap_or(file.omit_managed_fields);
            rules.push((rule, handling));
        }
        errors.aggregate().map_or(Ok(()), Err)?;
        if rules.is_empty() { Err("loaded illegal policy with 0 rules".into()) } else { Ok(Self(rules)) }
    }

    /// What is done about a request, whose caller may be unknown; nothing if no rule is about it.
    pub fn handling(&self, user: Option<&User>, action: &Action<'_>) -> Option<&Handling> {
        self.0.iter().find(|(rule, _)| rule.matches(user, action)).map(|(_, handling)| handling)
    }
}

fn stages(words: &[String], at: &Path, errors: &mut Errors) -> Vec<Stage> {
    let known = words.iter().enumerate().filter_map(|(i, word)| {
        let stage = read(word);
        if stage.is_none() {
            errors.invalid(&at.index(i), word, format_args!("allowed stages are {}", STAGES.join(",")));
        }
        stage
    });
    known.collect()
}

impl Rule {
    fn check(&self, at: &Path, errors: &mut Errors) -> Handling {
        let level = read(&self.level);
        match (&level, self.level.as_str()) {
            (None, "") => errors.required(&at.child("level"), ""),
            (None, other) => errors.not_supported(&at.child("level"), other, &LEVELS),
            _ => {}
        }
        let paths = at.child("nonResourceURLs");
        for (i, path) in self.paths.iter().enumerate().filter(|(_, path)| *path != "*") {
            if !path.starts_with('/') {
                errors.invalid(
                    &paths.index(i),
                    path,
                    "non-resource URL rules must begin with a '/' character",
                );
            }
            if path.strip_suffix('*').unwrap_or(path).contains('*') {
                let why = "non-resource URL wildcards '*' must be the final character of the rule";
                errors.invalid(&paths.index(i), path, why);
            }
        }
        let resources = at.child("resources");
        for Resources { group, resources: names, resource_names, .. } in &self.resources {
            let wrong = if matches!(group.as_str(), "" | "*") { Vec::new() } else { dns_subdomain(group) };
            if !wrong.is_empty() {
                errors.invalid(&resources.child("group"), group, wrong.join(","));
            }
            if !resource_names.is_empty() && names.is_empty() {
                let why = "using resourceNames requires at least one resource";
                errors.invalid(&resources.child("resourceNames"), resource_names, why);
            }
        }
        let omitted = stages(&self.omit_stages, &at.child("omitStages"), errors);
        if !(self.paths.is_empty() || self.resources.is_empty() && self.namespaces.is_empty()) {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            errors.invalid(&paths, &self.paths, why);
        }
        Handling { level: level.unwrap_or_default(), omitted, omit_managed_fields: false }
    }

    fn matches(&self, user: Option<&User>, action: &Action<'_>) -> bool {
        let has = |words: &[String], word: &str| words.iter().any(|known| known == word);
        let one_of = |words: &[String], word: &str| words.is_empty() || has(words, word);
        let (name, groups) = user.map_or(("", &[][..]), |user| (&*user.name, &user.groups[..]));
        if !self.users.is_empty() && (user.is_none() || !has(&self.users, name))
            || !self.user_groups.is_empty() && !groups.iter().any(|group| has(&self.user_groups, group))
        {
            return false;
        }
        match *action {
            Action::Path { verb, path } => {
                let is_meant = |spec: &String| {
                    spec == path || spec.strip_suffix('*').is_some_and(|begin| path.starts_with(begin))
                };
                one_of(&self.verbs, verb)
                    && self.namespaces.is_empty()
                    && self.resources.is_empty()
                    && (self.paths.is_empty() || self.paths.iter().any(is_meant))
            }
            Action::Resource { verb, group, resource, subresource, namespace, name, .. } => {
                let is_meant = |spec: &String| match spec.split_once('/') {
                    None => spec == "*" || spec == resource && subresource.is_empty(),
                    Some((of, "*")) if of == resource => true,
                    Some((of, part)) => {
                        !subresource.is_empty() && part == subresource && (of == "*" || of == resource)
                    }
                };
                let about = |known: &Resources| {
                    (known.group == group || known.group == "*")
                        && (known.resources.is_empty()
                            || one_of(&known.resource_names, name) && known.resources.iter().any(is_meant))
                };
                one_of(&self.verbs, verb)
                    && self.paths.is_empty()
                    && one_of(&self.namespaces, namespace)
                    && (self.resources.is_empty() || self.resources.iter().any(about))
            }
        }
    }
}

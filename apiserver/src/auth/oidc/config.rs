//! AuthenticationConfiguration: whose tokens are taken and what they make of their bearers, checked in upstream's words.
//!
//! Counterpart of `k8s.io/apiserver/pkg/apis/apiserver/validation/validation.go`.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use api::{
    Message,
    field::{Errors, Path},
    validation::dns_subdomain,
};
use cel::{Decl, Program, Variable, Wanted};
use machinery::{tls, token_keys};
use serde::Deserialize;

use super::{
    Issuer,
    claims::{CLAIMS, Mapping, Rule, Source, USER},
};
use crate::{auth::authorize::quoted, body::yaml::read_file};

/// The versions of the file, which have the same fields.
const VERSIONS: [&str; 3] =
    ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1"];

/// What is said of callers whom other systems know, and of those who show no credential.
#[derive(Debug, Clone, Default)]
pub struct Authentication {
    /// An AuthenticationConfiguration, read again when it changes.
    pub file: Option<PathBuf>,
    /// Issuers of tokens, where there is no file.
    pub jwt: Vec<JwtAuthenticator>,
    /// How their tokens may be signed; in any way that can be checked if it is empty.
    pub algorithms: Vec<String>,
    /// Whether requests without a credential are looked at, if that is said.
    pub anonymous: Option<bool>,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("failed to load authentication configuration from file {0:?}: {1}")]
    Read(PathBuf, std::io::Error),
    /// It is no AuthenticationConfiguration.
    #[error("failed to load authentication configuration from file {0:?}: {1}")]
    Decode(PathBuf, Message),
    /// What it says makes no sense.
    #[error("invalid authentication configuration: {0}")]
    Invalid(Message),
    /// No signatures of that name can be checked.
    #[error("oidc: unsupported signing alg: {0:?}")]
    Algorithm(String),
    /// Both file and flags say who is let in without a credential.
    #[error(
        "anonymous: Forbidden: --anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file"
    )]
    Anonymous,
}

/// The file. The names are upstream's, here and below.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    #[serde(default)]
    jwt: Vec<JwtAuthenticator>,
    anonymous: Option<Anonymous>,
}

/// Who is looked at without a credential.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anonymous {
    enabled: bool,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    path: String,
}

/// One issuer, and what its tokens make of their bearers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct JwtAuthenticator {
    pub issuer: IssuerConfig,
    pub claim_validation_rules: Vec<ClaimRule>,
    pub claim_mappings: ClaimMappings,
    pub user_validation_rules: Vec<ClaimRule>,
}

/// Who issues, and for whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct IssuerConfig {
    pub url: String,
    #[serde(rename = "discoveryURL")]
    pub discovery_url: String,
    pub certificate_authority: String,
    pub audiences: Vec<String>,
    pub audience_match_policy: String,
    pub egress_selector_type: String,
}

/// What must be true of claims or, by an expression alone, of the user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct ClaimRule {
    pub claim: String,
    pub required_value: String,
    pub expression: String,
    pub message: String,
}

/// What claims make of their bearer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimMappings {
    pub username: Claimed,
    pub groups: Claimed,
    pub uid: Claimed,
    pub extra: Vec<Extra>,
}

/// A claim, or an expression over all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Claimed {
    pub claim: String,
    pub prefix: Option<String>,
    pub expression: String,
}

/// What else is known of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Extra {
    pub key: String,
    pub value_expression: String,
}

impl Anonymous {
    /// Whether a request for a path is.
    pub fn admits(&self, path: &str) -> bool {
        self.enabled && (self.conditions.is_empty() || self.conditions.iter().any(|one| one.path == path))
    }
}

impl Authentication {
    /// What the file says now.
    pub(super) fn content(&self) -> Result<Option<Vec<u8>>, ConfigError> {
        let read = |path: &PathBuf| std::fs::read(path).map_err(|why| ConfigError::Read(path.clone(), why));
        self.file.as_ref().map(read).transpose()
    }

    /// The issuers, and who is looked at without a credential, where the file says this. `ours` are the issuers of this
    /// server's own tokens.
    pub(super) fn read(
        &self,
        content: Option<&[u8]>,
        ours: &[String],
    ) -> Result<(Vec<Issuer>, Anonymous), ConfigError> {
        let (mut jwt, mut anonymous) = (self.jwt.clone(), None);
        if let (Some(path), Some(content)) = (&self.file, content) {
            let wrong = |why| ConfigError::Decode(path.clone(), why);
            if content.is_empty() {
                return Err(wrong("empty config data".into()));
            }
            let file: File = read_file(content, "AuthenticationConfiguration", &VERSIONS).map_err(wrong)?;
            (jwt, anonymous) = (file.jwt, file.anonymous);
        }
        let all = token_keys::ALGORITHMS.map(str::to_owned);
        let algorithms = if self.algorithms.is_empty() { &all[..] } else { &self.algorithms };
        if let Some(other) = algorithms.iter().find(|name| !all.contains(name)) {
            return Err(ConfigError::Algorithm(other.clone()));
        }
        let (mut errors, root) = (Errors::default(), Path::new("jwt"));
        let issuers = || root.items(&jwt).map(|(at, one)| (at.child("issuer"), &one.issuer));
        unique(issuers().map(|(at, issuer)| (at.child("url"), &issuer.url)), &mut errors);
        unique(issuers().map(|(at, issuer)| (at.child("discoveryURL"), &issuer.discovery_url)), &mut errors);
        let checked = root.items(&jwt).filter_map(|(at, one)| one.check(&at, ours, algorithms, &mut errors));
        let checked = checked.collect();
        if anonymous.as_ref().is_some_and(|said| !said.enabled && !said.conditions.is_empty()) {
            let at = Path::new("anonymous").child("conditions");
            errors.invalid(&at, "", "enabled should be set to true when conditions are defined");
        }
        errors.aggregate().map_or(Ok(()), |why| Err(ConfigError::Invalid(why)))?;
        match (anonymous, self.anonymous) {
            (None, flag) => {
                Ok((checked, Anonymous { enabled: flag.unwrap_or(true), conditions: Vec::new() }))
            }
            (Some(said), None) => Ok((checked, said)),
            (Some(_), Some(_)) => Err(ConfigError::Anonymous),
        }
    }
}

/// Finds what is said twice.
fn unique<'a>(texts: impl Iterator<Item = (Path, &'a String)>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (at, text) in texts.filter(|(_, text)| !text.is_empty()) {
        if !seen.insert(text) {
            errors.duplicate(&at, text);
        }
    }
}

/// Complains of what makes no sense beside something else.
fn unwanted(text: &str, beside: &str, at: &Path, errors: &mut Errors) {
    if !text.is_empty() {
        errors.invalid(at, text, format_args!("may not be specified when {beside} is set"));
    }
}

impl JwtAuthenticator {
    /// The issuer that it is about; errors say why there is none.
    fn check(
        &self,
        at: &Path,
        ours: &[String],
        algorithms: &[String],
        errors: &mut Errors,
    ) -> Option<Issuer> {
        let at_issuer = at.child("issuer");
        self.issuer.check(&at_issuer, ours, errors);
        let claim_rules = at.child("claimValidationRules");
        let (required, of_claims) = check_rules(&self.claim_validation_rules, "claims", &claim_rules, errors);
        let mapping = self.claim_mappings.check(&at.child("claimMappings"), required, of_claims, errors);
        let user_rules = at.child("userValidationRules");
        let (_, of_user) = check_rules(&self.user_validation_rules, "user", &user_rules, errors);
        let tls = tls::bundle_client_config(self.issuer.certificate_authority.as_bytes());
        let tls = tls
            .map_err(|why| errors.invalid(&at_issuer.child("certificateAuthority"), "<omitted>", why))
            .ok()?;
        Some(Issuer::new(self.clone(), algorithms.to_vec(), Mapping { of_user, ..mapping? }, tls))
    }
}

/// The claims that must be there, and the conditions. Of the user there are conditions alone.
fn check_rules(
    rules: &[ClaimRule],
    over: &str,
    at: &Path,
    errors: &mut Errors,
) -> (Vec<(String, String)>, Vec<Rule>) {
    let (mut required, mut conditions) = (Vec::new(), Vec::new());
    unique(at.items(rules).map(|(at, rule)| (at.child("claim"), &rule.claim)), errors);
    unique(at.items(rules).map(|(at, rule)| (at.child("expression"), &rule.expression)), errors);
    for (at, ClaimRule { claim, required_value, expression, message }) in at.items(rules) {
        match (claim.is_empty(), expression.is_empty()) {
            (false, false) => errors.invalid(&at, claim, "claim and expression can't both be set"),
            (true, true) if over == "claims" => errors.required(&at, "claim or expression is required"),
            (false, true) if over == "claims" => {
                unwanted(message, "claim", &at.child("message"), errors);
                required.push((claim.clone(), required_value.clone()));
            }
            _ => {
                unwanted(required_value, "expression", &at.child("requiredValue"), errors);
                conditions.extend(condition(expression, message, over, &at, errors));
            }
        }
    }
    (required, conditions)
}

impl ClaimMappings {
    fn check(
        &self,
        at: &Path,
        required: Vec<(String, String)>,
        of_claims: Vec<Rule>,
        errors: &mut Errors,
    ) -> Option<Mapping> {
        let at_name = at.child("username");
        if self.username.claim.is_empty() && self.username.expression.is_empty() {
            errors.required(&at_name, "claim or expression is required");
        }
        let username = self.username.source(&at_name, true, errors);
        let groups = self.groups.source(&at.child("groups"), true, errors);
        let uid = self.uid.source(&at.child("uid"), false, errors);
        let more = at.child("extra");
        unique(more.items(&self.extra).map(|(at, extra)| (at.child("key"), &extra.key)), errors);
        let extra = more.items(&self.extra).filter_map(|(at, extra)| extra.check(&at, errors));
        let extra: Vec<_> = extra.collect();
        if let Some(Source::Expression(name)) = &username
            && name.selects("claims", "email")
        {
            let conditions = of_claims.iter().map(|rule| &rule.program);
            let mut all = conditions.chain(extra.iter().map(|(_, program)| program)).chain([name]);
            if !all.any(|program| program.selects("claims", "email_verified")) {
                let why = "claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression";
                errors.invalid(&at_name.child("expression"), &self.username.expression, why);
            }
        }
        Some(Mapping { username: username?, groups, uid, extra, required, of_claims, of_user: Vec::new() })
    }
}

impl Claimed {
    /// Where something comes from, if that is said. Of a claim that becomes a name, the prefix has to be said as well.
    fn source(&self, at: &Path, is_name: bool, errors: &mut Errors) -> Option<Source> {
        let Self { claim, prefix, expression } = self;
        if !is_name && prefix.is_some() {
            errors.forbidden(&at.child("prefix"), "only usernames and groups have one");
        }
        match (claim.is_empty(), expression.is_empty()) {
            (true, true) => None,
            (false, false) => {
                errors.invalid(at, "", "claim and expression can't both be set");
                None
            }
            (true, false) => {
                unwanted(prefix.as_deref().unwrap_or_default(), "expression", &at.child("prefix"), errors);
                compile(expression, "claims", &at.child("expression"), errors).map(Source::Expression)
            }
            (false, true) => {
                if is_name && prefix.is_none() {
                    let why = "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
                    errors.required(&at.child("prefix"), why);
                }
                Some(Source::Claim(claim.clone(), prefix.clone().unwrap_or_default()))
            }
        }
    }
}

impl Extra {
    fn check(&self, at: &Path, errors: &mut Errors) -> Option<(String, Program)> {
        let (key, at_key) = (&self.key, at.child("key"));
        let (domain, path) = key.split_once('/').unwrap_or_default();
        if key.is_empty() {
            errors.required(&at_key, "");
        } else if path.is_empty() || !dns_subdomain(domain).is_empty() {
            errors.invalid(&at_key, key, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        }
        if key.to_lowercase() != *key {
            errors.invalid(&at_key, key, "must be lowercase");
        }
        let owned = format!(".{domain}");
        if owned.ends_with(".kubernetes.io") || owned.ends_with(".k8s.io") {
            let why = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
            errors.invalid(&at_key, key, why);
        }
        let program = compile(&self.value_expression, "claims", &at.child("valueExpression"), errors)?;
        Some((key.clone(), program))
    }
}

impl IssuerConfig {
    fn check(&self, at: &Path, ours: &[String], errors: &mut Errors) {
        let (url, discovery) = (at.child("url"), at.child("discoveryURL"));
        if ours.contains(&self.url) {
            let why = format!("URL must not overlap with disallowed issuers: {}", quoted(ours));
            errors.invalid(&url, &self.url, why);
        }
        check_url(&self.url, &url, errors);
        if !self.discovery_url.is_empty() {
            if self.url.trim_end_matches('/') == self.discovery_url.trim_end_matches('/') {
                errors.invalid(&discovery, &self.discovery_url, "discoveryURL must be different from URL");
            }
            check_url(&self.discovery_url, &discovery, errors);
        }
        let audiences = at.child("audiences");
        if self.audiences.is_empty() {
            errors.required(&audiences, format_args!("at least one {audiences} is required"));
        }
        for (at, _) in audiences.items(&self.audiences).filter(|(_, audience)| audience.is_empty()) {
            errors.required(&at, "");
        }
        unique(audiences.items(&self.audiences), errors);
        let (policy, several) = (self.audience_match_policy.as_str(), self.audiences.len() > 1);
        if policy != "MatchAny" && (several || !policy.is_empty()) {
            let how = if several {
                "MatchAny for multiple audiences"
            } else {
                "empty or MatchAny for single audience"
            };
            let why = format!("audienceMatchPolicy must be {how}");
            errors.invalid(&at.child("audienceMatchPolicy"), policy, why);
        }
        if !self.egress_selector_type.is_empty() {
            errors.forbidden(&at.child("egressSelectorType"), "egress selectors are not supported");
        }
    }
}

fn check_url(text: &str, at: &Path, errors: &mut Errors) {
    if text.is_empty() {
        return errors.required(at, "");
    }
    let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
    let parsed = url.parse::<http::Uri>().unwrap_or_default();
    for (wrong, why) in [
        (parsed.scheme_str() != Some("https"), "URL scheme must be https"),
        (
            parsed.authority().is_some_and(|host| host.as_str().contains('@')),
            "URL must not contain a username or password",
        ),
        (parsed.query().is_some_and(|query| !query.is_empty()), "URL must not contain a query"),
        (!fragment.is_empty(), "URL must not contain a fragment"),
    ] {
        if wrong {
            errors.invalid(at, text, why);
        }
    }
}

/// An expression over `claims` or the `user`.
fn compile(text: &str, over: &str, at: &Path, errors: &mut Errors) -> Option<Program> {
    if text.is_empty() {
        errors.required(at, "");
        return None;
    }
    let decl: &Arc<Decl> = if over == "user" { &USER } else { &CLAIMS };
    let variable = Variable { name: over, decl: Arc::clone(decl), optional: false };
    let compiled = Program::compile(text, &[variable], Wanted::Anything);
    compiled.map_err(|why| errors.invalid(at, text, format_args!("compilation failed: {why}"))).ok()
}

/// One that is true or false.
fn condition(text: &str, message: &str, over: &str, at: &Path, errors: &mut Errors) -> Option<Rule> {
    let at = at.child("expression");
    let program = compile(text, over, &at, errors)?;
    if program.result() != "bool" {
        errors.invalid(&at, text, "must evaluate to bool");
        return None;
    }
    Some(Rule { expression: text.to_owned(), program, message: message.to_owned() })
}

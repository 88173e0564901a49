//! The query parameters of the API: list, get, create, update, patch and delete options.
//!
//! Counterpart of `meta.k8s.io/v1`'s `ListOptions`, `CreateOptions`, … as they arrive in the query string,
//! with upstream's checks and messages.

use std::collections::BTreeSet;

use api::{
    field::{Errors, Path},
    selector::{FieldSelector, LabelSelector},
    status::Status,
};
use machinery::query;

/// How unknown and duplicate fields in a body are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Dropped silently.
    Ignore,
    /// Dropped, with a `Warning` header for each.
    #[default]
    Warn,
    /// Refused.
    Strict,
}

/// A `resourceVersionMatch`: the state at exactly that revision.
pub const EXACT: &str = "Exact";
/// A `resourceVersionMatch`: the state at that revision or later.
const NOT_OLDER_THAN: &str = "NotOlderThan";

/// All parameters of one request. Those a verb does not know are ignored, as upstream does.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// `watch=true`.
    pub watch: bool,
    /// `labelSelector`, everything when absent.
    pub labels: LabelSelector,
    /// `fieldSelector`, everything when absent.
    pub fields: FieldSelector,
    /// `resourceVersion`, "" when absent.
    pub resource_version: String,
    /// `resourceVersionMatch`.
    pub version_match: Option<String>,
    /// `limit`, 0 for none.
    pub limit: usize,
    /// `continue`, "" when absent.
    pub continue_token: String,
    /// `timeoutSeconds`.
    pub timeout_seconds: Option<u64>,
    /// `allowWatchBookmarks=true`.
    pub bookmarks: bool,
    /// `sendInitialEvents`.
    pub send_initial_events: Option<bool>,
    /// `dryRun=All`.
    pub dry_run: bool,
    /// `fieldManager`, "" when absent.
    pub field_manager: String,
    /// `fieldValidation`.
    pub field_validation: FieldValidation,
    /// `force` of an apply.
    pub force: Option<bool>,
    /// `gracePeriodSeconds`.
    pub grace_period: Option<i64>,
    /// `propagationPolicy`.
    pub propagation: Option<String>,
    /// `orphanDependents`.
    pub orphan_dependents: Option<bool>,
    /// `includeObject` of a table.
    pub include_object: Option<String>,
    /// All of them as they came, for subresources with parameters of their own.
    pub all: query::Query,
}

/// Go's `strconv.ParseBool`, with everything else taken as true as query decoding upstream does.
fn truth(value: &str) -> bool {
    !matches!(value, "0" | "f" | "F" | "false" | "FALSE" | "False")
}

fn number(value: &str) -> Result<i64, Status> {
    value.parse().map_err(|error: std::num::ParseIntError| {
        let what = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        Status::bad_request(format!("strconv.ParseInt: parsing {value:?}: {what}"))
    })
}

/// A resource version as a number.
///
/// # Errors
/// 400 when it is none, or too large for one.
pub fn parse_revision(text: &str) -> Result<u64, Status> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        let what = match error.kind() {
            std::num::IntErrorKind::PosOverflow => "value out of range",
            _ => "invalid syntax",
        };
        Status::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: {what}"
        ))
    })
}

/// Whether a query asks for a watch.
pub fn wants_watch(query: &str) -> bool {
    query::pairs(query).find(|(key, _)| key == "watch").is_some_and(|(_, value)| truth(&value))
}

/// The field selector of a query, if it has one that can be read.
pub fn field_selector(query: &str) -> Option<FieldSelector> {
    let (_, value) = query::pairs(query).find(|(key, _)| key == "fieldSelector")?;
    FieldSelector::parse(&value).ok()
}

/// What a query says of `pretty`; `None` when nothing.
pub fn pretty(query: &str) -> Option<bool> {
    let (_, value) = query::pairs(query).find(|(key, _)| key == "pretty")?;
    (!value.is_empty()).then(|| matches!(&*value, "1" | "t" | "T" | "true" | "TRUE" | "True"))
}

impl Query {
    /// The options kind a message names, by HTTP method.
    fn options_name(method: &http::Method) -> &'static str {
        match *method {
            http::Method::POST => "CreateOptions",
            http::Method::PUT => "UpdateOptions",
            http::Method::PATCH => "PatchOptions",
            http::Method::DELETE => "DeleteOptions",
            _ => "ListOptions",
        }
    }

    /// Reads a query string.
    ///
    /// # Errors
    /// 400 for what cannot be parsed, 422 for values that are not allowed.
    pub fn parse(method: &http::Method, query: &str) -> Result<Self, Status> {
        let mut q = Self::default();
        let mut errors = Errors::default();
        let all = query::Query::parse(Some(query));
        let mut said = BTreeSet::new();
        for (key, value) in all.iter() {
            // Of a parameter that is there twice the first counts, for all who look: this server may be asked about a
            // request that another one answers.
            if said.insert(key) || key == "dryRun" {
                q.set(key, value, &mut errors)?;
            }
        }
        q.all = all;
        if errors.is_empty() {
            Ok(q)
        } else {
            Err(Status::invalid_options(Self::options_name(method), &errors))
        }
    }

    fn set(&mut self, key: &str, value: &str, errors: &mut Errors) -> Result<(), Status> {
        match key {
            "watch" => self.watch = truth(value),
            "labelSelector" => self.labels = LabelSelector::parse(value).map_err(Status::bad_request)?,
            "fieldSelector" => self.fields = FieldSelector::parse(value).map_err(Status::bad_request)?,
            "resourceVersion" => self.resource_version = value.to_owned(),
            "resourceVersionMatch" => {
                self.version_match = Some(value.to_owned()).filter(|v| !v.is_empty());
            }
            "limit" => self.limit = usize::try_from(number(value)?).unwrap_or(0),
            "continue" => self.continue_token = value.to_owned(),
            "timeoutSeconds" => self.timeout_seconds = u64::try_from(number(value)?).ok(),
            "allowWatchBookmarks" => self.bookmarks = truth(value),
            "sendInitialEvents" => self.send_initial_events = Some(truth(value)),
            "dryRun" => {
                if value == "All" {
                    self.dry_run = true;
                } else if !value.is_empty() {
                    errors.not_supported(&Path::new("dryRun"), [value], &["All"]);
                }
            }
            "fieldManager" => {
                api::validation::field_manager(value, &Path::new("fieldManager"), errors);
                self.field_manager = value.to_owned();
            }
            "fieldValidation" => {
                self.field_validation = match value {
                    "Ignore" => FieldValidation::Ignore,
                    "" | "Warn" => FieldValidation::Warn,
                    "Strict" => FieldValidation::Strict,
                    _ => {
                        let allowed = ["", "Ignore", "Strict", "Warn"];
                        errors.not_supported(&Path::new("fieldValidation"), value, &allowed);
                        FieldValidation::Warn
                    }
                }
            }
            "force" => self.force = Some(truth(value)),
            "gracePeriodSeconds" => self.grace_period = Some(number(value)?),
            "propagationPolicy" => self.propagation = Some(value.to_owned()),
            "orphanDependents" => self.orphan_dependents = Some(truth(value)),
            "includeObject" => self.include_object = Some(value.to_owned()),
            _ => {}
        }
        Ok(())
    }

    /// Refuses what cannot be put into a table's rows.
    ///
    /// # Errors
    /// 400.
    pub fn check_table(&self) -> Result<(), Status> {
        match self.include_object.as_deref() {
            None | Some("" | "None" | "Metadata" | "Object") => Ok(()),
            Some(other) => Err(Status::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty"
            ))),
        }
    }

    /// Checks the combination of list and watch options, with upstream's messages.
    ///
    /// # Errors
    /// 422.
    pub fn check_list(&self) -> Result<(), Status> {
        let mut errors = Errors::default();
        let at = Path::new("resourceVersionMatch");
        let initial = self.send_initial_events.is_some();
        if self.watch {
            if initial && self.version_match.as_deref() != Some(NOT_OLDER_THAN) {
                let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
                errors.forbidden(&at, detail);
            }
            if let Some(wanted) = &self.version_match {
                if !initial {
                    let detail =
                        "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                    errors.forbidden(&at, detail);
                }
                if wanted != NOT_OLDER_THAN {
                    errors.not_supported(&at, wanted.as_str(), &[NOT_OLDER_THAN]);
                }
                if !self.continue_token.is_empty() {
                    errors.forbidden(&at, "resourceVersionMatch is forbidden when continue is provided");
                }
            }
        } else {
            if let Some(wanted) = &self.version_match {
                if self.resource_version.is_empty() {
                    let detail = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                    errors.forbidden(&at, detail);
                }
                if !self.continue_token.is_empty() {
                    errors.forbidden(&at, "resourceVersionMatch is forbidden when continue is provided");
                }
                if wanted != EXACT && wanted != NOT_OLDER_THAN {
                    errors.not_supported(&at, wanted.as_str(), &[EXACT, NOT_OLDER_THAN, ""]);
                }
                if wanted == EXACT && self.resource_version == "0" {
                    let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                    errors.forbidden(&at, detail);
                }
            }
            if initial {
                let detail = "sendInitialEvents is forbidden for list";
                errors.forbidden(&Path::new("sendInitialEvents"), detail);
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(Status::invalid_options("ListOptions", &errors)) }
    }

    /// `resourceVersion` as a number: `None` when absent.
    ///
    /// # Errors
    /// 400 when it is not a number.
    pub fn revision(&self) -> Result<Option<u64>, Status> {
        if self.resource_version.is_empty() {
            return Ok(None);
        }
        parse_revision(&self.resource_version).map(Some)
    }
}

#[cfg(test)]
mod tests;

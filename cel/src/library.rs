//! The signatures of all functions: CEL's own and those of the libraries that Kubernetes has.
//!
//! What is listed here can be called; `functions` says what it does and `cost` what it costs.

use std::{collections::HashMap, sync::LazyLock};

use super::types::Type;

pub(super) const URL: &str = "kubernetes.URL";
pub(super) const IP: &str = "net.IP";
pub(super) const CIDR: &str = "net.CIDR";
pub(super) const QUANTITY: &str = "kubernetes.Quantity";
pub(super) const FORMAT: &str = "kubernetes.NamedFormat";
pub(super) const SEMVER: &str = "kubernetes.Semver";
/// What may be done by whom: for expressions of admission.
pub const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";
pub(super) const PATH_CHECK: &str = "kubernetes.authorization.PathCheck";
pub(super) const GROUP_CHECK: &str = "kubernetes.authorization.GroupCheck";
/// Access to one resource.
pub const RESOURCE_CHECK: &str = "kubernetes.authorization.ResourceCheck";
pub(super) const DECISION: &str = "kubernetes.authorization.Decision";
/// One step of a patch that a mutation makes.
pub const JSON_PATCH: &str = "JSONPatch";
/// The object that a mutation applies.
pub const OBJECT: &str = "Object";

/// One way to call a function.
#[derive(Debug)]
pub(super) struct Overload {
    /// The type of the target; `None` for global functions.
    pub target: Option<Type>,
    pub args: Vec<Type>,
    pub result: Type,
}

/// `name(args) result`, and `target:name(args) result` for functions of a target. Capitals are placeholders.
const SIGNATURES: &str = "
_+_(int, int) int
_+_(uint, uint) uint
_+_(double, double) double
_+_(string, string) string
_+_(bytes, bytes) bytes
_+_(list(A), list(A)) list(A)
_+_(timestamp, duration) timestamp
_+_(duration, timestamp) timestamp
_+_(duration, duration) duration
_-_(int, int) int
_-_(uint, uint) uint
_-_(double, double) double
_-_(timestamp, timestamp) duration
_-_(timestamp, duration) timestamp
_-_(duration, duration) duration
_*_(int, int) int
_*_(uint, uint) uint
_*_(double, double) double
_/_(int, int) int
_/_(uint, uint) uint
_/_(double, double) double
_%_(int, int) int
_%_(uint, uint) uint
_==_(A, A) bool
_!=_(A, A) bool
@in(A, list(A)) bool
@in(A, map(A, B)) bool
-_(int) int
-_(double) double
!_(bool) bool
size(string) int
size(bytes) int
size(list(A)) int
size(map(A, B)) int
string:size() int
bytes:size() int
list(A):size() int
map(A, B):size() int
type(A) type
dyn(A) dyn
bool(bool) bool
bool(string) bool
int(int) int
int(uint) int
int(double) int
int(string) int
int(timestamp) int
int(duration) int
uint(uint) uint
uint(int) uint
uint(double) uint
uint(string) uint
double(double) double
double(int) double
double(uint) double
double(string) double
string(string) string
string(bool) string
string(int) string
string(uint) string
string(double) string
string(bytes) string
string(timestamp) string
string(duration) string
string(ip) string
string(cidr) string
bytes(bytes) bytes
bytes(string) bytes
duration(duration) duration
duration(string) duration
duration(int) duration
timestamp(timestamp) timestamp
timestamp(string) timestamp
timestamp(int) timestamp
matches(string, string) bool
string:matches(string) bool
string:startsWith(string) bool
string:endsWith(string) bool
string:contains(string) bool
duration:getHours() int
duration:getMinutes() int
duration:getSeconds() int
duration:getMilliseconds() int
string:charAt(int) string
string:indexOf(string) int
string:indexOf(string, int) int
string:lastIndexOf(string) int
string:lastIndexOf(string, int) int
string:lowerAscii() string
string:upperAscii() string
string:replace(string, string) string
string:replace(string, string, int) string
string:split(string) list(string)
string:split(string, int) list(string)
string:substring(int) string
string:substring(int, int) string
string:trim() string
string:format(list(dyn)) string
list(string):join() string
list(string):join(string) string
strings.quote(string) string
list(A):indexOf(A) int
list(A):lastIndexOf(A) int
list(int):sum() int
list(uint):sum() uint
list(double):sum() double
list(duration):sum() duration
list(A):distinct() list(A)
list(list(A)):flatten() list(A)
list(dyn):flatten(int) list(dyn)
list(A):slice(int, int) list(A)
list(A):reverse() list(A)
list(A):first() optional(A)
list(A):last() optional(A)
lists.range(int) list(int)
string:find(string) string
string:findAll(string) list(string)
string:findAll(string, int) list(string)
url(string) url
isURL(string) bool
url:getScheme() string
url:getHost() string
url:getHostname() string
url:getPort() string
url:getEscapedPath() string
url:getQuery() map(string, list(string))
ip(string) ip
isIP(string) bool
ip.isCanonical(string) bool
ip:family() int
ip:isUnspecified() bool
ip:isLoopback() bool
ip:isLinkLocalMulticast() bool
ip:isLinkLocalUnicast() bool
ip:isGlobalUnicast() bool
cidr(string) cidr
isCIDR(string) bool
cidr:containsIP(ip) bool
cidr:containsIP(string) bool
cidr:containsCIDR(cidr) bool
cidr:containsCIDR(string) bool
cidr:ip() ip
cidr:masked() cidr
cidr:prefixLength() int
quantity(string) quantity
isQuantity(string) bool
quantity:sign() int
quantity:isInteger() bool
quantity:asInteger() int
quantity:asApproximateFloat() double
quantity:add(quantity) quantity
quantity:add(int) quantity
quantity:sub(quantity) quantity
quantity:sub(int) quantity
quantity:isGreaterThan(quantity) bool
quantity:isLessThan(quantity) bool
quantity:compareTo(quantity) int
semver(string) semver
semver(string, bool) semver
isSemver(string) bool
isSemver(string, bool) bool
semver:major() int
semver:minor() int
semver:patch() int
semver:isGreaterThan(semver) bool
semver:isLessThan(semver) bool
semver:compareTo(semver) int
format.named(string) optional(format)
format:validate(string) optional(list(string))
authorizer:path(string) pathcheck
authorizer:group(string) groupcheck
authorizer:serviceAccount(string, string) authorizer
pathcheck:check(string) decision
groupcheck:resource(string) resourcecheck
resourcecheck:subresource(string) resourcecheck
resourcecheck:namespace(string) resourcecheck
resourcecheck:name(string) resourcecheck
resourcecheck:fieldSelector(string) resourcecheck
resourcecheck:labelSelector(string) resourcecheck
resourcecheck:check(string) decision
decision:errored() bool
decision:error() string
decision:allowed() bool
decision:reason() string
jsonpatch.escapeKey(string) string
sets.contains(list(A), list(A)) bool
sets.equivalent(list(A), list(A)) bool
sets.intersects(list(A), list(A)) bool
optional.of(A) optional(A)
optional.ofNonZeroValue(A) optional(A)
optional.none() optional(A)
optional(A):hasValue() bool
optional(A):value() A
optional(A):or(optional(A)) optional(A)
optional(A):orValue(A) A
optional.unwrap(list(optional(A))) list(A)
list(optional(A)):unwrapOpt() list(A)
";

/// What `sortBy` becomes: the list, put into the order of another one that was made of it.
pub(super) const SORT_BY: &str = "@sortByAssociatedKeys";
/// What can be ordered, alone and in lists.
const ORDERED: &[&str] = &["bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration"];
/// Numbers compare across their types.
const NUMBERS: &[&str] = &["int", "uint", "double"];
/// Parts of a moment, with and without a time zone.
const MOMENT: &[&str] = &[
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
];
/// The named formats.
pub(super) const FORMATS: &[&str] = &[
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
];

static TABLE: LazyLock<HashMap<String, Vec<Overload>>> = LazyLock::new(|| {
    let mut lines: Vec<String> =
        SIGNATURES.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    for operator in ["_<_", "_<=_", "_>_", "_>=_"] {
        lines.extend(ORDERED.iter().map(|ty| format!("{operator}({ty}, {ty}) bool")));
        for a in NUMBERS {
            lines.extend(NUMBERS.iter().filter(|b| *b != a).map(|b| format!("{operator}({a}, {b}) bool")));
        }
    }
    for ty in ORDERED {
        lines.push(format!("list({ty}):isSorted() bool"));
        lines.push(format!("list({ty}):sort() list({ty})"));
        lines.push(format!("list(A):{SORT_BY}(list({ty})) list(A)"));
        lines.extend(["min", "max"].map(|name| format!("list({ty}):{name}() {ty}")));
    }
    for name in MOMENT {
        lines.extend(["", "string"].map(|zone| format!("timestamp:{name}({zone}) int")));
    }
    lines.extend(FORMATS.iter().map(|name| format!("format.{name}() format")));
    let mut table: HashMap<String, Vec<Overload>> = HashMap::new();
    for line in lines {
        let (name, overload) = signature(&line).expect("signatures are written as the reader wants them");
        table.entry(name).or_default().push(overload);
    }
    table
});

/// All ways to call a function.
pub(super) fn overloads(name: &str) -> &'static [Overload] {
    TABLE.get(name).map_or(&[], Vec::as_slice)
}

/// Whether there is a global function with this (maybe qualified) name.
pub(super) fn has_function(name: &str) -> bool {
    overloads(name).iter().any(|o| o.target.is_none())
}

fn signature(line: &str) -> Option<(String, Overload)> {
    let mut reader = Reader { rest: line };
    let mut target = None;
    // A target ends with a colon before the arguments begin at the outermost level.
    if line
        .split_once(':')
        .is_some_and(|(before, _)| before.matches('(').count() == before.matches(')').count())
    {
        target = Some(reader.ty()?);
        reader.eat(':')?;
    }
    let (name, _) = reader.rest.split_once('(')?;
    reader.rest = &reader.rest[name.len()..];
    let args = reader.types()?;
    reader.eat(' ')?;
    let result = reader.ty()?;
    reader.rest.is_empty().then(|| (name.to_owned(), Overload { target, args, result }))
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn eat(&mut self, c: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(c)?;
        Some(())
    }

    /// `(a, b, c)`
    fn types(&mut self) -> Option<Vec<Type>> {
        self.eat('(')?;
        let mut types = Vec::new();
        while self.eat(')').is_none() {
            if !types.is_empty() {
                self.rest = self.rest.strip_prefix(", ")?;
            }
            types.push(self.ty()?);
        }
        Some(types)
    }

    fn ty(&mut self) -> Option<Type> {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(match name {
            "dyn" => Type::Dyn,
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "duration" => Type::Duration,
            "timestamp" => Type::Timestamp,
            "type" => Type::Kind,
            "url" => Type::Opaque(URL),
            "ip" => Type::Opaque(IP),
            "cidr" => Type::Opaque(CIDR),
            "quantity" => Type::Opaque(QUANTITY),
            "format" => Type::Opaque(FORMAT),
            "semver" => Type::Opaque(SEMVER),
            "authorizer" => Type::Opaque(AUTHORIZER),
            "pathcheck" => Type::Opaque(PATH_CHECK),
            "groupcheck" => Type::Opaque(GROUP_CHECK),
            "resourcecheck" => Type::Opaque(RESOURCE_CHECK),
            "decision" => Type::Opaque(DECISION),
            "list" => Type::list(self.types()?.pop()?),
            "optional" => Type::optional(self.types()?.pop()?),
            "map" => {
                let mut types = self.types()?.into_iter();
                Type::map(types.next()?, types.next()?)
            }
            _ => {
                let mut chars = name.chars();
                let param = chars.next().filter(char::is_ascii_uppercase)?;
                chars.next().is_none().then_some(Type::Param(param))?
            }
        })
    }
}

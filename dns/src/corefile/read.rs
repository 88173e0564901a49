//! From the lines of a server block to its settings: one function for each directive.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr as _;
use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};

use super::syntax::{self, Directive, Line};
use super::{Classes, Error, Fallthrough, HostsSettings, Server};
use crate::cache::Settings as CacheSettings;
use crate::forward::{Policy, Settings as ForwardSettings};
use crate::kubernetes::{PodNames, Settings as KubernetesSettings};
use crate::rewrite::Rewrite;
use crate::template::Template;

const DNS_PORT: u16 = 53;
/// How often the Corefile is looked at unless it says so.
const RELOAD: Duration = Duration::from_secs(30);
/// How often the hosts file is looked at unless the Corefile says so.
const HOSTS_RELOAD: Duration = Duration::from_secs(5);
/// What may be said several times in one server block.
const REPEATED: [&str; 4] = ["rewrite", "template", "forward", "log"];
/// CoreDNS reads no file more often than that.
const SHORTEST_RELOAD: Duration = Duration::from_secs(2);

/// Reads a server block.
pub(super) fn server(block: &syntax::Server) -> Result<Server, Error> {
    let mut server = Server::default();
    for key in block.keys.words.iter().flat_map(|word| word.split(',')).filter(|key| !key.is_empty()) {
        let (zone, port) = address(key, block.keys.number)?;
        if server.port != 0 && server.port != port {
            return Err(Error::at(block.keys.number, "zones of one server block must have one port"));
        }
        server.port = port;
        server.zones.extend(zones_of(&zone, block.keys.number)?);
    }
    if server.zones.is_empty() {
        return Err(Error::at(block.keys.number, "a server block without zones"));
    }
    let mut seen = HashSet::new();
    for directive in &block.directives {
        let word = &*directive.line.words[0];
        if !seen.insert(word) && !REPEATED.contains(&word) {
            let why = format!("plugin/{word}: this plugin can only be used once per Server Block");
            return Err(Error::at(directive.line.number, why));
        }
        read(&mut server, directive)?;
    }
    Ok(server)
}

fn read(server: &mut Server, directive: &Directive) -> Result<(), Error> {
    let line = &directive.line;
    let zones = server.zones.clone();
    match &*line.words[0] {
        "errors" => server.errors = plain(directive)?,
        "log" => log(server, directive)?,
        "loadbalance" => {
            only_lines(directive, &[])?;
            if arguments(line).iter().any(|policy| policy != "round_robin") {
                return Err(unknown(line, &line.words[1]));
            }
            server.loadbalance = true;
        }
        "loop" => server.detect_loops = plain(directive)?,
        "health" => {
            only_lines(directive, &["lameduck"])?;
            let lameduck = setting(directive, "lameduck").map(|line| duration(line, 1)).transpose()?;
            server.health = Some((listener(line, ":8080")?, lameduck.unwrap_or_default()));
        }
        "ready" => {
            only_lines(directive, &[])?;
            server.ready = Some(listener(line, ":8181")?);
        }
        "prometheus" => {
            only_lines(directive, &[])?;
            server.metrics = Some(listener(line, "localhost:9153")?);
        }
        "reload" => {
            only_lines(directive, &[])?;
            // The second word, jitter, spreads many servers; a node's few need none.
            let interval = if line.words.len() > 1 { duration(line, 1)? } else { RELOAD };
            server.reload = Some(interval.max(SHORTEST_RELOAD));
        }
        "rewrite" => server.rewrites.push(rewrite(directive)?),
        "template" => server.templates.push(template(directive, zones)?),
        "hosts" => server.hosts = Some(hosts(directive, zones)?),
        "kubernetes" => server.kubernetes = Some(kubernetes(directive, zones)?),
        "forward" => server.forwards.push(forward(directive)?),
        "cache" => server.cache = Some(cache(directive, zones)?),
        other => return Err(Error::at(line.number, format!("Unknown directive '{other}'"))),
    }
    Ok(())
}

fn log(server: &mut Server, directive: &Directive) -> Result<(), Error> {
    only_lines(directive, &["class"])?;
    let mut classes = Classes::default();
    let named = directive.block.iter().flat_map(|line| arguments(line).iter().map(move |word| (line, word)));
    for (line, class) in named {
        match &**class {
            "all" => classes = Classes { success: true, denial: true, error: true },
            "success" => classes.success = true,
            "denial" => classes.denial = true,
            "error" => classes.error = true,
            _ => return Err(unknown(line, class)),
        }
    }
    if classes == Classes::default() {
        classes = Classes { success: true, denial: true, error: true };
    }
    let mut zones = Vec::new();
    for word in arguments(&directive.line) {
        if word.contains('{') && word != "{common}" {
            return Err(Error::at(directive.line.number, format!("log format '{word}' is not supported")));
        }
        if word != "{common}" {
            zones.push(name(word, directive.line.number)?);
        }
    }
    if zones.is_empty() {
        zones.push(Name::root());
    }
    server.log.extend(zones.into_iter().map(|zone| (zone, classes)));
    Ok(())
}

fn rewrite(directive: &Directive) -> Result<Rewrite, Error> {
    let mut words = arguments(&directive.line).to_vec();
    words.extend(directive.block.iter().flat_map(|line| line.words.iter().cloned()));
    Rewrite::parse(&words).map_err(|why| Error::at(directive.line.number, why))
}

fn template(directive: &Directive, mut zones: Vec<Name>) -> Result<Template, Error> {
    let line = &directive.line;
    let [class, kind, named @ ..] = arguments(line) else {
        return Err(Error::at(line.number, "template needs a class and a type"));
    };
    if !matches!(&**class, "IN" | "ANY") {
        return Err(Error::at(line.number, format!("invalid RR class {class}")));
    }
    let kind = match &**kind {
        "ANY" => None,
        kind => Some(
            RecordType::from_str(kind)
                .map_err(|_| Error::at(line.number, format!("invalid RR type {kind}")))?,
        ),
    };
    if !named.is_empty() {
        zones = names(named, line.number)?;
    }
    let mut template = Template::new(kind, zones.clone());
    for line in &directive.block {
        let set = match (&*line.words[0], arguments(line)) {
            ("match", patterns) => patterns.iter().try_for_each(|pattern| template.matching(pattern)),
            ("answer", [text]) => template.answer(text),
            ("additional", [text]) => template.additional(text),
            ("authority", [text]) => template.authority(text),
            ("rcode", [code]) => template.code(code),
            ("fallthrough", _) => {
                template.fallthrough = fallthrough(line, &zones)?;
                Ok(())
            }
            (word, _) => return Err(unknown(line, word)),
        };
        set.map_err(|why| Error::at(line.number, why.to_string()))?;
    }
    Ok(template)
}

fn hosts(directive: &Directive, mut zones: Vec<Name>) -> Result<HostsSettings, Error> {
    let line = &directive.line;
    let (file, named) = match arguments(line) {
        [] => ("/etc/hosts", &[][..]),
        [first, rest @ ..] => (&**first, rest),
    };
    if !named.is_empty() {
        zones = names(named, line.number)?;
    }
    let plain = HostsSettings { reload: HOSTS_RELOAD, ttl: 3600, reverse: true, ..HostsSettings::default() };
    let mut hosts = HostsSettings { file: file.into(), zones, ..plain };
    for line in &directive.block {
        match &*line.words[0] {
            "fallthrough" => hosts.fallthrough = fallthrough(line, &hosts.zones)?,
            "no_reverse" => hosts.reverse = false,
            "ttl" => hosts.ttl = seconds(line, 1)?,
            "reload" => hosts.reload = duration(line, 1)?,
            word if word.parse::<IpAddr>().is_ok() => hosts.lines.push(line.words.clone()),
            word => return Err(unknown(line, word)),
        }
    }
    Ok(hosts)
}

fn kubernetes(directive: &Directive, mut zones: Vec<Name>) -> Result<KubernetesSettings, Error> {
    let line = &directive.line;
    if line.words.len() > 1 {
        zones = names(arguments(line), line.number)?;
    }
    let forward = zones.iter().find(|zone| !is_reverse(zone)).cloned();
    let Some(primary) = forward else {
        return Err(Error::at(line.number, "kubernetes needs a zone that is not a reverse one"));
    };
    let mut settings = KubernetesSettings::new(zones, primary);
    for line in &directive.block {
        match (&*line.words[0], arguments(line)) {
            ("pods", [mode]) => {
                settings.pods = match &**mode {
                    "disabled" => PodNames::Disabled,
                    "insecure" => PodNames::Insecure,
                    "verified" => PodNames::Verified,
                    _ => return Err(unknown(line, mode)),
                };
            }
            ("endpoint_pod_names", []) => settings.endpoint_pod_names = true,
            ("namespaces", names @ [_, ..]) => settings.namespaces = names.to_vec(),
            ("ttl", [_]) => settings.ttl = seconds(line, 1)?,
            ("fallthrough", _) => settings.fallthrough = fallthrough(line, &settings.zones)?,
            (word, _) => return Err(unknown(line, word)),
        }
    }
    Ok(settings)
}

fn forward(directive: &Directive) -> Result<ForwardSettings, Error> {
    let line = &directive.line;
    let [from, to @ ..] = arguments(line) else {
        return Err(Error::at(line.number, "forward needs a zone and where to ask"));
    };
    if to.is_empty() {
        return Err(Error::at(line.number, "forward needs where to ask"));
    }
    let mut settings = ForwardSettings::new(name(from, line.number)?, to.to_vec());
    for line in &directive.block {
        match (&*line.words[0], arguments(line)) {
            ("except", excepted) => settings.except.extend(names(excepted, line.number)?),
            ("force_tcp", []) => settings.force_tcp = true,
            ("prefer_udp", []) => settings.prefer_udp = true,
            ("max_concurrent", [_]) => settings.max_concurrent = number(line, 1)?,
            ("policy", [policy]) => {
                settings.policy = match &**policy {
                    "random" => Policy::Random,
                    "round_robin" => Policy::RoundRobin,
                    "sequential" => Policy::Sequential,
                    _ => return Err(unknown(line, policy)),
                };
            }
            (word, _) => return Err(unknown(line, word)),
        }
    }
    Ok(settings)
}

fn cache(directive: &Directive, mut zones: Vec<Name>) -> Result<CacheSettings, Error> {
    let line = &directive.line;
    let mut named = arguments(line);
    let mut settings = CacheSettings::default();
    if let Some(ttl) = named.first().and_then(|word| word.parse().ok()) {
        settings.success.longest = ttl;
        settings.denial.longest = ttl;
        named = &named[1..];
    }
    if !named.is_empty() {
        zones = names(named, line.number)?;
    }
    for line in &directive.block {
        match (&*line.words[0], arguments(line)) {
            (kind @ ("success" | "denial"), words @ [_, ..]) => {
                let limits = if kind == "success" { &mut settings.success } else { &mut settings.denial };
                limits.capacity = number(line, 1)?;
                if words.len() > 1 {
                    limits.longest = seconds(line, 2)?;
                }
                if words.len() > 2 {
                    limits.shortest = seconds(line, 3)?;
                }
            }
            ("servfail", [_]) => settings.failures = duration(line, 1)?,
            ("disable", [kind, named @ ..]) => {
                let disabled = match &**kind {
                    "success" => &mut settings.success.disabled,
                    "denial" => &mut settings.denial.disabled,
                    _ => return Err(unknown(line, kind)),
                };
                disabled.extend(if named.is_empty() { zones.clone() } else { names(named, line.number)? });
            }
            (word, _) => return Err(unknown(line, word)),
        }
    }
    settings.zones = zones;
    Ok(settings)
}

fn arguments(line: &Line) -> &[String] {
    &line.words[1..]
}

fn unknown(line: &Line, word: &str) -> Error {
    Error::at(line.number, format!("unknown property '{word}'"))
}

/// Refuses words and lines at a directive that has none.
fn plain(directive: &Directive) -> Result<bool, Error> {
    only_lines(directive, &[])?;
    match arguments(&directive.line) {
        [] => Ok(true),
        [word, ..] => Err(unknown(&directive.line, word)),
    }
}

fn only_lines(directive: &Directive, known: &[&str]) -> Result<(), Error> {
    match directive.block.iter().find(|line| !known.contains(&&*line.words[0])) {
        Some(line) => Err(unknown(line, &line.words[0])),
        None => Ok(()),
    }
}

fn setting<'a>(directive: &'a Directive, word: &str) -> Option<&'a Line> {
    directive.block.iter().find(|line| line.words[0] == word)
}

fn word(line: &Line, at: usize) -> Result<&str, Error> {
    let missing = || {
        Error::at(
            line.number,
            format!("Wrong argument count or unexpected line ending after '{}'", line.words[at - 1]),
        )
    };
    line.words.get(at).map(String::as_str).ok_or_else(missing)
}

fn number(line: &Line, at: usize) -> Result<usize, Error> {
    let word = word(line, at)?;
    word.parse().map_err(|_| Error::at(line.number, format!("'{word}' is no number")))
}

fn seconds(line: &Line, at: usize) -> Result<u32, Error> {
    let word = word(line, at)?;
    match word.parse() {
        Ok(seconds) if seconds <= 3600 => Ok(seconds),
        _ => Err(Error::at(line.number, format!("ttl must be in range [0, 3600]: {word}"))),
    }
}

fn duration(line: &Line, at: usize) -> Result<Duration, Error> {
    api::duration::parse_unsigned(word(line, at)?).map_err(|why| Error::at(line.number, why.to_string()))
}

/// `:8080`, `127.0.0.1:8080` or `localhost:8080`.
fn listener(line: &Line, default: &str) -> Result<SocketAddr, Error> {
    let address = match arguments(line) {
        [] => default,
        [address] => address,
        [_, word, ..] => return Err(unknown(line, word)),
    };
    let port = |host: Ipv4Addr, port: &str| Some(SocketAddr::new(host.into(), port.parse().ok()?));
    let parsed = match address.split_once(':') {
        Some(("", number)) => port(Ipv4Addr::UNSPECIFIED, number),
        Some(("localhost", number)) => port(Ipv4Addr::LOCALHOST, number),
        _ => address.parse().ok(),
    };
    parsed.ok_or_else(|| Error::at(line.number, format!("'{address}' is no address with a port")))
}

fn fallthrough(line: &Line, zones: &[Name]) -> Result<Fallthrough, Error> {
    Ok(Fallthrough(match arguments(line) {
        [] => zones.to_vec(),
        named => names(named, line.number)?,
    }))
}

/// A server block's key: a zone, possibly with a scheme and a port.
fn address(key: &str, line: usize) -> Result<(String, u16), Error> {
    let key = match key.split_once("://") {
        Some(("dns", key)) => key,
        Some((scheme, _)) => return Err(Error::at(line, format!("{scheme}:// is not supported"))),
        None => key,
    };
    match key.rsplit_once(':') {
        Some((zone, port)) => {
            let port = port.parse().ok().filter(|port| *port != 0);
            let port = port.ok_or_else(|| Error::at(line, format!("invalid port in '{key}'")))?;
            Ok((if zone.is_empty() { ".".into() } else { zone.into() }, port))
        }
        None => Ok((key.into(), DNS_PORT)),
    }
}

fn names(words: &[String], line: usize) -> Result<Vec<Name>, Error> {
    words.iter().map(|word| zones_of(word, line)).collect::<Result<Vec<_>, _>>().map(|names| names.concat())
}

/// A zone, or the reverse zones of a range of addresses such as `10.0.0.0/24`.
fn zones_of(word: &str, line: usize) -> Result<Vec<Name>, Error> {
    let Ok(range) = word.parse::<ipnet::Ipv4Net>() else { return Ok(vec![name(word, line)?]) };
    let whole_octets = range.prefix_len().div_ceil(8);
    let longer = whole_octets.max(1) * 8;
    let parts = range.subnets(longer).map_err(|_| Error::at(line, format!("'{word}' is no range")))?;
    parts
        .map(|part| {
            let octets = &part.network().octets()[..usize::from(longer / 8)];
            let labels: Vec<String> = octets.iter().rev().map(u8::to_string).collect();
            name(&format!("{}.in-addr.arpa", labels.join(".")), line)
        })
        .collect()
}

fn name(word: &str, line: usize) -> Result<Name, Error> {
    let mut name = Name::from_ascii(word)
        .map_err(|why| Error::at(line, format!("'{word}' is no domain name: {why}")))?;
    name.set_fqdn(true);
    Ok(name.to_lowercase())
}

fn is_reverse(zone: &Name) -> bool {
    zone.iter().next_back().is_some_and(|label| label == b"arpa")
}

#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use serde_json::json;

use super::*;

fn decl(shape: Shape, max_elements: u64) -> Arc<Decl> {
    Arc::new(Decl { shape, max_elements, min_size: 2 })
}

fn object(fields: &[(&str, Arc<Decl>)]) -> Arc<Decl> {
    let fields: BTreeMap<_, _> = fields
        .iter()
        .filter_map(|(name, decl)| Some((escape(name)?, ((*name).to_owned(), Arc::clone(decl)))))
        .collect();
    decl(Shape::Object { fields }, 0)
}

fn list(item: &Arc<Decl>, kind: ListKind, max: u64) -> Arc<Decl> {
    decl(Shape::List { item: Arc::clone(item), kind }, max)
}

/// `self` of most cases.
fn declared() -> Arc<Decl> {
    let string = decl(Shape::String, 100);
    let int = Arc::new(Decl::scalar(Shape::Int, 1));
    let part = object(&[("name", string.clone()), ("size", int.clone())]);
    object(&[
        ("i", int.clone()),
        ("d", Arc::new(Decl::scalar(Shape::Double, 1))),
        ("b", Arc::new(Decl::scalar(Shape::Bool, 4))),
        ("s", string.clone()),
        ("either", decl(Shape::Dyn, 100)),
        ("when", decl(Shape::Timestamp, 32)),
        ("long", decl(Shape::Duration, 32)),
        ("raw", decl(Shape::Bytes, 100)),
        ("ints", list(&int, ListKind::Atomic, 10)),
        ("names", list(&string, ListKind::Set, 10)),
        ("parts", list(&part, ListKind::Map(["name".to_owned()].into()), 10)),
        ("labels", decl(Shape::Map { value: string.clone() }, 10)),
        ("part", part.clone()),
        ("other", part),
        ("a-b.c/d", int.clone()),
        ("namespace", string),
        ("__x", int),
    ])
}

fn value() -> Json {
    json!({
        "i": 7, "d": 2.5, "b": true, "s": "hello", "either": "50%", "when": "2024-02-29T10:20:30Z",
        "long": "1h30m", "raw": "aGk=", "ints": [3, 1, 2], "names": ["x", "y"],
        "parts": [{"name": "p", "size": 1}, {"name": "q", "size": 2}],
        "labels": {"k": "v", "l": "w"}, "part": {"name": "p", "size": 1},
        "a-b.c/d": 5, "namespace": "ns", "__x": 6,
    })
}

fn run_with(text: &str, wanted: Wanted, limit: u64) -> Result<(Answer, u64), String> {
    let decl = declared();
    let variable = Variable { name: "self", decl: Arc::clone(&decl), optional: false };
    let program = Program::compile(text, &[variable], wanted).map_err(|why| why.to_string())?;
    let value = value();
    let binding = Binding { name: "self", value: Some(&value), decl: &decl, optional: false };
    let (result, cost) = program.eval(&[binding], limit);
    result.map(|answer| (answer, cost)).map_err(|e| e.to_string())
}

fn run(text: &str) -> Result<bool, String> {
    match run_with(text, Wanted::Bool, 1_000_000)?.0 {
        Answer::Bool(b) => Ok(b),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn expressions_hold() {
    let mut wrong = Vec::new();
    for text in [
        "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9",
        "7 / 2 == 3 && -7 % 3 == -1 && 7.0 / 2.0 == 3.5",
        "0x1F == 31 && 2u + 3u == 5u && 1e3 == 1000.0 && .5 < 1.0",
        "-9223372036854775808 < 0",
        "'a' + \"b\" == 'ab' && r'\\d' == '\\\\d' && b'\\x61' == b'a'",
        "'''a\nb'''.contains('\\n') && '\\u00e9'.size() == 1",
        "self.i == 7 && self.d > 2.0 && self.b && self.s.startsWith('he')",
        "self.s.matches('^h.*o$') && matches(self.s, 'll')",
        "self.__namespace__ == 'ns' && self.a__dash__b__dot__c__slash__d == 5 && self.__underscores__x == 6",
        "self.ints.all(x, x > 0) && self.ints.exists(x, x == 2) && self.ints.exists_one(x, x == 3)",
        "self.ints.map(x, x * 2) == [6, 2, 4] && self.ints.filter(x, x > 1) == [3, 2]",
        "self.ints.map(x, x > 1, x + 1) == [4, 3]",
        "self.ints.all(i, v, i >= 0 && v > 0) && self.ints.transformList(i, v, i + v) == [3, 2, 4]",
        "self.labels.transformMap(k, v, k + v)['k'] == 'kv'",
        "self.labels.transformMapEntry(k, v, {v: k})['v'] == 'k'",
        "self.labels.all(k, k.size() == 1) && 'k' in self.labels && !('z' in self.labels)",
        "self.labels.exists(k, v, k == 'l' && v == 'w')",
        "2 in self.ints && size(self.ints) == 3 && self.ints[0] == 3 && self.labels['k'] == 'v'",
        "has(self.part) && !has(self.other) && has(self.part.name)",
        "self.part == self.parts[0] && self.part != self.parts[1]",
        "self.names == ['y', 'x'] && self.names + ['y', 'z'] == ['x', 'y', 'z']",
        "self.parts.all(p, p.size < 3) && self.parts.map(p, p.name).join(',') == 'p,q'",
        "type(self.either) == string && self.either == '50%' && int(self.either.replace('%', '')) == 50",
        "type(self.i) == int && type(1u) == uint && type([]) == list && type({}) == map",
        "type(self.when) == google.protobuf.Timestamp",
        "self.when.getFullYear() == 2024 && self.when.getMonth() == 1 && self.when.getDate() == 29",
        "self.when.getHours('+02:00') == 12 && self.when.getDayOfWeek() == 4",
        "self.when.getHours('Europe/Berlin') == 11",
        "self.long == duration('90m') && self.long.getMinutes() == 90 && self.long > duration('1h')",
        "self.when + duration('1h') > self.when && (self.when - timestamp('2024-02-29T00:00:00Z')).getHours() == 10",
        "self.raw == b'hi' && string(self.raw) == 'hi'",
        "false && self.ints[9] == 1 || true",
        "(self.ints[9] == 1 || true) && !(self.ints[9] == 1 && false)",
        "self.ints.exists(x, 1 / (x - 1) > 0)",
        "self.b ? self.i > 0 : self.ints[9] > 0",
        "1 < 1.5 && 2u > 1 && 1.0 == double(1)",
        "'%s is %d or %.2f, %x %b %o'.format(['a', 5, 1.0, 255, 5, 8]) == 'a is 5 or 1.00, ff 101 10'",
        "'tacocat'.indexOf('c') == 2 && 'tacocat'.lastIndexOf('c') == 4 && 'tacocat'.charAt(1) == 'a'",
        "'a,b,c'.split(',') == ['a', 'b', 'c'] && 'a,b,c'.split(',', 2) == ['a', 'b,c'] && 'ab'.split('') == ['a', 'b']",
        "'aXbX'.replace('X', 'y') == 'ayby' && 'aXbX'.replace('X', 'y', 1) == 'aybX'",
        "'tacocat'.substring(4) == 'cat' && 'tacocat'.substring(0, 4) == 'taco' && ' x '.trim() == 'x'",
        "'AbC'.lowerAscii() == 'abc' && 'AbC'.upperAscii() == 'ABC' && strings.quote('a\"') == '\"a\\\\\"\"'",
        "[1, 2, 3].isSorted() && ![2, 1].isSorted() && [1, 2].sum() == 3 && [1, 3].max() == 3 && [1, 3].min() == 1",
        "[1, 2, 1].indexOf(1) == 0 && [1, 2, 1].lastIndexOf(1) == 2 && ['a', 'b'].join('-') == 'a-b'",
        "'a1b22'.find('[0-9]+') == '1' && 'a1b22'.findAll('[0-9]+') == ['1', '22'] && 'a1b22'.findAll('[0-9]+', 1) == ['1']",
        "url('https://u@[::1]:80/a%20b?x=1&x=2').getHost() == '[::1]:80' && isURL('/x') && !isURL('x')",
        "url('https://h:80/p?x=1&x=2').getQuery() == {'x': ['1', '2']} && url('https://h:80/p').getPort() == '80'",
        "url('https://h/p').getScheme() == 'https' && url('https://h:1/p').getHostname() == 'h' && url('https://h/a%20b').getEscapedPath() == '/a%20b'",
        "isIP('10.0.0.1') && !isIP('::ffff:1.2.3.4') && ip('::1').isLoopback() && ip('::1').family() == 6",
        "ip.isCanonical('::1') && !ip.isCanonical('0:0::1') && string(ip('10.0.0.1')) == '10.0.0.1'",
        "ip('224.0.0.5').isLinkLocalMulticast() && ip('169.254.1.1').isLinkLocalUnicast() && ip('8.8.8.8').isGlobalUnicast()",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').containsCIDR(cidr('10.1.0.0/16'))",
        "cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && cidr('10.1.2.3/8').prefixLength() == 8 && isCIDR('::/0')",
        "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('100m').add(quantity('0.9')).asInteger() == 1",
        "quantity('1k').sub(1) == quantity('999') && quantity('-1').sign() == -1 && !isQuantity('x') && quantity('1').compareTo(quantity('2')) == -1",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-rc.1').compareTo(semver('1.0.0')) == -1",
        "isSemver('1.2.3') && !isSemver('v1.2') && isSemver('v1.2', true) && semver('v1.2', true).minor() == 2",
        "!format.dns1123Label().validate('ok-1').hasValue() && format.dns1123Label().validate('No').hasValue()",
        "format.named('uuid').hasValue() && !format.named('nope').hasValue()",
        "sets.contains([1, 2, 3], [2]) && sets.equivalent([1, 1, 2], [2, 1]) && !sets.intersects([1], [2])",
        "self.?part.?name.orValue('none') == 'p' && self.?other.?name.orValue('none') == 'none'",
        "self.?other.optMap(o, o.name).orValue('-') == '-' && self.?part.optMap(p, p.size).value() == 1",
        "optional.of(1).hasValue() && !optional.none().hasValue() && !optional.ofNonZeroValue('').hasValue()",
        "self.labels[?'z'].orValue('d') == 'd' && self.ints[?0].value() == 3",
        "[1, ?optional.none(), ?optional.of(2)] == [1, 2] && {?'a': optional.none()}.size() == 0",
        "string(1) == '1' && string(1.5) == '1.5' && string(true) == 'true' && string(duration('90s')) == '90s'",
        "int('5') == 5 && double('1.5') == 1.5 && uint(3) == 3u && bool('true') && int(2.9) == 2",
        "string(timestamp('2024-01-01T00:00:00Z')) == '2024-01-01T00:00:00Z' && dyn(1) == dyn(1.0)",
        "// a comment\ntrue",
    ] {
        let told = run(text);
        if told != Ok(true) {
            wrong.push(format!("{text}: {told:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn failures_are_told() {
    for (text, why) in [
        ("self.ints[9] == 1", "index out of bounds: 9"),
        ("self.labels['z'] == 'a'", "no such key: z"),
        ("self.other.name == 'a'", "no such key: other"),
        ("1 / (self.i - 7) == 0", "division by zero"),
        ("1 % (self.i - 7) == 0", "modulus by zero"),
        ("9223372036854775807 + self.i > 0", "integer overflow"),
        ("self.either < 5", "no such overload"),
        ("int(self.s) == 1", "type conversion error from 'string' to 'int'"),
        ("[].min() == 1", "min called on empty list"),
        ("self.ints.all(x, 1 / (x - 1) >= 0)", "division by zero"),
        ("self.s.substring(9) == ''", "index out of range: 9"),
    ] {
        assert_eq!(run(text).unwrap_err(), why, "{text}");
    }
}

#[test]
fn what_does_not_fit_is_found_before() {
    for (text, why) in [
        ("self.z == 100", "undefined field 'z'\n | self.z == 100\n | ....^"),
        ("self.i == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("self.i && true", "found no matching overload for '_&&_' applied to '(int, bool)'"),
        ("foo == 1", "undeclared reference to 'foo' (in container '')"),
        ("foo(1)", "undeclared reference to 'foo' (in container '')"),
        ("self.s.startsWith(1)", "found no matching overload for 'startsWith' applied to 'string.(int)'"),
        (
            "self.i.all(x, true)",
            "expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)",
        ),
        ("[1, 'a'] == []", "expected type 'int' but found 'string'"),
        ("self.ints['a'] == 1", "found no matching overload for '_[_]' applied to '(list(int), string)'"),
        ("self.s.x == 1", "type 'string' does not support field selection"),
        ("self.part == self.i", "found no matching overload for '_==_' applied to '(object, int)'"),
        ("self.i", "must evaluate to a bool"),
        ("self.i == ", "Syntax error: mismatched input '<EOF>' expecting an expression or operator"),
        ("self.i == 1 1", "Syntax error: mismatched input '1' expecting"),
        ("self.i = 5", "Syntax error: token recognition error at: '='"),
        ("'a", "Syntax error: unterminated string literal"),
        ("namespace == 1", "Syntax error: reserved identifier: namespace"),
        ("has(self)", "Syntax error: invalid argument to has() macro"),
        ("self.ints.all(x.y, true)", "Syntax error: argument must be a simple name"),
    ] {
        let told = run(text).unwrap_err();
        assert!(told.contains(why), "{text}: {told}");
    }
    let deep = "(".repeat(5000) + &")".repeat(5000);
    assert!(run(&deep).unwrap_err().contains("recursion limit"));
    let deep = "!".repeat(5000) + "true";
    assert!(run(&deep).unwrap_err().contains("recursion limit"));
    // Links of a chain stand above each other, too.
    for (first, link, test) in [
        ("1", "+1", " > 0"),
        ("self.i", "*1", " >= 0"),
        ("'a'", ".lowerAscii()", " == 'a'"),
        ("[1]", ".filter(x, true)", " == [1]"),
        ("true ? true : false", " ? true : false", ""),
    ] {
        let chain = |links: usize| format!("{first}{}{test}", link.repeat(links));
        run(&chain(90)).unwrap_or_else(|why| panic!("{link}: {why}"));
        let told = run(&chain(5000)).unwrap_err();
        assert!(told.contains("recursion limit"), "{link}: {told}");
        // Where it is just allowed, a thread's stack holds it.
        let highest = (90..150).rev().map(chain).find(|text| run(text).is_ok()).unwrap();
        let on_thread = std::thread::Builder::new().stack_size(2 << 20);
        on_thread.spawn(move || run(&highest).map(drop).unwrap()).unwrap().join().unwrap();
    }
    for (first, link, last) in [("true", "&&true", "&&false"), ("false", "||false", "||true")] {
        let chain = |links: usize| run(&format!("{first}{}{last}", link.repeat(links)));
        for links in [0, 1, 2, 3, 6, 7, 5000] {
            assert_eq!(chain(links), Ok(last == "||true"), "{link} {links} times");
        }
    }
    let placed = run("true &&\n  self.nope").unwrap_err();
    assert!(
        placed.starts_with("ERROR: <input>:2:7: undefined field 'nope'\n |   self.nope\n | ......^"),
        "{placed}"
    );
}

#[test]
fn what_costs_too_much_is_given_up() {
    let nested = "self.ints.all(a, self.ints.all(b, self.ints.all(c, a + b + c > 0)))";
    assert_eq!(run(nested), Ok(true));
    assert_eq!(
        run_with(nested, Wanted::Bool, 100).unwrap_err(),
        "operation cancelled: actual cost limit exceeded"
    );
}

#[test]
fn what_costs_nothing_is_not_done_for_ever_either() {
    let over = |count: usize, text: &str| {
        run_with(&format!("[lists.range({count})].all(l, {text})"), Wanted::Bool, 100_000)
            .map(|(answer, _)| answer)
    };
    let (types, long) = (vec!["true ? int : int"; 100].join(", "), "x".repeat(90_000));
    for (count, text) in [
        (1000, "l.filter(a, l.filter(b, false).size() > 0).size() == 0".to_owned()),
        (1000, "l.all(a, !l.exists_one(b, false))".to_owned()),
        (100, format!("l.all(a, l.all(b, size([{types}]) == 100))")),
        (1000, format!("l.all(a, size(bytes('{long}')) > 0)")),
    ] {
        let few = over(3, &text);
        assert_eq!(few, Ok(Answer::Bool(true)), "{text:.80}");
        let told = over(count, &text).unwrap_err();
        assert_eq!(told, "operation cancelled: actual cost limit exceeded", "{text:.80}");
    }
}

#[test]
fn costs_are_estimated_from_the_sizes() {
    let decl = declared();
    let cost = |text: &str| {
        let variable = Variable { name: "self", decl: Arc::clone(&decl), optional: false };
        Program::compile(text, &[variable], Wanted::Bool).unwrap().max_cost()
    };
    assert_eq!(cost("true"), 0);
    assert!(cost("self.ints.all(x, self.ints.all(y, x == y))") > 10 * cost("self.ints.all(x, x > 0)") / 4);
    assert!(cost("self.names.exists(n, n.matches('^a+$'))") > cost("self.names.exists(n, n == 'a')"));
}

#[test]
fn messages_are_texts() {
    let text = "'i is ' + string(self.i)";
    assert_eq!(run_with(text, Wanted::String, 1000).unwrap().0, Answer::String("i is 7".into()));
    assert_eq!(run_with("self.i", Wanted::String, 1000).unwrap_err(), "must evaluate to a string");
}

#[test]
fn old_values_may_be_missing() {
    let decl = Arc::new(Decl::scalar(Shape::Int, 1));
    let variables = [
        Variable { name: "self", decl: Arc::clone(&decl), optional: false },
        Variable { name: "oldSelf", decl: Arc::clone(&decl), optional: true },
    ];
    let program = Program::compile("self > oldSelf.orValue(0)", &variables, Wanted::Bool).unwrap();
    assert!(program.uses("oldSelf") && !program.uses("other"));
    let (new, old) = (json!(5), json!(9));
    for (old, expected) in [(None, true), (Some(&old), false)] {
        let bindings = [
            Binding { name: "self", value: Some(&new), decl: &decl, optional: false },
            Binding { name: "oldSelf", value: old, decl: &decl, optional: true },
        ];
        assert_eq!(program.eval(&bindings, 100).0, Ok(Answer::Bool(expected)));
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[a-z0-9.+*/%<>=!&|?:,'\"\\\\()\\[\\]{} -]{0,40}") {
        let _ = run(&text);
    }
}

#[test]
fn fields_called_like_a_reserved_word_have_another_name() {
    for (field, name) in [
        ("size", Some("size")),
        ("in", Some("__in__")),
        ("while", Some("__while__")),
        ("void", Some("__void__")),
        ("a b", None),
    ] {
        assert_eq!(super::escape(field).as_deref(), name, "{field}");
    }
}

#[test]
fn what_is_equal_has_the_same_hash() {
    let mut wrong = Vec::new();
    for (text, holds) in [
        ("{1: 'a', 2: 'b'}[dyn(2u)] == 'b'", true),
        ("{1u: 'a'}[dyn(1)] == 'a'", true),
        ("{1: 'a'}[dyn(1.0)] == 'a'", true),
        ("dyn(1.5) in {1: 'a'}", false),
        ("'x' in self.labels.transformMapEntry(k, v, {v + 'x': k})", false),
        ("'vx' in self.labels.transformMapEntry(k, v, {v + 'x': k})", true),
        ("self.ints.transformMap(i, n, n) == {2: 2, 1: 1, 0: 3}", true),
        (
            "self.names == ['y', 'x'] && self.names != ['y', 'z'] && self.names + ['x', 'z', 'z'] == ['z', 'y', 'x']",
            true,
        ),
        ("self.parts + self.parts == self.parts && (self.parts + [self.part]).size() == 2", true),
        ("{'a': [dyn(1), dyn(2.0)], 'b': [dyn(true)]} == {'b': [dyn(true)], 'a': [dyn(1.0), dyn(2u)]}", true),
    ] {
        let found = run(text);
        if found != Ok(holds) {
            wrong.push(format!("{text}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let again = run("self.parts.transformMapEntry(i, p, {'same': i}).size() == 2");
    assert_eq!(again, Err("insert failed: key same already exists".into()));
}

#[test]
fn work_is_paid_for_before_it_is_done() {
    let written = |n: usize| (0..n).map(|i| format!("'{i}': 1")).collect::<Vec<_>>().join(",");
    let cost = |text: &str| run_with(text, Wanted::Bool, u64::MAX).unwrap().1;
    for (text, short, more) in [
        (format!("{{{}}}.size() > 0", written(1000)), format!("{{{}}}.size() > 0", written(16)), 984),
        (format!("[{}0].size() > 0", "0,".repeat(999)), format!("[{}0].size() > 0", "0,".repeat(15)), 984),
        // A list in a list is as long as what is in it.
        (
            format!("[[{0}0]] == [[{0}0]]", "0,".repeat(999)),
            format!("[[{0}0]] == [[{0}0]]", "0,".repeat(15)),
            2 * 984 + 99,
        ),
        (
            format!("([{0}0] + [{0}0]).size() > 0", "0,".repeat(999)),
            format!("([{0}0] + [{0}0]).size() > 0", "0,".repeat(15)),
            2 * 984 + 197,
        ),
    ] {
        assert_eq!(cost(&text) - cost(&short), more, "{short}");
    }
}

/// Lets Ann read pods, and service accounts nothing.
struct Pods;

impl Authorizer for Pods {
    fn decide(&self, asked: &Question) -> Decision {
        let allowed = asked.service_account.is_none() && asked.resource == "pods" && asked.verb == "get"
            || asked.path.as_deref() == Some("/healthz");
        Decision { allowed, reason: format!("{}/{}", asked.namespace, asked.name), error: None }
    }
}

/// What expressions of admission come to, with variables that use one another.
fn admitted(variables: &[(&str, &str)], text: &str, budget: u64) -> Result<Answer, String> {
    let (programs, object) = composed(variables, text)?;
    let (text, variables) = programs.split_last().unwrap();
    let any = decl(Shape::Dyn, 0);
    let binding = Binding { name: "object", value: Some(&object), decl: &any, optional: false };
    let resource = Question { resource: "pods".into(), name: "mine".into(), ..Question::default() };
    let mut session = Session::new(&[binding], budget)
        .with_variables(variables.iter().map(|(name, program)| (name.as_str(), program)))
        .with_authorizer(&Pods, resource);
    session.eval(&text.1, budget.min(1_000_000)).map_err(|e| e.to_string())
}

/// The variables and the expression, compiled; and the object they are about.
fn composed(variables: &[(&str, &str)], text: &str) -> Result<(Vec<(String, Program)>, Json), String> {
    let opaque = |name| decl(Shape::Opaque(name), 0);
    let mut programs: Vec<(String, Program)> = Vec::new();
    for (name, text) in variables.iter().chain([&("", text)]) {
        let known: Vec<(&str, Arc<Decl>)> = programs.iter().map(|(n, p)| (n.as_str(), p.decl())).collect();
        let given = [
            ("object", decl(Shape::Dyn, 0)),
            ("authorizer", opaque(AUTHORIZER)),
            ("authorizer.requestResource", opaque(RESOURCE_CHECK)),
            (OBJECT, opaque(OBJECT)),
            (JSON_PATCH, opaque(JSON_PATCH)),
            ("variables", object(&known)),
        ];
        let given = given.map(|(name, decl)| Variable { name, decl, optional: false });
        let program = Program::compile(text, &given, Wanted::Anything).map_err(|why| why.to_string())?;
        programs.push(((*name).to_owned(), program));
    }
    let object = json!({"metadata": {"namespace": "a", "labels": {"x/y": "1"}}, "spec": {"list": [1, 2, {"z": null}]}});
    Ok((programs, object))
}

#[test]
fn what_is_admitted_is_read_at_all_depths() {
    for text in [
        "object.spec.list[2].z == null && size(object.spec.list) == 3",
        "object.metadata.namespace == 'a' && object.metadata.labels['x/y'] == '1'",
        "!has(object.spec.other) && object.?spec.?list[?1].orValue(0) == 2",
        "variables.two == 2 && has(variables.two) && variables.?two.hasValue()",
        "[1, 2].all(n, n <= variables.two)",
        "true || variables.wrong",
        "authorizer.group('').resource('pods').namespace('n').name('m').check('get').allowed()",
        "authorizer.group('').resource('pods').namespace('n').name('m').check('get').reason() == 'n/m'",
        "!authorizer.serviceAccount('a', 'b').group('').resource('pods').check('get').allowed()",
        "authorizer.path('/healthz').check('get').allowed() && !authorizer.path('/').check('get').errored()",
        "authorizer.requestResource.check('get').reason() == '/mine'",
    ] {
        let variables =
            [("one", "1"), ("two", "variables.one + 1"), ("wrong", "[true][int(object.spec.list[0])]")];
        assert_eq!(admitted(&variables, text, 10_000_000), Ok(Answer::Bool(true)), "{text}");
    }
    for (text, wrong) in [
        ("object.spec.other", "no such key: other"),
        ("variables.wrong && true", "index out of bounds: 1"),
        ("variables.none", "undefined field 'none'"),
    ] {
        let variables = [("wrong", "[true][int(object.spec.list[0])]")];
        let told = admitted(&variables, text, 10_000_000).unwrap_err();
        assert!(told.contains(wrong), "{text}: {told}");
    }
}

#[test]
fn no_expression_goes_on_for_ever() {
    let checks = "authorizer.requestResource.check('get').allowed()";
    let told = admitted(&[], &[checks; 3].join(" && "), 10_000_000).unwrap_err();
    assert_eq!(told, "operation cancelled: actual cost limit exceeded");
    // What a variable costs is paid once, and by all together.
    let variables = [("v", checks), ("w", checks), ("x", checks)];
    let all = "variables.v && variables.v && variables.v && variables.w && variables.x";
    assert_eq!(admitted(&variables, all, 2_000_000), Ok(Answer::Bool(true)));
    let told = admitted(&variables, all, 1_000_000).unwrap_err();
    assert!(told.contains("running out of cost budget"), "{told}");
    // Nor as deep as the stack.
    let names: Vec<String> = (0..400).map(|n| format!("v{n}")).collect();
    let texts: Vec<String> =
        (0..400).map(|n| if n == 0 { "0".into() } else { format!("variables.v{} + 1", n - 1) }).collect();
    let variables: Vec<(&str, &str)> =
        names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let told = admitted(&variables, "variables.v399", 10_000_000).unwrap_err();
    assert!(told.contains("variables use one another too deeply"), "{told}");
    assert!(admitted(&variables[..100], "variables.v99", 10_000_000).is_ok());
}

#[test]
fn values_that_nest_one_another_leave_the_stack_alone() {
    let (open, close) = ("[".repeat(40), "]".repeat(40));
    for (before, after) in [("dyn(", ")"), ("", "")] {
        let names: Vec<String> = (0..60).map(|n| format!("v{n}")).collect();
        let used = |n: usize| match n {
            0 => "0".into(),
            n => format!("{open}{before}variables.v{}{after}{close}", n - 1),
        };
        let texts: Vec<String> = (0..60).map(used).collect();
        let variables: Vec<(&str, &str)> =
            names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str())).collect();
        // From the first upwards each is known when the next asks for it.
        let all: Vec<String> = names.iter().map(|name| format!("dyn(variables.{name})")).collect();
        let text = format!("size([{}]) == 60 && variables.v59 == variables.v59", all.join(", "));
        let told = admitted(&variables, &text, 10_000_000).unwrap_err();
        assert!(told.contains("variables use one another too deeply"), "{told}");
        let few = "size([variables.v0, dyn(variables.v1)]) == 2 && variables.v3 == variables.v3";
        assert_eq!(admitted(&variables[..4], few, 10_000_000), Ok(Answer::Bool(true)));
    }
    // Nor does what goes from one macro into the next.
    let text = "[0]".to_owned() + &format!(".map(x, {open}dyn(x){close})").repeat(4) + " == []";
    assert!(admitted(&[], &text, 10_000_000).unwrap_err().contains("recursion limit"));
}

#[test]
fn what_is_shared_is_walked_no_further_than_is_paid_for() {
    let doubled = format!("dyn([0]{})", ".map(x, [x, x])".repeat(27));
    for text in [
        "variables.v == variables.w",
        "[variables.v] in [[variables.w]]",
        "'%s'.format([variables.v]) == ''",
        "sets.contains([variables.v], [variables.w])",
        "[variables.v].indexOf(variables.w) == 0",
        "{'a': variables.v} == {'a': variables.w}",
    ] {
        let told = admitted(&[("v", &doubled), ("w", &doubled)], text, 20_000).unwrap_err();
        assert!(told.contains("running out of cost budget"), "{text}: {told}");
    }
    // What is small decides.
    for text in
        ["dyn(variables.v) != [1]", "!([1] in [dyn(variables.v)])", "!({1: 2}[?dyn(variables.v)].hasValue())"]
    {
        assert_eq!(admitted(&[("v", &doubled)], text, 10_000_000), Ok(Answer::Bool(true)), "{text}");
    }
    let told = admitted(&[("v", &doubled)], "{dyn(variables.v): 1} == {}", 10_000_000).unwrap_err();
    assert_eq!(told, "unsupported key type: list");
    assert!(matches!(admitted(&[("v", &doubled)], "variables.v", 10_000_000), Ok(Answer::Other(_))));
}

#[test]
fn what_is_made_becomes_json() {
    let made = |text: &str, limit| {
        let variables = [
            ("a", "[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"),
            ("b", "[variables.a, variables.a, variables.a, variables.a]"),
        ];
        let (programs, object) = composed(&variables, text)?;
        let any = decl(Shape::Dyn, 0);
        let binding = Binding { name: "object", value: Some(&object), decl: &any, optional: false };
        let (text, variables) = programs.split_last().unwrap();
        let variables = variables.iter().map(|(name, program)| (name.as_str(), program));
        Session::new(&[binding], 10_000_000)
            .with_variables(variables)
            .json(&text.1, limit)
            .map_err(|e| e.to_string())
    };
    for (text, wanted) in [
        (
            "Object{spec: Object.spec{a: [Object.spec.a{n: 1}], ?b: optional.none()}}",
            json!({"spec": {"a": [{"n": 1}]}}),
        ),
        (
            "Object{metadata: Object.metadata{labels: {'k': string(2)}}}",
            json!({"metadata": {"labels": {"k": "2"}}}),
        ),
        (
            "[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('x/y~'), value: Object.spec{n: object.spec}}]",
            json!([{"op": "add", "path": "/a/x~1y~0", "value": {"n": {"list": [1, 2, {"z": null}]}}}]),
        ),
    ] {
        assert_eq!(made(text, 1_000_000), Ok(wanted), "{text}");
    }
    let told = made("Object{spec: Object.other{}}", 1_000_000).unwrap_err();
    let wanted = "type mismatch: unexpected type name \"Object.other\", expected \"Object.spec\", which matches field name path from root Object type";
    assert_eq!(told, wanted);
    assert_eq!(made("[variables.b, variables.b, variables.b]", 100).unwrap_err(), "the result is too large");
    assert!(made("{1: 2}", 100).unwrap_err().contains("not string"));
}

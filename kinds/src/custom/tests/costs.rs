//! What rules cost at most and in fact, beside what `cel-go` says, as Kubernetes v1.36 uses it (`costs.tsv`: the rule, its
//! estimate, its cost).

use cel::{Binding, Program, Variable, Wanted};
use serde_json::{Value, json};

use crate::custom::{rules::decl, schema::Schema};

fn schema() -> Value {
    let text = |longest: u64| json!({"type": "string", "maxLength": longest});
    let list = |most: u64, items: Value| json!({"type": "array", "maxItems": most, "items": items});
    let integer = json!({"type": "integer"});
    json!({"type": "object", "properties": {
        "l": list(256, text(64)),
        "k": list(16, text(20)),
        "i": integer,
        "n": {"type": "number"},
        "b": {"type": "boolean"},
        "s": text(100),
        "r": text(10),
        "li": list(10, integer.clone()),
        "ll": list(5, list(4, integer.clone())),
        "o": list(8, json!({"type": "object", "properties": {"n": text(12), "v": integer}})),
        "m": {"type": "object", "maxProperties": 6, "additionalProperties": text(9)},
        "y": {"type": "string", "format": "byte", "maxLength": 40},
        "t": {"type": "string", "format": "date-time"},
        "d": {"type": "string", "format": "duration"},
    }})
}

#[test]
fn rules_cost_what_they_cost_upstream() {
    let value = json!({
        "l": ["a/b", "cc", "d"], "k": ["x", "yy"], "i": 5, "n": 1.5, "b": true, "s": "hello world", "r": "abc",
        "li": [3, 1, 2, 3], "ll": [[1, 2], [3]], "o": [{"n": "b", "v": 2}, {"n": "a", "v": 1}],
        "m": {"p": "q", "w": "zz"}, "y": "aGVsbG8=", "t": "2024-01-02T03:04:05Z", "d": "1h2m",
    });
    let decl = decl(&Schema::read(&schema()), false).unwrap();
    let mut wrong = Vec::new();
    for line in include_str!("costs.tsv").lines() {
        let [rule, estimated, actual] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let variable = Variable { name: "self", decl: decl.clone(), optional: false };
        let program = match Program::compile(rule, &[variable], Wanted::Anything) {
            Ok(program) => program,
            Err(why) => {
                wrong.push(format!("{rule}: {why}"));
                continue;
            }
        };
        let binding = Binding { name: "self", value: Some(&value), decl: &decl, optional: false };
        let (result, cost) = program.eval(&[binding], 1_000_000);
        let found = (program.max_cost().to_string(), cost.to_string());
        if found != (estimated.to_owned(), actual.to_owned()) || result.is_err() {
            wrong.push(format!("{rule}\t{estimated} is {}\t{actual} is {}\t{result:?}", found.0, found.1));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

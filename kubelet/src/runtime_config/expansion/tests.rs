use super::*;
use api::{Message, message};

#[test]
fn names_are_replaced_by_values() {
    let value = |name: &str| (name == "A").then_some("1");
    for (text, expected) in [
        ("$(A)", "1"),
        ("$(A)$(A)", "11"),
        ("$(B)", "$(B)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("a$", "a$"),
        ("", ""),
    ] {
        assert_eq!(expand(text, value).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn growth_ends_at_the_bounds() {
    let big = "x".repeat(LONGEST / 2);
    let value = |name: &str| (name == "E").then_some(big.as_str());
    let twice = expand("$(E)$(E)", value);
    assert_eq!(twice.map(|text| text.len()), Ok(LONGEST));
    let why = format!("its variables make it longer than {LONGEST} bytes");
    assert_eq!(expand("$(E)$(E)$(E)", value), Err(Message::from(why)));
    // What was long to begin with grows by nothing.
    let long = "y".repeat(2 * LONGEST);
    assert_eq!(expand(&long, value), Ok(long));

    let words = |count: usize| vec!["$(E)$(E)".to_owned(); count];
    assert_eq!(expand_all(&words(6), value).map(|words| words.len()), Ok(6));
    assert_eq!(expand_all(&words(7), value), Err(message!("the command takes more than {LARGEST} bytes")));

    let mut environment = Environment::default();
    for round in 0..100 {
        environment.put("SAME", "x".repeat(LONGEST + round)).expect("it is there once");
    }
    let filled = (0..10).try_for_each(|n| environment.put(&format!("V{n}"), "x".repeat(LONGEST)));
    assert_eq!(filled, Err(message!("the environment takes more than {LARGEST} bytes")));
}

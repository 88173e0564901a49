use super::*;
use crate::field::Path;

#[test]
fn what_is_wrong_twice_is_said_once() {
    let mut errors = Errors::default();
    errors.required(&Path::new("spec.a"), "");
    errors.required(&Path::new("spec.a"), "");
    let status = Status::invalid("Thing", "", "x", &errors);
    assert_eq!(status.message, "Thing \"x\" is invalid: spec.a: Required value");
    assert_eq!(status.details.map(|details| details.causes.len()), Some(2));
}

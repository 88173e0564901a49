#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn sets_of_indexes_are_read_written_and_joined() {
    for (text, completions, expected) in
        [("", 9, ""), ("1,2,3,5", 9, "1-3,5"), ("0,1", 9, "0,1"), ("3-8,x,0", 6, "0,3-5"), ("7,9", 5, "")]
    {
        assert_eq!(Indexes::parse(text, completions).to_string(), expected, "{text}");
    }
    let (a, b) = (Indexes::parse("1-4,8", 20), Indexes::parse("3,5-9,12", 20));
    assert_eq!(a.union(&b).to_string(), "1-9,12");
    assert_eq!((a.common(&b), b.common(&a), a.total()), (2, 2, 5));
    assert_eq!(a.missing(4, 20), [0, 5, 6, 7]);
    assert_eq!(a.missing(9, 7), [0, 5, 6]);
    assert_eq!(Indexes::of([1, i32::MAX].into_iter()).missing(9, 3), [0, 2]);
    assert!(a.contains(4) && !a.contains(5) && !a.contains(0));
}

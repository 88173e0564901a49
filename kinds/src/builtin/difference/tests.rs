use super::*;

#[test]
fn only_what_changed_is_shown_with_three_lines_around() {
    let old = "1\n2\n3\n4\n5\n6\n7\n8\n9";
    assert_eq!(
        line_diff(old, &old.replace('5', "x\ny")),
        "@@ -2,7 +2,8 @@\n 2\n 3\n 4\n-5\n+x\n+y\n 6\n 7\n 8\n"
    );
    assert_eq!(line_diff("a\nb", "b"), "@@ -1,2 +1,1 @@\n-a\n b\n");
    assert_eq!(line_diff("a", "a\na"), "@@ -1,1 +1,2 @@\n a\n+a\n");
}

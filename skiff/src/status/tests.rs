use super::*;

#[test]
fn ages_and_columns() {
    assert_eq!([5, 119, 120, 7_199, 7_200, 172_800].map(age), ["5s", "119s", "2m", "119m", "2h", "2d"]);
    let rows = [["A", "LONG"], ["abc", "x"]].map(|row| row.map(String::from).to_vec());
    assert_eq!(columns(&rows), "A     LONG\nabc   x\n");
}

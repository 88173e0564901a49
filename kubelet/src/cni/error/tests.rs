use super::*;

#[test]
fn a_failed_clean_up_is_told_behind_what_went_wrong_first() {
    let first = CniError::new(CniError::NETLINK, "cannot add eth0", "Operation not permitted");
    let clean_up = CniError::new(CniError::IO, "cannot write addresses.json", "No space left on device");
    let told = first.with_leftovers(&clean_up);
    assert_eq!((told.code, told.msg.as_str()), (CniError::NETLINK, "cannot add eth0"));
    let words = "Operation not permitted; and what was made by then is left: \
                 cannot write addresses.json: No space left on device";
    assert_eq!(told.details, words);
}

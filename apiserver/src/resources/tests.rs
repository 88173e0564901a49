use super::*;
use crate::registry::Registry;

#[test]
fn all_are_in_the_table() {
    let table = Registry::builtin().table();
    for resource in ALL {
        let kind = resource.row(&table).unwrap_or_else(|_| panic!("{resource:?}"));
        assert!(resource.is(kind) && kind.is_stored_form(), "{resource:?}");
        assert_eq!(kind.storage_prefix(), resource.prefix);
    }
}

use super::*;

fn table(sets: &[(&str, &[&str])], chains: &[(&str, &[&str])]) -> Table {
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let set = |elements| Set { kind: ("set", "type ipv4_addr"), elements };
    Table {
        sets: sets
            .iter()
            .map(|(name, list)| ((*name).into(), set(owned(list).into_iter().collect())))
            .collect(),
        chains: chains
            .iter()
            .map(|(name, list)| ((*name).into(), Chain { hook: "", rules: owned(list) }))
            .collect(),
    }
}

#[test]
fn an_update_names_what_differs_and_goes_in_order() {
    let old = table(
        &[("kept", &["a", "b"]), ("gone", &["a"])],
        &[("same", &["x"]), ("kept", &["jump gone"]), ("gone", &["@gone"])],
    );
    let new = table(
        &[("kept", &["b", "c"]), ("new", &["a"]), ("empty", &[])],
        &[("same", &["x"]), ("kept", &["jump new"]), ("new", &["@new"])],
    );
    insta::assert_snapshot!(new.update_from(&old).unwrap(), @r"
        add table ip skiff-policies
        add set ip skiff-policies empty { type ipv4_addr; }
        add set ip skiff-policies new { type ipv4_addr; }
        add chain ip skiff-policies new
        delete element ip skiff-policies kept { a }
        add element ip skiff-policies kept { c }
        add element ip skiff-policies new { a }
        flush chain ip skiff-policies gone
        flush chain ip skiff-policies kept
        add rule ip skiff-policies kept jump new
        add rule ip skiff-policies new @new
        delete chain ip skiff-policies gone
        delete set ip skiff-policies gone
        ");
    assert_eq!(new.update_from(&new), None);
    assert_eq!(Table::default().update_from(&new).as_deref(), Some(REMOVE));
    assert_eq!(Table::default().replace(), REMOVE);
    assert!(new.replace().starts_with(REMOVE));
}

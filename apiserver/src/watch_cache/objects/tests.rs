use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::object::Verb;
use super::*;

fn object(key: &str, revision: u64) -> Arc<CachedObject> {
    let object = CachedObject::new(key, br#"{"metadata":{}}"#, revision, Verb::Added, None);
    Arc::new(object.expect("is an object"))
}

fn keys<'a>(objects: impl Iterator<Item = &'a Arc<CachedObject>>) -> Vec<(String, u64)> {
    objects.map(|o| (o.key().to_owned(), o.revision())).collect()
}

proptest! {
    #[test]
    fn behaves_as_a_sorted_map(steps in prop::collection::vec((0..3_u8, 0..6_u8, 0..400_u16), 1..2000)) {
        let mut objects = Objects::default();
        let mut model = BTreeMap::new();
        let mut copy = None;
        for (revision, (kind, namespace, name)) in steps.into_iter().enumerate() {
            let (key, revision) = (format!("n{namespace}/{name:03}"), revision as u64);
            if kind == 0 {
                prop_assert_eq!(objects.remove(&key).map(|o| o.revision()), model.remove(&key));
            } else {
                let before = objects.insert(object(&key, revision)).map(|o| o.revision());
                prop_assert_eq!(before, model.insert(key.clone(), revision));
            }
            prop_assert_eq!(objects.len(), model.len());
            prop_assert_eq!(objects.get(&key).map(|o| o.revision()), model.get(&key).copied());
            if revision % 97 == 0 {
                copy = Some((objects.clone(), model.clone()));
            }
            prop_assert!(objects.leaves.iter().all(|leaf| !leaf.is_empty() && leaf.len() <= LEAF));
        }
        let all = |model: &BTreeMap<String, u64>| model.clone().into_iter().collect::<Vec<_>>();
        prop_assert_eq!(keys(objects.scan(&Scope::All, None)), all(&model));
        if let Some((objects, model)) = copy {
            prop_assert_eq!(keys(objects.scan(&Scope::All, None)), all(&model));
        }
        let keys_of_pages = [Some("n2/100"), Some("n2/100\0"), Some("n2/1005\0")];
        for from in [None, Some("n2/"), Some("n9"), Some("a")].into_iter().chain(keys_of_pages) {
            let expected: Vec<_> = model
                .range::<str, _>((std::ops::Bound::Included("n2/"), std::ops::Bound::Excluded("n20")))
                .filter(|(key, _)| from.is_none_or(|from| key.as_str() >= from))
                .map(|(key, revision)| (key.clone(), *revision))
                .collect();
            let scope = Scope::Namespace("n2".into());
            prop_assert_eq!(keys(objects.scan(&scope, from)), expected);
        }
    }
}

#[test]
fn steps_through_all() {
    let mut objects = Objects::default();
    for i in 0..1000 {
        objects.insert(object(&format!("{i:04}"), i));
    }
    assert_eq!(objects.leaves.len(), 1000_usize.div_ceil(LEAF));
    let mut position = objects.position(&Scope::All, Some("0499"));
    let mut seen = 499;
    while let Some(object) = objects.step(&mut position) {
        assert_eq!(object.revision(), seen);
        seen += 1;
    }
    assert_eq!(seen, 1000);
}

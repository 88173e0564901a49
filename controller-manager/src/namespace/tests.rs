use super::*;

#[test]
fn conditions_name_what_is_left() {
    let content = Content {
        left: [("pods.".to_owned(), 2), ("widgets.example.com".to_owned(), 1)].into(),
        finalizers: [("example.com/hold".to_owned(), 1)].into(),
        ..Default::default()
    };
    let status = conditions(&NamespaceStatus::default(), &content, Timestamp::UNIX_EPOCH);
    let lines: Vec<String> = status
        .conditions
        .iter()
        .flatten()
        .map(|condition| {
            let text = |field: &Option<String>| field.clone().unwrap_or_default();
            format!(
                "{}={} {}: {}",
                condition.type_,
                condition.status,
                text(&condition.reason),
                text(&condition.message)
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "NamespaceDeletionDiscoveryFailure=False ResourcesDiscovered: All resources successfully discovered",
            "NamespaceDeletionGroupVersionParsingFailure=False ParsedGroupVersions: All legacy kube types successfully parsed",
            "NamespaceDeletionContentFailure=False ContentDeleted: All content successfully deleted, may be waiting on finalization",
            "NamespaceContentRemaining=True SomeResourcesRemain: Some resources are remaining: pods. has 2 resource instances, widgets.example.com has 1 resource instances",
            "NamespaceFinalizersRemaining=True SomeFinalizersRemain: Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
        ]
    );
    let later = conditions(&status, &content, Timestamp::MAX);
    assert_eq!(later, status, "times stay while nothing changes");
}

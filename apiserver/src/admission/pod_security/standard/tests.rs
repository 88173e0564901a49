use super::*;

#[test]
fn labels_say_what_pods_are_held_to() {
    const LEVEL: &str = "must be one of privileged, baseline, restricted";
    const VERSION: &str = "must be \"latest\" or \"v1.x\"";
    type Row = (&'static [(&'static str, &'static str)], &'static str, &'static str, &'static [&'static str]);
    let rows: &[Row] = &[
        (&[], "privileged:latest", "privileged:latest", &[]),
        (&[("enforce", "baseline")], "baseline:latest", "baseline:latest", &[]),
        // Who is held to something is warned of it, unless something else is said.
        (
            &[("enforce", "restricted"), ("enforce-version", "v1.20")],
            "restricted:v1.20",
            "restricted:v1.20",
            &[],
        ),
        (
            &[("enforce", "restricted"), ("enforce-version", "v1.20"), ("warn-version", "v1.5")],
            "restricted:v1.20",
            "restricted:v1.5",
            &[],
        ),
        (&[("enforce", "restricted"), ("warn", "privileged")], "restricted:latest", "privileged:latest", &[]),
        (&[("warn", "baseline"), ("warn-version", "v1.0")], "privileged:latest", "baseline:v1.0", &[]),
        // What is not understood is the strictest where it counts.
        (&[("enforce", "Baseline")], "restricted:latest", "privileged:latest", &[LEVEL]),
        (&[("warn", "")], "privileged:latest", "privileged:latest", &[LEVEL]),
        (
            &[
                ("audit", "x"),
                ("audit-version", "1.5"),
                ("enforce-version", "v1.05"),
                ("warn-version", "v2.1"),
            ],
            "privileged:latest",
            "privileged:latest",
            &[VERSION, LEVEL, VERSION, VERSION],
        ),
        (&[("enforce-version", "v1.+5")], "privileged:latest", "privileged:latest", &[VERSION]),
        (&[("other", "x")], "privileged:latest", "privileged:latest", &[]),
    ];
    for (labels, enforce, warn, wrong) in rows {
        let labelled: Vec<(String, &str)> =
            labels.iter().map(|(label, said)| (format!("{PREFIX}{label}"), *said)).collect();
        let policy = Policy::of(labelled.iter().map(|(label, said)| (&**label, *said)));
        assert_eq!(
            (&*policy.enforce.to_string(), &*policy.warn.to_string()),
            (*enforce, *warn),
            "{labels:?}"
        );
        let said: Vec<String> = policy.wrong.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), wrong.len(), "{said:?}");
        let mut both = said.iter().zip(*wrong);
        assert!(both.all(|(said, why)| said.ends_with(why)), "{said:?}");
    }
}

use k8s_openapi::jiff::Timestamp;

use super::*;

#[test]
fn a_transition_keeps_its_time_until_the_status_changes() {
    let mut conditions = Vec::new();
    let at = |second| Timestamp::from_second(second).unwrap();
    let ready = ConditionType::Ready;
    assert!(set(&mut conditions, ready, false, "SourcePodNotFound", "", Some(1), at(1)));
    assert!(!set(&mut conditions, ready, false, "SourcePodNotFound", "", Some(1), at(2)));
    assert!(set(&mut conditions, ready, false, "CheckpointInProgress", "", Some(1), at(3)));
    assert_eq!(find(&conditions, ready).unwrap().last_transition_time.0, at(1));
    assert!(set(&mut conditions, ready, true, "CheckpointCompleted", "", Some(1), at(4)));
    assert_eq!(find(&conditions, ready).unwrap().last_transition_time.0, at(4));
    assert!(is_true(&conditions, ready) && conditions.len() == 1);
}

#[test]
fn reasons_are_camel_case_told_apart_and_explained() {
    for reason in Reason::ALL {
        assert!(reason.meaning().ends_with('.'), "{reason}");
        assert_eq!(Reason::parse(reason.as_str()), Some(*reason));
        // A failure leaves a person with something to do.
        assert!(!reason.is_failure() || reason.advice().ends_with(['.', ')']), "{reason}");
    }
    let mut names: Vec<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Reason::ALL.len());
}

#[test]
fn a_spec_of_a_bare_name_has_the_defaults_of_the_schema() {
    let spec: NetCheckpointSpec =
        serde_json::from_value(serde_json::json!({"sourcePodName": "web"})).unwrap();
    assert_eq!(spec, NetCheckpointSpec::of_pod("web"));
}

#[test]
fn what_is_not_carried_fits_the_schema() {
    let long = crate::image::NotCarried {
        class: "links".into(),
        object: "ü".repeat(1000),
        why: "x".repeat(1000),
        matters: true,
    };
    let short = NotCarried::from(&long);
    assert_eq!(short.object.chars().count(), 256);
    assert_eq!(short.why.chars().count(), 512);
    assert!(short.why.ends_with('…'));
}

#[test]
fn names_agree_with_the_definitions() {
    for definition in definitions() {
        assert_eq!(definition.spec.group, GROUP);
        assert_eq!(definition.spec.versions[0].name, VERSION);
    }
    for name in [FINALIZER, RESTORE_FROM, ON_UNSUPPORTED, NETWORK_RESTORED] {
        assert!(name.starts_with("netckpt.io/"));
    }
}

/// No format that the API server does not know: it warns of each on every apply.
#[test]
fn formats_are_known_to_the_api_server() {
    let yaml = crds().unwrap();
    for format in ["uint", "int8", "int16"] {
        assert!(!yaml.contains(&format!("format: {format}")), "{format}");
    }
    assert!(!yaml.contains("nullable"), "an optional field is there or not, never null");
}

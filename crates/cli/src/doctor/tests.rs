use super::*;

fn healthy() -> Facts {
    Facts {
        kernel: "6.1.0-13-amd64".to_owned(),
        seccomp: true,
        trials: vec![trial("a pod can be connected", None)],
        programs: vec![("nft".to_owned(), true), ("curl".to_owned(), true)],
        open_files: Some(20_000),
        processes: None,
        now: 1_800_000_000,
        written: 1_799_999_000,
        state_dir: "/var/lib/palisade".to_owned(),
        free_bytes: Some(8 << 30),
        ..Facts::default()
    }
}

fn sick() -> Facts {
    let because = |why: &str| Some(why.to_owned());
    Facts {
        kernel: "5.10.0".to_owned(),
        seccomp: false,
        sandbox: because("user namespaces are forbidden: ways out: ..."),
        trials: vec![trial("a pod can be connected", because("Operation not supported"))],
        programs: vec![("nft".to_owned(), false), ("curl".to_owned(), false)],
        api_port: because("Address already in use"),
        open_files: Some(256),
        processes: Some(64),
        now: 86_400,
        written: 1_799_999_000,
        cgroups: because("no controller is delegated"),
        state_dir: "/var/lib/palisade".to_owned(),
        state_dir_problem: because("Permission denied"),
        free_bytes: Some(3 << 20),
    }
}

fn trial(name: &str, problem: Option<String>) -> Trial {
    Trial { name: name.to_owned(), problem }
}

fn printed(facts: &Facts, format: Format) -> (bool, String) {
    let mut out = Vec::new();
    let passed = doctor(facts, format, &mut out).is_ok();
    let text = String::from_utf8(out).unwrap();
    (passed, anstream::adapter::strip_str(&text).to_string())
}

#[test]
fn a_healthy_machine_is_ticked_off() {
    let (passed, text) = printed(&healthy(), Format::Table);
    assert!(passed);
    insta::assert_snapshot!(text);
}

#[test]
fn every_failure_has_a_hint_and_a_page() {
    let (passed, text) = printed(&sick(), Format::Table);
    assert!(!passed);
    insta::assert_snapshot!(text);
    assert!(checks(&sick()).iter().all(|check| check.outcome != Outcome::Pass));
}

#[test]
fn json_says_the_same() {
    let (passed, text) = printed(&sick(), Format::Json);
    assert!(!passed);
    insta::assert_snapshot!(text);
}

#[test]
fn a_warning_is_no_failure() {
    let facts = Facts { open_files: Some(256), ..healthy() };
    let (passed, text) = printed(&facts, Format::Table);
    assert!(passed, "{text}");
    assert!(text.contains("‼ at least 4096 open files"), "{text}");
}

#[test]
fn kernels_are_compared_by_number() {
    for (release, good) in
        [("5.15.0", true), ("5.9.1", false), ("10.0", true), ("6.18.44-fc", true), ("?", false)]
    {
        let facts = Facts { kernel: release.to_owned(), ..healthy() };
        let passes = checks(&facts).iter().all(|check| check.outcome == Outcome::Pass);
        assert_eq!(passes, good, "{release}");
    }
}

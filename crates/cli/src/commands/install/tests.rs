use super::*;

fn args(more: &[&str]) -> InstallArgs {
    use clap::Parser;
    let line = ["palisade", "install", "--image", "registry.example.com/palisade:1"];
    match crate::Cli::parse_from(line.iter().chain(more)).command {
        crate::Command::Install(args) => args,
        other => panic!("{other:?}"),
    }
}

fn without_definitions(args: &InstallArgs) -> String {
    let objects = objects(args).unwrap();
    let others: Vec<Value> = objects.into_iter().filter(|it| it["kind"] != DEFINITION).collect();
    let mut text = Vec::new();
    print(&others, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn what_is_installed_can_be_reviewed() {
    insta::assert_snapshot!("objects", without_definitions(&args(&[])));
}

#[test]
fn a_console_that_only_shows_may_write_nothing() {
    let text = without_definitions(&args(&["--console-read-only"]));
    let console = text.split("---\n").filter(|it| it.contains("name: palisade-console"));
    let writes = ["- create", "- update", "- patch"];
    let role = console.clone().find(|it| it.contains("kind: ClusterRole\n")).unwrap();
    assert!(!writes.iter().any(|verb| role.contains(verb)), "{role}");
    assert!(console.clone().any(|it| it.contains("--read-only")));
}

#[test]
fn no_console_leaves_nothing_of_it() {
    assert!(!without_definitions(&args(&["--no-console"])).contains("palisade-console"));
}

#[test]
fn settings_that_are_wrong_change_nothing() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "trustDomain: [1]").unwrap();
    let args = args(&["--mesh-config", &file.path().display().to_string()]);
    let refused = objects(&args).unwrap_err();
    assert_eq!(refused.exit_code(), 1, "{refused}");
    std::fs::write(file.path(), "trustDomain: example.com").unwrap();
    let config = objects(&args).unwrap().into_iter().find(|it| it["kind"] == "ConfigMap").unwrap();
    assert_eq!(config["data"]["mesh"], "trustDomain: example.com");
}

#[test]
fn a_cluster_is_named() {
    let target = Target { state_dir: None, kubeconfig: None };
    let mut out = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let refused = runtime.block_on(install(&target, &args(&[]), &mut out)).unwrap_err();
    assert_eq!(refused.exit_code(), 2);
    assert!(refused.to_string().contains("--kubeconfig"), "{refused}");
}

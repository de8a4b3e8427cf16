//! Keys and tokens: the certificate authority's, the API clients', other pods', the sidecar's.

use std::{
    fs,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    process::Command,
};

use palisade_testkit::{Mesh, Run};

use crate::escape::outcomes;

pub(crate) fn stay(mesh: &Mesh) {
    let state = fs::canonicalize(mesh.state()).unwrap();
    let mut files = Vec::new();
    files_below(&state, &mut files);
    let named = |part: &str| files.iter().any(|file| file.to_string_lossy().contains(part));
    for part in ["/ca/", "kubeconfig", "istio-token", "/api/", "kubelet.sock"] {
        assert!(named(part), "no `{part}` among {files:?}");
    }
    let paths: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let program = include_str!("secrets.py");

    let outside =
        ["-c", "exec 9</ && exec \"$@\"", "sh", "/usr/bin/python3", "-"].map(str::to_owned);
    let control = Run::with_input(Command::new("sh").args(outside).args(&paths), program).ok();
    let control = outcomes(&control);
    assert_eq!(control.len(), paths.len() + 2, "{control:?}");
    assert!(control.values().all(|outcome| *outcome == "done"), "{control:?}");

    let tried = mesh.python("attacker.poc-mesh", program, &paths);
    let tried = outcomes(&tried);
    assert_eq!(tried.len(), control.len(), "{tried:?}");
    assert!(tried.values().all(|outcome| *outcome != "done"), "{tried:?}");
    assert_eq!(tried["inherited directory"], "0 beside the standard streams");

    the_identity_token_is_the_sidecars(mesh);
    the_sidecars_memory_is_closed(mesh);
}

fn the_identity_token_is_the_sidecars(mesh: &Mesh) {
    let token = "/var/run/secrets/tokens/istio-token";
    let read = |container: &str| {
        let target = ["exec", "attacker.poc-mesh", "-c", container];
        mesh.palisade(&[&target[..], &["--", "cat", token]].concat())
    };
    assert_eq!(read("istio-proxy").ok().matches('.').count(), 2, "a JWT");
    let refused = read("main").code(1);
    assert!(refused.stderr.contains("No such file"), "{refused}");
}

/// Even for a program in its own container, under its own user id.
fn the_sidecars_memory_is_closed(mesh: &Mesh) {
    let read = |container: &str| {
        let program = "import os
print(os.access('/proc/1/cwd', os.F_OK), os.stat('/proc/1/mem').st_uid)";
        mesh.python(&format!("attacker.poc-mesh -c {container}"), program, &[])
    };
    assert!(read("main").starts_with("True "));
    // What a process that is not dumpable has in /proc is root's.
    assert_eq!(read("istio-proxy"), "False 0\n");
}

fn files_below(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files_below(&entry.path(), found);
        } else if kind.is_file() || kind.is_socket() {
            found.push(entry.path());
        }
    }
}

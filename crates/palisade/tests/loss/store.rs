//! The mesh is started with another store than it had: an older copy, and an object in it that nobody would have
//! admitted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use palisade_testkit::Mesh;
use redb::{Database, ReadableTable, TableDefinition};
use serde_json::{Value, json};

use crate::{BINARY, FRONTEND, HEALTH, answers, checked, health, poc_mesh, says};

const ALLOW: &str = "backend-allow-frontend-read";

#[test]
fn an_older_store_is_taken_and_told_and_what_is_unusable_in_it_denies() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let mut mesh = poc_mesh().state(&state).start();
    mesh.apply(&health(false)).ok();
    assert_eq!(mesh.stop(), 0);
    let copy = Copied::of(&state.join("api"));

    let mut mesh = Mesh::with(BINARY).state(&state).start();
    mesh.apply(&health(true)).ok();
    answers(&mesh, FRONTEND, HEALTH, "403");
    let before = generation(&mesh);
    assert_eq!(mesh.stop(), 0);
    copy.put_back();
    let good = replaced(&state, ALLOW, |spec| {
        spec["rules"][0]["from"] = json!([{"source": {"ipBlocks": ["not-an-address"]}}]);
    });

    let mesh = Mesh::with(BINARY).state(&state).start();
    let put_back = "AuthorizationPolicy/poc-mesh/health";
    let said = says(&mesh, &["status"], put_back).stdout;
    assert!(said.contains("the store was put back"), "{said}");
    let history = mesh.palisade(&["history"]).ok();
    assert!(
        history.lines().any(|it| it.contains("put back") && it.ends_with(put_back)),
        "{history}"
    );
    assert!(generation(&mesh) > before, "generations go on where they were");

    let denies =
        format!("it denies everything, since AuthorizationPolicy/poc-mesh/{ALLOW} can't be used");
    says(&mesh, &["status"], &denies);
    let said = says(&mesh, &["proxy-status"], &denies).stdout;
    assert!(!said.lines().any(|it| it.starts_with("frontend-") && it.contains("denies")), "{said}");
    let (result, hint) = checked(&mesh, "no sidecar denies everything for want of rules");
    assert_eq!((result.as_str(), hint.contains(ALLOW)), ("error", true), "{hint}");
    let described =
        mesh.kubectl(&["describe", "authorizationpolicy", ALLOW, "-n", "poc-mesh"]).ok();
    assert!(described.contains("so 1 workload denies everything"), "{described}");
    assert_eq!(mesh.curl(FRONTEND, &[HEALTH]).1, "403");
    mesh.apply(&good.to_string()).ok();
    answers(&mesh, FRONTEND, HEALTH, "200");

    // What is written now is not what was put back.
    mesh.apply(&health(true)).ok();
    answers(&mesh, FRONTEND, HEALTH, "403");
    let said = mesh.palisade(&["status"]).ok();
    assert!(!said.contains("put back") && !said.contains("denies everything"), "{said}");
}

/// The generation that came last.
fn generation(mesh: &Mesh) -> u64 {
    let said = mesh.palisade(&["history", "--last", "1", "-o", "json"]).ok();
    let history: Value = serde_json::from_str(&said).unwrap();
    history[0]["generation"].as_u64().unwrap()
}

/// The files of a folder, as they were.
struct Copied(Vec<(PathBuf, Vec<u8>)>);

impl Copied {
    fn of(folder: &Path) -> Self {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        Self(files.map(|path| (path.clone(), fs::read(path).unwrap())).collect())
    }

    fn put_back(self) {
        self.0.into_iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    }
}

/// Changes the spec of an object in the store of a mesh that does not run; the object as it was.
fn replaced(state: &Path, name: &str, change: impl Fn(&mut Value)) -> Value {
    let files = fs::read_dir(state.join("api")).unwrap().map(|entry| entry.unwrap().path());
    let file =
        files.into_iter().find(|path| path.extension().is_some_and(|it| it == "redb")).unwrap();
    let database = Database::open(file).unwrap();
    let write = database.begin_write().unwrap();
    let objects: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
    let mut table = write.open_table(objects).unwrap();
    let found = table.iter().unwrap().map(Result::unwrap).find_map(|(key, value)| {
        let ours = key.value().ends_with(&format!("\0{name}"));
        ours.then(|| (key.value().to_owned(), serde_json::from_slice(value.value()).unwrap()))
    });
    let (key, before): (String, Value) = found.unwrap();
    let mut after = before.clone();
    change(&mut after["spec"]);
    table.insert(key.as_str(), after.to_string().as_bytes()).unwrap();
    drop(table);
    write.commit().unwrap();
    before
}

//! An authority in a folder.

use std::os::unix::fs::PermissionsExt;

use super::{
    files::{NEXT, OLD_ROOTS, ROTATION, save},
    *,
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn store(folder: &Path) -> Store {
    Store::Folder(Folder::new(folder))
}

async fn open(folder: &Path) -> Result<(Held, Rotation), AuthorityFilesError> {
    store(folder).open(None, Timestamp::now()).await
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_authority_is_made_once_and_is_only_ours() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("ca");
    let (made, _) = open(&folder).await.unwrap();
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("ca-key.pem")), 0o600);
    let (loaded, rotation) = open(&folder).await.unwrap();
    assert_eq!(made.authority.root_pem(), loaded.authority.root_pem());
    assert!(matches!(rotation, Rotation::Settled));
    assert_eq!(names(&folder), ["ca-cert.pem", "ca-key.pem", "root-cert.pem"], "no drafts");
}

#[tokio::test]
async fn half_an_authority_or_an_exposed_key_is_refused_and_left_alone() {
    let state = tempfile::tempdir().unwrap();
    let (key, certificate) = (state.path().join("ca-key.pem"), state.path().join("ca-cert.pem"));
    open(state.path()).await.unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let error = open(state.path()).await.unwrap_err();
    assert!(matches!(error, AuthorityFilesError::Exposed { mode: 0o640, .. }), "{error}");
    let saved = fs::read(&certificate).unwrap();
    fs::remove_file(&key).unwrap();
    let error = open(state.path()).await.unwrap_err();
    assert!(matches!(error, AuthorityFilesError::Half { .. }), "{error}");
    assert_eq!(fs::read(&certificate).unwrap(), saved);
}

#[tokio::test]
async fn a_step_survives_a_crash_at_any_of_its_files() {
    let state = tempfile::tempdir().unwrap();
    let folder = store(state.path());
    let (old, _) = open(state.path()).await.unwrap();
    let next = Held::generate(Timestamp::now()).unwrap();

    // Everything but the step itself was written: nothing has begun.
    folder.write(&save(NEXT, &next)).await.unwrap();
    let (own, rotation) = open(state.path()).await.unwrap();
    assert!(matches!(rotation, Rotation::Settled));
    assert_eq!(own.authority.fingerprint(), old.authority.fingerprint());
    assert_eq!(names(state.path()).len(), 3, "what was begun is gone");

    folder.turn(&Rotation::Trusting(next.clone())).await.unwrap();
    let (own, rotation) = open(state.path()).await.unwrap();
    assert_eq!(own.authority.fingerprint(), old.authority.fingerprint());
    let Rotation::Trusting(known) = rotation else { panic!("{rotation:?}") };
    assert_eq!(known.authority.fingerprint(), next.authority.fingerprint());

    // The step is taken, and only one of the files was put in its place.
    fs::write(state.path().join(OLD_ROOTS), old.roots.to_pem()).unwrap();
    fs::write(state.path().join(ROTATION), "signing").unwrap();
    fs::rename(state.path().join("next-ca-key.pem"), state.path().join("ca-key.pem")).unwrap();
    let (own, rotation) = open(state.path()).await.unwrap();
    assert_eq!(own.authority.fingerprint(), next.authority.fingerprint());
    let Rotation::Signing(leaving) = rotation else { panic!("{rotation:?}") };
    assert_eq!(leaving, old.roots);

    folder.turn(&Rotation::Leaving).await.unwrap();
    assert!(matches!(open(state.path()).await.unwrap().1, Rotation::Leaving));
    folder.turn(&Rotation::Settled).await.unwrap();
    let (own, rotation) = open(state.path()).await.unwrap();
    assert!(matches!(rotation, Rotation::Settled));
    assert_eq!(own.roots, next.roots);
    assert_eq!(names(state.path()).len(), 3);
}

#[tokio::test]
async fn istios_files_are_brought_in_unless_a_rotation_is_under_way() {
    let scratch = tempfile::tempdir().unwrap();
    let (given, state) = (scratch.path().join("given"), scratch.path().join("ca"));
    fs::create_dir(&given).unwrap();
    let bring = || bring_authority(&given, &state);
    let error = bring().unwrap_err().to_string();
    assert!(error.contains("ca-cert.pem"), "{error}");
    let brought = Held::generate(Timestamp::now()).unwrap();
    let write = |name: &str, text: &str| fs::write(given.join(name), text).unwrap();
    write("ca-cert.pem", &brought.authority.chain_pem());
    write("root-cert.pem", &brought.roots.to_pem());
    write("ca-key.pem", &Held::generate(Timestamp::now()).unwrap().authority.key_pem());
    let error = bring().unwrap_err().to_string();
    assert!(error.contains("the authority's key does not belong to its certificate"), "{error}");
    assert!(!state.exists(), "nothing has changed");
    write("ca-key.pem", &brought.authority.key_pem());
    bring().unwrap();
    let (own, _) = open(&state).await.unwrap();
    assert_eq!(own.authority.fingerprint(), brought.authority.fingerprint());
    let next = Held::generate(Timestamp::now()).unwrap();
    store(&state).turn(&Rotation::Trusting(next.clone())).await.unwrap();
    bring().unwrap();
    write("ca-cert.pem", &next.authority.chain_pem());
    write("root-cert.pem", &next.roots.to_pem());
    write("ca-key.pem", &next.authority.key_pem());
    assert!(matches!(bring(), Err(AuthorityFilesError::UnderWay(_))));
}

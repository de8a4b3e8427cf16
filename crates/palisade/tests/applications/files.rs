//! Files that nginx serves: large ones, parts of them, to a reader that is slow, and many at once.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::Path,
    process::Command,
};

use palisade_testkit::{Mesh, Run};
use tempfile::TempDir;

use super::{CALLER, Held, STRANGER, exec};

const MIB: u64 = 1 << 20;
const LARGE: u64 = 256 * MIB + 12_345;

/// What a sidecar may grow while it carries it: buffers, never bodies.
const GROWTH: u64 = 48 * MIB;

/// What nginx serves and is told, where containers see it.
#[derive(Debug)]
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn create() -> Self {
        let files = Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        let path = files.0.path();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        let conf = include_str!("nginx.conf").replace("FILES", &path.display().to_string());
        fs::write(path.join("nginx.conf"), conf).unwrap();
        fs::write(path.join("small"), "small").unwrap();
        large(&path.join("large"));
        certificate(path);
        files
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// The hash of so many bytes of the large file.
    fn hash(&self, from: u64, count: u64) -> String {
        let path = self.path("large");
        let line = format!("tail -c +{} {path} | head -c {count} | sha256sum", from + 1);
        Run::new(Command::new("sh").args(["-c", &line])).ok()
    }
}

/// Every mebibyte holds its number, each at another place; the rest takes no room on the disk.
fn large(path: &Path) {
    let file = File::create(path).unwrap();
    file.set_len(LARGE).unwrap();
    for number in 0..LARGE / MIB {
        file.write_all_at(&(number + 1).to_be_bytes(), number * (MIB + 40)).unwrap();
    }
}

fn certificate(directory: &Path) {
    let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=test \
        -keyout key.pem -out certificate.pem -addext subjectAltName=DNS:server.apps,DNS:secure.example.com";
    let made =
        Command::new("openssl").args(arguments.split_whitespace()).current_dir(directory).output();
    assert!(made.unwrap().status.success());
    // The container's root is another user.
    fs::set_permissions(directory.join("key.pem"), Permissions::from_mode(0o644)).unwrap();
}

pub(crate) fn loads_large_files(mesh: &Mesh, files: &Files) {
    let before = memory(mesh);
    let slow = Held::start(mesh, include_str!("slow.py"));
    let load = |arguments: &str| {
        let line = format!("curl -sS -m 60 {arguments} | sha256sum");
        exec(mesh, CALLER, &["sh", "-c", &line]).ok()
    };
    assert_eq!(load("http://server.apps:8080/large"), files.hash(0, LARGE));
    assert_eq!(
        load("-r 100000000-119999999 http://server.apps:8080/large"),
        files.hash(100_000_000, 20_000_000)
    );
    assert_eq!(
        load("--http2-prior-knowledge -r 0-33554431 http://server.apps:8082/large"),
        files.hash(0, 32 * MIB)
    );
    let grown = memory(mesh).saturating_sub(before);
    assert!(grown < GROWTH, "a slow reader and large files: {grown} bytes");
    assert_eq!(slow.rest().trim(), files.hash(0, 32 * MIB).split(' ').next().unwrap());
    assert_eq!(mesh.curl(STRANGER, &["http://server.apps:8080/large"]).1, "403");
    let part = mesh.curl(CALLER, &["-r", "5-9", "http://server.apps:8080/large"]);
    assert_eq!(part.1, "206");
}

/// Resident memory of the server's sidecar.
fn memory(mesh: &Mesh) -> u64 {
    let metrics = mesh.sidecar("server.apps", "stats/prometheus");
    let line = metrics.lines().find(|line| line.starts_with("process_resident_memory_bytes"));
    line.and_then(|line| line.rsplit(' ').next()).unwrap().parse().unwrap()
}

pub(crate) fn loads_much_at_once(mesh: &Mesh) {
    for url in ["http://server.apps:8082/small", "http://server.apps:8080/small"] {
        for (by, outcome) in [(CALLER, "600 2xx"), (STRANGER, "600 4xx")] {
            let load = ["h2load", "-n", "600", "-c", "4", "-m", "20", url];
            let said = exec(mesh, by, &load).ok();
            assert!(said.contains("600 done, "), "{by}\n{said}");
            assert!(said.contains(outcome), "{by}\n{said}");
        }
    }
    let nghttp = |by: &str| exec(mesh, by, &["nghttp", "http://server.apps:8082/small"]);
    assert_eq!(nghttp(CALLER).ok(), "small");
    assert_eq!(nghttp(STRANGER).stdout, "RBAC: access denied");
}

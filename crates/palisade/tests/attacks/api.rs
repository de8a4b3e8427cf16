//! The API, asked by those who may not.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use palisade_testkit::{Mesh, Run};
use tempfile::TempDir;

/// The token that every pod has for the API.
const API_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// From the host itself, since no pod has a way to it.
pub(crate) fn knows_its_clients_only(mesh: &Mesh) {
    let files = TempDir::new().unwrap();
    let field = |name: &str, path: &str| {
        let file = files.path().join(name);
        let view = ["config", "view", "--raw", "-o", &format!("jsonpath={{{path}}}")];
        let encoded = mesh.kubectl(&view).ok();
        fs::write(&file, Run::with_input(Command::new("base64").arg("-d"), &encoded).ok()).unwrap();
        file
    };
    let root = field("root", ".clusters[0].cluster.certificate-authority-data");
    let certificate = field("certificate", ".users[0].user.client-certificate-data");
    let key = field("key", ".users[0].user.client-key-data");
    let server = "jsonpath={.clusters[0].cluster.server}";
    let server = mesh.kubectl(&["config", "view", "-o", server]).ok();
    let status = |args: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"]);
        curl.arg(&root).args(args).arg(format!("{server}/api/v1/secrets"));
        Run::new(&mut curl).stdout
    };
    let as_client = |certificate: &Path, key: &Path| {
        let words = [certificate, key].map(|path| path.display().to_string());
        status(&["--cert", &words[0], "--key", &words[1]])
    };
    assert_eq!(as_client(&certificate, &key), "200");
    let (forged, forged_key) = forge(files.path(), &certificate);
    assert!(["000", "401"].contains(&&*as_client(&forged, &forged_key)), "a foreign key");
    assert_eq!(as_client(&certificate, &forged_key), "000", "the name without the key");
    assert_eq!(status(&[]), "401", "nobody");
    assert_eq!(status(&["-H", "authorization: Bearer nonsense"]), "401");
    let token = ["exec", "attacker.poc-mesh", "-c", "main", "--", "cat", API_TOKEN];
    let bearer = format!("authorization: Bearer {}", mesh.palisade(&token).ok().trim());
    assert_eq!(status(&["-H", &bearer]), "403", "a pod that somebody carried the token out of");
}

/// A certificate that says the same as another, by an authority of one's own, and its key.
fn forge(place: &Path, certificate: &Path) -> (PathBuf, PathBuf) {
    let mut subject = Command::new("openssl");
    subject.args(["x509", "-noout", "-subject", "-nameopt", "compat", "-in"]).arg(certificate);
    let subject = Run::new(&mut subject).ok();
    let subject = subject.trim().trim_start_matches("subject=").trim();
    let (forged, key) = (place.join("forged"), place.join("forged-key"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    openssl.args(["-nodes", "-subj", subject, "-addext", "extendedKeyUsage=clientAuth", "-keyout"]);
    let _ = Run::new(openssl.arg(&key).arg("-out").arg(&forged)).ok();
    (forged, key)
}

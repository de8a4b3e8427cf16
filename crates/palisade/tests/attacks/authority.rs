//! The certificate authority and the API, asked by those who may not.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use palisade_testkit::{Mesh, Run};
use tempfile::TempDir;

use crate::escape::outcomes;

/// The API's own token of every pod, for another audience.
const API_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Deletes the pod `disguised`: it belongs at the end.
pub(crate) fn gives_identities_to_their_owners_only(mesh: &Mesh) {
    let token = |pod: &str| {
        let file = "/var/run/secrets/tokens/istio-token";
        let line = ["exec", pod, "-c", "istio-proxy", "--", "cat", file];
        mesh.palisade(&line).ok().trim().to_owned()
    };
    let (own, gone) = (token("attacker.poc-mesh"), token("disguised.poc-mesh"));
    let identity = |account: &str| format!("spiffe://cluster.local/ns/poc-mesh/sa/{account}");
    let (default, backend) = (identity("default"), identity("backend"));
    let elsewhere = ["-n", "poc-mesh", "create", "token", "default", "--audience", "elsewhere"];
    let elsewhere = mesh.kubectl(&elsewhere).ok();
    let altered = format!("{}AAAA", &own[..own.len() - 4]);

    // A token is its pod's, whoever holds it: this is how a sidecar gets its certificate.
    let control = [["own", &own, &default], ["of a pod that lives", &gone, &default]];
    for pod in ["intruder", "attacker"] {
        let issued = ask(mesh, pod, &control);
        assert_eq!(issued.matches(": issued").count(), control.len(), "{pod}\n{issued}");
    }
    let delete = ["-n", "poc-mesh", "delete", "pod", "disguised", "--wait=true", "--timeout=60s"];
    let _ = mesh.kubectl(&delete).ok();
    let attacks = [
        ["none", "-", &default],
        ["the API's", API_TOKEN, &default],
        ["for another audience", elsewhere.trim(), &default],
        ["altered", &altered, &default],
        ["of a pod that is gone", &gone, &default],
        ["for another identity", &own, &backend],
        ["for another trust domain", &own, "spiffe://elsewhere/ns/poc-mesh/sa/default"],
    ];
    for pod in ["intruder", "attacker"] {
        let tried = ask(mesh, pod, &attacks);
        let tried = outcomes(&tried);
        assert_eq!(tried.len(), attacks.len(), "{pod}: {tried:?}");
        for (attack, outcome) in &tried {
            // UNAUTHENTICATED; with a token of one's own, PERMISSION_DENIED.
            let expected = if attack.starts_with("for another ") && !attack.ends_with("audience") {
                "7 "
            } else {
                "16 "
            };
            assert!(outcome.starts_with(expected), "{pod}, {attack}: {outcome}");
        }
    }
}

fn ask(mesh: &Mesh, pod: &str, attempts: &[[&str; 3]]) -> String {
    let words: Vec<String> = attempts.as_flattened().iter().map(|&w| w.to_owned()).collect();
    mesh.python(&format!("{pod}.poc-mesh"), include_str!("authority.py"), &words)
}

/// From the host itself, since no pod has a way to it.
pub(crate) fn the_api_knows_its_clients_only(mesh: &Mesh) {
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

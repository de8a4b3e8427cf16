//! Wishes for certificates, with tokens of every kind.

use std::{fs, path::Path, process::Command, time::Duration};

use palisade_testkit::{Mesh, Run, eventually};

use crate::of_pod;

const OWN: &str = "spiffe://cluster.local/ns/poc-mesh/sa/intruder-sa";
const FRONTEND: &str = "spiffe://cluster.local/ns/poc-mesh/sa/frontend-sa";

const GRANTED: &str = "0";
const DENIED: &str = "7";
const EXHAUSTED: &str = "8";
const UNAUTHENTICATED: &str = "16";

pub(crate) fn are_granted_or_not(mesh: &Mesh) {
    let mounted = |name: &str| {
        let path = format!("/var/run/secrets/tokens/{name}");
        mesh.palisade(&["exec", "intruder.poc-mesh", "--", "cat", &path]).ok()
    };
    let own = mounted("istio-token");
    let frontend = of_pod(mesh, "frontend", "metadata.name");
    let mut wishes = vec![
        ("its own identity", OWN, own.clone(), GRANTED, String::new()),
        (
            "another identity",
            FRONTEND,
            own.clone(),
            DENIED,
            format!("names `{FRONTEND}`, the token proves `{OWN}`"),
        ),
        ("another audience", OWN, mounted("vault-token"), UNAUTHENTICATED, "audiences".to_owned()),
        (
            "expired",
            OWN,
            expired(mesh.state(), &own),
            UNAUTHENTICATED,
            "token has expired".to_owned(),
        ),
        (
            "of another pod",
            FRONTEND,
            token(mesh, "frontend-sa", Some(&frontend)),
            UNAUTHENTICATED,
            format!("bound to pod `{frontend}.poc-mesh`"),
        ),
    ];
    mesh.kubectl_apply(GONE).ok();
    mesh.kubectl(&["wait", "--for=condition=Ready", "pod/gone", "-n", "poc-mesh", "--timeout=60s"])
        .ok();
    for (name, account, pod) in [
        ("of a pod that is gone", "gone-sa", Some("gone")),
        ("of an account that is gone", "gone-sa", None),
    ] {
        let reason = if pod.is_some() { "pod has been" } else { "service account has been" };
        let id = "spiffe://cluster.local/ns/poc-mesh/sa/gone-sa";
        wishes.push((
            name,
            id,
            token(mesh, account, pod),
            UNAUTHENTICATED,
            format!("{reason} invalidated"),
        ));
    }
    mesh.kubectl(&["delete", "pod/gone", "-n", "poc-mesh", "--now"]).ok();
    let wished: Vec<_> = wishes[..6].iter().collect();
    each(mesh, &wished);
    mesh.kubectl(&["delete", "sa/gone-sa", "-n", "poc-mesh"]).ok();
    each(mesh, &[&wishes[6]]);

    let flood = ask(mesh, OWN, &own, 60);
    let counted =
        |status: &str| flood.lines().filter(|it| it.split(' ').next() == Some(status)).count();
    let (granted, refused) = (counted(GRANTED), counted(EXHAUSTED));
    assert!(granted >= 10 && refused > 0 && granted + refused == 60, "{flood}");
    told(mesh, "too many", "too many requests for this identity");
    counted_by_reason(mesh);
}

/// The control plane's metrics have every refusal by its reason.
fn counted_by_reason(mesh: &Mesh) {
    let path = "/api/v1/namespaces/istio-system/services/istiod:15014/proxy/metrics";
    let metrics = mesh.kubectl(&["get", "--raw", path]).ok();
    for reason in
        ["other_identity", "invalid_token", "other_address", "too_often", "refused_too_often"]
    {
        let series =
            format!("palisade_callers_refused_total{{wanted=\"certificate\",reason=\"{reason}\"}}");
        assert!(metrics.contains(&series), "{series} is missing in\n{metrics}");
    }
    let value = |name: &str| -> i64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} is missing in\n{metrics}")).parse().unwrap()
    };
    let year = 365 * 24 * 3600;
    assert!(value("citadel_server_root_cert_expiry_seconds") > 9 * year, "{metrics}");
    assert!(value("citadel_server_cert_chain_expiry_seconds") > 9 * year, "{metrics}");
    assert!(value("palisade_sidecars_certificate_expiry_timestamp_seconds") > 0, "{metrics}");
    assert!(value("palisade_control_certificate_expiry_timestamp_seconds") > 0, "{metrics}");
    assert_eq!(value("palisade_sidecars_not_renewed"), 0, "{metrics}");
}

type Wish = (&'static str, &'static str, String, &'static str, String);

fn each(mesh: &Mesh, wishes: &[&Wish]) {
    for (name, identity, token, status, reason) in wishes {
        let heard = ask(mesh, identity, token, 1);
        assert!(heard.starts_with(&format!("{status} ")), "{name}: {heard}\n{}", mesh.evidence());
        if *status == GRANTED {
            continue;
        }
        told(mesh, name, reason);
    }
}

/// He is not told why a token is bad; the log and the events of the pod say it.
fn told(mesh: &Mesh, name: &str, reason: &str) {
    let log = fs::read_to_string(mesh.state().join("control.log")).unwrap();
    assert!(log.contains(reason), "{name}: `{reason}` is missing in\n{log}");
    eventually(name, Duration::from_secs(10), || {
        let about = "involvedObject.name=intruder,reason=IdentityRefused";
        let events = mesh.kubectl(&["get", "events", "-n", "poc-mesh", "--field-selector", about]);
        if events.stdout.contains(reason) { Ok(()) } else { Err(events.to_string()) }
    });
}

/// What the authority answers: `STATUS MESSAGE` for each time that it was asked.
fn ask(mesh: &Mesh, identity: &str, token: &str, times: u32) -> String {
    let program = concat!(include_str!("../interop/csr.py"), include_str!("ask.py"));
    mesh.python(
        "intruder.poc-mesh",
        program,
        &[identity.to_owned(), token.to_owned(), times.to_string()],
    )
}

fn token(mesh: &Mesh, account: &str, pod: Option<&str>) -> String {
    let mut line = vec!["create", "token", account, "-n", "poc-mesh", "--audience", "istio-ca"];
    if let Some(pod) = pod {
        line.extend(["--bound-object-kind", "Pod", "--bound-object-name", pod]);
    }
    mesh.kubectl(&line).ok().trim().to_owned()
}

/// The same token, as it would be when its time is over: signed with the mesh's own key.
fn expired(state: &Path, token: &str) -> String {
    let mut python = Command::new("/usr/bin/python3");
    python.arg("-").arg(state.join("api/token.key")).arg(token);
    Run::with_input(&mut python, include_str!("expire.py")).ok().trim().to_owned()
}

const GONE: &str = "apiVersion: v1
kind: ServiceAccount
metadata: {name: gone-sa, namespace: poc-mesh}
---
apiVersion: v1
kind: Pod
metadata: {name: gone, namespace: poc-mesh, labels: {sidecar.istio.io/inject: \"false\"}}
spec:
  serviceAccountName: gone-sa
  containers: [{name: main, image: busybox, command: [sleep, infinity]}]
";

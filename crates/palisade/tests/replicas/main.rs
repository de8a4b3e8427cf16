//! A service of several pods: what fails is tried elsewhere and left alone, and every name that the service and
//! its pods have leads there, with mTLS. A pod's bare address is nobody's, as in Istio.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use palisade_testkit::{Load, Mesh, eventually};

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");
const SOON: Duration = Duration::from_secs(60);
const CALLER: &str = "caller.shop";

#[test]
fn replicas_fail_and_come_back_and_every_name_leads_to_them() {
    let mesh = Mesh::with(BINARY).start();
    let applied = mesh.apply(&manifests());
    assert!(applied.code == 0, "{applied}");
    let ready = ["wait", "--for=condition=Ready", "pods", "--all", "-n", "shop", "--timeout=90s"];
    let waited = mesh.kubectl(&ready);
    assert!(waited.code == 0, "{waited}\n{}", mesh.evidence());
    assert_eq!(mesh.palisade(&["wait"]).code, 0);
    every_name_leads_there(&mesh);
    nothing_is_lost(&mesh);
}

fn every_name_leads_there(mesh: &Mesh) {
    let of_pod = |pod: &str| {
        let path = "jsonpath={.status.podIP}";
        mesh.kubectl(&["get", "pod", pod, "-n", "shop", "-o", path]).ok()
    };
    let service = ["db-0", "db-1", "db-2"];
    let mut table: Vec<(String, &[&str])> = Vec::new();
    for name in ["web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local"] {
        table.push((name.to_owned(), &service));
    }
    table.push(("web.shop.svc.cluster.local.".to_owned(), &service));
    table.push(("web:80".to_owned(), &service));
    table.push(("web.shop.svc:8081".to_owned(), &service));
    table.push(("WEB.Shop".to_owned(), &service));
    for name in ["db", "db.shop", "db.shop.svc.cluster.local", "db.shop.svc.cluster.local."] {
        table.push((format!("{name}:8080"), &service));
    }
    for name in ["db-1.db", "db-1.db.shop", "db-1.db.shop.svc", "db-1.db.shop.svc.cluster.local"] {
        table.push((format!("{name}:8080"), &["db-1"]));
    }
    let seen = mesh.python(CALLER, include_str!("ask.py"), &hosts(&table));
    let seen: Vec<&str> = seen.lines().collect();
    assert_eq!(seen.len(), table.len(), "{seen:?}");
    for ((host, pods), line) in table.iter().zip(seen) {
        let (pod, caller) = line.split_once(' ').unwrap_or((line, ""));
        assert!(pods.contains(&pod), "{host}: {line}");
        assert_eq!(caller, "spiffe://cluster.local/ns/shop/sa/caller", "{host}: {line}");
    }
    // HTTP is spoken at that port, so that the sidecar answers for what STRICT refuses.
    let address = format!("http://{}:8080/", of_pod("db-2"));
    assert_eq!(mesh.curl(CALLER, &[&address]), (0, "503".to_owned()));
    let named = mesh.curl(CALLER, &["-H", "host: db.shop:8080", &address]);
    assert_eq!(named, (0, "200".to_owned()), "its host says whose it is");
}

fn hosts(table: &[(String, &[&str])]) -> Vec<String> {
    table.iter().map(|(host, _)| host.clone()).collect()
}

fn nothing_is_lost(mesh: &Mesh) {
    let counted = |name: &str| {
        let metrics = mesh.sidecar(CALLER, "stats/prometheus");
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse::<u64>().ok()).unwrap_or_else(|| panic!("no {name}"))
    };
    let failing = |pod: &str, command: &str| {
        mesh.palisade(&["exec", &format!("{pod}.shop"), "--", command, "/tmp/failing"]).ok();
    };
    let served = |pod: &str| {
        let seen = mesh.python(&format!("{pod}.shop"), include_str!("served.py"), &[]);
        seen.trim().parse::<u64>().unwrap_or_else(|_| panic!("{pod} has served {seen}"))
    };
    let load = Load::start(mesh, CALLER, "web:80/", 8);
    failing("db-0", "touch");
    eventually("the pod that answers 503 is left alone", SOON, || {
        match counted("palisade_upstream_ejections_total") {
            0 => Err("not yet".to_owned()),
            _ => Ok(()),
        }
    });
    assert!(counted("palisade_upstream_retries_total") > 0);
    failing("db-0", "rm");
    let before = served("db-0");
    eventually("it is called again", SOON, || match served("db-0") {
        now if now > before + 8 => Ok(()),
        now => Err(format!("{now} requests")),
    });
    mesh.kubectl(&["delete", "pod", "db-1", "-n", "shop", "--now", "--wait=false"]).ok();
    load.goes_on(160);
    load.stop().all(200);
}

fn manifests() -> String {
    let command = serde_json::json!(["/usr/bin/python3", "-c", include_str!("server.py")]);
    let pods: String = (0..3)
        .map(|number| {
            format!(
                "---
apiVersion: v1
kind: Pod
metadata: {{name: db-{number}, namespace: shop, labels: {{app: db}}}}
spec:
  hostname: db-{number}
  subdomain: db
  terminationGracePeriodSeconds: 1
  containers: [{{name: main, image: busybox, command: {command}}}]
"
            )
        })
        .collect();
    format!("{}{pods}", include_str!("mesh.yaml"))
}

//! Tonic at both ends: this very program in a pod serves gRPC health and asks it, also as a stream.

use palisade_testkit::Mesh;
use tokio::time::{Duration, interval};
use tonic::{
    Status,
    transport::{Endpoint, Server},
};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient},
    server::health_reporter,
};

use super::{CALLER, STRANGER, exec};

/// Says in a pod that this program is a peer of the test, and which.
pub(crate) const PEER: &str = "PALISADE_TEST_PEER";
pub(crate) const SERVER: &str = "server";
const CLIENT: &str = "client";

pub(crate) fn is_peer() -> bool {
    std::env::var_os(PEER).is_some()
}

/// This program in a pod.
pub(crate) fn command() -> Vec<String> {
    let program = std::env::current_exe().unwrap().display().to_string();
    [&program, "applications_are_carried_and_judged", "--exact", "--nocapture"]
        .map(str::to_owned)
        .to_vec()
}

pub(crate) fn be_peer() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match std::env::var(PEER).unwrap().as_str() {
        SERVER => runtime.block_on(serve()),
        _ => runtime.block_on(ask()),
    }
}

/// Its service `shop` comes and goes.
async fn serve() {
    let (reporter, health) = health_reporter();
    let changing = async {
        let mut ticks = interval(Duration::from_millis(20));
        loop {
            for status in [ServingStatus::Serving, ServingStatus::NotServing] {
                reporter.set_service_status("shop", status).await;
                ticks.tick().await;
            }
        }
    };
    let serving = Server::builder().add_service(health).serve(([0, 0, 0, 0], 50052).into());
    tokio::select! {
        served = serving => served.unwrap(),
        () = changing => {}
    }
}

async fn ask() {
    let way = Endpoint::from_static("http://server.apps:50052").connect().await.unwrap();
    let mut client = HealthClient::new(way);
    let request = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let told = |status: &Status| println!("{:?} {}", status.code(), status.message());
    match client.check(request("")).await {
        Ok(answer) => println!("{}", word(answer.into_inner())),
        Err(status) => told(&status),
    }
    if let Err(status) = client.check(request("absent")).await {
        told(&status);
    }
    match client.watch(request("shop")).await {
        Ok(stream) => {
            let mut stream = stream.into_inner();
            let mut seen = Vec::new();
            for _ in 0..6 {
                seen.push(word(stream.message().await.unwrap().unwrap()));
            }
            seen.sort_unstable();
            seen.dedup();
            println!("{}", seen.join(" "));
        }
        Err(status) => told(&status),
    }
}

fn word(answer: HealthCheckResponse) -> &'static str {
    answer.status().as_str_name()
}

pub(crate) fn asks_in_grpc(mesh: &Mesh) {
    let role = format!("{PEER}={CLIENT}");
    let ask = |by: &str| {
        let command = command();
        let words = ["env", &role].into_iter().chain(command.iter().map(String::as_str));
        exec(mesh, by, &words.collect::<Vec<_>>()).ok()
    };
    let refused = "PermissionDenied RBAC: access denied\n";
    for (by, wanted) in [
        (CALLER, "SERVING\nNotFound service not registered\nNOT_SERVING SERVING\n".to_owned()),
        (STRANGER, refused.repeat(3)),
    ] {
        let said = ask(by);
        assert!(said.contains(&wanted), "{by}\n{said}");
    }
}

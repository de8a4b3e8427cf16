//! Forwards a local port to a pod through the API, as `kubectl port-forward` does: a stream of its own for each
//! connection, so that none waits for another.

use std::{io::Write, net::Ipv4Addr, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::{
    io::{AsyncWriteExt, copy, split},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{CliError, error::During};

/// Takes a port of loopback: the one that was asked for, or the console's usual one, or any if that is taken.
pub(super) async fn listen(port: Option<u16>) -> Result<TcpListener, CliError> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    match port {
        Some(port) => bind(port)
            .await
            .during(format!("listen on 127.0.0.1:{port}: choose another port with --port")),
        None => match bind(USUAL).await {
            Ok(listener) => Ok(listener),
            Err(_) => bind(0).await.during("listen on 127.0.0.1"),
        },
    }
}

/// Forwards connections to a port of a pod. When one fails it asks whether the pod is still there, and returns if
/// it is not. What goes wrong is said once, until a connection gets through again.
pub(super) async fn serve(
    listener: &TcpListener,
    pods: &Api<Pod>,
    (pod, port): (&str, u16),
    is_there: impl AsyncFn() -> bool,
) {
    let mut said = None;
    let mut connections = JoinSet::new();
    loop {
        let ended = tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST => match accepted {
                Ok((local, _)) => {
                    connections.spawn(forward(local, pods.clone(), pod.to_owned(), port));
                    continue;
                }
                Err(error) => {
                    sleep(PAUSE).await;
                    Err(format!("accept a connection: {error}"))
                }
            },
            Some(ended) = connections.join_next() => ended.unwrap_or_else(|error| Err(error.to_string())),
        };
        if let Err(why) = &ended {
            if !is_there().await {
                return;
            }
            if said.as_ref() != Some(why) {
                say(why);
            }
        }
        said = ended.err();
    }
}

/// Passes bytes both ways until one side ends.
async fn forward(local: TcpStream, pods: Api<Pod>, pod: String, port: u16) -> Result<(), String> {
    let what = format!("forward a port to pod `{pod}`");
    let forwarder = pods.portforward(&pod, &[port]).await.during(&what);
    let mut forwarder = forwarder.map_err(|error| error.to_string())?;
    let (stream, failed) = (forwarder.take_stream(port), forwarder.take_error(port));
    if let Some(stream) = stream {
        let (mut remote, mut to_remote) = split(stream);
        let (mut local, mut to_local) = local.into_split();
        tokio::select! {
            // A browser that goes away in the middle of an answer is no failure.
            _ = copy(&mut remote, &mut to_local) => drop(to_local.shutdown().await),
            _ = copy(&mut local, &mut to_remote) => drop(to_remote.shutdown().await),
        }
    }
    // The node says why it could not connect on a channel of its own, and closes.
    match failed {
        Some(failed) => match timeout(LAST_WORDS, failed).await {
            Ok(Some(why)) => Err(format!("{what}: {}", why.trim())),
            _ => Ok(()),
        },
        None => Ok(()),
    }
}

/// Tells whoever waits at the terminal.
pub(super) fn say(what: &str) {
    // Where standard error is closed there is nobody to tell.
    drop(writeln!(anstream::stderr(), "{what}"));
}

/// The console's usual port.
const USUAL: u16 = 20001;
/// Connections at once; more wait. A browser makes six.
const MOST: usize = 64;
const LAST_WORDS: Duration = Duration::from_secs(1);
pub(super) const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;

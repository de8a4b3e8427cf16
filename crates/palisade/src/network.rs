//! What the control plane of one machine reaches by itself: it lives in the mesh's network, so
//! names are asked of the mesh's name server, pods and services are near, and for all else the
//! supervisor connects.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use palisade_cli::ControlNetwork;
use palisade_control::{Network, OwnNetwork};
use palisade_net::{GATEWAY, dns, egress, is_of_mesh};
use tokio::net::TcpStream;

/// The network that the control plane's command line names.
pub(crate) fn of(named: &ControlNetwork) -> Arc<dyn Network> {
    match named {
        ControlNetwork::Own => Arc::new(OwnNetwork),
        ControlNetwork::Mesh => Arc::new(MeshNetwork { dialer: None }),
        ControlNetwork::MeshAndHost(socket) => {
            Arc::new(MeshNetwork { dialer: Some(socket.clone()) })
        }
    }
}

#[derive(Debug)]
struct MeshNetwork {
    /// Socket of the supervisor that connects to the outside, if it does.
    dialer: Option<PathBuf>,
}

type Future<'a, T> =
    std::pin::Pin<Box<dyn std::future::Future<Output = io::Result<T>> + Send + 'a>>;

impl Network for MeshNetwork {
    fn resolve<'a>(&'a self, host: &'a str) -> Future<'a, Vec<IpAddr>> {
        Box::pin(async move {
            for name in names(host) {
                let found = dns::lookup(GATEWAY, &name).await?;
                if !found.is_empty() {
                    return Ok(found.into_iter().map(IpAddr::V4).collect());
                }
            }
            match self.dialer {
                Some(_) => Ok(Vec::new()),
                None => Err(no_way_out("no service of the mesh has this name")),
            }
        })
    }

    fn connect(&self, to: SocketAddr) -> Future<'_, TcpStream> {
        Box::pin(async move {
            match (to, &self.dialer) {
                (SocketAddr::V4(near), _) if is_of_mesh(*near.ip()) => TcpStream::connect(to).await,
                (SocketAddr::V4(far), Some(dialer)) => egress::dial(dialer, far).await,
                (SocketAddr::V6(_), Some(_)) => {
                    Err(io::Error::other("only IPv4 leaves the mesh's network"))
                }
                (_, None) => Err(no_way_out("this address is not of the mesh")),
            }
        })
    }
}

fn no_way_out(what: &str) -> io::Error {
    io::Error::other(format!(
        "{what}, and nothing leaves its network; `palisade up --egress host` lets it"
    ))
}

/// What a name may stand for to a pod of the control plane's namespace, in order.
fn names(host: &str) -> Vec<String> {
    if host.ends_with('.') {
        return vec![host.to_owned()];
    }
    let below = |domain: &&str| format!("{host}.{domain}.");
    let searched = if host.matches('.').count() < NDOTS { &SEARCH[..] } else { &[] };
    searched.iter().map(below).chain([format!("{host}.")]).collect()
}

/// As the kubelet writes it into a pod's `resolv.conf`.
const NDOTS: usize = 5;
const SEARCH: [&str; 3] = ["istio-system.svc.cluster.local", "svc.cluster.local", "cluster.local"];

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        path::Path,
        time::Duration,
    };

    use palisade_net::{
        Fabric,
        dns::{DnsServer, DnsTable},
        egress::{Dialer, Egress, Resolver},
    };
    use palisade_sys::testing::in_sandbox;
    use palisade_testkit::Outside;
    use tokio::{runtime::Runtime, sync::watch};

    use super::*;

    const NAMES: &[(&str, std::net::Ipv4Addr)] =
        &[("issuer.example.com", Outside::FAR), ("metadata.example.com", Outside::METADATA)];

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    /// Runs `ask` in the network of a mesh that has one service, and a way out if there is a `host`.
    fn in_mesh(host: Option<&Runtime>, socket: &Path, ask: impl AsyncFnOnce(&dyn Network) + Send) {
        let egress = if host.is_some() { Egress::Host } else { Egress::Refused };
        let fabric = Fabric::create(egress).unwrap();
        let resolver = host.map(|host| {
            let dialer = host.block_on(async { Dialer::listen(socket).unwrap() });
            host.spawn(dialer.serve());
            Resolver::new(host.handle().clone())
        });
        let in_mesh = || {
            fabric.enter_current_thread().unwrap();
            crate::runtime().unwrap().block_on(async {
                let mut table = DnsTable::default();
                table.insert_service("default", "issuer", vec![GATEWAY]);
                let (_keep, table) = watch::channel(Arc::new(table));
                let server = DnsServer::bind(GATEWAY, table, resolver).await.unwrap();
                tokio::spawn(server.serve());
                let named = match host {
                    Some(_) => ControlNetwork::MeshAndHost(socket.to_owned()),
                    None => ControlNetwork::Mesh,
                };
                ask(of(&named).as_ref()).await;
            });
        };
        std::thread::scope(|scope| {
            let asking = scope.spawn(in_mesh);
            if let Some(host) = host {
                host.block_on(async {
                    while !asking.is_finished() {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                });
            }
            asking.join().unwrap();
        });
    }

    async fn said(network: &dyn Network, host: &str, port: u16) -> String {
        match palisade_control::connect(network, host, port, |_| true).await {
            Ok(stream) => tokio::task::spawn_blocking(move || {
                let mut stream = stream.into_std().unwrap();
                stream.set_nonblocking(false).unwrap();
                let mut answer = String::new();
                stream.write_all(REQUEST).unwrap();
                stream.read_to_string(&mut answer).unwrap();
                answer.lines().last().unwrap_or_default().to_owned()
            })
            .await
            .unwrap(),
            Err(error) => error.to_string(),
        }
    }

    /// A service of the mesh, on the node's address since there are no pods here.
    fn serve_in_mesh() {
        let listener = TcpListener::bind((GATEWAY, 15012)).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // A socket that is closed with bytes unread resets the connection.
                stream.read_exact(&mut [0; REQUEST.len()]).unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nnear").unwrap();
            }
        });
    }

    #[test]
    fn with_a_way_out_it_reaches_the_mesh_and_the_world_but_not_the_host() {
        let test =
            "network::tests::with_a_way_out_it_reaches_the_mesh_and_the_world_but_not_the_host";
        in_sandbox(test, || {
            let outside = Outside::create(NAMES);
            let _far = outside.serve(Outside::FAR, 443, "far");
            let credentials = outside.serve(Outside::METADATA, 443, "credentials");
            let host = outside.serve_on_host(443, "host");
            let directory = tempfile::tempdir().unwrap();
            let socket = directory.path().join("dialer.sock");
            outside.on_host(|| {
                let runtime = crate::runtime().unwrap();
                in_mesh(Some(&runtime), &socket, async |network| {
                    serve_in_mesh();
                    let cases = [
                        ("issuer.example.com", 443, "far"),
                        ("203.0.113.80", 443, "far"),
                        ("issuer.default.svc.cluster.local", 15012, "near"),
                        ("issuer.default", 15012, "near"),
                        ("203.0.113.80", 444, "cannot connect to 203.0.113.80:444: the host can't connect: Connection refused (os error 111)"),
                        ("metadata.example.com", 443, "cannot connect to 169.254.169.254:443: this address is closed to the mesh (link-local, with the metadata of clouds)"),
                        ("127.0.0.1", 443, "cannot connect to 127.0.0.1:443: this address is closed to the mesh (the host's loopback)"),
                        ("198.51.100.1", 443, "cannot connect to 198.51.100.1:443: this address is the host's own, or the host has no route"),
                        ("absent.example.com", 443, "there is no host `absent.example.com`"),
                        ("2001:db8::1", 443, "cannot connect to [2001:db8::1]:443: only IPv4 leaves the mesh's network"),
                    ];
                    for (name, port, expected) in cases {
                        assert_eq!(said(network, name, port).await, expected, "{name}:{port}");
                    }
                });
            });
            assert_eq!((credentials.connections(), host.connections()), (0, 0));
        });
    }

    #[test]
    fn without_one_it_says_how_to_get_one() {
        in_sandbox("network::tests::without_one_it_says_how_to_get_one", || {
            in_mesh(None, Path::new("/absent"), async |network| {
                serve_in_mesh();
                assert_eq!(said(network, "issuer.default", 15012).await, "near");
                for (name, expected) in [
                    (
                        "issuer.example.com",
                        "cannot find the address of `issuer.example.com`: no service of the mesh has this name, and nothing leaves its network; `palisade up --egress host` lets it",
                    ),
                    (
                        "203.0.113.80",
                        "cannot connect to 203.0.113.80:443: this address is not of the mesh, and nothing leaves its network; `palisade up --egress host` lets it",
                    ),
                ] {
                    assert_eq!(said(network, name, 443).await, expected);
                }
            });
        });
    }
}

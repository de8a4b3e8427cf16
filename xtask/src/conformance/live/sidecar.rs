//! Sidecar processes for many workloads, side by side.

use std::{
    env,
    fs::{self, File},
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use palisade_types::Protocol;
use serde_json::{Value, json};

use super::{PORTS, Scene};
use crate::{conformance::Chain, lab::Certificates};

/// Running sidecars, one for each workload.
pub(super) struct Fleet(Vec<Child>);

/// Makes the program that the sidecars are.
pub(super) fn build() -> anyhow::Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--bin", "palisade"])
        .status()
        .context("start cargo")?;
    if !status.success() {
        bail!("`palisade` can't be built");
    }
    Ok(())
}

/// What [`build`] made.
pub(super) fn program() -> anyhow::Result<PathBuf> {
    Ok(env::current_exe().context("find this program")?.with_file_name("palisade"))
}

impl Fleet {
    /// As many sidecars as run at once.
    pub(super) const SIZE: usize = 32;

    /// Starts them, waits until all serve, and sends each the clients that have its ports.
    pub(super) fn start(
        program: &Path,
        scenes: &[&Scene],
        certificates: &mut Certificates,
        directory: &Path,
    ) -> anyhow::Result<Self> {
        let roots = directory.join("roots.pem");
        fs::write(&roots, certificates.roots_pem())?;
        let mut fleet = Self(Vec::new());
        for (index, scene) in scenes.iter().enumerate() {
            let identity = format!("spiffe://{}/ns/foo/sa/server", scene.mesh.trust_domain);
            let own = certificates.issue(std::slice::from_ref(&identity), Chain::Trusted)?;
            let file = |end: &str| directory.join(format!("sidecar-{index}.{end}"));
            fs::write(file("cert"), &own.certificate_pem)?;
            fs::write(file("key"), &own.key_pem)?;
            let bootstrap = json!({
                "proxyConfig": config(scene, &identity),
                "identity": {"cert": file("cert"), "key": file("key"), "roots": roots},
                "workers": 1,
                "listen": listen(index),
            });
            fs::write(file("json"), bootstrap.to_string())?;
            let child = Command::new(program)
                .args(["proxy", "sidecar", "--bootstrap"])
                .arg(file("json"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(file("log"))?)
                .spawn()
                .with_context(|| format!("start `{}`", program.display()))?;
            fleet.0.push(child);
        }
        redirect(scenes.len())?;
        for index in 0..scenes.len() {
            fleet.wait(index, &directory.join(format!("sidecar-{index}.log")))?;
        }
        Ok(fleet)
    }

    /// The ports that clients of each have.
    pub(super) fn client_ports(&self) -> impl Iterator<Item = (u16, u16)> {
        (0..self.0.len()).map(from_ports)
    }

    fn wait(&mut self, index: usize, log: &Path) -> anyhow::Result<()> {
        let inbound = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), base(index));
        let deadline = Instant::now() + START;
        while TcpStream::connect(inbound).is_err() {
            let ended = self.0.get_mut(index).map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || Instant::now() > deadline {
                bail!("a sidecar does not start:\n{}", fs::read_to_string(log)?);
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for sidecar in &mut self.0 {
            // It may have ended by itself.
            let _ = sidecar.kill();
            let _ = sidecar.wait();
        }
    }
}

fn config(scene: &Scene, identity: &str) -> Value {
    let server = scene.server();
    let workload = &scene.workload;
    let ports: Vec<Value> = PORTS
        .iter()
        .filter(|_| workload.protocol != Protocol::Auto)
        .map(|port| {
            let service = json!({"host": "server.foo.svc", "name": "server", "namespace": "foo"});
            json!({"port": port, "protocol": workload.protocol, "service": service})
        })
        .collect();
    let modes: serde_json::Map<String, Value> =
        PORTS.iter().map(|port| (port.to_string(), json!(server.mode(*port)))).collect();
    json!({
        "generation": 1,
        "mesh": scene.mesh,
        "workload": {
            "name": "server",
            "namespace": workload.namespace,
            "labels": workload.labels,
            "identity": identity,
            "metadata": {
                "workload": "server",
                "namespace": workload.namespace,
                "app": "server",
                "version": "v1",
                "canonicalService": "server",
                "canonicalRevision": "v1",
            },
        },
        "inbound": {
            "mtls": {"default": server.mode(0), "ports": modes},
            "ports": ports,
            "policies": scene.policies.authorization(),
            "requestAuthentications": server.request_authentications(),
        },
        "outbound": {},
    })
}

/// First of a sidecar's own ports.
fn base(index: usize) -> u16 {
    20_000 + u16::try_from(index).unwrap_or_default() * 8
}

fn listen(index: usize) -> Value {
    let base = base(index);
    json!({
        "inbound": base,
        "outbound": base + 1,
        "admin": base + 2,
        "status": base + 3,
        "metrics": base + 4,
        "health": base + 5,
    })
}

fn from_ports(index: usize) -> (u16, u16) {
    let first = 2000 + u16::try_from(index).unwrap_or_default() * CLIENT_PORTS;
    (first, first + CLIENT_PORTS - 1)
}

/// Takes clients to the sidecar that their ports belong to, wherever they want to go.
fn redirect(sidecars: usize) -> anyhow::Result<()> {
    let rules: String = (0..sidecars)
        .map(|index| {
            let (first, last) = from_ports(index);
            format!("tcp sport {first}-{last} redirect to :{}\n", base(index))
        })
        .collect();
    let script = format!(
        "table ip lab\ndelete table ip lab\ntable ip lab {{ chain output {{\n\
         type nat hook output priority -100\n{rules}}}\n}}\n"
    );
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .context("start `nft`: run `make tools`")?;
    if let Some(mut stdin) = nft.stdin.take() {
        stdin.write_all(script.as_bytes())?;
    }
    if !nft.wait()?.success() {
        bail!("nft refused the redirect");
    }
    Ok(())
}

/// As many connections as the cases of a workload keep open at once, and some to spare.
const CLIENT_PORTS: u16 = 64;

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(60);

//! A running Envoy that answers for many workloads.

use std::{
    fs::{self, File},
    io::Read,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::Value;

use super::{
    config::{COMMON, DETAILS, Entrance, Files, RBAC, Setup, WORKLOAD, configure},
    verdict::{Answer, Seen},
};
use crate::{
    conformance::{Chain, Client, Request, Server, Workload},
    lab::{Caller, Certificates, Ends, Heard, Response, Target},
};

/// Envoy's program and the client that talks to it.
pub(super) struct Envoy {
    program: PathBuf,
    directory: PathBuf,
    files: Files,
    caller: Caller,
}

/// An Envoy that serves some workloads.
pub(super) struct Running<'a> {
    process: Process,
    entrances: Vec<Entrance>,
    caller: &'a mut Caller,
}

impl Envoy {
    /// Finds the program, and makes what it needs for mTLS.
    pub(super) fn new(directory: &Path) -> anyhow::Result<Self> {
        let mut certificates = Certificates::new()?;
        let own = "spiffe://cluster.local/ns/foo/sa/server".to_owned();
        let own = certificates.issue(&[own], Chain::Trusted)?;
        let write = |name: &str, text: &str| -> anyhow::Result<String> {
            let path = directory.join(name);
            fs::write(&path, text).with_context(|| format!("write `{}`", path.display()))?;
            Ok(path.display().to_string())
        };
        let files = Files {
            directory: directory.display().to_string(),
            certificate: write("certificate.pem", &own.certificate_pem)?,
            key: write("key.pem", &own.key_pem)?,
            roots: write("roots.pem", certificates.roots_pem())?,
        };
        Ok(Self {
            program: program()?,
            directory: directory.to_owned(),
            files,
            caller: Caller::new(certificates),
        })
    }

    /// Starts Envoy for these workloads, reachable at these ports.
    pub(super) fn start(
        &mut self,
        workloads: &[Server<'_>],
        ports: &[u16],
    ) -> anyhow::Result<Running<'_>> {
        self.caller.hang_up();
        let Setup { config, routes, entrances } = configure(workloads, ports, &self.files);
        for (name, table) in &routes {
            fs::write(name, table.to_string()).with_context(|| format!("write `{name}`"))?;
        }
        let file = self.directory.join("envoy.json");
        fs::write(&file, config.to_string())?;
        let log = self.directory.join("envoy.log");
        let process = Process(
            Command::new(&self.program)
                .arg("-c")
                .arg(&file)
                .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "error"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(&log)?)
                .spawn()
                .with_context(|| format!("start `{}`", self.program.display()))?,
        );
        let mut running = Running { process, entrances, caller: &mut self.caller };
        let ready =
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), ports.first().copied().unwrap_or(0));
        running.process.wait_until_listening(ready, &log)?;
        Ok(running)
    }
}

/// The one that `make tools` installs, or else the one on the path.
fn program() -> anyhow::Result<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/envoy/_bin/envoy");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(installed)
        .chain(std::env::split_paths(&path).map(|directory| directory.join("envoy")))
        .find(|program| program.is_file())
        .context("there is no Envoy: run `make tools`")
}

impl Running<'_> {
    /// What Envoy makes of a request of this client to a workload.
    pub(super) fn ask(
        &mut self,
        workload: usize,
        ends: Ends,
        client: &Client,
    ) -> anyhow::Result<Answer> {
        let entrance = self.entrances[workload];
        let target =
            Target { ends, tls: client.tls.clone(), from_ports: Some(entrance.from_ports) };
        if !entrance.http {
            return Ok(match self.caller.send(&target, &client.bytes)? {
                Heard::Bytes(bytes) if !bytes.is_empty() => Answer::Passed(Seen::default()),
                Heard::HandshakeRefused(_) => Answer::NoConnection,
                Heard::Bytes(_) | Heard::Reset => Answer::Denied(Seen::default()),
                Heard::Response(response) => bail!("an answer of HTTP on TCP: {response:?}"),
            });
        }
        let bytes = addressed(&client.bytes, workload);
        match self.caller.request(&target, &bytes)? {
            Heard::Response(response) => answer(&response),
            Heard::HandshakeRefused(_) | Heard::Reset => Ok(Answer::NoConnection),
            Heard::Bytes(bytes) => bail!("no answer of HTTP: {}", String::from_utf8_lossy(&bytes)),
        }
    }
}

/// The request with the field that tells the workload.
fn addressed(bytes: &[u8], workload: usize) -> Vec<u8> {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n").map_or(bytes.len(), |at| at + 2);
    let (first, rest) = bytes.split_at(line);
    [first, format!("{WORKLOAD}: {workload}\r\n").as_bytes(), rest].concat()
}

fn answer(response: &Response) -> anyhow::Result<Answer> {
    let metadata = |name| -> Value {
        response.field(name).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    };
    let details = response.field(DETAILS).unwrap_or_default();
    let seen = Seen::new(response, &metadata(RBAC), &metadata(COMMON), details);
    Ok(match details.split(['[', '{']).next() {
        Some("direct_response") => Answer::Passed(seen),
        Some("rbac_access_denied_matched_policy") => Answer::Denied(seen),
        Some("jwt_authn_access_denied") => Answer::TokenRefused(seen),
        _ if response.status().is_some_and(|status| status >= 400) => Answer::NotHttp(seen),
        _ => bail!("nobody knows what Envoy means by {response:?}"),
    })
}

/// The addresses of a request's client and of the workload.
pub(super) fn ends(request: &Request, workload: &Workload) -> Ends {
    let source = request.source();
    let port = request.port.unwrap_or(workload.port);
    Ends { source, destination: SocketAddr::new(workload.address(source), port) }
}

struct Process(Child);

impl Process {
    fn wait_until_listening(&mut self, address: SocketAddr, log: &Path) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            if self.0.try_wait()?.is_some() || Instant::now() > deadline {
                let mut text = String::new();
                File::open(log)?.read_to_string(&mut text)?;
                bail!("Envoy does not start:\n{text}");
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long a start may take on a busy machine, with thousands of policies to read.
const START: Duration = Duration::from_secs(120);

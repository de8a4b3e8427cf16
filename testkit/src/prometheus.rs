//! The real Prometheus, as `make tools` installs it.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Run, command::tool, eventually};

/// A running Prometheus with a database of its own, stopped when it is dropped.
#[derive(Debug)]
pub struct Prometheus {
    server: Child,
    url: String,
    _directory: TempDir,
}

impl Prometheus {
    /// An address where one can be started.
    ///
    /// # Panics
    /// When this machine has no free port.
    #[must_use]
    pub fn free_address() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    /// Starts one with this configuration, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not start; shows what it logged.
    #[must_use]
    pub fn start(address: SocketAddr, config: &str) -> Self {
        let directory = TempDir::with_prefix("prometheus-").unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("prometheus.yml"), config).unwrap();
        let log = fs::File::create(path("log")).unwrap();
        let server = Command::new(tool("prometheus"))
            .arg(format!("--config.file={}", path("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", path("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("can't start prometheus: {error} (run `make tools`)"));
        let log = path("log");
        let prometheus = Self { server, url: format!("http://{address}"), _directory: directory };
        eventually("prometheus is ready", START_TIMEOUT, || {
            let run = Run::new(Command::new("curl").args(["-sf", &prometheus.at("-/ready")]));
            let log = || fs::read_to_string(&log).unwrap_or_default();
            if run.code == 0 { Ok(()) } else { Err(log()) }
        });
        prometheus
    }

    /// The samples of an instant query, as Prometheus' API has them.
    ///
    /// # Errors
    /// What Prometheus says about a query that it can't answer.
    pub fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        let data = self.api("query", &[("query", query)])?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// The data that a path of the API answers.
    ///
    /// # Errors
    /// What Prometheus says instead.
    ///
    /// # Panics
    /// When it does not answer at all.
    pub fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let mut curl = Command::new("curl");
        curl.args(["-s", "--get", &self.at(&format!("api/v1/{path}"))]);
        for (name, value) in parameters {
            curl.args(["--data-urlencode", &format!("{name}={value}")]);
        }
        let mut answer: Value = serde_json::from_str(&Run::new(&mut curl).ok()).unwrap();
        if answer["status"] == "success" {
            Ok(answer["data"].take())
        } else {
            Err(answer.to_string())
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

const START_TIMEOUT: Duration = Duration::from_secs(60);

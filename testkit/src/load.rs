//! Load: many connections from a pod that stay open and carry a request each, again and again, and every
//! request that was lost.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::Deserialize;

use crate::{Mesh, command::eventually, mesh::PYTHON};

/// Load that is being sent.
#[derive(Debug)]
pub struct Load {
    client: Child,
    told: Arc<Mutex<Answers>>,
}

/// What became of the requests.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Answers {
    /// How many were answered, by status.
    pub statuses: BTreeMap<u16, u64>,
    /// The first answer with each status, and when it came.
    pub bodies: BTreeMap<u16, String>,
    /// The first requests that were not answered, with the reason.
    pub lost: Vec<String>,
    /// How many were not answered.
    pub lost_count: u64,
    /// How long the slowest took.
    pub slowest_ms: u64,
}

impl Answers {
    /// How many requests were answered or lost.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.statuses.values().sum::<u64>() + self.lost_count
    }

    /// Every request must have been answered, and with this status.
    ///
    /// # Panics
    /// When one was not.
    pub fn all(&self, status: u16) {
        let other = self.statuses.keys().any(|it| *it != status);
        assert!(self.lost_count == 0 && !other && self.sent() > 0, "all {status}? {self:?}");
    }
}

impl Load {
    /// So many connections from a pod to `HOST:PORT/PATH`, ten requests a second on each.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn start(mesh: &Mesh, from: &str, to: &str, connections: u16) -> Self {
        let (authority, path) = to.split_once('/').unwrap();
        let (host, port) = authority.split_once(':').unwrap();
        let mut command = Command::new(mesh.binary());
        command.arg("--state-dir").arg(mesh.state()).args(["exec", "-i", from, "--"]);
        command.args([PYTHON, "-c", include_str!("load.py"), host, port, &format!("/{path}")]);
        command.args([&connections.to_string(), "0.1"]);
        let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let told = Arc::new(Mutex::new(Answers::default()));
        let (lines, latest) = (client.stdout.take().unwrap(), Arc::clone(&told));
        std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                *latest.lock().unwrap() = serde_json::from_str(&line).unwrap();
            }
        });
        let load = Self { client, told };
        load.goes_on(u64::from(connections));
        load
    }

    /// What became of the requests so far.
    ///
    /// # Panics
    /// When the client has said what it should not.
    #[must_use]
    pub fn so_far(&self) -> Answers {
        self.told.lock().unwrap().clone()
    }

    /// Waits until so many more requests were sent.
    pub fn goes_on(&self, more: u64) {
        let before = self.so_far().sent();
        eventually("the load goes on", Duration::from_secs(60), || {
            let now = self.so_far();
            if now.sent() >= before + more { Ok(()) } else { Err(format!("{now:?}")) }
        });
    }

    /// Ends it; what became of all requests.
    ///
    /// # Panics
    /// When the client does not end well.
    #[must_use]
    pub fn stop(mut self) -> Answers {
        drop(self.client.stdin.take());
        assert!(self.client.wait().unwrap().success(), "{:?}", self.so_far());
        eventually(
            "the last answers are told",
            Duration::from_secs(5),
            || match Arc::strong_count(&self.told) {
                1 => Ok(()),
                _ => Err("not yet".to_owned()),
            },
        );
        self.so_far()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Of a test that has failed; else it has ended.
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

//! `internal wait`: returns once the sidecar in this pod is ready, as `pilot-agent wait` does for Istio's. It is
//! the `postStart` hook of a sidecar that is an ordinary container, so that applications start after it.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use palisade_cli::CliError;

use crate::request;

/// Waits for Istio's default of a minute.
pub(crate) fn run() -> ExitCode {
    crate::conclude(until_ready(HEALTH_PORT, DEADLINE))
}

fn until_ready(port: u16, patience: Duration) -> Result<(), CliError> {
    let runtime = crate::runtime()?;
    let deadline = Instant::now() + patience;
    loop {
        match request::get(port, READY) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                let seconds = patience.as_secs();
                return Err(CliError::Trouble(format!(
                    "the sidecar is not ready after {seconds} s: {error}; its log says why"
                )));
            }
            Err(_) => runtime.block_on(async { tokio::time::sleep(PAUSE).await }),
        }
    }
}

const HEALTH_PORT: u16 = 15021;
const READY: &str = "healthz/ready";
const DEADLINE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;

    /// Answers that it is not ready so many times, and then that it is.
    fn ready_after(refusals: usize) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for (answered, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let read = stream.read(&mut [0; 512]).unwrap();
                assert!(read > 0);
                let status = if answered < refusals { "503 Service Unavailable" } else { "200 OK" };
                let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            }
        });
        port
    }

    #[test]
    fn it_waits_until_the_sidecar_is_ready_and_not_for_ever() {
        until_ready(ready_after(2), Duration::from_secs(60)).unwrap();
        let never = until_ready(ready_after(usize::MAX), Duration::ZERO).unwrap_err().to_string();
        assert!(never.contains("not ready after 0 s: HTTP/1.1 503"), "{never}");
    }
}

//! `prometheus-config`: a configuration with which a Prometheus on this machine scrapes the whole mesh.

use std::{fs, io::Write};

use crate::{CliError, StateDir, args::PrometheusConfigArgs, error::During};

/// Prints it.
pub(super) fn run(
    state: &StateDir,
    args: &PrometheusConfigArgs,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let url = fs::read_to_string(state.metrics_url()).map_err(|_| {
        CliError::Trouble(format!(
            "there is no mesh in `{}`: start one with `palisade up`, or name another directory with \
             --state-dir",
            state.path().display()
        ))
    })?;
    let token = args.token_file.clone().unwrap_or_else(|| state.metrics_token());
    let seconds = args.scrape_interval.as_secs().max(1);
    let text = config(url.trim(), &token.display().to_string(), seconds);
    out.write_all(text.as_bytes()).during("print")
}

fn config(url: &str, token_file: &str, seconds: u64) -> String {
    let token_file = serde_json::json!(token_file);
    format!(
        "global:
  scrape_interval: {seconds}s
scrape_configs:
- job_name: palisade
  # Every sidecar, the control plane and the supervisor; pods come and go by themselves.
  http_sd_configs:
  - url: {url}/sd
    refresh_interval: {seconds}s
    authorization: {{type: Bearer, credentials_file: {token_file}}}
  authorization: {{type: Bearer, credentials_file: {token_file}}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prometheus_needs_nothing_else() {
        insta::assert_snapshot!(config("http://127.0.0.1:15020", "/a \"b\"/metrics-token", 15), @r#"
        global:
          scrape_interval: 15s
        scrape_configs:
        - job_name: palisade
          # Every sidecar, the control plane and the supervisor; pods come and go by themselves.
          http_sd_configs:
          - url: http://127.0.0.1:15020/sd
            refresh_interval: 15s
            authorization: {type: Bearer, credentials_file: "/a \"b\"/metrics-token"}
          authorization: {type: Bearer, credentials_file: "/a \"b\"/metrics-token"}
        "#);
    }
}

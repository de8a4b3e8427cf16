//! The access log: one line per request or TCP connection in Istio's default text format, which Kiali and
//! people's scripts parse. Formatting happens on the worker into a reused buffer; writing happens on a
//! thread of its own ([`AccessLogWriter`]).

use std::net::SocketAddr;

use crate::{
    clock::UnixMillis,
    digits::{push_address, push_decimal},
    labels::ResponseFlags,
};

mod writer;

pub use writer::{AccessLogSender, AccessLogWriter};

/// What one line says. Empty texts and missing values print as `-`.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccessLogEntry<'a> {
    /// When the request or connection began.
    pub start: UnixMillis,
    /// Method.
    pub method: &'a str,
    /// Path and query as received.
    pub path: &'a str,
    /// `HTTP/1.1`; empty for TCP.
    pub protocol: &'a str,
    /// HTTP status; 0 for none.
    pub response_code: u16,
    /// Response flags.
    pub flags: ResponseFlags,
    /// Why the response is what it is (`via_upstream`, `rbac_access_denied_matched_policy[…]`).
    pub details: &'a str,
    /// Why the connection was ended.
    pub termination_details: &'a str,
    /// Why the upstream could not be reached.
    pub upstream_failure: &'a str,
    /// Bytes of the request's body, or received from the client.
    pub bytes_received: u64,
    /// Bytes of the response's body, or sent to the client.
    pub bytes_sent: u64,
    /// Duration in milliseconds.
    pub duration_millis: u64,
    /// How long the upstream took, in milliseconds.
    pub upstream_millis: Option<u64>,
    /// `x-forwarded-for`.
    pub forwarded_for: &'a str,
    /// `user-agent`.
    pub user_agent: &'a str,
    /// `x-request-id`.
    pub request_id: &'a str,
    /// Host asked for.
    pub authority: &'a str,
    /// Address of the upstream.
    pub upstream_host: Option<SocketAddr>,
    /// Name of the upstream cluster, such as `inbound|8000||`.
    pub upstream_cluster: &'a str,
    /// Own address of the upstream connection.
    pub upstream_local: Option<SocketAddr>,
    /// Own address of the client's connection.
    pub downstream_local: Option<SocketAddr>,
    /// Address of the client.
    pub downstream_remote: Option<SocketAddr>,
    /// SNI.
    pub server_name: &'a str,
    /// Name of the route.
    pub route: &'a str,
}

impl AccessLogEntry<'_> {
    /// Appends the line, with its line end.
    ///
    /// Quotes, backslashes and control characters of a client's texts are escaped (Envoy does not), so that no
    /// request can forge a line or shift a column.
    pub fn format(&self, out: &mut String) {
        out.push('[');
        self.start.write(out);
        out.push_str("] \"");
        text(self.method, out);
        out.push(' ');
        text(self.path, out);
        out.push(' ');
        text(self.protocol, out);
        out.push_str("\" ");
        push_decimal(self.response_code.into(), out);
        out.push(' ');
        self.flags.write(out);
        out.push(' ');
        text(self.details, out);
        out.push(' ');
        text(self.termination_details, out);
        out.push(' ');
        quoted(self.upstream_failure, out);
        for number in [self.bytes_received, self.bytes_sent, self.duration_millis] {
            out.push(' ');
            push_decimal(number, out);
        }
        out.push(' ');
        optional(self.upstream_millis, push_decimal, out);
        for value in [self.forwarded_for, self.user_agent, self.request_id, self.authority] {
            out.push(' ');
            quoted(value, out);
        }
        out.push_str(" \"");
        optional(self.upstream_host, push_address, out);
        out.push_str("\" ");
        text(self.upstream_cluster, out);
        for address in [self.upstream_local, self.downstream_local, self.downstream_remote] {
            out.push(' ');
            optional(address, push_address, out);
        }
        out.push(' ');
        text(self.server_name, out);
        out.push(' ');
        text(self.route, out);
        out.push('\n');
    }
}

fn optional<T>(value: Option<T>, push: impl Fn(T, &mut String), out: &mut String) {
    match value {
        Some(value) => push(value, out),
        None => out.push('-'),
    }
}

fn quoted(value: &str, out: &mut String) {
    out.push('"');
    text(value, out);
    out.push('"');
}

fn text(value: &str, out: &mut String) {
    if value.is_empty() {
        out.push('-');
    } else if value.bytes().fold(0, |any, byte| any | u8::from(needs_escape(byte))) != 0 {
        for char in value.chars() {
            match char {
                '"' | '\\' => out.extend(['\\', char]),
                control if control.is_ascii_control() => out.extend(control.escape_default()),
                other => out.push(other),
            }
        }
    } else {
        out.push_str(value);
    }
}

/// Without branches, so that the compiler looks at many bytes at once.
fn needs_escape(byte: u8) -> bool {
    (byte < b' ') | (byte == 0x7f) | (byte == b'"') | (byte == b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> AccessLogEntry<'static> {
        AccessLogEntry {
            start: UnixMillis(1_606_339_578_409),
            method: "GET",
            path: "/status/418",
            protocol: "HTTP/1.1",
            response_code: 418,
            details: "via_upstream",
            bytes_sent: 135,
            duration_millis: 4,
            upstream_millis: Some(4),
            user_agent: "curl/7.73.0-DEV",
            request_id: "84961386-6d84-929d-98bd-c5aee93b5c88",
            authority: "httpbin:8000",
            upstream_host: "127.0.0.1:80".parse().ok(),
            upstream_cluster: "inbound|8000||",
            upstream_local: "127.0.0.1:41854".parse().ok(),
            downstream_local: "10.44.1.27:80".parse().ok(),
            downstream_remote: "10.44.1.23:37652".parse().ok(),
            server_name: "outbound_.8000_._.httpbin.foo.svc.cluster.local",
            route: "default",
            ..AccessLogEntry::default()
        }
    }

    fn line(entry: &AccessLogEntry<'_>) -> String {
        let mut line = String::new();
        entry.format(&mut line);
        assert_eq!(line.pop(), Some('\n'));
        line
    }

    #[test]
    fn a_request_is_logged_as_in_istios_documentation() {
        insta::assert_snapshot!(line(&entry()));
    }

    #[test]
    fn a_denied_request_names_the_rule() {
        insta::assert_snapshot!(line(&AccessLogEntry {
            response_code: 403,
            details: "rbac_access_denied_matched_policy[ns[foo]-policy[deny-x]-rule[0]]",
            upstream_millis: None,
            upstream_host: None,
            upstream_local: None,
            ..entry()
        }));
    }

    #[test]
    fn a_tcp_connection_has_no_request() {
        insta::assert_snapshot!(line(&AccessLogEntry {
            start: UnixMillis(0),
            flags: ResponseFlags::NO_ROUTE,
            details: "filter_chain_not_found",
            bytes_received: 10,
            downstream_remote: "[fd00::1]:4711".parse().ok(),
            ..AccessLogEntry::default()
        }));
    }

    #[test]
    fn no_client_can_forge_a_line() {
        let line = line(&AccessLogEntry {
            path: "/\"_403_\"",
            user_agent: "a\" 200\n[2020] \\",
            ..entry()
        });
        assert!(line.contains(r#""GET /\"_403_\" HTTP/1.1""#), "{line}");
        assert!(line.contains(r#""a\" 200\n[2020] \\""#), "{line}");
    }
}

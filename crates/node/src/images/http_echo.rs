//! hashicorp/http-echo: answers every request with one text.

use std::{collections::BTreeMap, io};

use super::server::{Image, Received, Reply};

#[derive(Debug, PartialEq)]
pub(crate) struct HttpEcho {
    text: String,
    port: u16,
    status: u16,
}

impl HttpEcho {
    pub(crate) fn parse(args: &[String], env: &BTreeMap<String, String>) -> io::Result<Self> {
        let invalid = |what: &str| io::Error::other(format!("http-echo: {what}"));
        let mut echo = Self {
            text: env.get("ECHO_TEXT").cloned().unwrap_or_default(),
            port: 5678,
            status: 200,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let option = arg.trim_start_matches('-');
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, value),
                None => (option, args.next().map_or("", String::as_str)),
            };
            match name {
                "text" => value.clone_into(&mut echo.text),
                "listen" => {
                    let port = value.rsplit(':').next().and_then(|port| port.parse().ok());
                    echo.port = port.ok_or_else(|| invalid("-listen takes `:PORT`"))?;
                }
                "status-code" => {
                    let status = value.parse().ok().filter(|code| (200..600).contains(code));
                    echo.status = status.ok_or_else(|| invalid("-status-code takes a number"))?;
                }
                other => return Err(invalid(&format!("flag `-{other}` is not known"))),
            }
        }
        if echo.text.is_empty() {
            return Err(invalid("Missing -text option!"));
        }
        Ok(echo)
    }
}

impl Image for HttpEcho {
    fn port(&self) -> u16 {
        self.port
    }

    fn greeting(&self) -> String {
        format!("[INFO] server is listening on :{}", self.port)
    }

    fn answer(&self, request: &Received) -> Reply {
        let text = format!("{}\n", self.text);
        let mut reply = Reply::text(self.status, "text/plain; charset=utf-8", text);
        let (head, from) = (&request.head, request.from);
        reply.log = Some(format!(
            "{from} \"{} {} {:?}\" {} {}",
            head.method,
            head.uri,
            head.version,
            self.status,
            self.text.len() + 1,
        ));
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str], env: &[(&str, &str)]) -> Option<(String, u16, u16)> {
        let args: Vec<_> = args.iter().map(|&arg| arg.to_owned()).collect();
        let env = env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        HttpEcho::parse(&args, &env).ok().map(|echo| (echo.text, echo.port, echo.status))
    }

    #[test]
    fn flags_are_those_of_the_real_image() {
        let echo = |text: &str, port, status| Some((text.to_owned(), port, status));
        assert_eq!(parse(&["-text=hello"], &[]), echo("hello", 5678, 200));
        assert_eq!(parse(&["-text", "a=b", "-listen=:80"], &[]), echo("a=b", 80, 200));
        assert_eq!(parse(&["--status-code=503"], &[("ECHO_TEXT", "x")]), echo("x", 5678, 503));
        assert_eq!(parse(&[], &[]), None);
        assert_eq!(parse(&["-text=x", "-frobnicate"], &[]), None);
        assert_eq!(parse(&["-text=x", "-listen=:http"], &[]), None);
    }
}

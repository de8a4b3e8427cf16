//! wbitt/network-multitool without a command: a web server that says where it runs. Its tools are
//! those of this machine.

use std::{collections::BTreeMap, io};

use super::{
    port,
    server::{Image, Received, Reply},
};

pub(crate) struct Multitool {
    port: u16,
    page: String,
}

impl Multitool {
    pub(crate) fn from_env(env: &BTreeMap<String, String>) -> io::Result<Self> {
        let port = port(env, "HTTP_PORT", 80)?;
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let address = env.get("POD_IP").map_or("-", String::as_str);
        let page = format!(
            "WBITT Network MultiTool (built-in equivalent) - {hostname} - {address} - HTTP: {port}\n"
        );
        Ok(Self { port, page })
    }
}

impl Image for Multitool {
    fn port(&self) -> u16 {
        self.port
    }

    fn greeting(&self) -> String {
        format!("Listening on port {} for http; https is not offered by this equivalent", self.port)
    }

    fn answer(&self, request: &Received) -> Reply {
        let found = request.head.uri.path() == "/";
        let (status, body) =
            if found { (200, self.page.clone()) } else { (404, "not found\n".to_owned()) };
        let mut reply = Reply::text(status, "text/html", body);
        let head = &request.head;
        reply.log = Some(format!(
            "{} - \"{} {}\" {status}",
            request.from.ip(),
            head.method,
            head.uri.path()
        ));
        reply
    }
}

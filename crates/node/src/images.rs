//! Built-in equivalents of well-known demo images: `palisade internal image NAME`.
//!
//! They run inside containers and know nothing of the node. What the real images do beyond plain
//! HTTP (their HTTPS ports above all) is left out and said at the start.

mod echo;
mod http_echo;
mod multitool;
mod server;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
};

/// Runs an image until it is told to stop; returns its exit code.
pub(crate) fn run(image: &OsStr, args: &[OsString]) -> io::Result<u8> {
    let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let env: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    match image.to_str() {
        Some("http-https-echo") => server::run(echo::Echo::from_env(env)?),
        Some("http-echo") => server::run(http_echo::HttpEcho::parse(&args, &env)?),
        Some("network-multitool") => server::run(multitool::Multitool::from_env(&env)?),
        _ => Err(io::Error::other(format!("no image `{}` is built in", image.display()))),
    }
}

fn port(env: &BTreeMap<String, String>, name: &str, default: u16) -> io::Result<u16> {
    env.get(name).map_or(Ok(default), |text| {
        text.parse().map_err(|_| io::Error::other(format!("{name}: `{text}` is not a port")))
    })
}

//! A machine with a network of its own, and a world outside it: two namespaces and a link between
//! them, so that what leaves a mesh can be seen without touching the real host's network.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use palisade_sys::{mount, namespace};
use tempfile::TempDir;

use crate::Run;

/// The two namespaces. To be used inside `palisade_sys::testing::in_sandbox`.
#[derive(Debug)]
pub struct Outside {
    host: OwnedFd,
    world: OwnedFd,
    _resolv_conf: TempDir,
}

/// An HTTP server somewhere in the two namespaces.
#[derive(Debug)]
pub struct Server {
    requests: Arc<AtomicUsize>,
}

impl Server {
    /// How many connections it has taken.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Outside {
    /// The machine's address on the link.
    pub const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
    /// The world's address on the link, where its name server is.
    pub const WORLD: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
    /// An address farther away.
    pub const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);
    /// Where clouds have their metadata.
    pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

    /// The machine, its only link, and a world that serves these names.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    pub fn create(names: &'static [(&'static str, Ipv4Addr)]) -> Self {
        let host = namespace::create_network().unwrap();
        let world = namespace::create_network().unwrap();
        let peer = format!("/proc/{}/fd/{}", std::process::id(), world.as_raw_fd());
        let ip = |args: &str| {
            let _ = Run::new(Command::new("ip").args(args.split(' '))).ok();
        };
        within(&host, || {
            ip("link set lo up");
            ip(&format!("link add out0 type veth peer name eth0 netns {peer}"));
            ip(&format!("address add {}/24 dev out0", Self::HOST));
            ip("link set out0 up");
            ip(&format!("route add default via {}", Self::WORLD));
        });
        within(&world, || {
            ip("link set lo up");
            ip(&format!("address add {}/24 dev eth0", Self::WORLD));
            ip(&format!("address add {}/32 dev lo", Self::FAR));
            ip(&format!("address add {}/32 dev lo", Self::METADATA));
            ip("link set eth0 up");
        });
        let directory = tempfile::tempdir().unwrap();
        let resolv_conf = directory.path().join("resolv.conf");
        fs::write(&resolv_conf, format!("nameserver {}\n", Self::WORLD)).unwrap();
        mount::bind(&resolv_conf, Path::new("/etc/resolv.conf")).unwrap();
        let (socket, listener) = within(&world, || {
            let at = (Self::WORLD, 53);
            (UdpSocket::bind(at).unwrap(), TcpListener::bind(at).unwrap())
        });
        std::thread::spawn(move || name_server(&socket, names));
        std::thread::spawn(move || name_server_over_tcp(&listener, names));
        Self { host, world, _resolv_conf: directory }
    }

    /// Runs something on the machine; what it starts stays there.
    pub fn on_host<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        within(&self.host, work)
    }

    /// Runs something in the world; what it starts stays there.
    pub fn in_world<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        within(&self.world, work)
    }

    /// A server in the world that answers with its name; `/big` is a mebibyte.
    #[must_use]
    pub fn serve(&self, address: Ipv4Addr, port: u16, name: &'static str) -> Server {
        serve(&self.world, address, port, name)
    }

    /// A server on the machine itself, at all its addresses.
    #[must_use]
    pub fn serve_on_host(&self, port: u16, name: &'static str) -> Server {
        serve(&self.host, Ipv4Addr::UNSPECIFIED, port, name)
    }
}

fn within<T: Send>(net: &OwnedFd, work: impl FnOnce() -> T + Send) -> T {
    namespace::in_network(net.as_fd(), work).unwrap()
}

fn serve(net: &OwnedFd, address: Ipv4Addr, port: u16, name: &'static str) -> Server {
    let at = SocketAddrV4::new(address, port);
    let listener = within(net, || TcpListener::bind(at).unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counter.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || drop(answer(stream.unwrap(), name)));
        }
    });
    Server { requests }
}

/// One request, one answer.
fn answer(mut stream: TcpStream, name: &str) -> std::io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let body = if head.starts_with(b"GET /big ") { vec![b'x'; 1 << 20] } else { name.into() };
    let length = body.len();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")?;
    stream.write_all(&body)
}

fn name_server(socket: &UdpSocket, names: &[(&str, Ipv4Addr)]) {
    let mut buffer = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let _ = socket.send_to(&reply(&buffer[..length], names), from);
    }
}

/// One query for each connection.
fn name_server_over_tcp(listener: &TcpListener, names: &[(&str, Ipv4Addr)]) {
    for stream in listener.incoming().map_while(Result::ok) {
        let _ = answer_over_tcp(stream, names);
    }
}

fn answer_over_tcp(mut stream: TcpStream, names: &[(&str, Ipv4Addr)]) -> std::io::Result<()> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut query = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut query)?;
    let reply = reply(&query, names);
    let length = u16::try_from(reply.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, reply.as_slice()].concat())
}

/// Answers every query for a name with its address, whatever the type; others do not exist.
fn reply(query: &[u8], names: &[(&str, Ipv4Addr)]) -> Vec<u8> {
    let (labels, end) = labels(&query[12..]);
    let found = names.iter().find(|(name, _)| *name == labels.join("."));
    let (code, answers) = if found.is_some() { (0, 1) } else { (3, 0) };
    let mut reply = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0];
    reply.extend(&query[12..12 + end + 4]);
    if let Some((_, address)) = found {
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
        reply.extend(address.octets());
    }
    reply
}

/// The labels of a name, and how many bytes it takes.
fn labels(mut bytes: &[u8]) -> (Vec<String>, usize) {
    let (mut labels, mut end) = (Vec::new(), 1);
    while let Some((length @ 1..=63, rest)) = bytes.split_first() {
        let (label, after) = rest.split_at(usize::from(*length));
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        end += label.len() + 1;
        bytes = after;
    }
    (labels, end)
}

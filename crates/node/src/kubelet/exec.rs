//! `exec` and `attach`: a process's streams over a WebSocket.

use std::sync::Arc;

use bytes::Bytes;
use futures::{SinkExt, StreamExt, stream::SplitSink};
use hyper::{
    Request, Response, StatusCode, body::Incoming as RequestBody, header, upgrade::OnUpgrade,
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{broadcast, mpsc},
    task::JoinSet,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

use super::{
    Body, Refusal,
    channels::{self, Channel, Incoming},
    full,
    query::Query,
};
use crate::{
    context::Context,
    launch::{self, RunningStreams, Streams},
    live::{ContainerKey, Input, LiveContainer, Terminal},
    logs::Stream,
    spec::{ExecSpec, ProcessSpec, Terminal as TerminalMode},
};

/// What is done in a container.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verb {
    /// Another process is started.
    Exec,
    /// The first process's streams are joined.
    Attach,
}

/// A request that was accepted and waits for its connection to be upgraded.
pub(crate) struct Session {
    verb: Verb,
    container: Arc<LiveContainer>,
    wish: Wish,
    upgrade: OnUpgrade,
}

#[derive(Clone, Debug, Default)]
struct Wish {
    command: Vec<String>,
    /// Output streams that are wanted, the first being told when they are up.
    outputs: Vec<Channel>,
    input: bool,
    terminal: bool,
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Checks a request and answers it with the switch to the WebSocket protocol.
pub(super) async fn begin(
    mut request: Request<RequestBody>,
    context: &Context,
    (verb, key): (Verb, ContainerKey),
    upgraded: mpsc::Sender<Session>,
) -> Result<Response<Body>, Refusal> {
    let refuse = |message: &str| Refusal::new(StatusCode::BAD_REQUEST, message);
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let protocol = text(header::SEC_WEBSOCKET_PROTOCOL).and_then(channels::choose);
    let protocol = protocol.ok_or_else(|| refuse("only v5.channel.k8s.io and v4 are spoken"))?;
    let key_text = text(header::SEC_WEBSOCKET_KEY).ok_or_else(|| refuse("not a WebSocket"))?;
    let accept = derive_accept_key(key_text.as_bytes());
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let container = context.live.find(&key).ok_or_else(|| {
        Refusal::new(StatusCode::NOT_FOUND, format!("container \"{}\" is not running", key.2))
    })?;
    let outputs =
        [(Channel::Out, ["stdout", "output"]), (Channel::Err, ["stderr", "error"])].into_iter();
    let wish = Wish {
        command: query.all("command"),
        outputs: outputs.filter(|(_, names)| query.is_set(*names)).map(|(to, _)| to).collect(),
        input: query.is_set(["stdin", "input"]),
        terminal: query.is_set(["tty", "tty"]),
    };
    if verb == Verb::Exec && wish.command.is_empty() {
        return Err(refuse("you must specify at least 1 command for the container"));
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let session = Session { verb, container, wish, upgrade };
    upgraded.send(session).await.map_err(|_| refuse("the connection has ended"))?;
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .header(header::SEC_WEBSOCKET_PROTOCOL, protocol)
        .body(full(""))
        .map_err(|error| refuse(&error.to_string()))
}

/// Runs a session to its end.
pub(super) async fn run(session: Session, context: &Context) {
    let Session { verb, container, wish, upgrade } = session;
    let Ok(upgraded) = upgrade.await else { return };
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    match verb {
        Verb::Exec => exec(socket, &container, wish, context).await,
        Verb::Attach => attach(socket, &container, &wish).await,
    }
}

async fn exec(socket: Socket, container: &LiveContainer, wish: Wish, context: &Context) {
    let process = ProcessSpec {
        command: wish.command.clone(),
        terminal: if wish.terminal { TerminalMode::Controlling } else { TerminalMode::None },
        ..container.process.clone()
    };
    let streams = match (wish.terminal, wish.input) {
        (true, _) => Streams::Terminal,
        (false, true) => Streams::InputAndOutput,
        (false, false) => Streams::Output,
    };
    let spec = ExecSpec { container: container.pid, process };
    let (mut to_client, from_client) = socket.split();
    let mut running = match launch::exec(&context.program, &spec, streams).await {
        Ok(running) => running,
        Err(error) => {
            // As runc: what can't be run is an exit code too.
            let message = format!("{error}\n");
            let _ = to_client.send(message_on(Channel::Err, message.as_bytes())).await;
            return close(to_client, &channels::exit_status(NOT_RUN)).await;
        }
    };
    let (messages, queue) = mpsc::channel(QUEUE);
    let mut input = None;
    let mut terminal = None;
    let mut outputs = JoinSet::new();
    match running.streams.take() {
        Some(RunningStreams::Pipes { stdin, stdout, stderr }) => {
            outputs.spawn(copy(stdout, Channel::Out, messages.clone()));
            outputs.spawn(copy(stderr, Channel::Err, messages.clone()));
            input = stdin.map(|stdin| Box::new(stdin) as Box<dyn AsyncWrite + Send + Unpin>);
        }
        Some(RunningStreams::Terminal(controller)) => {
            let ends = Terminal::new(controller)
                .and_then(|terminal| Ok((terminal.reader()?, terminal.writer()?, terminal)));
            let Ok((reader, writer, shared)) = ends else { return };
            outputs.spawn(copy(reader, Channel::Out, messages.clone()));
            input = Some(Box::new(writer));
            terminal = Some(shared);
        }
        None => {}
    }
    drop(messages);
    let code = {
        let ended = async {
            let code = running.wait().await.unwrap_or(255);
            // Streams that a process left behind holds open are not waited for long.
            let rest = async { while outputs.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(REST, rest).await;
            outputs.abort_all();
            code
        };
        let write = forward(&mut to_client, queue, &wish);
        tokio::select! {
            (code, ()) = async { tokio::join!(ended, write) } => Some(code),
            // The client is gone; so is its process.
            () = listen(from_client, input, terminal) => None,
        }
    };
    match code {
        Some(code) => close(to_client, &channels::exit_status(code)).await,
        None => running.kill(),
    }
}

async fn attach(socket: Socket, container: &LiveContainer, wish: &Wish) {
    let (mut to_client, from_client) = socket.split();
    let Some(output) = container.output.upgrade() else {
        return close(to_client, &channels::exit_status(0)).await;
    };
    let mut listener = output.subscribe();
    drop(output);
    let input = container.input.clone().filter(|_| wish.input);
    let terminal = container.terminal.clone();
    let listen = async {
        let mut from_client = from_client;
        while let Some(Ok(message)) = from_client.next().await {
            let Some(message) = payload(message) else { continue };
            match (channels::decode(&message), &input) {
                (Incoming::Input(bytes), Some(input)) if !bytes.is_empty() => {
                    let _ = input.send(Input::Bytes(bytes)).await;
                }
                (Incoming::EndOfInput, Some(input)) => drop(input.send(Input::End).await),
                (Incoming::Resize(columns, rows), _) => {
                    if let Some(terminal) = &terminal {
                        terminal.resize(columns, rows);
                    }
                }
                _ => {}
            }
        }
    };
    let speak = async {
        let _ = to_client.send(message_on(first_channel(wish), b"")).await;
        loop {
            match listener.recv().await {
                Ok((stream, bytes)) => {
                    let channel = channel(stream);
                    if wish.outputs.contains(&channel)
                        && to_client.send(message_on(channel, &bytes)).await.is_err()
                    {
                        return false;
                    }
                }
                // A listener too slow has lost some; the log has all.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return true,
            }
        }
    };
    let ended = tokio::select! {
        ended = speak => ended,
        () = listen => false,
    };
    if ended {
        return close(to_client, &channels::exit_status(0)).await;
    }
    if container.input_ends_with_first
        && let Some(input) = input
    {
        let _ = input.send(Input::End).await;
    }
}

/// Hands on what the client says, until it goes.
async fn listen(
    mut from_client: impl futures::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>>
    + Unpin,
    mut input: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    terminal: Option<Terminal>,
) {
    while let Some(Ok(message)) = from_client.next().await {
        let Some(message) = payload(message) else { continue };
        match channels::decode(&message) {
            Incoming::Input(bytes) => {
                if let Some(open) = &mut input
                    && (open.write_all(&bytes).await.is_err() || open.flush().await.is_err())
                {
                    input = None;
                }
            }
            Incoming::EndOfInput => match &mut input {
                // A terminal has no end; a control-D says so.
                Some(open) if terminal.is_some() => drop(open.write_all(b"\x04").await),
                _ => input = None,
            },
            Incoming::Resize(columns, rows) => {
                if let Some(terminal) = &terminal {
                    terminal.resize(columns, rows);
                }
            }
            Incoming::Nothing => {}
        }
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    channel: Channel,
    to: mpsc::Sender<(Channel, Bytes)>,
) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let bytes = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
        if to.send((channel, bytes)).await.is_err() {
            return;
        }
    }
}

/// Sends what is queued until the queue ends.
async fn forward(
    to_client: &mut SplitSink<Socket, Message>,
    mut queue: mpsc::Receiver<(Channel, Bytes)>,
    wish: &Wish,
) {
    let _ = to_client.send(message_on(first_channel(wish), b"")).await;
    while let Some((channel, bytes)) = queue.recv().await {
        if wish.outputs.contains(&channel)
            && to_client.send(message_on(channel, &bytes)).await.is_err()
        {
            return;
        }
    }
}

async fn close(mut to_client: SplitSink<Socket, Message>, status: &serde_json::Value) {
    let status = status.to_string();
    let _ = to_client.send(message_on(Channel::Status, status.as_bytes())).await;
    let _ = to_client.send(Message::Close(Some(NORMAL_END))).await;
    let _ = to_client.close().await;
}

/// What kubectl takes for an end; a close without a code is an error to it.
const NORMAL_END: CloseFrame =
    CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::from_static("") };

/// An empty message there tells the client that the streams are up.
fn first_channel(wish: &Wish) -> Channel {
    wish.outputs.first().copied().unwrap_or(Channel::Status)
}

fn channel(stream: Stream) -> Channel {
    match stream {
        Stream::Out => Channel::Out,
        Stream::Err => Channel::Err,
    }
}

fn message_on(channel: Channel, bytes: &[u8]) -> Message {
    Message::Binary(channels::encode(channel, bytes))
}

fn payload(message: Message) -> Option<Bytes> {
    match message {
        Message::Binary(bytes) => Some(bytes),
        Message::Text(text) => Some(Bytes::from(text)),
        _ => None,
    }
}

const CHUNK: usize = 16 << 10;
const QUEUE: usize = 16;
const REST: std::time::Duration = std::time::Duration::from_millis(500);

/// Exit code that shells have for a program that can't be run.
const NOT_RUN: i32 = 126;

//! A client of the crowd: the SDK's core over a bare socket, which reads fast, slowly, or not at
//! all.

use anyhow::{Context, Result};
use bytes::Bytes;
use driftless_chunk::model::Models;
use driftless_client_core::{ChunkStatus, ClientCore, Event, Settings, Socket};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Hash, Version, limits};
use socket2::{Domain, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use tokio_tungstenite::tungstenite::client::{ClientRequestBuilder, client_with_config};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

/// The reading rate of a slow client.
pub(super) const SLOW_BYTES_PER_SECOND: usize = 1024;
/// The kernel's receive buffer of a slow client. A larger buffer would hide the slowness for
/// minutes.
const SLOW_BUFFER_BYTES: usize = 4 * 1024;

/// TCP segment size of a slow client, about that of Ethernet.
const SLOW_SEGMENT_BYTES: u32 = 1400;

/// How fast a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Fast,
    /// Reads at most [`SLOW_BYTES_PER_SECOND`].
    Slow,
    /// Reads nothing once it has its chunks.
    Stalled,
}

/// A socket that reads no more bytes than its allowance.
pub(super) struct ThrottledStream {
    stream: TcpStream,
    /// Bytes that may still be read; `usize::MAX` means no limit.
    allowance: usize,
}

impl Read for ThrottledStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.allowance);
        if most == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = self.stream.read(&mut buffer[..most])?;
        if self.allowance != usize::MAX {
            self.allowance -= count;
        }
        Ok(count)
    }
}

impl Write for ThrottledStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// An open websocket.
pub(super) type Connection = WebSocket<ThrottledStream>;

/// Opens a websocket to the gateway. Blocks.
pub(super) fn connect(address: SocketAddr, kind: Kind) -> Result<Connection> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if kind != Kind::Fast {
        socket.set_recv_buffer_size(SLOW_BUFFER_BYTES)?;
        // Loopback's segments of 64 KB exceed the buffer, so the kernel would announce free space
        // only now and then.
        socket.set_tcp_mss(SLOW_SEGMENT_BYTES)?;
    }
    socket.connect(&address.into()).context("a socket of the crowd")?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    let url = format!("ws://{address}/v1/gateway").parse().context("an address is a URL")?;
    let request = ClientRequestBuilder::new(url).with_sub_protocol(driftless_web::socket::GATEWAY);
    let config = WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(0)
        .max_message_size(Some(limits::SERVER_FRAME_BYTES_MAX))
        .max_frame_size(Some(limits::SERVER_FRAME_BYTES_MAX));
    let stream = ThrottledStream { stream, allowance: usize::MAX };
    let (connection, _) =
        client_with_config(request, stream, Some(config)).map_err(|e| anyhow::anyhow!("no websocket: {e}"))?;
    connection.get_ref().stream.set_nonblocking(true)?;
    Ok(connection)
}

/// The reason why a socket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disconnect {
    /// The server closed the socket; the field is the close code, if the server sent one.
    Closed(Option<u16>),
    /// A read failed, so the connection is broken.
    Broken,
    /// The core asked for another socket.
    Dropped,
}

/// A client: the SDK's core, its socket to the gateway, and the chunks that it tracks.
pub(super) struct Client {
    pub kind: Kind,
    pub chunks: Vec<ChunkId>,
    core: ClientCore,
    token: String,
    connection: Option<Connection>,
    /// The time at which the socket was opened.
    pub since: MonotonicMs,
    /// Number of times that the core found a replica that differed from the log.
    pub drifts: usize,
}

impl Client {
    pub fn new(kind: Kind, token: String, chunks: Vec<ChunkId>, now: MonotonicMs) -> Self {
        let mut core = ClientCore::new(Settings::new(Models::builtin()));
        for chunk in &chunks {
            core.track(now, chunk);
        }
        Self { kind, chunks, core, token, connection: None, since: now, drifts: 0 }
    }

    /// Takes a new socket. Returns its descriptor, for the poll.
    pub fn opened(&mut self, connection: Connection, now: MonotonicMs) -> RawFd {
        let fd = connection.get_ref().stream.as_raw_fd();
        self.connection = Some(connection);
        self.since = now;
        self.core.connected(now, Socket::Gateway, self.token.clone());
        self.send();
        fd
    }

    /// Drops the socket without a close frame, like a broken network.
    pub fn drop_connection(&mut self, now: MonotonicMs) {
        self.connection = None;
        self.core.disconnected(now, Socket::Gateway, None);
    }

    pub fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// Allows `bytes` more bytes to be read, but saves up at most one second's worth. `usize::MAX`
    /// removes the limit.
    pub fn allow(&mut self, bytes: usize) {
        let Some(connection) = &mut self.connection else { return };
        let stream = connection.get_mut();
        stream.allowance = match (bytes, stream.allowance) {
            (usize::MAX, _) => usize::MAX,
            (more, usize::MAX) => more,
            (more, left) => (left + more).min(SLOW_BYTES_PER_SECOND),
        };
    }

    /// Reads the available messages. Passes each to `show`, and then to the core. The error says
    /// why the socket ended.
    pub fn read(&mut self, now: MonotonicMs, show: &mut dyn FnMut(&Bytes)) -> Result<(), Disconnect> {
        let lost = loop {
            let Some(connection) = &mut self.connection else { return Ok(()) };
            match connection.read() {
                Ok(Message::Binary(message)) => {
                    show(&message);
                    self.core.received(now, Socket::Gateway, message);
                }
                Ok(Message::Close(frame)) => break Disconnect::Closed(frame.map(|frame| frame.code.into())),
                Ok(_) => {}
                Err(Error::Io(e)) if e.kind() == ErrorKind::WouldBlock => match self.handle_events() {
                    true => return Ok(()),
                    false => break Disconnect::Dropped,
                },
                Err(_) => break Disconnect::Broken,
            }
        };
        self.connection = None;
        let code = if let Disconnect::Closed(code) = lost { code } else { None };
        self.core.disconnected(now, Socket::Gateway, code);
        Err(lost)
    }

    /// Runs the core's timers. Returns an error if the core asks for another socket.
    pub fn tick(&mut self, now: MonotonicMs) -> Result<(), Disconnect> {
        self.core.tick(now);
        if self.handle_events() {
            return Ok(());
        }
        self.connection = None;
        Err(Disconnect::Dropped)
    }

    /// Handles the core's events, and sends its messages. Returns false if the core wants another
    /// socket.
    fn handle_events(&mut self) -> bool {
        let mut is_kept = true;
        while let Some(event) = self.core.poll_event() {
            match event {
                Event::Drift { .. } => self.drifts += 1,
                Event::Reconnect { .. } => is_kept = false,
                _ => {}
            }
        }
        self.send();
        is_kept
    }

    fn send(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        while let Some(message) = self.core.poll_send(Socket::Gateway) {
            // An error needs no handling here. If the socket is broken, the next read finds out. If
            // the socket is full, the message stays buffered, and the next send takes it along.
            let _ = connection.send(Message::Binary(message));
        }
        let _ = connection.flush();
    }

    /// Returns true if all chunks are loaded and up to date.
    pub fn is_live(&self) -> bool {
        self.chunks.iter().all(|chunk| self.core.status(chunk) == Some(&ChunkStatus::Live))
    }

    /// Returns version and hash of the chunk's confirmed replica.
    pub fn confirmed(&mut self, chunk: &ChunkId) -> Option<(Version, Hash)> {
        let replica = self.core.confirmed(chunk)?;
        Some((replica.version(), replica.hash()))
    }
}

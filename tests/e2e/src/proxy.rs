//! A TCP proxy that understands the messages in the connections that it carries. It can break a
//! connection at a chosen message.
//!
//! The proxy reads the frames of a websocket in both directions and shows each message to a
//! [`Rule`]. The rule decides whether the message passes, waits or is replaced, or whether the
//! connection ends before, within or after the message. Everything else (the handshake, control
//! frames, plain HTTP) passes unchanged. The proxy keeps its address while the server behind it
//! restarts on another port.

use bytes::{Buf, Bytes, BytesMut};
use driftless_schemas::proto::{ClientFrame, ServerFrame};
use prost::Message as _;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex as AsyncMutex, watch};

/// A message that a rule judges, with its direction.
#[derive(Clone, Debug)]
pub enum Passing {
    /// A message from the client.
    Up(ClientFrame),
    /// A message from the server.
    Down(ServerFrame),
}

/// The decision of a rule about a message.
#[derive(Debug)]
pub enum Verdict {
    /// The message passes.
    Pass,
    /// The message waits, and so do all later messages in the same direction, until the rule
    /// changes.
    Hold,
    /// The connection ends before the message.
    CutBefore,
    /// The connection ends in the middle of the message.
    CutWithin,
    /// The connection ends after the message.
    CutAfter,
    /// Another frame is sent to the server in place of the message (nothing is sent if that frame
    /// is empty), and the client gets an answer at once.
    Answer {
        /// The frame for the server, in place of the message.
        up: ClientFrame,
        /// The frame for the client, which does not come from the server.
        down: ServerFrame,
    },
}

/// A function that judges every message of all connections of a proxy.
pub type Rule = Box<dyn FnMut(&Passing) -> Verdict + Send>;

/// A switch that refuses or accepts new connections. Open connections are not affected.
#[derive(Clone, Default)]
pub struct Door(Arc<AtomicBool>);

impl Door {
    /// Refuses new connections.
    pub fn close(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Accepts new connections again.
    pub fn open(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    fn is_closed(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A running proxy, which ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

struct Shared {
    /// The address of the server; `None` makes the proxy close new connections at once.
    server: Mutex<Option<SocketAddr>>,
    door: Door,
    /// The number of websockets that the proxy has carried so far.
    websockets: AtomicUsize,
    rule: Mutex<Rule>,
    /// The number of changes of the rule. At each change, waiting messages are judged again.
    rules: watch::Sender<u64>,
    /// The number of cuts. Each cut ends all open connections.
    cuts: watch::Sender<u64>,
}

impl Proxy {
    /// Starts a proxy on a free port. `server` is the server behind it, if there is one yet.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start(server: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            door: Door::default(),
            websockets: AtomicUsize::new(0),
            rule: Mutex::new(Box::new(|_| Verdict::Pass)),
            rules: watch::Sender::new(0),
            cuts: watch::Sender::new(0),
        });
        let address = listener.local_addr().expect("it is bound");
        let accepting = {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    let shared = Arc::clone(&shared);
                    tokio::spawn(async move {
                        let mut cuts = shared.cuts.subscribe();
                        tokio::select! {
                            // Both sides of the connection are closed when the carrying ends, for
                            // whatever reason.
                            _ = carry(&shared, client) => {}
                            _ = cuts.changed() => {}
                        }
                    });
                }
            })
        };
        Self { address, shared, accepting }
    }

    /// The address to which clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the server for new connections; `None` makes the proxy close them at once.
    pub fn lead_to(&self, server: Option<SocketAddr>) {
        *self.shared.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }

    /// Sets the rule for all later messages and for the messages that wait.
    pub fn rule(&self, rule: impl FnMut(&Passing) -> Verdict + Send + 'static) {
        *self.shared.rule.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(rule);
        self.shared.rules.send_modify(|count| *count += 1);
    }

    /// Sets a rule that lets every message pass.
    pub fn pass(&self) {
        self.rule(|_| Verdict::Pass);
    }

    /// The number of websockets that the proxy has carried so far.
    #[must_use]
    pub fn websockets(&self) -> usize {
        self.shared.websockets.load(Ordering::SeqCst)
    }

    /// Ends all connections and refuses new ones.
    pub fn close(&self) {
        self.door().close();
        self.cut();
    }

    /// Accepts connections again.
    pub fn open(&self) {
        self.door().open();
    }

    /// The switch for new connections. A [`Rule`] can keep it and close it.
    #[must_use]
    pub fn door(&self) -> Door {
        self.shared.door.clone()
    }

    /// Ends all connections.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|count| *count += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn carry(shared: &Arc<Shared>, mut client: TcpStream) -> io::Result<()> {
    let server = *shared.server.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(server) = server.filter(|_| !shared.door.is_closed()) else { return Ok(()) };
    let mut server = TcpStream::connect(server).await?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let request = pass_head(&mut client, &mut server).await?;
    let is_websocket = String::from_utf8_lossy(&request.head).to_ascii_lowercase().contains("upgrade: websocket");
    if !is_websocket {
        server.write_all(&request.rest).await?;
        tokio::io::copy_bidirectional(&mut client, &mut server).await?;
        return Ok(());
    }
    shared.websockets.fetch_add(1, Ordering::SeqCst);
    let response = pass_head(&mut server, &mut client).await?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let to_client = Arc::new(AsyncMutex::new(to_client));
    let to_server = Arc::new(AsyncMutex::new(to_server));
    let up = Lane { is_up: true, from: from_client, to: Arc::clone(&to_server), back: Arc::clone(&to_client) };
    let down = Lane { is_up: false, from: from_server, to: to_client, back: to_server };
    // When either side of the connection ends, the other side is ended too.
    tokio::select! {
        ended = pump(shared, up, request.rest) => ended,
        ended = pump(shared, down, response.rest) => ended,
    }
}

struct Head {
    head: Bytes,
    rest: BytesMut,
}

/// Passes the head of an HTTP message on. Returns the head, with the bytes that followed it.
async fn pass_head(from: &mut TcpStream, to: &mut TcpStream) -> io::Result<Head> {
    let mut gathered = BytesMut::new();
    loop {
        if let Some(end) = gathered.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = gathered.split_to(end + 4).freeze();
            to.write_all(&head).await?;
            return Ok(Head { head, rest: gathered });
        }
        if from.read_buf(&mut gathered).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

struct Lane {
    is_up: bool,
    from: OwnedReadHalf,
    to: Arc<AsyncMutex<OwnedWriteHalf>>,
    back: Arc<AsyncMutex<OwnedWriteHalf>>,
}

async fn pump(shared: &Shared, mut lane: Lane, mut gathered: BytesMut) -> io::Result<()> {
    let mut rules = shared.rules.subscribe();
    loop {
        let Some(frame) = Frame::split(&mut gathered) else {
            if lane.from.read_buf(&mut gathered).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let Some(passing) = frame.message(lane.is_up) else {
            lane.to.lock().await.write_all(&frame.bytes).await?;
            continue;
        };
        let verdict = loop {
            rules.borrow_and_update();
            let verdict = shared.rule.lock().unwrap_or_else(PoisonError::into_inner)(&passing);
            if !matches!(verdict, Verdict::Hold) {
                break verdict;
            }
            if rules.changed().await.is_err() {
                return Ok(());
            }
        };
        let mut to = lane.to.lock().await;
        match verdict {
            Verdict::Pass | Verdict::Hold => to.write_all(&frame.bytes).await?,
            Verdict::CutBefore => return Ok(()),
            Verdict::CutWithin => {
                let half = &frame.bytes[..frame.bytes.len() / 2];
                return to.write_all(half).await;
            }
            Verdict::CutAfter => return to.write_all(&frame.bytes).await,
            Verdict::Answer { up, down } => {
                if !up.requests.is_empty() {
                    to.write_all(&encode(&up.encode_to_vec(), true)).await?;
                }
                drop(to);
                lane.back.lock().await.write_all(&encode(&down.encode_to_vec(), false)).await?;
            }
        }
    }
}

/// A websocket frame (RFC 6455, section 5.2). Neither side fragments its messages.
struct Frame {
    bytes: Bytes,
    opcode: u8,
    payload: Bytes,
}

impl Frame {
    /// Removes a whole frame from the front of `gathered`; `None` if the frame is not complete yet.
    fn split(gathered: &mut BytesMut) -> Option<Self> {
        let mut head = &gathered[..];
        if head.len() < 2 {
            return None;
        }
        let (first, second) = (head.get_u8(), head.get_u8());
        let length = match second & 0x7f {
            126 => head.try_get_u16().ok()?.into(),
            127 => usize::try_from(head.try_get_u64().ok()?).ok()?,
            n => usize::from(n),
        };
        let mask = match second & 0x80 {
            0 => [0; 4],
            _ => head.try_get_u32().ok()?.to_be_bytes(),
        };
        let start = gathered.len() - head.len();
        if head.len() < length {
            return None;
        }
        let bytes = gathered.split_to(start + length).freeze();
        let payload = bytes[start..].iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]).collect();
        Some(Self { bytes, opcode: first & 0x0f, payload })
    }

    /// The protocol message in this frame; `None` for any other frame.
    fn message(&self, is_up: bool) -> Option<Passing> {
        if self.opcode != 2 {
            return None;
        }
        let payload = self.payload.clone();
        match is_up {
            true => ClientFrame::decode(payload).ok().map(Passing::Up),
            false => ServerFrame::decode(payload).ok().map(Passing::Down),
        }
    }
}

/// Encodes a binary message as a websocket frame. The frame of a client must be masked; here the
/// mask is zero.
fn encode(payload: &[u8], is_masked: bool) -> Vec<u8> {
    let mask = if is_masked { 0x80 } else { 0 };
    let mut frame = vec![0x82];
    match payload.len() {
        n @ 0..126 => frame.push(mask | n as u8),
        n @ 126..0x1_0000 => {
            frame.push(mask | 126);
            frame.extend((n as u16).to_be_bytes());
        }
        n => {
            frame.push(mask | 127);
            frame.extend((n as u64).to_be_bytes());
        }
    }
    if is_masked {
        frame.extend([0; 4]);
    }
    frame.extend(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_where_they_end_and_unmasked() {
        for length in [0, 5, 125, 126, 200, 0xffff, 0x1_0000] {
            let payload = vec![7u8; length];
            let mut gathered = BytesMut::new();
            gathered.extend(encode(&payload, false));
            // Masks the payload with the bytes 1, 2, 3, 4.
            let mut masked = encode(&payload, true);
            let at = masked.len() - length;
            masked[at - 4..at].copy_from_slice(&[1, 2, 3, 4]);
            for (i, byte) in masked[at..].iter_mut().enumerate() {
                *byte ^= (i % 4 + 1) as u8;
            }
            gathered.extend(masked);
            let last = gathered.split_off(gathered.len() - 1);
            assert_eq!(Frame::split(&mut gathered).unwrap().payload, payload);
            assert!(Frame::split(&mut gathered).is_none(), "{length}: a part is no frame");
            gathered.extend(last);
            assert_eq!(Frame::split(&mut gathered).unwrap().payload, payload);
            assert!(gathered.is_empty());
        }
    }
}

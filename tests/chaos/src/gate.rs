//! A gate: a TCP proxy in front of a server that can refuse, stall and cut connections. A gate
//! keeps its address while the server behind it moves. The gate recognizes only where Kafka's
//! `Produce` requests begin; `driftless_e2e_tests::proxy` understands whole messages.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The treatment of connections and bytes by a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Open,
    /// The gate closes new connections at once.
    Refusing,
    /// The gate accepts and keeps connections, and no byte passes.
    Stalling,
    /// The gate holds appends to Kafka and lets everything else pass.
    HoldingAppends,
}

impl Stand {
    fn lets_down(self) -> bool {
        self != Self::Stalling
    }

    fn lets_up(self, has_appended: bool) -> bool {
        self.lets_down() && !(has_appended && self == Self::HoldingAppends)
    }
}

#[derive(Clone, Copy, Debug)]
struct State {
    stand: Stand,
    server: Option<SocketAddr>,
    /// The number of cuts. Each cut ends the connections that are open at that time.
    cuts: u64,
}

type Held = Arc<AtomicUsize>;

/// A running gate. Dropping it ends all its connections.
pub struct Gate {
    address: SocketAddr,
    state: watch::Sender<State>,
    held: Held,
    accepting: tokio::task::JoinHandle<()>,
}

impl Gate {
    /// Starts a gate on a free port. `server` is the server behind it, if there is one yet.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn start(server: Option<SocketAddr>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = watch::Sender::new(State { stand: Stand::Open, server, cuts: 0 });
        let (watching, held) = (state.subscribe(), Held::default());
        let holding = Arc::clone(&held);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, watching.clone(), Arc::clone(&holding)));
            }
        });
        Ok(Self { address, state, held, accepting })
    }

    /// The address to which clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the server for new connections; `None` connects them to no server.
    pub fn lead_to(&self, server: Option<SocketAddr>) {
        self.state.send_modify(|state| state.server = server);
    }

    /// Ends all connections.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Ends all connections and refuses new ones.
    pub fn refuse(&self) {
        self.state.send_modify(|state| {
            state.stand = Stand::Refusing;
            state.cuts += 1;
        });
    }

    /// Keeps all connections, and lets no byte pass.
    pub fn stall(&self) {
        self.state.send_modify(|state| state.stand = Stand::Stalling);
    }

    /// Holds appends to Kafka, and lets everything else pass. The service behind the gate continues
    /// to read and to decide, and stays a member of its group. Its appends arrive late.
    pub fn hold_appends(&self) {
        self.state.send_modify(|state| state.stand = Stand::HoldingAppends);
    }

    /// The number of appends that this gate has held so far.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Lets everything pass again.
    pub fn open(&self) {
        self.state.send_modify(|state| state.stand = Stand::Open);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

/// Carries one connection. Both of its sides are closed when this function ends, for whatever
/// reason.
async fn carry(client: TcpStream, mut state: watch::Receiver<State>, held: Held) {
    let cuts = state.borrow().cuts;
    let mut cut = state.clone();
    let carried = async {
        let State { stand, server, .. } = *opened(&mut state, Stand::lets_down).await?;
        let server = server.filter(|_| stand != Stand::Refusing).ok_or(io::ErrorKind::ConnectionRefused)?;
        let server = TcpStream::connect(server).await?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
        }
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        // When either side of the connection ends, the other side is ended too.
        tokio::select! {
            ended = pump_up(from_client, to_server, state.clone(), &held) => ended,
            ended = pump_down(from_server, to_client, state.clone()) => ended,
        }
    };
    tokio::select! {
        _ = carried => {}
        _ = cut.wait_for(|state| state.cuts != cuts) => {}
    }
}

/// Waits until the gate is in a state that lets these bytes pass.
async fn opened(state: &mut watch::Receiver<State>, lets: impl Fn(Stand) -> bool) -> io::Result<watch::Ref<'_, State>> {
    state.wait_for(|state| lets(state.stand)).await.map_err(|_| io::ErrorKind::ConnectionAborted.into())
}

async fn pump_down(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        drop(opened(&mut state, Stand::lets_down).await?);
        to.write_all(&buffer[..count]).await?;
    }
}

async fn pump_up(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    held: &Held,
) -> io::Result<()> {
    let (mut buffer, mut requests) = (vec![0; 64 * 1024], Requests::default());
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        requests.take(&buffer[..count]);
        let lets_up = |stand: Stand| stand.lets_up(requests.has_appended);
        if state.borrow().stand == Stand::HoldingAppends && requests.has_appended {
            held.fetch_add(1, Ordering::SeqCst);
        }
        drop(opened(&mut state, lets_up).await?);
        to.write_all(&buffer[..count]).await?;
    }
}

/// Finds the requests of Kafka's protocol in a stream of bytes. Each request begins with a length
/// of 4 bytes and then its API key. On a stream of another protocol the result has no meaning, and
/// no caller uses it.
#[derive(Default)]
struct Requests {
    head: Vec<u8>,
    left: usize,
    /// True if a `Produce` request has begun in the bytes so far.
    has_appended: bool,
}

impl Requests {
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let (more, rest) = bytes.split_at((6 - self.head.len()).min(bytes.len()));
            self.head.extend(more);
            bytes = rest;
            if let [a, b, c, d, key @ ..] = &self.head[..]
                && key.len() == PRODUCE.len()
            {
                // The length includes the API key, which has been read already.
                self.left = (u32::from_be_bytes([*a, *b, *c, *d]) as usize).saturating_sub(key.len());
                self.has_appended |= key == PRODUCE;
                self.head.clear();
            }
        }
    }
}

/// The API key of Kafka's `Produce` request.
const PRODUCE: [u8; 2] = [0, 0];

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Starts a server that sends back all bytes that it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn there_and_back(stream: &mut TcpStream) -> io::Result<[u8; 2]> {
        stream.write_all(b"hi").await?;
        let mut back = [0; 2];
        stream.read_exact(&mut back).await?;
        Ok(back)
    }

    #[tokio::test]
    async fn a_gate_passes_stalls_cuts_refuses_and_opens_again() {
        let gate = Gate::start(Some(echo().await)).await.unwrap();
        let connect = || TcpStream::connect(gate.address());
        let mut stream = connect().await.unwrap();
        assert_eq!(there_and_back(&mut stream).await.unwrap(), *b"hi");

        gate.stall();
        let mut during = connect().await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(50), there_and_back(&mut stream)).await;
        assert!(waited.is_err(), "nothing passes");
        gate.open();
        // The held bytes must pass now, and so must the bytes of a connection that was opened
        // meanwhile.
        stream.read_exact(&mut [0; 2]).await.unwrap();
        assert_eq!(there_and_back(&mut during).await.unwrap(), *b"hi");

        gate.cut();
        assert!(there_and_back(&mut stream).await.is_err());
        let mut again = connect().await.unwrap();
        assert_eq!(there_and_back(&mut again).await.unwrap(), *b"hi");

        gate.refuse();
        assert!(there_and_back(&mut again).await.is_err());
        assert!(there_and_back(&mut connect().await.unwrap()).await.is_err());
        gate.open();
        assert_eq!(there_and_back(&mut connect().await.unwrap()).await.unwrap(), *b"hi");
    }

    /// Makes a request of Kafka's protocol with this API key.
    fn request(key: u8) -> Vec<u8> {
        [&[0, 0, 0, 9, 0, key][..], &[key; 7]].concat()
    }

    #[test]
    fn requests_are_followed_however_they_are_cut() {
        for (keys, expected) in [(&[18, 3, 1][..], false), (&[18, 3, 0, 1], true)] {
            let bytes: Vec<u8> = keys.iter().flat_map(|key| request(*key)).collect();
            for size in 1..bytes.len() {
                let mut requests = Requests::default();
                bytes.chunks(size).for_each(|piece| requests.take(piece));
                assert_eq!((requests.has_appended, requests.left), (expected, 0), "{keys:?} by {size}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_appended_is_held_and_everything_else_passes() {
        let gate = Gate::start(Some(echo().await)).await.unwrap();
        let (mut appends, mut reads) =
            (TcpStream::connect(gate.address()).await.unwrap(), TcpStream::connect(gate.address()).await.unwrap());
        gate.hold_appends();
        appends.write_all(&request(0)).await.unwrap();
        reads.write_all(&request(1)).await.unwrap();
        reads.read_exact(&mut request(1)).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(50), appends.read(&mut [0])).await;
        assert!(waited.is_err(), "nothing came back");
        assert_eq!(gate.held(), 1);
        gate.open();
        appends.read_exact(&mut request(0)).await.unwrap();
    }

    #[tokio::test]
    async fn a_stalled_connection_can_be_cut() {
        let gate = Gate::start(Some(echo().await)).await.unwrap();
        gate.stall();
        let mut stream = TcpStream::connect(gate.address()).await.unwrap();
        stream.write_all(b"hi").await.unwrap();
        // The gate may not have accepted the connection yet, so the test cuts again until the
        // connection ends.
        loop {
            gate.cut();
            if let Ok(read) = tokio::time::timeout(Duration::from_millis(10), stream.read(&mut [0; 2])).await {
                assert_eq!(read.unwrap_or(0), 0);
                return;
            }
        }
    }
}

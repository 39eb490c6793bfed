//! A TCP proxy in the way to a server: it can refuse, stall and cut connections, and keeps its address while the server
//! behind it moves. It does not look into what passes; `driftless_e2e_tests::proxy` does.

use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How the gate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Open,
    /// New connections are closed at once.
    Refusing,
    /// Connections are taken and kept; no byte passes.
    Stalling,
    /// What clients send is held; what servers answer passes.
    Holding,
}

#[derive(Clone, Copy, Debug)]
struct State {
    stand: Stand,
    server: Option<SocketAddr>,
    /// Counts the cuts: what was open before ends.
    cuts: u64,
}

/// A running gate; with it all its connections end.
pub struct Gate {
    address: SocketAddr,
    state: watch::Sender<State>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Gate {
    /// A gate on a port of its own.
    ///
    /// # Errors
    /// Where there is no port.
    pub async fn start(server: Option<SocketAddr>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = watch::Sender::new(State { stand: Stand::Open, server, cuts: 0 });
        let watching = state.subscribe();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, watching.clone()));
            }
        });
        Ok(Self { address, state, accepting })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections lead to this server; `None`: to nobody.
    pub fn lead_to(&self, server: Option<SocketAddr>) {
        self.state.send_modify(|state| state.server = server);
    }

    /// Ends all connections.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Ends all connections, and takes no new ones.
    pub fn refuse(&self) {
        self.state.send_modify(|state| {
            state.stand = Stand::Refusing;
            state.cuts += 1;
        });
    }

    /// Lets nothing pass, and ends nothing.
    pub fn stall(&self) {
        self.state.send_modify(|state| state.stand = Stand::Stalling);
    }

    /// Holds what clients send, and lets answers pass: they see that all is well and go on, and what they do meanwhile
    /// arrives late.
    pub fn hold(&self) {
        self.state.send_modify(|state| state.stand = Stand::Holding);
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

/// However it ends, both sides are dropped.
async fn carry(client: TcpStream, mut state: watch::Receiver<State>) {
    let cuts = state.borrow().cuts;
    let mut cut = state.clone();
    let carried = async {
        let State { stand, server, .. } = *opened(&mut state, &[Stand::Stalling]).await?;
        let server = server.filter(|_| stand != Stand::Refusing).ok_or(io::ErrorKind::ConnectionRefused)?;
        let server = TcpStream::connect(server).await?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
        }
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        // Either end is the end of both.
        tokio::select! {
            ended = pump(from_client, to_server, state.clone(), &[Stand::Stalling, Stand::Holding]) => ended,
            ended = pump(from_server, to_client, state.clone(), &[Stand::Stalling]) => ended,
        }
    };
    tokio::select! {
        _ = carried => {}
        _ = cut.wait_for(|state| state.cuts != cuts) => {}
    }
}

/// Waits while the gate stands in one of these ways.
async fn opened<'a>(state: &'a mut watch::Receiver<State>, closed: &[Stand]) -> io::Result<watch::Ref<'a, State>> {
    let opened = state.wait_for(|state| !closed.contains(&state.stand)).await;
    opened.map_err(|_| io::ErrorKind::ConnectionAborted.into())
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    closed: &[Stand],
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        drop(opened(&mut state, closed).await?);
        to.write_all(&buffer[..count]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A server that gives back what it gets.
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
        // What was held passes, and so does what connected meanwhile.
        stream.read_exact(&mut [0; 2]).await.unwrap();
        assert_eq!(there_and_back(&mut during).await.unwrap(), *b"hi");

        gate.hold();
        let waited = tokio::time::timeout(Duration::from_millis(50), there_and_back(&mut stream)).await;
        assert!(waited.is_err(), "nothing passes upwards");
        gate.open();
        stream.read_exact(&mut [0; 2]).await.unwrap();

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

    #[tokio::test]
    async fn a_stalled_connection_can_be_cut() {
        let gate = Gate::start(Some(echo().await)).await.unwrap();
        gate.stall();
        let mut stream = TcpStream::connect(gate.address()).await.unwrap();
        stream.write_all(b"hi").await.unwrap();
        // It may not be taken yet; once it is, the next cut ends it.
        loop {
            gate.cut();
            if let Ok(read) = tokio::time::timeout(Duration::from_millis(10), stream.read(&mut [0; 2])).await {
                assert_eq!(read.unwrap_or(0), 0);
                return;
            }
        }
    }
}

//! The crowd: thousands of clients in one thread. Some are slow, some stall, some lose their
//! connection.

use super::client::{Client, Connection, Disconnect, Kind, SLOW_BYTES_PER_SECOND, connect};
use crate::writers::EditKey;
use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use driftless_auth::Signer;
use driftless_runtime::clock::{Clock, unix_now};
use driftless_schemas::access::Access;
use driftless_schemas::proto::{ServerFrame, Updates, event};
use driftless_schemas::{ChunkId, Hash, Version, WriterId, format};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// The interval between two reads of a slow client.
const SLOW_READ_INTERVAL: Duration = Duration::from_millis(100);
/// How long a client catches up after it has reconnected, in milliseconds. Its latencies do not
/// count during this time.
const CATCHING_UP_MS: u64 = 2_000;
/// The pause that a closed client asks for before it reconnects. The connecting thread waits at
/// most 20 ms of it.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(120);

/// The composition of the crowd.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mix {
    pub fast: usize,
    pub slow: usize,
    pub stalled: usize,
    /// Number of fast clients a minute that lose their connection.
    pub reconnects: u32,
}

/// Counts over one run and all clients.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(super) struct Tally {
    pub updates: u64,
    /// Number of times that a chunk began to lag for a client.
    pub lagging: usize,
    pub reconnects: u64,
    /// Number of sockets that the server closed, by close code; 0 means that there was no close
    /// frame.
    pub closed: BTreeMap<u16, u64>,
    /// Number of times that a client found a replica that differed from the log.
    pub drifts: usize,
}

/// The clients, their sockets and their measurements.
pub(super) struct Crowd {
    address: SocketAddr,
    clients: Vec<Client>,
    poll: Poll,
    events: Events,
    /// Sends clients to a thread that reconnects them, because connecting blocks. An entry holds
    /// the client's index, its kind and the pause before the attempt.
    to_connect: Sender<(usize, Kind, Duration)>,
    /// Receives the new sockets from that thread.
    connected: Receiver<(usize, Result<Connection>)>,
    /// Index of each chunk, by its id.
    numbers: HashMap<String, u16>,
    /// The due time of each measured edit.
    due: Arc<HashMap<EditKey, Instant>>,
    /// Times from an edit's due time to the arrival of its update at a fast client.
    pub latencies: Vec<Duration>,
    pub tally: Tally,
    clock: Clock,
    ticked: Instant,
    slow_read_at: Instant,
    /// Index of the fast client that was the last to be disconnected on purpose.
    next_disconnected: usize,
}

fn kinds(mix: Mix) -> impl Iterator<Item = Kind> {
    let of = |kind, count| std::iter::repeat_n(kind, count);
    of(Kind::Fast, mix.fast).chain(of(Kind::Slow, mix.slow)).chain(of(Kind::Stalled, mix.stalled))
}

impl Crowd {
    /// Connects all clients, and waits until each has its chunks. Blocks.
    pub fn open(address: SocketAddr, signer: &Signer, mix: Mix, chunks: &[ChunkId]) -> Result<Self> {
        let (to_connect, wishes) = channel::<(usize, Kind, Duration)>();
        let (to_crowd, connected) = channel();
        std::thread::spawn(move || {
            for (at, kind, after) in wishes {
                std::thread::sleep(after.min(Duration::from_millis(20)));
                if to_crowd.send((at, connect(address, kind))).is_err() {
                    return;
                }
            }
        });
        let mut crowd = Self {
            address,
            clients: Vec::new(),
            poll: Poll::new()?,
            events: Events::with_capacity(4096),
            to_connect,
            connected,
            numbers: chunks.iter().map(ChunkId::to_string).zip(0..).collect(),
            due: Arc::default(),
            latencies: Vec::new(),
            tally: Tally::default(),
            clock: Clock::default(),
            ticked: Instant::now(),
            slow_read_at: Instant::now(),
            next_disconnected: 0,
        };
        let access = Access { read: vec!["canvas/".into()], ..Access::default() };
        for (i, kind) in kinds(mix).enumerate() {
            let token = signer.issue(&format!("client-{i}"), &access, unix_now(), 24 * 3600)?;
            // Slow and stalled clients track more chunks, so that their updates exceed their rate.
            let width = if kind == Kind::Fast { 2 } else { 16 };
            let tracked = (0..width).map(|k| chunks[(i * 7 + k) % chunks.len()].clone()).collect();
            crowd.clients.push(Client::new(kind, token, tracked, crowd.clock.monotonic()));
            let connection = connect(crowd.address, kind)?;
            crowd.take_connection(i, connection)?;
            if i % 64 == 0 {
                crowd.poll_once(Duration::ZERO)?;
            }
        }
        let deadline = Instant::now() + PATIENCE;
        while let Some(waiting) = crowd.clients.iter().position(|client| !client.is_live()) {
            ensure!(Instant::now() < deadline, "client {waiting} has not got its chunks within {PATIENCE:?}");
            crowd.poll_once(Duration::from_millis(10))?;
        }
        crowd.tally = Tally::default();
        Ok(crowd)
    }

    fn take_connection(&mut self, at: usize, connection: Connection) -> Result<()> {
        let now = self.clock.monotonic();
        let fd = self.clients[at].opened(connection, now);
        self.poll.registry().register(&mut SourceFd(&fd), Token(at), Interest::READABLE)?;
        Ok(())
    }

    /// Sets the edits whose latency is measured.
    pub fn expect(&mut self, due: HashMap<EditKey, Instant>) {
        self.due = Arc::new(due);
    }

    /// Runs the crowd until the given time. Slow clients read slowly, stalled clients read nothing,
    /// and some fast clients lose their connections.
    pub fn run_until(&mut self, until: Instant, mix: Mix) -> Result<()> {
        for client in &mut self.clients {
            if client.kind != Kind::Fast {
                client.allow(0);
            }
        }
        let pause = Duration::from_secs(60) / mix.reconnects.max(1);
        let mut next_disconnected = Instant::now() + pause;
        while Instant::now() < until {
            if mix.reconnects > 0 && Instant::now() >= next_disconnected {
                next_disconnected += pause;
                self.disconnect_one(mix.fast);
            }
            if self.slow_read_at.elapsed() >= SLOW_READ_INTERVAL {
                self.slow_read_at = Instant::now();
                self.read_slowly()?;
            }
            self.poll_once(Duration::from_millis(1))?;
        }
        Ok(())
    }

    fn disconnect_one(&mut self, fast: usize) {
        // This step gives every client its turn before a client is disconnected a second time.
        self.next_disconnected = (self.next_disconnected + 2_654_435_761) % fast.max(1);
        let (at, now) = (self.next_disconnected, self.clock.monotonic());
        if self.clients[at].is_open() {
            self.clients[at].drop_connection(now);
            self.tally.reconnects += 1;
            let _ = self.to_connect.send((at, Kind::Fast, Duration::ZERO));
        }
    }

    fn read_slowly(&mut self) -> Result<()> {
        for at in 0..self.clients.len() {
            match self.clients[at].kind {
                Kind::Fast => {}
                Kind::Slow => {
                    self.clients[at].allow(SLOW_BYTES_PER_SECOND / 10);
                    self.read(at)?;
                }
                // A stalled client that has reconnected reads until it has its chunks.
                Kind::Stalled if self.clients[at].is_live() => self.clients[at].allow(0),
                Kind::Stalled => {}
            }
        }
        Ok(())
    }

    /// Reads without limits until each replica equals the server's chunk. Returns the number of
    /// compared replicas.
    pub fn drain(&mut self, truth: &HashMap<ChunkId, (Version, Hash)>) -> Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for at in 0..self.clients.len() {
                self.clients[at].allow(usize::MAX);
                if self.clients[at].kind != Kind::Fast {
                    self.read(at)?;
                }
            }
            self.poll_once(Duration::from_millis(20))?;
            let behind = self.clients.iter_mut().enumerate().find_map(|(at, client)| {
                let chunks = client.chunks.clone();
                let differs = chunks.into_iter().find(|chunk| client.confirmed(chunk).as_ref() != truth.get(chunk))?;
                let (confirmed, kind) = (client.confirmed(&differs), client.kind);
                Some((at, kind, confirmed, differs))
            });
            let Some((at, kind, confirmed, chunk)) = behind else { break };
            if Instant::now() > deadline {
                bail!(
                    "client {at} ({kind:?}) has {confirmed:?} of {chunk} {PATIENCE:?} after the last edit, and the server has {:?}",
                    truth.get(&chunk)
                );
            }
        }
        self.tally.drifts = self.clients.iter().map(|client| client.drifts).sum();
        Ok(self.clients.iter().map(|client| client.chunks.len()).sum())
    }

    /// Waits for events for at most `wait`, reads from the ready sockets, and takes new
    /// connections.
    fn poll_once(&mut self, wait: Duration) -> Result<()> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        match self.poll.poll(&mut events, Some(wait)) {
            Err(e) if e.kind() != std::io::ErrorKind::Interrupted => return Err(e.into()),
            _ => {}
        }
        for event in &events {
            let at = event.token().0;
            let client = &mut self.clients[at];
            // A stalled client reads nothing, so it would not notice the end of its stream either.
            // From now on it reads without a limit.
            if client.kind == Kind::Stalled && event.is_read_closed() && client.is_live() {
                client.allow(usize::MAX);
            }
            self.read(at)?;
        }
        self.events = events;
        while let Ok((at, connection)) = self.connected.try_recv() {
            match connection {
                Ok(connection) if !self.clients[at].is_open() => self.take_connection(at, connection)?,
                Ok(_) => {}
                Err(_) => drop(self.to_connect.send((at, self.clients[at].kind, RECONNECT_AFTER))),
            }
        }
        if self.ticked.elapsed() >= Duration::from_secs(1) {
            self.ticked = Instant::now();
            let now = self.clock.monotonic();
            for at in 0..self.clients.len() {
                if let Err(lost) = self.clients[at].tick(now) {
                    self.lost(at, lost);
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, at: usize) -> Result<()> {
        let now = self.clock.monotonic();
        let Self { clients, numbers, due, latencies, tally, .. } = self;
        let client = &mut clients[at];
        let is_measured = client.kind == Kind::Fast && now >= client.since.plus_ms(CATCHING_UP_MS);
        let mut broken = None;
        let read = client.read(now, &mut |message| {
            let arrived = Instant::now();
            match updates(message) {
                Ok((updates, lagging)) => {
                    tally.lagging += lagging;
                    for updates in updates {
                        tally.updates += 1;
                        let chunk = numbers.get(&updates.chunk_id).filter(|_| is_measured);
                        for entry in updates.entries {
                            if let (Some(chunk), Some(writer)) = (chunk, WriterId::from_slice(&entry.writer))
                                && let Some(due) = due.get(&(writer, *chunk, entry.seq))
                            {
                                latencies.push(arrived.saturating_duration_since(*due));
                            }
                        }
                    }
                }
                Err(e) => broken = Some(e),
            }
        });
        if let Some(e) = broken {
            return Err(e);
        }
        if let Err(lost) = read {
            self.lost(at, lost);
        }
        Ok(())
    }

    fn lost(&mut self, at: usize, lost: Disconnect) {
        let code = match lost {
            Disconnect::Closed(Some(code)) => code,
            Disconnect::Closed(None) | Disconnect::Broken | Disconnect::Dropped => 0,
        };
        *self.tally.closed.entry(code).or_default() += 1;
        let _ = self.to_connect.send((at, self.clients[at].kind, RECONNECT_AFTER));
    }
}

/// Returns the updates in a message, and the number of chunks that begin to lag.
fn updates(message: &Bytes) -> Result<(Vec<Updates>, usize)> {
    let frame: ServerFrame = format::decode("ServerFrame", message.clone())?;
    let mut lagging = 0;
    let mut all = Vec::new();
    for event in frame.events {
        match event.body {
            Some(event::Body::Updates(bytes)) => all.push(format::decode("Updates", bytes)?),
            Some(event::Body::Lagging(_)) => lagging += 1,
            _ => {}
        }
    }
    Ok((all, lagging))
}

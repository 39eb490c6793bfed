//! The crowd: thousands of clients in one thread, of which some are slow, some stall, and some are lost now and then.

use super::player::{Kind, Line, Lost, Player, SLOW_BYTES_PER_SECOND, connect};
use crate::writers::EditKey;
use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use driftless_auth::Signer;
use driftless_runtime::clock::unix_now;
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

/// Slow clients read this often.
const SIP: Duration = Duration::from_millis(100);
/// Who has just come again is catching up: what it sees then is no measure of the server's speed.
const CATCHING_UP_MS: u64 = 2_000;
/// A client that was let go comes again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(120);

/// Who there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mix {
    pub fast: usize,
    pub slow: usize,
    pub stalled: usize,
    /// A minute, among the fast ones.
    pub reconnects: u32,
}

/// What happened.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(super) struct Tally {
    pub updates: u64,
    /// Chunks that began to lag for a client.
    pub lagging: usize,
    pub reconnects: u64,
    /// Sockets that the server closed, by code; 0 is without a close frame.
    pub closed: BTreeMap<u16, u64>,
    /// Replicas that differed from the log.
    pub drifts: usize,
}

/// The clients.
pub(super) struct Crowd {
    address: SocketAddr,
    players: Vec<Player>,
    poll: Poll,
    events: Events,
    /// Clients to connect again, and their new sockets: connecting blocks.
    to_connect: Sender<(usize, Kind, Duration)>,
    connected: Receiver<(usize, Result<Line>)>,
    numbers: HashMap<String, u16>,
    due: Arc<HashMap<EditKey, Instant>>,
    pub latencies: Vec<Duration>,
    pub tally: Tally,
    began: Instant,
    ticked: Instant,
    sipped: Instant,
    /// The next fast client that loses its line.
    next_lost: usize,
}

fn kinds(mix: Mix) -> impl Iterator<Item = Kind> {
    let of = |kind, count| std::iter::repeat_n(kind, count);
    of(Kind::Fast, mix.fast).chain(of(Kind::Slow, mix.slow)).chain(of(Kind::Stalled, mix.stalled))
}

impl Crowd {
    /// Connects them all, and waits until each has its chunks. Blocks.
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
            players: Vec::new(),
            poll: Poll::new()?,
            events: Events::with_capacity(4096),
            to_connect,
            connected,
            numbers: chunks.iter().map(ChunkId::to_string).zip(0..).collect(),
            due: Arc::default(),
            latencies: Vec::new(),
            tally: Tally::default(),
            began: Instant::now(),
            ticked: Instant::now(),
            sipped: Instant::now(),
            next_lost: 0,
        };
        let access = Access { read: vec!["canvas/".into()], ..Access::default() };
        for (i, kind) in kinds(mix).enumerate() {
            let token = signer.issue(&format!("player-{i}"), &access, unix_now(), 24 * 3600)?;
            // Slow and stalled ones look at more: else they would not be slow.
            let width = if kind == Kind::Fast { 2 } else { 16 };
            let tracked = (0..width).map(|k| chunks[(i * 7 + k) % chunks.len()].clone()).collect();
            crowd.players.push(Player::new(kind, token, tracked, crowd.now_ms()));
            let line = connect(crowd.address, kind)?;
            crowd.take_line(i, line)?;
            if i % 64 == 0 {
                crowd.turn(Duration::ZERO)?;
            }
        }
        let deadline = Instant::now() + PATIENCE;
        while let Some(waiting) = crowd.players.iter().position(|player| !player.is_live()) {
            ensure!(Instant::now() < deadline, "client {waiting} has not got its chunks within {PATIENCE:?}");
            crowd.turn(Duration::from_millis(10))?;
        }
        crowd.tally = Tally::default();
        Ok(crowd)
    }

    fn now_ms(&self) -> u64 {
        // The core's clock must not go back.
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX) + 1_700_000_000_000
    }

    fn take_line(&mut self, at: usize, line: Line) -> Result<()> {
        let now_ms = self.now_ms();
        let fd = self.players[at].opened(line, now_ms);
        self.poll.registry().register(&mut SourceFd(&fd), Token(at), Interest::READABLE)?;
        Ok(())
    }

    /// Edits that are looked out for.
    pub fn expect(&mut self, due: HashMap<EditKey, Instant>) {
        self.due = Arc::new(due);
    }

    /// Lives until then: slow ones read slowly, stalled ones do not, some lose their lines.
    pub fn live(&mut self, until: Instant, mix: Mix) -> Result<()> {
        for player in &mut self.players {
            if player.kind != Kind::Fast {
                player.allow(0);
            }
        }
        let pause = Duration::from_secs(60) / mix.reconnects.max(1);
        let mut next_lost = Instant::now() + pause;
        while Instant::now() < until {
            if mix.reconnects > 0 && Instant::now() >= next_lost {
                next_lost += pause;
                self.lose_one(mix.fast);
            }
            if self.sipped.elapsed() >= SIP {
                self.sipped = Instant::now();
                self.sip()?;
            }
            self.turn(Duration::from_millis(1))?;
        }
        Ok(())
    }

    fn lose_one(&mut self, fast: usize) {
        // A step that meets all of them before it meets one again.
        self.next_lost = (self.next_lost + 2_654_435_761) % fast.max(1);
        let (at, now_ms) = (self.next_lost, self.now_ms());
        if self.players[at].is_open() {
            self.players[at].vanish(now_ms);
            self.tally.reconnects += 1;
            let _ = self.to_connect.send((at, Kind::Fast, Duration::ZERO));
        }
    }

    fn sip(&mut self) -> Result<()> {
        for at in 0..self.players.len() {
            match self.players[at].kind {
                Kind::Fast => {}
                Kind::Slow => {
                    self.players[at].allow(SLOW_BYTES_PER_SECOND / 10);
                    self.read(at)?;
                }
                // One that has come again gets its chunks first.
                Kind::Stalled if self.players[at].is_live() => self.players[at].allow(0),
                Kind::Stalled => {}
            }
        }
        Ok(())
    }

    /// Reads everything from now on, until each replica is what the server says. Gives the replicas that were compared.
    pub fn rest(&mut self, truth: &HashMap<ChunkId, (Version, Hash)>) -> Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for at in 0..self.players.len() {
                self.players[at].allow(usize::MAX);
                if self.players[at].kind != Kind::Fast {
                    self.read(at)?;
                }
            }
            self.turn(Duration::from_millis(20))?;
            let behind = self.players.iter_mut().enumerate().find_map(|(at, player)| {
                let chunks = player.chunks.clone();
                let differs = chunks.into_iter().find(|chunk| player.holds(chunk).as_ref() != truth.get(chunk))?;
                let (holds, kind) = (player.holds(&differs), player.kind);
                Some((at, kind, holds, differs))
            });
            let Some((at, kind, holds, chunk)) = behind else { break };
            if Instant::now() > deadline {
                bail!(
                    "client {at} ({kind:?}) holds {holds:?} of {chunk} {PATIENCE:?} after the last edit, and the server {:?}",
                    truth.get(&chunk)
                );
            }
        }
        self.tally.drifts = self.players.iter().map(|player| player.drifts).sum();
        Ok(self.players.iter().map(|player| player.chunks.len()).sum())
    }

    /// Waits a little for sockets, and takes what is there.
    fn turn(&mut self, wait: Duration) -> Result<()> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        match self.poll.poll(&mut events, Some(wait)) {
            Err(e) if e.kind() != std::io::ErrorKind::Interrupted => return Err(e.into()),
            _ => {}
        }
        for event in &events {
            let at = event.token().0;
            let player = &mut self.players[at];
            // Who reads nothing does not read the end either.
            if player.kind == Kind::Stalled && event.is_read_closed() && player.is_live() {
                player.allow(usize::MAX);
            }
            self.read(at)?;
        }
        self.events = events;
        while let Ok((at, line)) = self.connected.try_recv() {
            match line {
                Ok(line) if !self.players[at].is_open() => self.take_line(at, line)?,
                Ok(_) => {}
                Err(_) => drop(self.to_connect.send((at, self.players[at].kind, AGAIN_AFTER))),
            }
        }
        if self.ticked.elapsed() >= Duration::from_secs(1) {
            self.ticked = Instant::now();
            let now_ms = self.now_ms();
            for at in 0..self.players.len() {
                if let Err(lost) = self.players[at].tick(now_ms) {
                    self.lost(at, lost);
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, at: usize) -> Result<()> {
        let now_ms = self.now_ms();
        let Self { players, numbers, due, latencies, tally, .. } = self;
        let player = &mut players[at];
        let is_measured = player.kind == Kind::Fast && now_ms >= player.since_ms + CATCHING_UP_MS;
        let mut broken = None;
        let read = player.read(now_ms, &mut |message| {
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

    fn lost(&mut self, at: usize, lost: Lost) {
        let code = match lost {
            Lost::Closed(Some(code)) => code,
            Lost::Closed(None) | Lost::Broken | Lost::Dropped => 0,
        };
        *self.tally.closed.entry(code).or_default() += 1;
        let _ = self.to_connect.send((at, self.players[at].kind, AGAIN_AFTER));
    }
}

/// The updates in a message, and how many chunks begin to lag.
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

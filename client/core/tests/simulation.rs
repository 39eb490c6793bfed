//! A simulation of clients and an in-memory server, with lost, delayed, duplicated and reordered
//! messages, reconnects, rejections, lagging, gateways that are behind, evictions, logs that lose
//! their newest records, and worlds that begin anew. One seed determines one run.
//!
//! The oracle checks: every command ends with exactly one outcome that agrees with the decider in
//! the history that the client knew then (R8); no writer uses a number for two commands, in any
//! history; the client reports each history that it meets exactly once; no command reaches a world
//! that the gateway has not named; the user's order is kept; once the faults stop, every command
//! ends within a bounded number of steps; at rest the view, the confirmed replica and the log are
//! equal (R10).

use bytes::Bytes;
use driftless_chunk::model::Models;
use driftless_client_core::{ChunkStatus, ClientCore, CommandId, Event, Outcome, Settings, Socket};
use driftless_scenes::client::{CHUNK, Server, chunk, frame, put, requests};
use driftless_schemas::proto::{
    self, DiscardReason, Lagging, Pong, Receipt, RejectCode, Rejected, Retry, TrackRejectCode, TrackRejected, event,
    request, submit,
};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{HistoryId, Version, WorldId, WriterId, format};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// The rates of faults. A run draws them once at its start, so that some runs have, for example,
/// mostly losses or cancellations.
struct FaultRates {
    /// Percentage of transmissions that are lost or delayed between ingest and the log.
    lost: usize,
    rejected: usize,
    cancels: usize,
    bursts: usize,
    /// Percentage of attempts to connect that succeed.
    connects: usize,
    /// Percentage of the chances to lose a part of the history that come true.
    losses: usize,
    /// Milliseconds by which the server's clock is behind.
    clock_slow_ms: u64,
}

/// A connection between a client and ingest or a gateway, with the messages in flight both ways.
#[derive(Default)]
struct Link {
    is_up: bool,
    up: VecDeque<Bytes>,
    down: VecDeque<Bytes>,
    writer: Option<WriterId>,
    /// The number of records that the gateway has read.
    read: usize,
    /// The index of the next record to send; `None` while the chunk is not tracked.
    sent: Option<usize>,
    is_lagging: bool,
    /// A Track that waits until the gateway has caught up (R12).
    held: Option<proto::Track>,
}

/// A client and its user.
struct Peer {
    name: String,
    core: ClientCore,
    ingest: Link,
    gateway: Link,
    submitted: Vec<(CommandId, String)>,
    /// Each outcome, with the history that the client knew then.
    outcomes: BTreeMap<CommandId, (Outcome, HistoryId)>,
    /// The history that the last Tracked named; `None` before the first one.
    history: Option<HistoryId>,
    /// Whether the client has sent Track, and no TrackRejected came since. Otherwise it ignores a
    /// Tracked.
    is_track_sent: bool,
    /// The world that a gateway named last.
    world: Option<WorldId>,
    /// The number of Tracked that named another history than the one before.
    changes: usize,
    /// The number of changes that the client has reported.
    changes_told: usize,
    /// Submissions that are delayed in ingest's Kafka producer. Each may still be appended, in any
    /// order.
    late: Vec<(WriterId, proto::Submit)>,
}

struct Sim {
    rng: Rng,
    now: MonotonicMs,
    server: Server,
    peers: Vec<Peer>,
    rates: FaultRates,
    is_faulty: bool,
    evictions: usize,
    /// The number of times that the server lost a part of its history, or all of its world.
    losses: u64,
    /// The command for which each writer used each number.
    numbers: BTreeMap<(WriterId, u64), Option<submit::Body>>,
    trace: String,
}

impl Sim {
    fn new(seed: u64, peers: usize) -> Self {
        let peer = |i| Peer {
            name: format!("p{i}"),
            core: {
                let mut core = ClientCore::new(Settings::new(Models::builtin()));
                core.track(MonotonicMs(1_000_000), &chunk());
                core
            },
            ingest: Link::default(),
            gateway: Link::default(),
            submitted: Vec::new(),
            outcomes: BTreeMap::new(),
            history: None,
            is_track_sent: false,
            world: None,
            changes: 0,
            changes_told: 0,
            late: Vec::new(),
        };
        let mut rng = Rng(seed);
        let rates = FaultRates {
            lost: [2, 10, 50][rng.below(3)],
            rejected: [0, 5, 40][rng.below(3)],
            cancels: [5, 25, 80][rng.below(3)],
            bursts: [0, 5, 30][rng.below(3)],
            connects: [5, 100, 100][rng.below(3)],
            losses: [0, 0, 50][rng.below(3)],
            clock_slow_ms: [0, 900_000][rng.below(2)],
        };
        let mut server = Server::new();
        server.world = Some(WorldId([0; 16]));
        Self {
            rng,
            rates,
            now: MonotonicMs(1_000_000),
            server,
            peers: (0..peers).map(peer).collect(),
            is_faulty: true,
            evictions: 0,
            losses: 0,
            numbers: BTreeMap::new(),
            trace: String::new(),
        }
    }

    fn step(&mut self) {
        self.now = self.now.plus_ms(self.rng.below(40) as u64);
        let i = self.rng.below(self.peers.len());
        match self.rng.below(20) {
            0..5 => self.carry_up(i, Socket::Ingest),
            5..7 => self.carry_up(i, Socket::Gateway),
            7..9 => self.carry_down(i, Socket::Ingest),
            9..12 => self.carry_down(i, Socket::Gateway),
            12..14 => {
                let count = 1 + self.rng.below(60);
                self.server.decide(count);
            }
            14..16 => self.gateway(i),
            16 if !self.is_faulty || self.rng.chance(self.rates.connects) => self.connect(i),
            17 => self.late(i),
            18 if self.is_faulty => self.fault(i),
            _ => {}
        }
        if self.is_faulty && self.rng.chance(8) {
            self.user(i);
        }
        for i in 0..self.peers.len() {
            self.turn(i);
        }
    }

    fn user(&mut self, i: usize) {
        let count = if self.rng.chance(self.rates.bursts) { 50 + self.rng.below(50) } else { 1 + self.rng.below(3) };
        if self.rng.chance(self.rates.cancels) && !self.peers[i].submitted.is_empty() {
            let peer = &mut self.peers[i];
            let many = if self.rng.chance(10) { 80 } else { 3 };
            for _ in 0..many {
                let back = self.rng.below(peer.submitted.len().min(many));
                let (id, _) = peer.submitted[peer.submitted.len() - 1 - back];
                peer.core.cancel(self.now, &chunk(), id);
            }
            return;
        }
        for _ in 0..count {
            let peer = &mut self.peers[i];
            let value = format!("{}-{}", peer.name, peer.submitted.len());
            let key = format!("k{}", self.rng.below(30));
            if let Ok(id) = peer.core.submit(self.now, &chunk(), put(&key, &value, self.rng.chance(20))) {
                peer.submitted.push((id, value));
            }
        }
    }

    fn fault(&mut self, i: usize) {
        let socket = if self.rng.chance(50) { Socket::Ingest } else { Socket::Gateway };
        match self.rng.below(12) {
            0..3 => {
                self.peers[i].link(socket).drop_all();
                self.peers[i].core.disconnected(self.now, socket, None);
            }
            3..6 => {
                let link = &mut self.peers[i].gateway;
                if link.sent.is_some() && !link.is_lagging {
                    link.is_lagging = true;
                    link.down.push_back(frame([event::Body::Lagging(Lagging { chunk_id: CHUNK.into() })]));
                }
            }
            6 if self.rng.chance(15) => {
                self.evictions += 1;
                self.server.fill_ledger(self.now.0);
            }
            7 => self.now = self.now.plus_ms(4_000),
            8 if self.rng.chance(self.rates.losses) => self.lose_history(),
            _ => {}
        }
    }

    /// The server loses its newest records and begins another history, or it becomes another world.
    fn lose_history(&mut self) {
        self.losses += 1;
        let mut id = [0; 16];
        id[8..].copy_from_slice(&self.losses.to_be_bytes());
        writeln!(self.trace, "{} loss {}", self.now.0, self.losses).unwrap();
        if self.rng.chance(30) {
            self.server.begin_world(WorldId(id), HistoryId(id));
            for peer in &mut self.peers {
                peer.late.clear();
                for socket in [Socket::Ingest, Socket::Gateway] {
                    peer.link(socket).drop_all();
                    peer.core.disconnected(self.now, socket, None);
                }
            }
            return;
        }
        let records = self.server.records.len();
        let keep = records - self.rng.below(records.min(8));
        let commands = if self.rng.chance(50) { usize::MAX } else { 0 };
        self.server.begin_history(HistoryId(id), keep, commands);
        for link in self.peers.iter_mut().map(|peer| &mut peer.gateway).filter(|link| link.is_up) {
            link.read = link.read.min(keep);
            if link.sent.is_some_and(|sent| sent > keep) {
                link.drop_track();
            }
        }
    }

    fn connect(&mut self, i: usize) {
        for socket in [Socket::Ingest, Socket::Gateway] {
            let records = self.server.records.len();
            let behind = if self.is_faulty { self.rng.below(4).min(records - 1) } else { 0 };
            let link = self.peers[i].link(socket);
            if !link.is_up {
                *link = Link { is_up: true, read: records - behind, ..Link::default() };
                self.peers[i].core.connected(self.now, socket, "token".into());
                return;
            }
        }
    }

    /// Delivers one frame from a client to ingest or to its gateway.
    fn carry_up(&mut self, i: usize, socket: Socket) {
        let Some(message) = self.peers[i].link(socket).up.pop_front() else { return };
        for body in requests(message) {
            match body {
                request::Body::Hello(hello) => {
                    let (welcome, writer) =
                        self.server.hello(self.now.0 - self.rates.clock_slow_ms, &hello, &self.peers[i].name);
                    let link = self.peers[i].link(socket);
                    link.writer = Some(writer);
                    link.down.push_back(frame([event::Body::Welcome(welcome)]));
                }
                request::Body::Ping(ping) => {
                    let pong = frame([event::Body::Pong(Pong { nonce: ping.nonce })]);
                    self.peers[i].link(socket).down.push_back(pong);
                }
                request::Body::Submit(submit) => self.ingest(i, submit),
                request::Body::Track(track) => {
                    self.peers[i].gateway.held = Some(track);
                    self.answer_track(i);
                }
                request::Body::Untrack(_) => {
                    let link = &mut self.peers[i].gateway;
                    (link.sent, link.held, link.is_lagging) = (None, None, false);
                }
                request::Body::Refresh(refresh) => {
                    if let Some(sent) = self.peers[i].gateway.sent {
                        let bodies = self.server.updates_above(refresh.version, 0, sent - 1);
                        self.peers[i].gateway.down.push_back(frame(bodies));
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn ingest(&mut self, i: usize, submit: proto::Submit) {
        let writer = self.peers[i].ingest.writer.unwrap();
        assert_eq!(self.peers[i].world, self.server.world, "a command for one world reaches another");
        let body = self.numbers.entry((writer, submit.seq)).or_insert(submit.body.clone());
        assert_eq!(*body, submit.body, "R8: number {} of {writer} is used twice", submit.seq);
        let receipt = event::Body::Receipt(Receipt { chunk_id: CHUNK.into(), seq: submit.seq });
        let rejected = |code: RejectCode, retry: Retry, retry_after_ms| {
            let (code, retry) = (code.into(), retry.into());
            let rejected = Rejected {
                chunk_id: CHUNK.into(),
                seq: submit.seq,
                code,
                retry,
                retry_after_ms,
                message: String::new(),
            };
            Some(event::Body::Rejected(rejected))
        };
        let FaultRates { lost, rejected: refused, .. } = self.rates;
        let answer = match self.rng.below(100) {
            _ if !self.is_faulty => {
                self.server.append(writer, &submit);
                Some(receipt)
            }
            n if n < lost => match self.rng.below(5) {
                0 => {
                    self.server.append(writer, &submit);
                    None
                }
                1 => {
                    self.peers[i].late.push((writer, submit));
                    None
                }
                2 => {
                    self.server.append(writer, &submit);
                    self.peers[i].late.push((writer, submit));
                    Some(receipt)
                }
                _ => None,
            },
            n if n < lost + refused => match self.rng.below(3) {
                0 => rejected(RejectCode::NoWriteAccess, Retry::Final, 0),
                _ => rejected(RejectCode::RateLimited, Retry::After, self.rng.below(300) as u32),
            },
            _ => {
                self.server.append(writer, &submit);
                Some(receipt)
            }
        };
        self.peers[i].ingest.down.extend(answer.map(|body| frame([body])));
    }

    /// Appends a delayed submission to the log. Later submissions may have overtaken it, and it may
    /// be a duplicate.
    fn late(&mut self, i: usize) {
        if self.peers[i].late.is_empty() {
            return;
        }
        let n = self.rng.below(self.peers[i].late.len());
        let (writer, submit) = self.peers[i].late.swap_remove(n);
        self.server.append(writer, &submit);
    }

    fn carry_down(&mut self, i: usize, socket: Socket) {
        // Concatenated frames are one valid frame.
        let joined = 1 + self.rng.below(4);
        let link = self.peers[i].link(socket);
        let frames: Vec<Bytes> = (0..joined).filter_map(|_| link.down.pop_front()).collect();
        if !frames.is_empty() {
            let message = Bytes::from(frames.concat());
            self.peers[i].look(socket, &message);
            self.peers[i].core.received(self.now, socket, message);
        }
    }

    /// The gateway reads new records and sends them.
    fn gateway(&mut self, i: usize) {
        let records = self.server.records.len();
        let link = &mut self.peers[i].gateway;
        let step = if self.is_faulty { self.rng.below(5) } else { records };
        link.read = records.min(link.read + step);
        self.answer_track(i);
        let link = &mut self.peers[i].gateway;
        let (Some(sent), Some(writer)) = (link.sent, link.writer) else { return };
        let is_another_history = self.server.records[link.read - 1].history != self.server.records[sent - 1].history;
        if is_another_history && self.rng.chance(50) {
            return link.drop_track();
        }
        if link.is_lagging || is_another_history {
            if self.rng.chance(30) || !self.is_faulty {
                let at = link.read - 1;
                let version = self.server.records[sent - 1].version;
                let mut bodies = vec![self.server.tracked(at, writer)];
                if is_another_history || self.rng.chance(50) {
                    bodies.push(self.server.chunk(at));
                } else {
                    bodies.extend(self.server.updates_above(version, 0, at));
                }
                link.is_lagging = false;
                link.sent = Some(link.read);
                link.down.push_back(frame(bodies));
            }
            return;
        }
        if self.is_faulty && sent < link.read && self.rng.chance(5) {
            // The gateway has found that its own replica had drifted. It sends a fresh Chunk
            // instead of the updates and outcomes.
            link.down.push_back(frame([self.server.chunk(link.read - 1)]));
            link.sent = Some(link.read);
            return;
        }
        for at in sent..link.read {
            link.down.extend(self.server.live(at, writer, self.rng.chance(50)));
        }
        link.sent = Some(link.read);
        if self.rng.chance(20) {
            link.down.push_back(frame([self.server.beacon(link.read - 1)]));
        }
    }

    fn answer_track(&mut self, i: usize) {
        let link = &mut self.peers[i].gateway;
        let (Some(track), Some(writer)) = (&link.held, link.writer) else { return };
        let at = link.read - 1;
        let have = track.have.clone();
        if have.as_ref().is_some_and(|have| self.server.is_behind(have, at)) {
            return;
        }
        link.held = None;
        let mut bodies = vec![self.server.tracked(at, writer)];
        match have.filter(|have| self.server.knows(have, at)) {
            Some(have) if self.rng.chance(70) => bodies.extend(self.server.updates_above(have.version, 0, at)),
            _ => {
                let stored = at - self.rng.below(4).min(at);
                if self.server.records[stored].version > 0 || self.rng.chance(50) {
                    bodies.push(self.server.chunk(stored));
                }
                bodies.extend(self.server.updates_above(self.server.records[stored].version, stored, at));
            }
        }
        if self.rng.chance(50) {
            link.down.push_back(frame(bodies));
        } else {
            link.down.extend(bodies.into_iter().map(|body| frame([body])));
        }
        link.sent = Some(link.read);
    }

    /// Runs a client's timers, and takes its events and messages.
    fn turn(&mut self, i: usize) {
        let peer = &mut self.peers[i];
        if peer.core.next_deadline().is_some_and(|at| at <= self.now) {
            peer.core.tick(self.now);
            if let Some(at) = peer.core.next_deadline() {
                assert!(at > self.now, "a tick at {:?} left a deadline in the past: {at:?}", self.now);
            }
        }
        while let Some(event) = peer.core.poll_event() {
            writeln!(self.trace, "{} {} {event:?}", self.now.0, peer.name).unwrap();
            match event {
                Event::Outcome { command, outcome, .. } => {
                    let history = peer.history.unwrap_or_default();
                    let before = peer.outcomes.insert(command, (outcome, history));
                    assert_eq!(before, None, "R8: {command:?} ended twice");
                }
                Event::HistoryChanged { .. } => peer.changes_told += 1,
                Event::Reconnect { socket, .. } => peer.link(socket).drop_all(),
                Event::Drift { .. } | Event::Fatal { .. } => panic!("{event:?}"),
                _ => {}
            }
        }
        for socket in [Socket::Ingest, Socket::Gateway] {
            while let Some(frame) = peer.core.poll_send(socket) {
                assert!(peer.link(socket).is_up, "a message for a socket that is down");
                peer.is_track_sent |= requests(frame.clone()).iter().any(|r| matches!(r, request::Body::Track(_)));
                peer.link(socket).up.push_back(frame);
            }
        }
    }

    fn is_at_rest(&mut self) -> bool {
        let newest = (Version(self.server.newest().version), self.server.undecided());
        newest.1 == 0
            && self.peers.iter_mut().all(|peer| {
                peer.core.pending() == 0
                    && peer.history == Some(self.server.history)
                    && peer.core.status(&chunk()) == Some(&ChunkStatus::Live)
                    && peer.core.confirmed(&chunk()).is_some_and(|replica| replica.version() == newest.0)
            })
    }

    fn state(&mut self) -> String {
        let mut text = format!("now {}, undecided {}\n", self.now.0, self.server.undecided());
        for peer in &mut self.peers {
            let status = peer.core.status(&chunk()).cloned();
            writeln!(
                text,
                "{}: pending {}, {status:?}, deadline {:?}",
                peer.name,
                peer.core.pending(),
                peer.core.next_deadline()
            )
            .unwrap();
        }
        text
    }

    fn check(&mut self) {
        let newest = self.server.newest().encoding.clone();
        for peer in &mut self.peers {
            let (model, content, _) = peer.core.view(&chunk()).unwrap();
            assert_eq!(model.encode(content), newest, "R10: the view of {} at rest", peer.name);
            assert_eq!(peer.core.confirmed(&chunk()).unwrap().encoding(), newest);
            assert_eq!(peer.changes_told, peer.changes, "{} reports each change once", peer.name);
            let mut last = 0;
            for (id, value) in &peer.submitted {
                let (outcome, history) = peer.outcomes.get(id).unwrap_or_else(|| panic!("{value} has no outcome"));
                let agrees = |version: Option<&u64>| match outcome {
                    Outcome::Committed { version: Some(said) } => version == Some(&said.0),
                    Outcome::Committed { version: None } => version.is_some(),
                    Outcome::Discarded { .. } | Outcome::Withdrawn => version.is_none(),
                    Outcome::Rejected { code, .. } => *code == RejectCode::NoWriteAccess && version.is_none(),
                    Outcome::Unknown { .. } => true,
                };
                // A decision in a later history may reach the client before that history's Tracked.
                let is_right = self.server.committed_since(*history).any(|committed| agrees(committed.get(value)));
                assert!(is_right, "R8: {value} ends as {outcome:?} in history {history}");
                if let Outcome::Unknown { reason } = outcome {
                    // Another allowed reason is that ingest finally rejected the Settle again and
                    // again.
                    let is_lost = self.losses > 0 && reason.contains("history changed");
                    let is_excused = self.evictions > 0 || is_lost || reason.contains("settle");
                    assert!(is_excused, "{value} is unknown, but no writer was evicted: {reason}");
                    if self.losses > 0 {
                        // A late transmission may commit the command in a later history, after
                        // newer commands.
                        continue;
                    }
                }
                if let Some(version) = self.server.committed.get(value).copied() {
                    assert!(
                        version > last,
                        "R8: {value} was committed at {version}, before an earlier command at {last}"
                    );
                    last = version;
                }
            }
        }
    }
}

impl Peer {
    /// Notes the world and the history that a message for the client names.
    fn look(&mut self, socket: Socket, message: &Bytes) {
        let frame: proto::ServerFrame = format::decode("ServerFrame", message.clone()).unwrap();
        for body in frame.events.into_iter().filter_map(|event| event.body) {
            match body {
                event::Body::Welcome(welcome) if socket == Socket::Gateway => {
                    self.world = WorldId::from_slice(&welcome.world_id);
                }
                event::Body::TrackRejected(_) => self.is_track_sent = false,
                event::Body::Tracked(tracked) if self.is_track_sent => {
                    let history = HistoryId::from_field(&tracked.history);
                    self.changes += usize::from(self.history.is_some() && self.history != history);
                    self.history = history;
                }
                _ => {}
            }
        }
    }

    fn link(&mut self, socket: Socket) -> &mut Link {
        if socket == Socket::Ingest { &mut self.ingest } else { &mut self.gateway }
    }
}

impl Link {
    fn drop_all(&mut self) {
        *self = Self::default();
    }

    /// Stops tracking the chunk, because the gateway loads its new history.
    fn drop_track(&mut self) {
        (self.sent, self.is_lagging) = (None, false);
        let code = TrackRejectCode::Unavailable.into();
        let rejected = TrackRejected { chunk_id: CHUNK.into(), code, message: "a new history".into() };
        self.down.push_back(frame([event::Body::TrackRejected(rejected)]));
    }
}

fn run(seed: u64) -> Sim {
    let mut sim = Sim::new(seed, 1 + (seed % 3) as usize);
    let faulty = 300 + sim.rng.below(1_500);
    for _ in 0..faulty {
        sim.step();
    }
    sim.is_faulty = false;
    let mut steps = 0;
    while !sim.is_at_rest() {
        sim.step();
        steps += 1;
        assert!(steps < 30_000, "seed {seed}: the run did not come to rest\n{}", sim.state());
    }
    sim.check();
    sim
}

#[test]
fn one_seed_gives_one_trace_twice() {
    assert_eq!(run(42).trace, run(42).trace);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn r8_every_command_ends_once_and_agrees_with_the_decider(seed: u64) {
        run(seed);
    }
}

/// The simulation must reach every kind of outcome; otherwise it tests too little.
// A long run sets its number of seeds in the environment.
#[allow(clippy::disallowed_methods)]
#[test]
fn r8_many_seeds_reach_every_outcome() {
    let count = std::env::var("DRIFTLESS_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let mut reached = BTreeMap::new();
    for seed in 0..count {
        let sim = run(seed);
        let sessions = sim.trace.matches("Session {").count() - sim.peers.len();
        *reached.entry("new session").or_insert(0) += sessions;
        *reached.entry("another history").or_insert(0) += sim.peers.iter().map(|peer| peer.changes_told).sum::<usize>();
        for (outcome, _) in sim.peers.iter().flat_map(|peer| peer.outcomes.values()) {
            let kind = match outcome {
                Outcome::Committed { version: Some(_) } => "committed at a version",
                Outcome::Committed { version: None } => "committed",
                Outcome::Discarded { reason: DiscardReason::Unspecified, .. } => "discarded",
                Outcome::Discarded { .. } => "discarded with a reason",
                Outcome::Rejected { .. } => "rejected",
                Outcome::Withdrawn => "withdrawn",
                Outcome::Unknown { .. } => "unknown",
            };
            *reached.entry(kind).or_insert(0) += 1;
        }
    }
    println!("{reached:?}");
    assert_eq!(reached.len(), 9, "{reached:?}");
    assert!(reached.values().all(|n| *n > 0), "{reached:?}");
}

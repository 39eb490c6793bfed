//! One seed is one run: a world of real cores, a workload, and faults, one step after the other.
//!
//! Scheduling, faults and workload draw from streams of their own. After every step the oracles look at all that is new;
//! when the faults end, everything must come to rest within bounded steps, and then everything must agree.

use crate::faults::{Counts, Fault, Weather};
use crate::log::Log;
use crate::oracle::{Oracle, Seen};
use crate::peer::{Ask, Peer};
use crate::rng::Rng;
use crate::setting;
use crate::store::Store;
use crate::trace::Trace;
use crate::violation::{Verdict, Violation, hold};
use crate::{gateway, ingest, replayer};
use bytes::Bytes;
use driftless_chunk::world::World;
use driftless_client_core::{ChunkStatus, Socket};
use driftless_gateway_core::{Answer, Ask as Question};
use driftless_schemas::proto::{self, Command, CommandRecord, Settle, command, command_record, request};
use driftless_schemas::{ChunkId, Hash, Partition, SessionId, format};
use prost::Message as _;
use std::collections::VecDeque;
use std::sync::Arc;

/// Milliseconds since the Unix epoch when a run begins.
const BEGIN_MS: u64 = 1_800_000_000_000;
/// Steps after the faults within which everything must have come to rest.
const REST_STEPS_MAX: u64 = 60_000;

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// Names the run.
    pub seed: u64,
    /// Steps that it took.
    pub steps: u64,
    /// Edits that users made.
    pub edits: u64,
    /// Faults by kind.
    pub faults: Counts,
    /// What the oracles saw.
    pub seen: Seen,
    /// Outcomes by kind: committed, discarded, rejected, withdrawn, unknown.
    pub outcomes: [u64; 5],
    /// Drifts found by clients, gateways and owners.
    pub drifts: [u64; 3],
    /// Lost objects that were made again.
    pub reconstructed: u64,
    /// A number that stands for everything that happened.
    pub trace: u64,
    /// What did not hold.
    pub violation: Option<Violation>,
}

/// A run.
pub struct Sim {
    seed: u64,
    schedule: Rng,
    chance: Rng,
    work: Rng,
    again: Rng,
    tokens: Rng,
    weather: Weather,
    now: u64,
    steps: u64,
    world: Arc<World>,
    log: Log,
    store: Store,
    oracle: Oracle,
    replayers: Vec<replayer::Process>,
    /// The group's word: which process is to own each partition.
    owners: Vec<usize>,
    /// Planned hand-overs under way: (partition, from, to).
    moves: Vec<(Partition, usize, usize)>,
    /// Processes that have not heard yet that they lost a partition.
    late_losses: Vec<(usize, Partition)>,
    gateways: Vec<gateway::Process>,
    ingests: Vec<ingest::Process>,
    peers: Vec<Peer>,
    next_socket: u64,
    /// Records of dead producers that may still land: to `updates`, to `commands`.
    late_updates: Vec<VecDeque<replayer::Ghost>>,
    late_commands: Vec<ingest::Ghost>,
    is_faulty: bool,
    unique: u32,
    strangers: u64,
    /// Found by gateways that are gone.
    past_drifts: u64,
    counts: Counts,
    trace: Trace,
}

/// Runs a seed.
#[must_use]
pub fn run(seed: u64) -> Report {
    run_with(seed, Trace::new(false)).0
}

/// Runs a seed and keeps what it did, line by line, where the trace wants it.
#[must_use]
pub fn run_with(seed: u64, trace: Trace) -> (Report, Trace) {
    driftless_chunk::mutant::set_ledger_writers_max(Some(setting::LEDGER_WRITERS));
    let mut sim = Sim::new(seed, trace);
    let violation = sim.play().err();
    let report = sim.report(violation);
    (report, sim.trace)
}

impl Sim {
    fn new(seed: u64, trace: Trace) -> Self {
        let mut chance = Rng::new(seed, 2);
        let mut again = Rng::new(seed, 4);
        let mut tokens = Rng::new(seed, 5);
        let weather = Weather::new(&mut chance, &mut again, &mut tokens);
        let world = setting::world();
        let store = Store::new(setting::PARTITIONS);
        let mut schedule = Rng::new(seed, 1);
        let skew = |rng: &mut Rng| rng.below(40_000) as i64 - 20_000;
        let peers = (0..2 + schedule.below(2))
            .map(|i| {
                let skew = chance.below(3) as u64 * 3_600_000;
                Peer::new(i, BEGIN_MS, skew, &mut chance)
            })
            .collect();
        let replayers = (0..2)
            .map(|i| replayer::Process::new(format!("r{i}"), Arc::clone(&world), chance.next() % 1_000_000))
            .collect();
        let gateways = (0..2)
            .map(|i| gateway::Process::new(&world, &store, skew(&mut chance), &mut schedule, seed ^ (i + 1)))
            .collect();
        let ingests = (0..2)
            .map(|i| ingest::Process::new(&world, skew(&mut chance), weather.is_strict, seed ^ (i + 11)))
            .collect();
        Self {
            seed,
            oracle: Oracle::new(&world),
            log: Log::new(setting::PARTITIONS),
            work: Rng::new(seed, 3),
            again,
            tokens,
            schedule,
            chance,
            weather,
            now: BEGIN_MS,
            steps: 0,
            world,
            store,
            replayers,
            owners: (0..setting::PARTITIONS as usize).map(|p| p % 2).collect(),
            moves: Vec::new(),
            late_losses: Vec::new(),
            gateways,
            ingests,
            peers,
            next_socket: 1,
            late_updates: Vec::new(),
            late_commands: Vec::new(),
            is_faulty: true,
            unique: 0,
            strangers: 0,
            past_drifts: 0,
            counts: Counts::new(),
            trace,
        }
    }

    fn play(&mut self) -> Verdict {
        let faulty = 600 + self.schedule.below(1_800) as u64;
        while self.steps < faulty {
            self.step()?;
        }
        self.come_to_rest()?;
        // And once more from what is stored: everybody dies, and the world must be the same, and go on.
        self.kill_everything()?;
        for i in 0..self.peers.len() {
            let (now, work) = (self.now, &mut self.work);
            self.peers[i].edit(&mut self.unique, now, work);
        }
        self.come_to_rest()
    }

    fn report(&self, violation: Option<Violation>) -> Report {
        use driftless_client_core::Outcome;
        let mut outcomes = [0; 5];
        for outcome in self.peers.iter().flat_map(|peer| peer.outcomes.values()) {
            let kind = match outcome {
                Outcome::Committed { .. } => 0,
                Outcome::Discarded { .. } => 1,
                Outcome::Rejected { .. } => 2,
                Outcome::Withdrawn => 3,
                Outcome::Unknown { .. } => 4,
            };
            outcomes[kind] += 1;
        }
        Report {
            seed: self.seed,
            steps: self.steps,
            edits: self.peers.iter().map(|peer| peer.submitted.len() as u64).sum(),
            faults: self.counts.clone(),
            seen: self.oracle.seen,
            outcomes,
            drifts: [
                self.peers.iter().map(|peer| peer.drifts).sum(),
                self.past_drifts + self.gateways.iter().map(|gateway| gateway.drifts).sum::<u64>(),
                self.replayers.iter().map(|replayer| replayer.drifts).sum(),
            ],
            reconstructed: self.replayers.iter().map(replayer::Process::reconstructed).sum(),
            trace: self.trace.number(),
            violation,
        }
    }

    // ---- steps ----

    fn step(&mut self) -> Verdict {
        self.steps += 1;
        self.now += self.schedule.below(self.weather.pace_ms) as u64;
        let kind = self.schedule.below(16);
        match kind {
            0 => self.carry_to_ingest(),
            1 | 2 => self.carry_to_gateway()?,
            3 | 4 => self.deliver(Socket::Ingest)?,
            5 | 6 => self.deliver(Socket::Gateway)?,
            7 => self.ingest_produces(),
            8..11 => self.replayer_works()?,
            11 | 12 => self.gateway_works()?,
            13 => self.connect(),
            14 if self.is_faulty => self.user(),
            15 if self.is_faulty => self.ghosts(),
            _ => {}
        }
        self.trace.note("step", kind as u64, self.now);
        if self.is_faulty {
            self.faults()?;
        }
        self.group();
        self.oracle.look(&self.log)?;
        self.peers_turn()
    }

    /// Everything is served in turn, without faults.
    fn serve(&mut self) -> Verdict {
        self.steps += 1;
        self.now += 5 + self.schedule.below(40) as u64;
        self.connect();
        self.carry_to_ingest();
        self.carry_to_gateway()?;
        self.ingest_produces();
        for _ in 0..3 {
            self.replayer_works()?;
        }
        self.gateway_works()?;
        self.gateway_works()?;
        self.deliver(Socket::Ingest)?;
        self.deliver(Socket::Gateway)?;
        self.group();
        self.trace.note("serve", 0, self.now);
        self.oracle.look(&self.log)?;
        self.peers_turn()
    }

    fn come_to_rest(&mut self) -> Verdict {
        self.is_faulty = false;
        self.store.is_away = false;
        for process in &mut self.replayers {
            process.is_paused = false;
            process.is_down = false;
        }
        for (process, partition) in std::mem::take(&mut self.late_losses) {
            self.replayers[process].lose(partition);
        }
        let mut steps = 0;
        while !self.is_at_rest() {
            self.serve()?;
            steps += 1;
            hold(steps < REST_STEPS_MAX, "liveness", || format!("no rest after {steps} steps: {}", self.state()))?;
        }
        self.check_at_rest()
    }

    fn is_at_rest(&mut self) -> bool {
        let is_quiet = self.ingests.iter().all(|ingest| ingest.pending() == 0) && self.oracle.unanswered().is_none();
        is_quiet && self.peers.iter_mut().all(|peer| peer.is_at_rest(&self.oracle))
    }

    fn state(&mut self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.oracle.unanswered());
        for peer in &mut self.peers {
            let status: Vec<String> = peer
                .chunks
                .clone()
                .iter()
                .map(|chunk| {
                    let version = peer.core.confirmed(chunk).map(|replica| replica.version().0);
                    format!(
                        "{chunk} {:?} at {version:?} of {}",
                        peer.core.status(chunk),
                        self.oracle.chunks[chunk].version()
                    )
                })
                .collect();
            let next = peer.core.next_deadline().map(|at| at.0 as i64 - peer.clock(self.now).0 as i64);
            let damaged = self.oracle.chunks.iter().filter(|(_, truth)| truth.is_damaged);
            parts.extend(damaged.map(|(chunk, truth)| format!("{chunk} was damaged, {} audits", truth.audits)));
            parts.push(format!(
                "{}: {} pending, in {next:?} ms, ingest {:?}, gateway {:?}, {}",
                peer.name,
                peer.core.pending(),
                peer.ingest,
                peer.gateway,
                status.join(", ")
            ));
        }
        parts.join("\n  ")
    }

    fn check_at_rest(&mut self) -> Verdict {
        for peer in &mut self.peers {
            peer.check(&self.oracle)?;
        }
        // R10: what a gateway would serve over HTTP.
        for g in 0..self.gateways.len() {
            for chunk in setting::chunks() {
                let mut ask = self.gateways[g].ask(&chunk, Question::Content, self.now)?;
                let mut tries = 0;
                let answer = loop {
                    let answer = self.gateways[g].answers.remove(&ask);
                    // A lost object is made again by the owner, who must be asked first: whoever reads comes again.
                    // And a gateway that nobody is at may not have read of the healing yet.
                    let truth = &self.oracle.chunks[&chunk];
                    let comes_again = match &answer {
                        Some(Answer::Unavailable(_)) => true,
                        Some(Answer::Content { version, hash, .. }) => {
                            truth.is_damaged && !truth.is_unnoticed() && truth.hash(version.0) != Some(*hash)
                        }
                        _ => false,
                    };
                    match answer {
                        Some(answer) if !comes_again => break answer,
                        _ => {}
                    }
                    self.serve()?;
                    tries += 1;
                    if comes_again || tries % 200 == 0 {
                        // It may have been restarted in between.
                        ask = self.gateways[g].ask(&chunk, Question::Content, self.now)?;
                    }
                    hold(tries < 2_000, "liveness", || format!("gateway {g} does not answer for {chunk}"))?;
                };
                self.check_answer(&chunk, g, &answer)?;
            }
        }
        Ok(())
    }

    fn check_answer(&self, chunk: &ChunkId, g: usize, answer: &Answer) -> Verdict {
        let truth = &self.oracle.chunks[chunk];
        match answer {
            Answer::Content { version, hash, encoding } => {
                let is_newest = version.0 == truth.version();
                let is_right =
                    truth.hash(version.0) == Some(*hash) && (!is_newest || encoding[..] == truth.encoding()[..]);
                hold(Hash::of(encoding) == *hash && (truth.is_unnoticed() || is_right), "R10", || {
                    format!("gateway {g} serves {chunk} at version {version} with another content than the log's")
                })
            }
            other => Err(Violation::new("R9", format!("gateway {g} does not serve {chunk}: {other:?}"))),
        }
    }

    fn kill_everything(&mut self) -> Verdict {
        for r in 0..self.replayers.len() {
            let ghosts = self.replayers[r].crash();
            self.late_updates.push(ghosts.into());
        }
        self.late_updates.clear();
        for g in 0..self.gateways.len() {
            self.restart_gateway(g);
        }
        self.oracle.look(&self.log)
    }

    // ---- clients and sockets ----

    fn user(&mut self) {
        let i = self.work.below(self.peers.len());
        if self.work.permille(self.weather.cancels) {
            let count = if self.work.permille(100) { 70 } else { 2 };
            for _ in 0..count {
                let back = self.work.below(count);
                self.peers[i].cancel(back, self.now);
            }
            return;
        }
        let count =
            if self.work.permille(self.weather.bursts) { 40 + self.work.below(50) } else { 1 + self.work.below(3) };
        for _ in 0..count {
            self.peers[i].edit(&mut self.unique, self.now, &mut self.work);
        }
    }

    fn connect(&mut self) {
        let i = self.schedule.below(self.peers.len());
        let now = self.peers[i].clock(self.now);
        let mut token = self.peers[i].name.clone();
        if self.peers[i].ingest.is_none() {
            let at = self.schedule.below(self.ingests.len());
            let id = self.next_socket();
            self.ingests[at].accept(id, i, self.now);
            self.peers[i].ingest = Some((at, id));
            if self.is_faulty && self.chance.permille(self.weather.read_only) {
                self.count(Fault::ReadOnly);
                token.push('!');
            }
            self.peers[i].core.connected(now, Socket::Ingest, token);
        } else if self.peers[i].gateway.is_none() {
            let at = self.schedule.below(self.gateways.len());
            let id = self.next_socket();
            self.gateways[at].accept(id, i, self.now);
            self.peers[i].gateway = Some((at, id));
            let token = self.gateway_token(i);
            self.peers[i].core.connected(now, Socket::Gateway, token);
        } else if !self.is_faulty {
            // Whoever has only read access comes back with a better token.
            let Some((at, id)) = self.peers[i].ingest else { return };
            if self.peers[i].core.pending() > 0 && self.schedule.permille(5) {
                self.ingests[at].sockets.remove(&id);
                self.disconnect(i, Socket::Ingest, None);
            }
        }
    }

    /// A token for a gateway. At rest it outlives the run, so that each Track gets its answer.
    fn gateway_token(&self, i: usize) -> String {
        let name = &self.peers[i].name;
        match self.weather.token_life_s.filter(|_| self.is_faulty) {
            Some(life_s) => format!("{name}@{life_s}"),
            None => name.clone(),
        }
    }

    /// A client renews the token of its gateway socket.
    fn renew_token(&mut self) {
        let i = self.tokens.below(self.peers.len());
        let Some((at, id)) = self.peers[i].gateway.filter(|(at, id)| self.gateways[*at].is_welcomed(*id)) else {
            return;
        };
        let renew = proto::Renew { token: self.gateway_token(i) };
        if let Some(socket) = self.gateways[at].sockets.get_mut(&id) {
            socket.link.up.push_back(format::request(request::Body::Renew(renew)));
        }
    }

    fn next_socket(&mut self) -> u64 {
        self.next_socket += 1;
        self.next_socket
    }

    /// The client notices that a socket is gone.
    fn disconnect(&mut self, i: usize, socket: Socket, code: Option<u16>) {
        let peer = &mut self.peers[i];
        let connected = if socket == Socket::Ingest { &mut peer.ingest } else { &mut peer.gateway };
        if connected.take().is_some() {
            peer.core.disconnected(peer.clock(self.now), socket, code);
        }
    }

    fn carry_to_ingest(&mut self) {
        let at = self.schedule.below(self.ingests.len());
        let ids: Vec<u64> = self.ingests[at].sockets.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        let id = ids[self.schedule.below(ids.len())];
        if self.schedule.permille(100) {
            self.ingests[at].tick(id, self.now);
        }
        self.ingests[at].carry_up(id, self.now);
    }

    fn carry_to_gateway(&mut self) -> Verdict {
        let at = self.schedule.below(self.gateways.len());
        let ids: Vec<u64> = self.gateways[at].sockets.keys().copied().collect();
        if ids.is_empty() {
            return Ok(());
        }
        let id = ids[self.schedule.below(ids.len())];
        self.gateways[at].carry_up(id, self.now)?;
        for _ in 0..std::mem::take(&mut self.gateways[at].refused_expired) {
            self.count(Fault::TokenExpired);
        }
        Ok(())
    }

    /// A message to a client arrives; concatenated frames are a frame.
    fn deliver(&mut self, socket: Socket) -> Verdict {
        let i = self.schedule.below(self.peers.len());
        let connected = if socket == Socket::Ingest { self.peers[i].ingest } else { self.peers[i].gateway };
        let Some((at, id)) = connected else { return Ok(()) };
        let link = match socket {
            Socket::Ingest => self.ingests[at].sockets.get_mut(&id).map(|socket| &mut socket.link),
            Socket::Gateway => self.gateways[at].sockets.get_mut(&id).map(|socket| &mut socket.link),
        };
        let Some(link) = link else {
            self.disconnect(i, socket, None);
            return Ok(());
        };
        let count = 1 + self.schedule.below(4);
        let messages: Vec<Bytes> = (0..count).map_while(|_| link.down.pop_front()).collect();
        if messages.is_empty() {
            if let Some(code) = link.close {
                self.close(socket, at, id)?;
                self.disconnect(i, socket, Some(code));
            }
            return Ok(());
        }
        let message: Bytes = messages.concat().into();
        let frame = proto::ServerFrame::decode(message.clone())
            .map_err(|e| Violation::new("protocol", format!("a frame that cannot be read: {e}")))?;
        for event in frame.events.iter().filter_map(|event| event.body.as_ref()) {
            self.oracle.look_at_event(event)?;
            self.peers[i].look_at_event(event)?;
        }
        self.trace.note("deliver", i as u64, message.len() as u64);
        let peer = &mut self.peers[i];
        peer.core.received(peer.clock(self.now), socket, message);
        Ok(())
    }

    fn close(&mut self, socket: Socket, at: usize, id: u64) -> Verdict {
        match socket {
            Socket::Ingest => drop(self.ingests[at].sockets.remove(&id)),
            Socket::Gateway => self.gateways[at].leave(id, self.now)?,
        }
        Ok(())
    }

    fn peers_turn(&mut self) -> Verdict {
        for i in 0..self.peers.len() {
            for Ask::Drop(socket) in self.peers[i].turn(self.now, &self.oracle)? {
                let peer = &mut self.peers[i];
                let connected = if socket == Socket::Ingest { peer.ingest.take() } else { peer.gateway.take() };
                if let Some((at, id)) = connected {
                    self.close(socket, at, id)?;
                }
            }
            self.send(i);
            let now = self.now;
            let peer = &mut self.peers[i];
            for chunk in &peer.chunks {
                // A user who sees an error tries again.
                if matches!(peer.core.status(chunk), Some(ChunkStatus::Failed { .. } | ChunkStatus::Rejected { .. })) {
                    peer.core.track(peer.clock(now), chunk);
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, i: usize) {
        for socket in [Socket::Ingest, Socket::Gateway] {
            let peer = &mut self.peers[i];
            let connected = if socket == Socket::Ingest { peer.ingest } else { peer.gateway };
            while let Some(message) = peer.core.poll_send(socket) {
                let Some((at, id)) = connected else { continue };
                let link = match socket {
                    Socket::Ingest => self.ingests[at].sockets.get_mut(&id).map(|socket| &mut socket.link),
                    Socket::Gateway => self.gateways[at].sockets.get_mut(&id).map(|socket| &mut socket.link),
                };
                if let Some(link) = link {
                    link.up.push_back(message);
                }
            }
        }
    }

    // ---- services ----

    fn ingest_produces(&mut self) {
        let at = self.schedule.below(self.ingests.len());
        let fault = if self.is_faulty { self.weather.ingest } else { 0 };
        for _ in 0..1 + self.schedule.below(8) {
            match self.ingests[at].produce(&mut self.log, self.now, fault, &mut self.chance) {
                None => return,
                Some(None) => {}
                Some(Some(ghost)) => self.late_commands.push(ghost),
            }
        }
    }

    fn replayer_works(&mut self) -> Verdict {
        let r = self.schedule.below(self.replayers.len());
        if self.replayers[r].is_down {
            return Ok(());
        }
        let is_slow = self.is_faulty && self.chance.permille(self.weather.slow_log);
        // What was sent is on its way, also where its process stands still.
        for _ in 0..if is_slow { 0 } else { 1 + self.schedule.below(3) } {
            self.replayers[r].land(&mut self.log, &mut self.schedule);
        }
        if self.replayers[r].is_paused {
            return Ok(());
        }
        self.oracle.look(&self.log)?;
        if let Some((partition, state)) = self.replayers[r].begin_assigned(self.now, &mut self.store, &self.log) {
            self.trace.note("claim", r as u64, partition.0 as u64);
            self.oracle.look_at_index(partition, &state, &self.store, &self.log)?;
        }
        for p in 0..setting::PARTITIONS {
            for _ in 0..if is_slow { 0 } else { self.schedule.below(4) } {
                let knows = !(self.is_faulty && self.chance.permille(self.weather.delivery / 2));
                if self.replayers[r].ack(Partition(p), knows, self.now) && !knows {
                    self.count(Fault::UnknownOffset);
                }
            }
        }
        for i in 0..self.replayers[r].ownerships.len() {
            self.ownership_works(r, i)?;
        }
        self.replayers[r].sweep();
        Ok(())
    }

    fn ownership_works(&mut self, r: usize, i: usize) -> Verdict {
        let works = !(self.is_faulty && self.chance.permille(self.weather.store));
        if !works {
            // A checkpoint that fails ends an ownership.
            self.oracle.lost_an_owner();
        }
        let count = 1 + self.schedule.below(12);
        let process = &mut self.replayers[r];
        process.open_late(i, &mut self.store);
        let now = self.now;
        let failed = match self.schedule.below(9) {
            0..3 => {
                process.read(i, count, now, &self.log);
                false
            }
            8 => process.look_back(i, 4 * count, works, now, &mut self.store, &self.log) && !works,
            3 => process.load(i, works, now, &self.store) && !works,
            4 => process.put(i, works, now, &mut self.store) && !works,
            5 => {
                let index_works = works || self.chance.permille(700);
                let partition = process.ownerships[i].partition;
                if let Some((_, state)) = process.write(i, index_works, &mut self.store) {
                    self.oracle.look_at_index(partition, &state, &self.store, &self.log)?;
                    self.trace.note("checkpoint", r as u64, state.checkpoint.updates_low as u64);
                } else if !index_works {
                    self.count(Fault::IndexError);
                }
                false
            }
            6 => {
                process.tell_written(i, now);
                process.bury(i, now, &mut self.log);
                false
            }
            _ => {
                process.tick(i, now);
                false
            }
        };
        if failed {
            self.count(Fault::StoreError);
        }
        Ok(())
    }

    fn gateway_works(&mut self) -> Verdict {
        let g = self.schedule.below(self.gateways.len());
        let works = !(self.is_faulty && self.chance.permille(self.weather.store));
        let is_slow = self.is_faulty && self.chance.permille(self.weather.slow_gateways[g]);
        match self.schedule.below(4) {
            0 | 1 if is_slow => {}
            0 => {
                let partition = Partition(self.schedule.below(setting::PARTITIONS as usize) as i32);
                let count = 1 + self.schedule.below(6);
                if self.gateways[g].read(partition, count, self.now, &self.log)?.is_none() {
                    // Retention was shorter than the age of its view: it ends, and is started again.
                    self.restart_gateway(g);
                }
            }
            1 => {
                self.gateways[g].load(works, self.now, &self.store, &self.log)?;
            }
            2 => {
                let ids: Vec<u64> = self.gateways[g].sockets.keys().copied().collect();
                for id in ids {
                    let count = self.schedule.below(4);
                    self.gateways[g].write(id, count, self.now)?;
                }
            }
            _ => self.gateways[g].tick(self.now)?,
        }
        for (chunk, version, hash) in std::mem::take(&mut self.gateways[g].audits) {
            self.oracle.audited(&chunk);
            let audit = proto::Audit { version: version.0, hash: hash.to_bytes(), reporter: format!("g{g}") };
            self.append_command(&chunk, command_record::Body::Audit(audit));
        }
        Ok(())
    }

    fn restart_gateway(&mut self, g: usize) {
        let peers = self.gateways[g].peers();
        self.past_drifts += self.gateways[g].drifts;
        let skew = self.gateways[g].skew_ms;
        let seed = self.chance.next();
        self.gateways[g] = gateway::Process::new(&self.world, &self.store, skew, &mut self.chance, seed);
        for i in peers {
            if self.peers[i].gateway.is_some_and(|(at, _)| at == g) {
                self.disconnect(i, Socket::Gateway, None);
            }
        }
    }

    // ---- the group ----

    fn group(&mut self) {
        for p in 0..self.owners.len() {
            let partition = Partition(p as i32);
            let owner = self.owners[p];
            if self.moves.iter().any(|(moved, ..)| *moved == partition) {
                continue;
            }
            if self.replayers[owner].is_awake() {
                self.replayers[owner].assigned.entry(partition).or_insert(self.now);
            } else if self.schedule.permille(30) || !self.is_faulty {
                // It was not heard of for too long: it becomes somebody else's.
                let other = (owner + 1) % self.replayers.len();
                if self.replayers[other].is_awake() {
                    if self.replayers[owner].assigned.contains_key(&partition) {
                        self.late_losses.push((owner, partition));
                    }
                    self.owners[p] = other;
                    self.trace.note("owner", p as u64, other as u64);
                }
            }
        }
        let (replayers, owners) = (&self.replayers, &mut self.owners);
        self.moves.retain(|(partition, from, to)| {
            let is_over = !replayers[*from].is_awake()
                || !replayers[*from].ownerships.iter().any(|own| own.partition == *partition);
            if is_over {
                owners[partition.0 as usize] = *to;
            }
            !is_over
        });
        if !self.late_losses.is_empty() && self.schedule.permille(20) {
            let at = self.schedule.below(self.late_losses.len());
            let (process, partition) = self.late_losses[at];
            if self.replayers[process].is_awake() {
                self.late_losses.swap_remove(at);
                if self.owners[partition.0 as usize] != process {
                    self.replayers[process].lose(partition);
                }
            }
        }
    }

    // ---- faults ----

    fn count(&mut self, fault: Fault) {
        *self.counts.entry(fault).or_default() += 1;
        self.trace.note(fault.name(), 0, self.now);
    }

    fn faults(&mut self) -> Verdict {
        if self.chance.permille(self.weather.processes) {
            self.process_fault();
        }
        if self.chance.permille(self.weather.sockets) {
            self.socket_fault()?;
        }
        if self.chance.permille(self.weather.delivery / 4) {
            let r = self.chance.below(self.replayers.len());
            if self.replayers[r].is_awake()
                && let Some(ghosts) = self.replayers[r].fail(self.now)
            {
                self.oracle.lost_an_owner();
                self.count(Fault::DeliveryFailed);
                self.late_updates.push(ghosts.into());
                self.replayers[r].sweep();
            }
        }
        if self.again.permille(self.weather.written_again) {
            let r = self.again.below(self.replayers.len());
            let is_heard = self.again.permille(500);
            if self.replayers[r].is_awake() && self.replayers[r].write_again(&mut self.log, is_heard, self.now) {
                self.count(Fault::WrittenAgain);
            }
        }
        if self.tokens.permille(self.weather.renewals) {
            self.renew_token();
        }
        if self.store.is_away {
            self.store.is_away = !self.chance.permille(15);
        } else if self.chance.permille(self.weather.store / 30) {
            self.store.is_away = true;
            self.count(Fault::StoreAway);
        }
        if self.chance.permille(self.weather.strangers) {
            self.strangers_come();
        }
        if self.chance.permille(self.weather.damage) {
            let i = self.chance.below(self.peers.len());
            let which = self.chance.below(8);
            if self.peers[i].damage(which) {
                self.count(Fault::ClientDamaged);
            }
            let g = self.chance.below(self.gateways.len());
            let chunk = self.a_chunk();
            self.gateways[g].damage(&chunk, self.now)?;
            self.count(Fault::GatewayDamaged);
        }
        if self.chance.permille(self.weather.owner_damage) {
            self.damage_an_owner();
        }
        if self.chance.permille(self.weather.losses) {
            let which = self.chance.below(self.store.objects().max(1));
            if self.store.damage(which).is_some() {
                self.count(Fault::ObjectLost);
            }
        }
        if self.weather.losses == 0 && self.weather.owner_damage == 0 && self.chance.permille(2) {
            self.cut_log();
        }
        if self.chance.permille(2) {
            self.rubbish();
        }
        if self.chance.permille(1) {
            self.now += 4_000;
            self.count(Fault::TimeJump);
        }
        Ok(())
    }

    fn process_fault(&mut self) {
        let r = self.chance.below(self.replayers.len());
        match self.chance.below(12) {
            0..3 => {
                self.oracle.lost_an_owner();
                let had_checkpoint = self.replayers[r].has_unheard_checkpoint();
                let ghosts = self.replayers[r].crash();
                self.late_updates.push(ghosts.into());
                self.replayers[r].is_down = self.chance.permille(700);
                self.count(Fault::ReplayerKilled);
                if had_checkpoint {
                    self.count(Fault::TornCheckpoint);
                }
            }
            3 | 4 => {
                self.oracle.lost_an_owner();
                self.replayers[r].is_paused = true;
                self.count(Fault::ReplayerPaused);
            }
            5 | 6 => {
                let p = self.chance.below(self.owners.len());
                let (partition, from) = (Partition(p as i32), self.owners[p]);
                let to = (from + 1) % self.replayers.len();
                let is_moving = self.moves.iter().any(|(moved, ..)| *moved == partition);
                if !is_moving && self.replayers[from].is_awake() && self.replayers[to].is_awake() {
                    self.replayers[from].revoke(partition, self.now);
                    self.moves.push((partition, from, to));
                    self.count(Fault::HandOver);
                }
            }
            7 => {
                let p = self.chance.below(self.owners.len());
                let from = self.owners[p];
                let to = (from + 1) % self.replayers.len();
                if self.replayers[to].is_awake() {
                    self.oracle.lost_an_owner();
                    self.late_losses.push((from, Partition(p as i32)));
                    self.owners[p] = to;
                    self.count(Fault::Stolen);
                }
            }
            8 => {
                let g = self.chance.below(self.gateways.len());
                self.restart_gateway(g);
                self.count(Fault::GatewayKilled);
            }
            9 => {
                let g = self.chance.below(self.gateways.len());
                let partition = Partition(self.chance.below(self.owners.len()) as i32);
                self.gateways[g].renew_view(partition, &self.store, self.now);
                self.count(Fault::StaleView);
            }
            _ => {
                let at = self.chance.below(self.ingests.len());
                let (ghosts, peers) = self.ingests[at].crash();
                self.late_commands.extend(ghosts);
                for i in peers {
                    if self.peers[i].ingest.is_some_and(|(process, _)| process == at) {
                        self.disconnect(i, Socket::Ingest, None);
                    }
                }
                self.count(Fault::IngestKilled);
            }
        }
        for process in &mut self.replayers {
            if process.is_down && self.chance.permille(500) {
                process.is_down = false;
            }
            if process.is_paused && self.chance.permille(500) {
                process.is_paused = false;
            }
        }
    }

    fn socket_fault(&mut self) -> Verdict {
        let i = self.chance.below(self.peers.len());
        let socket = if self.chance.permille(500) { Socket::Ingest } else { Socket::Gateway };
        let connected = if socket == Socket::Ingest { self.peers[i].ingest } else { self.peers[i].gateway };
        let Some((at, id)) = connected else { return Ok(()) };
        if self.chance.permille(300) {
            // The server does not notice: messages that were under way still arrive there.
            let link = match socket {
                Socket::Ingest => self.ingests[at].sockets.get_mut(&id).map(|socket| &mut socket.link),
                Socket::Gateway => self.gateways[at].sockets.get_mut(&id).map(|socket| &mut socket.link),
            };
            if let Some(link) = link {
                link.peer = None;
            }
            self.count(Fault::HalfOpen);
        } else {
            self.close(socket, at, id)?;
            self.count(Fault::SocketCut);
        }
        self.disconnect(i, socket, None);
        Ok(())
    }

    /// Records of dead producers land late, or never; always in their order, but with holes.
    fn ghosts(&mut self) {
        if !self.late_updates.is_empty() {
            let at = self.chance.below(self.late_updates.len());
            match self.late_updates[at].pop_front() {
                None => drop(self.late_updates.swap_remove(at)),
                Some((partition, key, value)) if self.chance.permille(600) => {
                    self.log.updates[partition.0 as usize].append(key, value);
                    self.count(Fault::LateRecord);
                }
                Some(_) => {}
            }
        }
        if !self.late_commands.is_empty() {
            let at = self.chance.below(self.late_commands.len());
            let (partition, key, value) = self.late_commands.swap_remove(at);
            if self.chance.permille(600) {
                self.log.commands[partition.0 as usize].append(key, value);
                self.count(Fault::LateRecord);
            }
        }
    }

    /// Other people write to a chunk, so that its ledger forgets somebody.
    fn strangers_come(&mut self) {
        let chunks = setting::chunks();
        let chunk = &chunks[self.chance.below(chunks.len())];
        for _ in 0..1 + self.chance.below(5) {
            self.strangers += 1;
            let mut random = [0; 10];
            random[..8].copy_from_slice(&self.strangers.to_be_bytes());
            let age = self.chance.below(60_000) as u64;
            let writer = SessionId::new(self.now - age, random).writer("stranger");
            let body = match self.chance.below(4) {
                0 => Some(command::Body::Settle(Settle {})),
                // It cannot be read beyond its numbers.
                1 => None,
                _ => {
                    self.unique += 1;
                    Some(command::Body::Command(setting::command(chunk, self.unique, &mut self.chance)))
                }
            };
            let after = self.chance.below(2) as u64;
            let writer = writer.to_bytes();
            let command = Command { writer, author: "stranger".into(), seq: 2, after, body, ..Command::default() };
            self.append_command(chunk, command_record::Body::Command(command));
        }
        self.count(Fault::Strangers);
    }

    fn append_command(&mut self, chunk: &ChunkId, body: command_record::Body) {
        let place = self.world.place(chunk).expect("a chunk of the simulated world");
        let record = CommandRecord { chunk_id: chunk.to_string(), body: Some(body) }.encode_to_vec();
        self.log.commands[place.partition.0 as usize].append(place.key.into(), record.into());
    }

    fn a_chunk(&mut self) -> ChunkId {
        let chunks = setting::chunks();
        let which = self.chance.below(chunks.len());
        chunks[which].clone()
    }

    fn damage_an_owner(&mut self) {
        let r = self.chance.below(self.replayers.len());
        let chunk = self.a_chunk();
        let partition = self.world.place(&chunk).expect("a chunk of the simulated world").partition;
        let Some(i) = self.replayers[r].ownerships.iter().position(|own| own.partition == partition) else { return };
        // Once a run: after a damage that nobody noticed there is no state left that a second one could be healed from.
        if self.oracle.chunks.get(&chunk).is_some_and(|truth| truth.is_damaged) {
            return;
        }
        self.replayers[r].damage(i, &chunk, self.now);
        self.oracle.damaged(&chunk);
        self.count(Fault::OwnerDamaged);
    }

    /// A foreign record in `commands`.
    fn rubbish(&mut self) {
        let p = self.chance.below(self.log.commands.len());
        let value: Bytes = match self.chance.below(3) {
            0 => Bytes::from_static(b"\xff\xff\xff"),
            1 => CommandRecord { chunk_id: "nowhere/0".into(), body: None }.encode_to_vec().into(),
            _ => Bytes::new(),
        };
        self.log.commands[p].append(Bytes::new(), value);
        self.count(Fault::Rubbish);
    }

    /// Retention takes what every checkpoint allows, `updates` from before `updates_low`, `commands` from before
    /// `commands_next`.
    fn cut_log(&mut self) {
        let p = self.chance.below(self.log.updates.len());
        let checkpoint = self.store.view(Partition(p as i32), 0).checkpoint;
        self.log.updates[p].cut(driftless_schemas::Offset(checkpoint.updates_low));
        self.log.commands[p].cut(driftless_schemas::Offset(checkpoint.commands_next));
        self.count(Fault::LogCut);
    }
}

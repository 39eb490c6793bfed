//! A run of one seed: a world of real cores, a workload and faults, step by step.
//!
//! Scheduling, faults and workload each draw from a separate random stream. After every step the
//! oracles check everything new. When the faults end, the world must come to rest within a bounded
//! number of steps. At rest, all parts must hold the same state.
//!
//! * `network`: users, and messages between clients and servers.
//! * `services`: the steps of the services, and the group that assigns partitions.
//! * `failures`: the faults.
//! * `incidents`: topics that lose records, and the operator who mends partitions.

mod failures;
mod incidents;
mod network;
mod services;

use crate::faults::{Counts, Fault, Likelihoods};
use crate::log::{Log, OrphanRecord};
use crate::oracle::{Oracle, Seen};
use crate::peer::Peer;
use crate::rng::Rng;
use crate::setting;
use crate::store::Store;
use crate::trace::Trace;
use crate::violation::{Verdict, Violation, hold};
use crate::{gateway, ingest, replayer};
use driftless_chunk::world::World;
use driftless_client_core::Socket;
use driftless_gateway_core::{Answer, Ask};
use driftless_schemas::{ChunkId, Hash, Partition};
use std::collections::VecDeque;
use std::sync::Arc;

/// The time at which a run begins, in milliseconds since the Unix epoch.
const BEGIN_MS: u64 = 1_800_000_000_000;
/// The limit on the steps from the end of the faults until the world is at rest. A run that needs
/// more violates liveness.
const REST_STEPS_MAX: u64 = 60_000;

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed, which names the run.
    pub seed: u64,
    /// The number of steps that the run took.
    pub steps: u64,
    /// The number of edits that users made.
    pub edits: u64,
    /// The number of faults, by kind.
    pub faults: Counts,
    /// Counts of the events that the oracles judged.
    pub seen: Seen,
    /// The number of outcomes that users received, by kind: committed, discarded, rejected,
    /// withdrawn, unknown.
    pub outcomes: [u64; 5],
    /// The number of drifts that clients, gateways and owners found, in this order.
    pub drifts: [u64; 3],
    /// The number of lost objects that owners reconstructed.
    pub reconstructed: u64,
    /// A digest of everything that happened. Two runs of one seed have the same digest.
    pub trace: u64,
    /// The number of times that a client told its user that a chunk has another history.
    pub changes: u64,
    /// The rule that did not hold; `None` if all rules held.
    pub violation: Option<Violation>,
}

/// The state of a run.
pub struct Sim {
    seed: u64,
    schedule: Rng,
    chance: Rng,
    work: Rng,
    again: Rng,
    tokens: Rng,
    restores: Rng,
    incidents: Rng,
    copies: Rng,
    likelihoods: Likelihoods,
    now: u64,
    steps: u64,
    world: Arc<World>,
    log: Log,
    store: Store,
    oracle: Oracle,
    replayers: Vec<replayer::Process>,
    /// The process with which an operator mends partitions.
    operator: replayer::Process,
    /// For each partition, the number of the oldest state of its index that a backup may hold. The
    /// older ones belong to a log that has lost records since.
    backups_from: Vec<usize>,
    /// For each partition, whether it had lost records when the simulation last looked.
    was_lost: Vec<bool>,
    /// The replayer process to which the group assigns each partition; the index is the partition.
    owners: Vec<usize>,
    /// Planned hand-overs in progress: partition, old process, new process.
    moves: Vec<(Partition, usize, usize)>,
    /// Processes that do not know yet that they lost a partition.
    late_losses: Vec<(usize, Partition)>,
    gateways: Vec<gateway::Process>,
    ingests: Vec<ingest::Process>,
    peers: Vec<Peer>,
    next_socket: u64,
    /// Records for `updates` whose producers are dead and that may still land, one queue for each
    /// producer. `late_commands` holds such records for `commands`.
    late_updates: Vec<VecDeque<OrphanRecord>>,
    late_commands: Vec<OrphanRecord>,
    is_faulty: bool,
    unique: u32,
    strangers: u64,
    /// The number of drifts that gateway processes found before they were restarted.
    past_drifts: u64,
    counts: Counts,
    trace: Trace,
}

/// Runs a seed without keeping the text of its trace.
#[must_use]
pub fn run(seed: u64) -> Report {
    run_with(seed, Trace::new(false)).0
}

/// Runs a seed and adds its events to the given trace. Returns the report and the trace.
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
        let mut restores = Rng::new(seed, 6);
        let mut incidents = Rng::new(seed, 7);
        let mut copies = Rng::new(seed, 8);
        let likelihoods =
            Likelihoods::new(&mut chance, &mut again, &mut tokens, &mut restores, &mut incidents, &mut copies);
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
        let operator = replayer::Process::new("operator".into(), Arc::clone(&world), 0);
        let log = Log::new(setting::PARTITIONS);
        let gateways = (0..2).map(|i| gateway::Process::new(&world, &log, skew(&mut chance), seed ^ (i + 1))).collect();
        let ingests = (0..2)
            .map(|i| ingest::Process::new(&world, skew(&mut chance), likelihoods.is_strict, seed ^ (i + 11)))
            .collect();
        Self {
            seed,
            oracle: Oracle::new(&world),
            log,
            work: Rng::new(seed, 3),
            again,
            tokens,
            restores,
            incidents,
            copies,
            schedule,
            chance,
            likelihoods,
            now: BEGIN_MS,
            steps: 0,
            world,
            store,
            replayers,
            operator,
            backups_from: vec![0; setting::PARTITIONS as usize],
            was_lost: vec![false; setting::PARTITIONS as usize],
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
        // All processes are killed. New processes must restore the same state from the stores, and
        // continue.
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
            changes: self.peers.iter().map(|peer| peer.changes).sum(),
            violation,
        }
    }

    fn step(&mut self) -> Verdict {
        self.steps += 1;
        self.now += self.schedule.below(self.likelihoods.pace_ms) as u64;
        let kind = self.schedule.below(16);
        match kind {
            0 => self.deliver_to_ingest(),
            1 | 2 => self.deliver_to_gateway()?,
            3 | 4 => self.deliver_to_client(Socket::Ingest)?,
            5 | 6 => self.deliver_to_client(Socket::Gateway)?,
            7 => self.ingest_produces(),
            8..11 => self.replayer_works()?,
            11 | 12 => self.gateway_works()?,
            13 => self.connect(),
            14 if self.is_faulty => self.act_as_user(),
            15 if self.is_faulty => self.land_late_records(),
            _ => {}
        }
        self.trace.note("step", kind as u64, self.now);
        if self.is_faulty {
            self.faults()?;
        }
        self.group();
        self.oracle.check_log(&self.log)?;
        self.operate()?;
        self.peers_turn()
    }

    /// Gives each part of the world one step, without faults.
    fn serve(&mut self) -> Verdict {
        self.steps += 1;
        self.now += 5 + self.schedule.below(40) as u64;
        self.connect();
        self.deliver_to_ingest();
        self.deliver_to_gateway()?;
        self.ingest_produces();
        for _ in 0..3 {
            self.replayer_works()?;
        }
        self.gateway_works()?;
        self.gateway_works()?;
        self.deliver_to_client(Socket::Ingest)?;
        self.deliver_to_client(Socket::Gateway)?;
        self.group();
        self.trace.note("serve", 0, self.now);
        self.oracle.check_log(&self.log)?;
        self.operate()?;
        self.peers_turn()
    }

    fn come_to_rest(&mut self) -> Verdict {
        self.is_faulty = false;
        self.store.is_away = false;
        for r in 0..self.replayers.len() {
            self.return_to_the_store(r);
            self.replayers[r].is_paused = false;
            self.replayers[r].is_down = false;
        }
        for (process, partition) in std::mem::take(&mut self.late_losses) {
            self.replayers[process].lose(partition);
        }
        let mut steps = 0;
        while !self.is_at_rest() {
            self.serve()?;
            steps += 1;
            hold(steps < REST_STEPS_MAX, "liveness", || format!("not at rest after {steps} steps: {}", self.state()))?;
        }
        self.check_at_rest()
    }

    fn is_at_rest(&mut self) -> bool {
        let is_lost = (0..self.owners.len()).any(|p| self.oracle.is_lost(p));
        let is_quiet =
            !is_lost && self.ingests.iter().all(|ingest| ingest.pending() == 0) && self.oracle.unanswered().is_none();
        is_quiet && self.peers.iter_mut().all(|peer| peer.is_at_rest(&self.oracle))
    }

    fn state(&mut self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.oracle.unanswered());
        parts.extend(self.replayers.iter().map(replayer::Process::state));
        parts.extend(self.gateways.iter().map(|gateway| gateway.state(&self.log)));
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
            parts.extend(damaged.map(|(chunk, truth)| format!("{chunk} was damaged, with {} audits", truth.audits)));
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
        // R10: the content that each gateway serves over HTTP must match the log's.
        for g in 0..self.gateways.len() {
            for chunk in setting::chunks() {
                let mut ask = self.gateways[g].ask(&chunk, Ask::Content, self.now)?;
                let mut tries = 0;
                let answer = loop {
                    let answer = self.gateways[g].answers.remove(&ask);
                    // A question may have to be asked again, for two reasons. The owner
                    // reconstructs a lost object only after a request for it. And a gateway without
                    // clients may not have read yet that a chunk was healed.
                    let truth = &self.oracle.chunks[&chunk];
                    let comes_again = match &answer {
                        Some(Answer::Unavailable(_) | Answer::Degraded(_)) => true,
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
                        // A gateway that was restarted since the last question has forgotten it, so
                        // the test asks again.
                        ask = self.gateways[g].ask(&chunk, Ask::Content, self.now)?;
                    }
                    hold(tries < 2_000, "liveness", || format!("gateway {g} gives no answer about {chunk}"))?;
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
            let orphans = self.replayers[r].crash();
            self.late_updates.push(orphans.into());
        }
        self.late_updates.clear();
        for g in 0..self.gateways.len() {
            self.restart_gateway(g);
        }
        self.oracle.check_log(&self.log)
    }

    fn count(&mut self, fault: Fault) {
        *self.counts.entry(fault).or_default() += 1;
        self.trace.note(fault.name(), 0, self.now);
    }
}

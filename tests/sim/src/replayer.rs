//! A replayer process of the simulation. It surrounds the real [`PartitionCore`] with the behaviour
//! of `driftless-replayer`.
//!
//! Each operation that takes time in the real shell (a load, a put, a checkpoint, a delivery) waits
//! here until the simulation decides that it succeeds, fails or gets lost. This module also holds
//! the mutants that break the shell and not the core.

mod mending;
mod producer;
mod recognition;
mod services;

pub use mending::Loss;

use crate::log::{Log, OrphanRecord};
use crate::store::{IndexState, Store, WriterToken};
use bytes::Bytes;
use driftless_chunk::mutant::Mutant;
use driftless_chunk::recognition::Known;
use driftless_chunk::world::World;
use driftless_replayer_core::{End, Input, Output, PartitionCore, Settings};
use driftless_schemas::stored::{Checkpoint, IndexEntry, StoredRef};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Epoch, Hash, Offset, Partition};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

/// Settings with short intervals and low limits, so that snapshots, checkpoints and evictions
/// happen often in a short run. The memory of some processes has room for one or two chunks, and
/// that of the others for all.
fn settings(is_small: bool) -> Settings {
    Settings {
        snapshot_every: 6,
        snapshot_max_age_ms: 1_500,
        snapshot_min_interval_ms: 200,
        snapshots_in_flight_max: 2,
        checkpoint_interval_ms: 400,
        chunks_bytes_max: Some(if is_small { 2_600 } else { 50_000 }),
        commands_in_flight_max: 48,
        waiting_per_chunk_max: 5,
        load_retry_ms: 200,
        ..Settings::default()
    }
}

/// A record that the producer has accepted and the log has not acknowledged.
#[derive(Clone, Debug)]
pub struct Sent {
    ownership: u64,
    partition: Partition,
    n: u64,
    key: Bytes,
    value: Bytes,
    landed: Option<Offset>,
}

/// A partition and the newest durable state of its index. The oracle checks this state.
pub type Written = (Partition, Rc<IndexState>);

enum Reading {
    Nothing,
    Updates(Offset),
    Commands(Offset),
}

/// One ownership of a partition, from its claim to its end.
pub struct Ownership {
    id: u64,
    /// The owned partition.
    pub partition: Partition,
    /// The real core of the replayer, for this partition.
    pub core: PartitionCore,
    token: Option<WriterToken>,
    reading: Reading,
    /// The records of `updates` and of `commands` by which the log is recognised. They are compared
    /// with the first records that are read.
    known: [Option<Known>; 2],
    /// How often `updates` and `commands` had lost records when the ownership began.
    losses: [u32; 2],
    /// The end of the log when the ownership began, and the ownership's fence. Only mutants use the
    /// two fields.
    end_at_claim: Offset,
    fence: Option<Bytes>,
    loads: VecDeque<ChunkId>,
    older: VecDeque<(ChunkId, StoredRef)>,
    history: Option<Offset>,
    read_back: Option<Offset>,
    asks_commands_end: bool,
    repairs: VecDeque<(Hash, Bytes)>,
    puts: VecDeque<(ChunkId, Hash, Bytes)>,
    checkpoint: Option<(Checkpoint, Vec<(ChunkId, IndexEntry)>)>,
    written: Option<Result<(), String>>,
    letters: VecDeque<(u64, Offset)>,
    is_draining: bool,
    is_stopped: bool,
}

/// A replayer process with its ownerships.
pub struct Process {
    name: String,
    world: Arc<World>,
    /// The start of the process's clock.
    clock_ms: u64,
    /// True while the process is stopped and takes no step.
    pub is_paused: bool,
    /// True while the process does not run.
    pub is_down: bool,
    /// The store that the process uses by mistake; `None` if it uses the world's.
    pub other_store: Option<Store>,
    /// The partitions that the group assigned to the process. The value is the earliest time at
    /// which the process may begin an ownership; a failure moves it to later.
    pub assigned: BTreeMap<Partition, u64>,
    /// The ownerships that have not ended.
    pub ownerships: Vec<Ownership>,
    sent: Vec<Sent>,
    /// For [`Mutant::ProduceAgain`]: the second record in flight lands before the first.
    lands_second: bool,
    next_id: u64,
    /// The highest epoch that an ownership of the partition has read in the log, if that epoch made
    /// the ownership's fence invalid. The next claim uses an epoch above it.
    claim_above: BTreeMap<Partition, Epoch>,
    /// The partitions whose last ownership here ended because the log or the index is not what the
    /// other describes. The next one compares them before it appends a fence.
    refused: BTreeSet<Partition>,
    /// The number of ended ownerships, by the reason for the end.
    pub ends: BTreeMap<&'static str, u64>,
    /// Chunks whose model panicked. Later ownerships load them in careful mode.
    careful: BTreeSet<ChunkId>,
    /// The number of chunks in owners' memory that were found to differ from the log.
    pub drifts: u64,
    /// The number of lost objects that ended ownerships had reconstructed.
    reconstructed: u64,
}

impl Process {
    /// A process without partitions.
    #[must_use]
    pub fn new(name: String, world: Arc<World>, clock_ms: u64) -> Self {
        Self {
            name,
            world,
            clock_ms,
            is_paused: false,
            is_down: false,
            other_store: None,
            assigned: BTreeMap::new(),
            ownerships: Vec::new(),
            sent: Vec::new(),
            lands_second: false,
            next_id: 1,
            claim_above: BTreeMap::new(),
            refused: BTreeSet::new(),
            ends: BTreeMap::new(),
            careful: BTreeSet::new(),
            drifts: 0,
            reconstructed: 0,
        }
    }

    fn settings(&self) -> Settings {
        settings(self.clock_ms.is_multiple_of(2))
    }

    /// True if the process takes steps: it is neither stopped nor killed.
    #[must_use]
    pub fn is_awake(&self) -> bool {
        !self.is_paused && !self.is_down
    }

    fn now(&self, now: u64) -> MonotonicMs {
        MonotonicMs(now + self.clock_ms)
    }

    /// Begins an ownership of a partition that is assigned and not owned yet. Returns the state of
    /// the index after the claim, or `None` if no ownership begins.
    pub fn begin_assigned(&mut self, now: u64, store: &mut Store, log: &Log) -> Option<Written> {
        let due = |(p, at): (&Partition, &u64)| {
            (*at <= now && !self.ownerships.iter().any(|own| own.partition == *p)).then_some(*p)
        };
        let partition = self.assigned.iter().find_map(due)?;
        if store.is_away {
            self.assigned.insert(partition, now + 500);
            return None;
        }
        let (token, checkpoint) = self.claim(partition, 1, store);
        if self.refused.contains(&partition) && recognition::refuses(&checkpoint, partition, log) {
            self.assigned.insert(partition, now + 500);
            return Some((partition, store.view(partition, 0)));
        }
        let (id, owner) = self.next_owner();
        let core =
            PartitionCore::new(Arc::clone(&self.world), partition, &owner, checkpoint, self.settings(), self.now(now))
                .careful_with(self.careful.clone());
        self.own((id, partition, core), token, &checkpoint, log, now);
        Some((partition, store.view(partition, 0)))
    }

    /// The number of the next ownership of this process, and the owner text of its fence.
    fn next_owner(&mut self) -> (u64, String) {
        let id = self.next_id;
        self.next_id += 1;
        (id, format!("{}#{id}", self.name))
    }

    /// Begins an ownership whose partition is claimed.
    fn own(
        &mut self,
        (id, partition, core): (u64, Partition, PartitionCore),
        token: Option<WriterToken>,
        checkpoint: &Checkpoint,
        log: &Log,
        now: u64,
    ) {
        let (updates, commands) = (&log.updates[partition.0 as usize], &log.commands[partition.0 as usize]);
        self.ownerships.push(Ownership {
            id,
            partition,
            core,
            token,
            reading: Reading::Nothing,
            known: [Known::of_updates(checkpoint), Known::of_commands(checkpoint)],
            losses: [updates.losses(), commands.losses()],
            end_at_claim: updates.end(),
            fence: None,
            loads: VecDeque::new(),
            older: VecDeque::new(),
            history: None,
            read_back: None,
            asks_commands_end: false,
            repairs: VecDeque::new(),
            puts: VecDeque::new(),
            checkpoint: None,
            written: None,
            letters: VecDeque::new(),
            is_draining: false,
            is_stopped: false,
        });
        let last = self.ownerships.len() - 1;
        self.take_outputs(last, now);
    }

    /// Opens the index and claims an epoch that is `leap` above the newest known one. Each
    /// ownership opens the index once, uses one epoch, and appends one fence
    /// (docs/design.md#ownership).
    fn claim(&self, partition: Partition, leap: u64, store: &mut Store) -> (Option<WriterToken>, Checkpoint) {
        if Mutant::OpenIndexAfterFence.is_on() {
            let mut checkpoint = store.view(partition, 0).checkpoint;
            checkpoint.epoch = checkpoint.epoch.next();
            return (None, checkpoint);
        }
        let (token, state) = store.open(partition);
        let mut checkpoint = state.checkpoint;
        if !Mutant::ReuseEpoch.is_on() || checkpoint.epoch == Epoch(0) {
            let above = self.claim_above.get(&partition).copied().unwrap_or_default();
            checkpoint.epoch = Epoch(checkpoint.epoch.max(above).0 + leap);
        }
        let written = store.write(partition, token, checkpoint, &[]);
        debug_assert!(written.is_ok(), "no other writer opened the index in between");
        (Some(token), checkpoint)
    }

    /// Drains the ownership of a partition, because the group revokes the partition in a planned
    /// hand-over.
    pub fn revoke(&mut self, partition: Partition, now: u64) {
        self.assigned.remove(&partition);
        for i in 0..self.ownerships.len() {
            if self.ownerships[i].partition == partition && !self.ownerships[i].is_draining {
                self.ownerships[i].is_draining = true;
                self.give(i, Input::Drain, now);
            }
        }
    }

    /// Drops the ownership of a partition, because the group has already given the partition to
    /// another process.
    pub fn lose(&mut self, partition: Partition) {
        self.assigned.remove(&partition);
        self.ownerships.retain(|own| own.partition != partition);
    }

    /// Kills the process. Returns the producer's records in flight, which may land later or never.
    pub fn crash(&mut self) -> Vec<OrphanRecord> {
        self.ownerships.clear();
        self.assigned.clear();
        self.claim_above.clear();
        self.refused.clear();
        self.is_paused = false;
        self.abandon()
    }

    /// True if some checkpoint is durable and its core has not learned of it yet.
    #[must_use]
    pub fn has_unheard_checkpoint(&self) -> bool {
        self.ownerships.iter().any(|own| matches!(own.written, Some(Ok(()))))
    }

    fn give(&mut self, i: usize, input: Input, now: u64) {
        let at = self.now(now);
        self.ownerships[i].core.handle(input, at);
        self.take_outputs(i, now);
    }

    fn take_outputs(&mut self, i: usize, now: u64) {
        let Self { ownerships, sent, ends, assigned, careful, drifts, claim_above, refused, .. } = self;
        let own = &mut ownerships[i];
        while let Some(output) = own.core.poll_output() {
            match output {
                Output::Append { n, key, value } => {
                    if n == 0 && (Mutant::SkipFence.is_on() || Mutant::ReadToTheEnd.is_on()) {
                        own.fence = Some(value.clone());
                    }
                    let landed = (n == 0 && Mutant::SkipFence.is_on()).then_some(own.end_at_claim);
                    sent.push(Sent { ownership: own.id, partition: own.partition, n, key: key.into(), value, landed });
                }
                Output::ReadUpdates(from) => own.reading = Reading::Updates(from),
                Output::ReadCommands(from) => own.reading = Reading::Commands(from),
                Output::Load(chunk) => own.loads.push_back(chunk),
                Output::PutSnapshot { chunk, hash, encoding } => own.puts.push_back((chunk, hash, encoding)),
                Output::WriteCheckpoint { checkpoint, entries } => own.checkpoint = Some((checkpoint, entries)),
                Output::DeadLetter { id, offset, .. } => own.letters.push_back((id, offset)),
                Output::LoadOlder(chunk, stored) => own.older.push_back((chunk, stored)),
                Output::ReadHistory(from) => own.history = Some(from),
                Output::EndHistory => own.history = None,
                Output::ReadBack(from) => own.read_back = Some(from),
                Output::EndReadBack => own.read_back = None,
                Output::AskCommandsEnd => own.asks_commands_end = true,
                Output::Repair { hash, encoding, .. } => own.repairs.push_back((hash, encoding)),
                Output::Drift(..) => *drifts += 1,
                Output::Reached(_) | Output::Lost(..) | Output::LossAccepted(_) | Output::Stuck(..) => {}
                Output::Ended(end) => {
                    own.is_stopped = true;
                    match end {
                        End::OutOfRange(_) | End::AnotherLog { .. } => drop(refused.insert(own.partition)),
                        _ => drop(refused.remove(&own.partition)),
                    }
                    let (name, pause) = match end {
                        End::Drained => ("drained", 0),
                        End::Replaced { epoch } => {
                            claim_above.insert(own.partition, epoch);
                            ("replaced", 2_000)
                        }
                        End::FenceInvalid { current, .. } => {
                            claim_above.insert(own.partition, current);
                            ("fence invalid", 300)
                        }
                        End::HistoryTooOld { .. } => ("history too old", 300),
                        End::IndexTooOld { .. } => ("index too old", 300),
                        End::AnotherWorld { .. } => ("another world", 300),
                        End::AnotherLog { .. } => ("another log", 300),
                        End::NotCounted { .. } => ("not counted", 300),
                        End::AppendFailed { .. } => ("append failed", 300),
                        End::Unreadable { .. } => ("unreadable", 300),
                        End::ImpossibleMark { .. } => ("impossible mark", 300),
                        End::OutOfRange(_) => ("out of range", 300),
                        End::ModelFault { chunk } => {
                            careful.insert(chunk);
                            ("model fault", 0)
                        }
                        End::Reread { .. } => ("reread", 0),
                        End::Index { .. } => ("index", 2_000),
                    };
                    *ends.entry(name).or_default() += 1;
                    if let Some(at) = assigned.get_mut(&own.partition) {
                        *at = now + pause;
                    }
                }
            }
        }
    }

    /// Describes the ownerships, and the reasons for which earlier ones have ended.
    #[must_use]
    pub fn state(&self) -> String {
        let owned = |own: &Ownership| {
            let stats = own.core.stats();
            format!(
                "{} (running {}, {} chunks stuck, {} commands open)",
                own.partition,
                own.core.is_running(),
                stats.stuck_chunks,
                stats.commands_open
            )
        };
        let owned: Vec<String> = self.ownerships.iter().map(owned).collect();
        format!("{}: owns {}; ended: {:?}", self.name, owned.join(", "), self.ends)
    }

    /// The number of lost objects that this process has reconstructed.
    #[must_use]
    pub fn reconstructed(&self) -> u64 {
        self.reconstructed + self.ownerships.iter().map(|own| own.core.stats().reconstructed).sum::<u64>()
    }

    /// Removes ownerships that have ended.
    pub fn sweep(&mut self) {
        for own in self.ownerships.iter().filter(|own| own.is_stopped) {
            self.reconstructed += own.core.stats().reconstructed;
        }
        self.ownerships.retain(|own| !own.is_stopped);
    }
}

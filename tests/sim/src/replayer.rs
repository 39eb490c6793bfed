//! A replayer process of the simulation: what `driftless-replayer` does around the real [`PartitionCore`].
//!
//! Everything that takes time in the real shell (a load, a put, a checkpoint, a delivery) waits here until the simulation
//! lets it happen, fail or get lost. The mutants of the shell stand here.

use crate::log::{DeadLetter, Log};
use crate::rng::Rng;
use crate::store::{IndexState, Store, WriterToken};
use bytes::Bytes;
use driftless_chunk::mutant::Mutant;
use driftless_chunk::world::World;
use driftless_replayer_core::{End, Input, LoadError, OlderError, Output, PartitionCore, Settings, Stored};
use driftless_schemas::proto::{Checkpoint, IndexEntry, Ref};
use driftless_schemas::{ChunkId, Hash, Offset, Partition};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

/// Everything happens soon and often.
fn settings() -> Settings {
    Settings {
        snapshot_every: 6,
        snapshot_max_age_ms: 1_500,
        snapshot_min_interval_ms: 200,
        snapshots_in_flight_max: 2,
        checkpoint_interval_ms: 400,
        chunks_bytes_max: 2_600,
        commands_in_flight_max: 48,
        waiting_per_chunk_max: 5,
        load_retry_ms: 200,
        ..Settings::default()
    }
}

/// A record that was handed to the producer.
#[derive(Clone, Debug)]
pub struct Sent {
    ownership: u64,
    partition: Partition,
    n: u64,
    key: Bytes,
    value: Bytes,
    landed: Option<Offset>,
}

/// A record whose producer is gone: it may still land.
pub type Ghost = (Partition, Bytes, Bytes);

/// What became durable, for the oracle.
pub type Written = (Partition, Rc<IndexState>);

enum Reading {
    Nothing,
    Updates(Offset),
    Commands(Offset),
}

/// One ownership of one partition.
pub struct Ownership {
    id: u64,
    /// Of which partition.
    pub partition: Partition,
    /// The real thing.
    pub core: PartitionCore,
    token: Option<WriterToken>,
    reading: Reading,
    /// Where the log ended when it began, and its fence: for mutants.
    end_at_claim: Offset,
    fence: Option<Bytes>,
    loads: VecDeque<ChunkId>,
    older: VecDeque<(ChunkId, Ref)>,
    history: Option<Offset>,
    repairs: VecDeque<(Hash, Bytes)>,
    puts: VecDeque<(ChunkId, Hash, Bytes)>,
    checkpoint: Option<(Checkpoint, Vec<(ChunkId, IndexEntry)>)>,
    written: Option<Result<(), String>>,
    letters: VecDeque<(u64, Offset)>,
    is_draining: bool,
    is_stopped: bool,
}

/// A process with its partitions.
pub struct Process {
    name: String,
    world: Arc<World>,
    /// Its clock starts here.
    clock_ms: u64,
    /// It does nothing at present.
    pub is_paused: bool,
    /// It is not there at present.
    pub is_down: bool,
    /// What the group has told it, and when a failed ownership is taken up again.
    pub assigned: BTreeMap<Partition, u64>,
    /// Its ownerships, ended ones not.
    pub ownerships: Vec<Ownership>,
    sent: Vec<Sent>,
    /// [`Mutant::ProduceAgain`]: a record is overtaken by the one behind it.
    lands_second: bool,
    next_id: u64,
    /// Why ownerships ended.
    pub ends: BTreeMap<&'static str, u64>,
    /// Chunks whose models panicked.
    careful: BTreeSet<ChunkId>,
    /// Chunks that were found to differ from the log.
    pub drifts: u64,
    /// Lost objects made again by ownerships that are over.
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
            assigned: BTreeMap::new(),
            ownerships: Vec::new(),
            sent: Vec::new(),
            lands_second: false,
            next_id: 1,
            ends: BTreeMap::new(),
            careful: BTreeSet::new(),
            drifts: 0,
            reconstructed: 0,
        }
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_awake(&self) -> bool {
        !self.is_paused && !self.is_down
    }

    fn now(&self, now: u64) -> u64 {
        now + self.clock_ms
    }

    // ---- the group ----

    /// Takes up what is assigned and not owned.
    pub fn begin_assigned(&mut self, now: u64, store: &mut Store, log: &Log) -> Option<Written> {
        let due = |(p, at): (&Partition, &u64)| {
            (*at <= now && !self.ownerships.iter().any(|own| own.partition == *p)).then_some(*p)
        };
        let partition = self.assigned.iter().find_map(due)?;
        if store.is_away {
            self.assigned.insert(partition, now + 500);
            return None;
        }
        let (token, checkpoint) = self.claim(partition, store);
        let core =
            PartitionCore::new(Arc::clone(&self.world), partition, &self.name, checkpoint, settings(), self.now(now))
                .careful_with(self.careful.clone());
        let id = self.next_id;
        self.next_id += 1;
        self.ownerships.push(Ownership {
            id,
            partition,
            core,
            token,
            reading: Reading::Nothing,
            end_at_claim: log.updates[partition.0 as usize].end(),
            fence: None,
            loads: VecDeque::new(),
            older: VecDeque::new(),
            history: None,
            repairs: VecDeque::new(),
            puts: VecDeque::new(),
            checkpoint: None,
            written: None,
            letters: VecDeque::new(),
            is_draining: false,
            is_stopped: false,
        });
        let last = self.ownerships.len() - 1;
        self.carry_out(last, now);
        Some((partition, store.view(partition, 0)))
    }

    /// One open, one epoch, one fence (DESIGN.md section 6).
    fn claim(&self, partition: Partition, store: &mut Store) -> (Option<WriterToken>, Checkpoint) {
        if Mutant::OpenIndexAfterFence.is_on() {
            let mut checkpoint = store.view(partition, 0).checkpoint;
            checkpoint.epoch += 1;
            return (None, checkpoint);
        }
        let (token, state) = store.open(partition);
        let mut checkpoint = state.checkpoint;
        if !Mutant::ReuseEpoch.is_on() || checkpoint.epoch == 0 {
            checkpoint.epoch += 1;
        }
        let written = store.write(partition, token, checkpoint, &[]);
        debug_assert!(written.is_ok(), "nobody opened it in between");
        (Some(token), checkpoint)
    }

    /// The group takes a partition away, in order.
    pub fn revoke(&mut self, partition: Partition, now: u64) {
        self.assigned.remove(&partition);
        for i in 0..self.ownerships.len() {
            if self.ownerships[i].partition == partition && !self.ownerships[i].is_draining {
                self.ownerships[i].is_draining = true;
                self.give(i, Input::Drain, now);
            }
        }
    }

    /// The group has given a partition to somebody else already.
    pub fn lose(&mut self, partition: Partition) {
        self.assigned.remove(&partition);
        self.ownerships.retain(|own| own.partition != partition);
    }

    /// `kill -9`. What was handed to the producer may land later, or never.
    pub fn crash(&mut self) -> Vec<Ghost> {
        self.ownerships.clear();
        self.assigned.clear();
        self.is_paused = false;
        self.abandon()
    }

    /// Whether a checkpoint is durable that the core has not heard of.
    #[must_use]
    pub fn has_unheard_checkpoint(&self) -> bool {
        self.ownerships.iter().any(|own| matches!(own.written, Some(Ok(()))))
    }

    fn abandon(&mut self) -> Vec<Ghost> {
        let open = std::mem::take(&mut self.sent).into_iter().filter(|sent| sent.landed.is_none());
        open.map(|sent| (sent.partition, sent.key, sent.value)).collect()
    }

    // ---- the producer ----

    /// The next record of a partition reaches the log.
    pub fn land(&mut self, log: &mut Log, rng: &mut Rng) -> bool {
        self.land_next(Partition(rng.below(log.updates.len()) as i32), log)
    }

    fn land_next(&mut self, partition: Partition, log: &mut Log) -> bool {
        let mut open = self.sent.iter_mut().filter(|s| s.partition == partition && s.landed.is_none());
        let Some(mut sent) = open.next() else { return false };
        if self.lands_second
            && let Some(second) = open.next()
        {
            self.lands_second = false;
            sent = second;
        }
        sent.landed = Some(log.updates[partition.0 as usize].append(sent.key.clone(), sent.value.clone()));
        true
    }

    /// librdkafka begins a new epoch of its own: of what has landed and is not acknowledged it does not know that, and writes
    /// all of it once more, in order, before what comes next (decision 0012). The first of it lands at once, and is
    /// acknowledged where `is_heard`.
    pub fn write_again(&mut self, log: &mut Log, is_heard: bool, now: u64) -> bool {
        let unknown = self.sent.iter_mut().filter(|sent| sent.landed.is_some());
        let again: BTreeSet<Partition> = unknown.map(|sent| (sent.landed = None, sent.partition).1).collect();
        for partition in &again {
            self.land_next(*partition, log);
            if is_heard {
                self.ack(*partition, true, now);
            }
        }
        !again.is_empty()
    }

    /// The oldest record of a partition, landed by now, is acknowledged. `knows` is false where the log reports a
    /// duplicate, and so no offset.
    pub fn ack(&mut self, partition: Partition, knows: bool, now: u64) -> bool {
        let Some(at) = self.sent.iter().position(|sent| sent.partition == partition) else { return false };
        let Some(offset) = self.sent[at].landed else { return false };
        let sent = self.sent.remove(at);
        if let Some(i) = self.ownerships.iter().position(|own| own.id == sent.ownership) {
            self.give(i, Input::Acked(sent.n, knows.then_some(offset)), now);
        }
        true
    }

    /// A delivery fails, and with it the gapless producer: every ownership with a record in flight ends.
    pub fn fail(&mut self, now: u64) -> Option<Vec<Ghost>> {
        if self.sent.is_empty() {
            return None;
        }
        if Mutant::ProduceAgain.is_on() {
            // Only the oldest expires; the one behind it lands first; then it is produced again, and both are acknowledged.
            self.lands_second = true;
            return Some(Vec::new());
        }
        let failed: Vec<(u64, u64)> = self.sent.iter().map(|sent| (sent.ownership, sent.n)).collect();
        let ghosts = self.abandon();
        for (id, n) in failed {
            if let Some(i) = self.ownerships.iter().position(|own| own.id == id) {
                self.give(i, Input::AppendFailed(n, "the simulation says so".into()), now);
            }
        }
        Some(ghosts)
    }

    // ---- what ownerships wait for ----

    /// Reads on.
    pub fn read(&mut self, i: usize, count: usize, now: u64, log: &Log) -> bool {
        let own = &mut self.ownerships[i];
        let p = own.partition.0 as usize;
        match own.reading {
            Reading::Nothing => false,
            Reading::Updates(from) => {
                let Some(mut records) = log.updates[p].read(from, count) else { return self.stop(i, "out of range") };
                own.reading = Reading::Updates(Offset(from.0 + records.len() as i64));
                let is_fake = Mutant::SkipFence.is_on() || Mutant::ReadToTheEnd.is_on();
                if is_fake && from.0 + records.len() as i64 >= own.end_at_claim.0 {
                    // As if its own fence stood at the end.
                    records.retain(|(offset, _)| *offset < own.end_at_claim);
                    records.extend(own.fence.take().map(|fence| (own.end_at_claim, fence)));
                }
                if records.is_empty() {
                    return false;
                }
                self.give(i, Input::Updates(records), now);
                true
            }
            Reading::Commands(from) => {
                if !own.core.wants_commands() {
                    return false;
                }
                let Some(records) = log.commands[p].read(from, count) else { return self.stop(i, "out of range") };
                if records.is_empty() {
                    return false;
                }
                own.reading = Reading::Commands(Offset(from.0 + records.len() as i64));
                self.give(i, Input::Commands(records), now);
                true
            }
        }
    }

    fn stop(&mut self, i: usize, why: &'static str) -> bool {
        *self.ends.entry(why).or_default() += 1;
        self.ownerships[i].is_stopped = true;
        true
    }

    /// The oldest load is answered.
    pub fn load(&mut self, i: usize, works: bool, now: u64, store: &Store) -> bool {
        let own = &mut self.ownerships[i];
        let Some(chunk) = own.loads.pop_front() else { return false };
        let loaded = match works && !store.is_away {
            false => Err(LoadError::Unavailable("the store is away".into())),
            true => match store.view(own.partition, 0).entries.get(&chunk).cloned() {
                None => Ok(None),
                Some(entry) => match entry.newest.as_ref().map(|newest| store.load(newest)) {
                    None => Ok(Some(Stored { entry, encoding: Bytes::new() })),
                    Some(Ok((_, encoding))) => Ok(Some(Stored { entry, encoding })),
                    Some(Err(reason)) => Err(LoadError::Lost { entry: Box::new(entry), reason }),
                },
            },
        };
        self.give(i, Input::Loaded(chunk, loaded), now);
        true
    }

    /// History is read on, or the object of an older ref is loaded.
    pub fn look_back(&mut self, i: usize, count: usize, works: bool, now: u64, store: &mut Store, log: &Log) -> bool {
        let own = &mut self.ownerships[i];
        if !store.is_away && works {
            for (hash, encoding) in own.repairs.drain(..) {
                store.put(hash, &encoding);
            }
        }
        if let Some((chunk, stored)) = own.older.pop_front() {
            let loaded = match works && !store.is_away {
                true => store.load(&stored).map(|(_, encoding)| encoding).map_err(|_| OlderError::Lost),
                false => Err(OlderError::Unavailable),
            };
            self.give(i, Input::OlderLoaded(chunk, loaded), now);
            return true;
        }
        let Some(from) = own.history else { return false };
        let updates = &log.updates[own.partition.0 as usize];
        let Some(records) = updates.read(from, count) else {
            own.history = None;
            self.give(i, Input::HistoryCut(updates.low()), now);
            return true;
        };
        if records.is_empty() {
            return false;
        }
        own.history = Some(Offset(from.0 + records.len() as i64));
        self.give(i, Input::History(records), now);
        true
    }

    /// A fault: bits of a chunk's memory flip.
    pub fn damage(&mut self, i: usize, chunk: &ChunkId, now: u64) {
        self.give(i, Input::Damage(chunk.clone()), now);
    }

    /// An object is stored, or not.
    pub fn put(&mut self, i: usize, works: bool, now: u64, store: &mut Store) -> bool {
        let own = &mut self.ownerships[i];
        let Some((chunk, hash, encoding)) = own.puts.pop_front() else { return false };
        let result = match works && !store.is_away {
            true => {
                store.put(hash, &encoding);
                Ok(())
            }
            false => Err("the store is away".into()),
        };
        self.give(i, Input::SnapshotPut(chunk, hash, result), now);
        true
    }

    /// A checkpoint becomes durable, or is refused; the core is not told yet.
    pub fn write(&mut self, i: usize, works: bool, store: &mut Store) -> Option<Written> {
        let own = &mut self.ownerships[i];
        let token = own.token?;
        let (checkpoint, entries) = own.checkpoint.take()?;
        if store.is_away || !works {
            own.written = Some(Err("the store is away".into()));
            return None;
        }
        let mut written = store.write(own.partition, token, checkpoint, &entries);
        if written.is_err() && Mutant::ReopenIndex.is_on() {
            let (token, _) = store.open(own.partition);
            own.token = Some(token);
            written = store.write(own.partition, token, checkpoint, &entries);
        }
        let is_written = written.is_ok();
        own.written = Some(written.map_err(|_| "fenced".into()));
        is_written.then(|| (own.partition, store.view(own.partition, 0)))
    }

    /// The core hears of its checkpoint.
    pub fn tell_written(&mut self, i: usize, now: u64) -> bool {
        let Some(written) = self.ownerships[i].written.take() else { return false };
        self.give(i, Input::CheckpointWritten(written), now);
        true
    }

    /// A copy in `dead-letter` is made and acknowledged.
    pub fn bury(&mut self, i: usize, now: u64, log: &mut Log) -> bool {
        let own = &mut self.ownerships[i];
        let Some((id, offset)) = own.letters.pop_front() else { return false };
        log.dead_letters.push(DeadLetter { partition: own.partition, offset });
        self.give(i, Input::DeadLettered(id), now);
        true
    }

    /// Time passes.
    pub fn tick(&mut self, i: usize, now: u64) {
        self.give(i, Input::Tick, now);
    }

    /// Opens the index late: see [`Mutant::OpenIndexAfterFence`].
    pub fn open_late(&mut self, i: usize, store: &mut Store) {
        let own = &mut self.ownerships[i];
        if own.token.is_none() && own.core.is_running() {
            let (token, mut state) = store.open(own.partition);
            own.token = Some(token);
            let checkpoint = Checkpoint { epoch: state.checkpoint.epoch + 1, ..Rc::make_mut(&mut state).checkpoint };
            let written = store.write(own.partition, token, checkpoint, &[]);
            debug_assert!(written.is_ok(), "nobody opened it in between");
        }
    }

    fn give(&mut self, i: usize, input: Input, now: u64) {
        let at = self.now(now);
        self.ownerships[i].core.handle(input, at);
        self.carry_out(i, now);
    }

    fn carry_out(&mut self, i: usize, now: u64) {
        let Self { ownerships, sent, ends, assigned, careful, drifts, .. } = self;
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
                Output::Repair { hash, encoding, .. } => own.repairs.push_back((hash, encoding)),
                Output::Drift(..) => *drifts += 1,
                Output::Lost(..) => {}
                Output::Stuck(..) => {}
                Output::Ended(end) => {
                    own.is_stopped = true;
                    let (name, pause) = match end {
                        End::Drained => ("drained", 0),
                        End::Replaced { .. } => ("replaced", 2_000),
                        End::AppendFailed { .. } => ("append failed", 300),
                        End::Unreadable { .. } => ("unreadable", 300),
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

    /// Lost objects that were made again.
    #[must_use]
    pub fn reconstructed(&self) -> u64 {
        self.reconstructed + self.ownerships.iter().map(|own| own.core.stats().reconstructed).sum::<u64>()
    }

    /// Forgets ownerships that have ended.
    pub fn sweep(&mut self) {
        for own in self.ownerships.iter().filter(|own| own.is_stopped) {
            self.reconstructed += own.core.stats().reconstructed;
        }
        self.ownerships.retain(|own| !own.is_stopped);
    }
}

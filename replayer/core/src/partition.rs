//! One ownership of one partition as a state machine.
//!
//! The order of things (section 6) is the point: the epoch is durable before this core is made (the shell opens the
//! index), the fence is the first record, `updates` is read up to the own fence before anything is decided, and a record
//! that was not acknowledged ends the ownership: nothing is ever produced again.

use crate::commands::{self, Ask};
use crate::outbox::Open;
use crate::progress::{BatchId, Progress, Share};
use crate::settings::Settings;
use crate::slots::{Dirty, Held, Loading, Recovered, Slot, Snapshot, State, Step, Waiting};
use bytes::Bytes;
use driftless_chunk::live::{Asked, AskedBody, LiveChunk, read_updates};
use driftless_chunk::mutant::Mutant;
use driftless_chunk::position::{Position, Validity};
use driftless_chunk::world::{Place, World};
use driftless_schemas::proto::{
    Checkpoint, Fence, IndexEntry, Ref, SnapshotStored, StoredObject, UpdatesRecord, r#ref, updates_record::Body,
};
use driftless_schemas::{ChunkId, Epoch, Hash, Offset, Partition, Version, format, limits};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

const MODEL_FAULT: &str = "the model failed on it";

/// What comes in.
#[derive(Debug)]
pub enum Input {
    /// Records of `updates`, in order; only until the own fence was read.
    Updates(Vec<(Offset, Bytes)>),
    /// Records of `commands`, in order; only after [`Output::ReadCommands`]. `(offset, value)`.
    Commands(Vec<(Offset, Bytes)>),
    /// The answer to [`Output::Load`]: the index entry and the newest ref's canonical encoding, or nothing is stored.
    Loaded(ChunkId, Result<Option<Stored>, String>),
    /// Record `n` is acknowledged, at an offset where the log knows it. In the order of n.
    Acked(u64, Option<Offset>),
    /// A record was not acknowledged.
    AppendFailed(u64, String),
    /// The answer to [`Output::PutSnapshot`]: the object is durable, or not.
    SnapshotPut(ChunkId, Hash, Result<(), String>),
    /// The answer to [`Output::DeadLetter`]: the record is acknowledged.
    DeadLettered(u64),
    /// The answer to [`Output::WriteCheckpoint`].
    CheckpointWritten(Result<(), String>),
    /// Time has passed.
    Tick,
    /// End in order: take nothing more, finish what is under way, write a checkpoint.
    Drain,
}

/// A stored state as the shell loaded it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The index's entry.
    pub entry: IndexEntry,
    /// The canonical encoding that the newest ref names.
    pub encoding: Bytes,
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Append to `updates`, in this order; report [`Input::Acked`] or [`Input::AppendFailed`].
    Append {
        /// The record's number.
        n: u64,
        /// The partition key.
        key: String,
        /// The encoded `UpdatesRecord`.
        value: Bytes,
    },
    /// Read `updates` from here on.
    ReadUpdates(Offset),
    /// The own fence was read: stop reading `updates`, and read `commands` from here on.
    ReadCommands(Offset),
    /// Load a chunk's stored state.
    Load(ChunkId),
    /// Store an encoding under its hash.
    PutSnapshot {
        /// Whose.
        chunk: ChunkId,
        /// BLAKE3 of the encoding.
        hash: Hash,
        /// The canonical encoding.
        encoding: Bytes,
    },
    /// Write refs and checkpoint in one batch, durable.
    WriteCheckpoint {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The entries that changed.
        entries: Vec<(ChunkId, IndexEntry)>,
    },
    /// Copy a record of `commands` to `dead-letter`; report [`Input::DeadLettered`] with the id.
    DeadLetter {
        /// Names the copy.
        id: u64,
        /// Where the record stands in `commands`.
        offset: Offset,
        /// Its bytes.
        value: Bytes,
        /// Why.
        reason: String,
    },
    /// A gateway says that it folded the log to another hash.
    Audit {
        /// Which chunk.
        chunk: ChunkId,
        /// At which version.
        version: Version,
    },
    /// The ownership is over; nothing more comes.
    Ended(End),
}

/// Why an ownership is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// It was asked for, and everything is written.
    #[error("drained")]
    Drained,
    /// A newer owner has fenced this one.
    #[error("epoch {epoch} owns the partition now")]
    Replaced {
        /// The newer epoch.
        epoch: Epoch,
    },
    /// A record was not acknowledged: nobody knows whether it is in the log. The next owner finds out.
    #[error("record {n} of updates was not acknowledged: {reason}")]
    AppendFailed {
        /// Its number.
        n: u64,
        /// What the log said.
        reason: String,
    },
    /// A record of `updates` cannot be read: to skip it would be to decide again what is decided.
    #[error("updates offset {offset} cannot be read: {reason}")]
    Unreadable {
        /// Where.
        offset: Offset,
        /// Why.
        reason: String,
    },
    /// The own content differs from what was published (R10). The next owner starts from ref and log.
    #[error("{chunk} drifted: {reason}")]
    Drift {
        /// Which chunk.
        chunk: ChunkId,
        /// Versions and hashes.
        reason: String,
    },
    /// The index refuses: another writer has fenced this one, or the store fails.
    #[error("the index cannot be written: {reason}")]
    Index {
        /// What it said.
        reason: String,
    },
}

/// Counters and gauges for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Stats {
    pub committed: u64,
    pub discarded: u64,
    pub out_of_order: u64,
    pub resends: u64,
    pub expired: u64,
    pub dead_letters: u64,
    pub audits: u64,
    pub records: u64,
    pub snapshots: u64,
    pub checkpoints: u64,
    pub chunks: usize,
    pub chunk_bytes: usize,
    pub dirty_chunks: usize,
    pub commands_open: usize,
}

impl Stats {
    /// The counters of another, with its own gauges: what is left when an ownership is over.
    #[must_use]
    pub fn with_counters_of(self, other: &Self) -> Self {
        let Self { chunks, chunk_bytes, dirty_chunks, commands_open, .. } = self;
        Self { chunks, chunk_bytes, dirty_chunks, commands_open, ..*other }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Reading `updates` up to the own fence.
    Recovering,
    Running,
    /// Nothing more is taken.
    Draining,
    /// The last checkpoint is being written, or its notices are on their way.
    Closing,
    Ended,
}

/// A record that is not acknowledged yet.
struct Sent {
    n: u64,
    shares: Vec<Share>,
}

/// One ownership of one partition.
pub struct PartitionCore {
    world: Arc<World>,
    partition: Partition,
    settings: Settings,
    phase: Phase,
    epoch: Epoch,
    /// Where recovery reads.
    reading: Position,
    commands_from: Offset,
    /// The position after the newest own record whose offset is known.
    known: Position,
    next_n: u64,
    acked_n: u64,
    sent: VecDeque<Sent>,
    progress: Progress,
    slots: BTreeMap<ChunkId, Slot>,
    /// Chunks with a dirty decision or a snapshot under way.
    unstored: BTreeSet<ChunkId>,
    uses: u64,
    dead_letters: BTreeMap<u64, Share>,
    next_dead_letter: u64,
    /// Chunks whose refs the checkpoint that is being written contains.
    checkpoint: Option<Vec<ChunkId>>,
    last_checkpoint: Checkpoint,
    last_checkpoint_ms: u64,
    /// [`Mutant::SkipByPartition`]: the newest offset that any chunk has decided.
    recovered_through: Offset,
    outputs: VecDeque<Output>,
    stats: Stats,
}

impl PartitionCore {
    /// An ownership that begins: the index is open, and `checkpoint.epoch` is this ownership's epoch, durable.
    #[must_use]
    pub fn new(
        world: Arc<World>,
        partition: Partition,
        owner: &str,
        checkpoint: Checkpoint,
        settings: Settings,
        now_ms: u64,
    ) -> Self {
        let epoch = Epoch(checkpoint.epoch);
        let reading = Position::of_checkpoint(&checkpoint);
        let mut core = Self {
            world,
            partition,
            settings,
            phase: Phase::Recovering,
            epoch,
            reading,
            commands_from: Offset(checkpoint.commands_next),
            known: reading,
            next_n: 0,
            acked_n: 0,
            sent: VecDeque::new(),
            progress: Progress::new(Offset(checkpoint.commands_next)),
            slots: BTreeMap::new(),
            unstored: BTreeSet::new(),
            uses: 0,
            dead_letters: BTreeMap::new(),
            next_dead_letter: 0,
            checkpoint: None,
            last_checkpoint: checkpoint,
            last_checkpoint_ms: now_ms,
            recovered_through: Offset::NONE,
            outputs: VecDeque::new(),
            stats: Stats::default(),
        };
        // R4: the fence first, and nothing else before it was read back.
        core.append(String::new(), Body::Fence(Fence { owner: owner.to_owned() }), Vec::new());
        core.outputs.push_back(Output::ReadUpdates(reading.offset));
        core
    }

    /// Takes an input.
    pub fn handle(&mut self, input: Input, now_ms: u64) {
        if self.phase == Phase::Ended {
            return;
        }
        match input {
            Input::Updates(records) => self.recover(records, now_ms),
            Input::Commands(records) => self.take_commands(records, now_ms),
            Input::Loaded(chunk, loaded) => self.take_loaded(chunk, loaded, now_ms),
            Input::Acked(n, offset) => self.take_ack(n, offset),
            Input::AppendFailed(n, reason) => self.end(End::AppendFailed { n, reason }),
            Input::SnapshotPut(chunk, hash, result) => self.take_snapshot_put(&chunk, hash, result.is_ok()),
            Input::DeadLettered(id) => {
                if let Some(share) = self.dead_letters.remove(&id) {
                    self.progress.done(share);
                }
            }
            Input::CheckpointWritten(Ok(())) => self.take_checkpoint_written(now_ms),
            Input::CheckpointWritten(Err(reason)) => self.end(End::Index { reason }),
            Input::Tick => self.tick(now_ms),
            Input::Drain if self.phase == Phase::Recovering => {
                // Nothing was decided: there is nothing to write.
                self.end(End::Drained);
            }
            Input::Drain => {
                if self.phase == Phase::Running {
                    self.phase = Phase::Draining;
                }
            }
        }
        self.go_on_draining(now_ms);
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether more commands may be handed in: not too many wait for cold chunks or acknowledgements.
    #[must_use]
    pub fn wants_commands(&self) -> bool {
        self.phase == Phase::Running && self.progress.open() < self.settings.commands_in_flight_max
    }

    /// Whether recovery is over.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Every command below this is decided and acknowledged.
    #[must_use]
    pub fn commands_next(&self) -> Offset {
        self.progress.commands_next()
    }

    /// Counters and gauges.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            chunks: self.slots.len(),
            dirty_chunks: self.unstored.len(),
            commands_open: self.progress.open(),
            ..self.stats
        }
    }

    fn end(&mut self, why: End) {
        if self.phase != Phase::Ended {
            self.phase = Phase::Ended;
            self.outputs.push_back(Output::Ended(why));
        }
    }

    fn append(&mut self, key: String, body: Body, shares: Vec<Share>) -> u64 {
        let n = self.next_n;
        self.next_n += 1;
        self.stats.records += 1;
        let value = UpdatesRecord { epoch: self.epoch.0, n, body: Some(body) }.encode_to_vec().into();
        self.sent.push_back(Sent { n, shares });
        self.outputs.push_back(Output::Append { n, key, value });
        n
    }

    fn take_ack(&mut self, n: u64, offset: Option<Offset>) {
        let Some(sent) = self.sent.pop_front() else { return };
        if sent.n != n {
            // Acknowledgements come in order; if not, what is acknowledged is no prefix (R6).
            let reason = format!("record {n} was acknowledged before it");
            return self.end(End::AppendFailed { n: sent.n, reason });
        }
        self.acked_n = n;
        if let Some(offset) = offset
            && n > 0
        {
            self.known = Position { offset: offset.next(), epoch: self.epoch, n };
        }
        for share in sent.shares {
            self.progress.done(share);
        }
    }

    // ---- Recovery -------------------------------------------------------------------------------------------------

    fn recover(&mut self, records: Vec<(Offset, Bytes)>, now_ms: u64) {
        for (offset, value) in records {
            if self.phase != Phase::Recovering {
                return;
            }
            let before = Position { offset, ..self.reading };
            let record: UpdatesRecord = match format::decode_known("UpdatesRecord", value) {
                Ok(UpdatesRecord { body: None, .. }) => {
                    let reason = "it has no body that this version knows; upgrade this process".into();
                    return self.end(End::Unreadable { offset, reason });
                }
                Ok(record) => record,
                Err(e) => return self.end(End::Unreadable { offset, reason: e.to_string() }),
            };
            match self.reading.judge(offset, &record) {
                Validity::Invalid => {}
                Validity::Fence if record.epoch > self.epoch.0 => {
                    return self.end(End::Replaced { epoch: Epoch(record.epoch) });
                }
                Validity::Fence if record.epoch == self.epoch.0 => self.begin_running(),
                Validity::Fence => {}
                Validity::Valid => {
                    if let Err(reason) = self.note_recovered(before, record, now_ms) {
                        return self.end(End::Unreadable { offset, reason });
                    }
                }
            }
        }
    }

    fn note_recovered(&mut self, before: Position, record: UpdatesRecord, now_ms: u64) -> Result<(), String> {
        let (chunk_id, recovered) = match record.body {
            Some(Body::Decisions(decisions)) => {
                let updates = read_updates(&decisions).map_err(|e| e.to_string())?;
                let through = decisions.marks.last().map_or(Offset::NONE, |mark| Offset(mark.source_offset));
                self.recovered_through = self.recovered_through.max(through);
                (decisions.chunk_id.clone(), Recovered::Decisions(decisions, updates))
            }
            Some(Body::SnapshotStored(stored)) => (stored.chunk_id.clone(), Recovered::Stored(stored)),
            _ => return Ok(()),
        };
        let chunk: ChunkId = chunk_id.parse().map_err(|e: driftless_schemas::ChunkIdError| e.to_string())?;
        if matches!(recovered, Recovered::Stored(_)) && !self.slots.contains_key(&chunk) {
            // Nothing to fold for it: no reason to load it.
            return Ok(());
        }
        let place = self.world.place(&chunk).map_err(|e| e.to_string())?;
        self.use_slot(&chunk, || place);
        match self.slots.get_mut(&chunk).map(|slot| &mut slot.state) {
            None => debug_assert!(false, "use_slot makes the slot"),
            Some(State::Loading(loading)) => {
                loading.bound.get_or_insert(before);
                loading.recovered.push(recovered);
                self.unstored.insert(chunk);
            }
            // Its state arrived while the log was still being read.
            Some(State::Live(held)) => {
                let folded = fold_recovered(held, vec![recovered])?;
                if folded > 0 {
                    held.soil(before, now_ms, folded);
                    self.unstored.insert(chunk);
                }
            }
        }
        Ok(())
    }

    fn begin_running(&mut self) {
        self.known = self.reading;
        self.phase = Phase::Running;
        self.outputs.push_back(Output::ReadCommands(self.commands_from));
    }

    /// Makes sure that the chunk has a slot; a new one asks for its stored state.
    fn use_slot(&mut self, chunk: &ChunkId, place: impl FnOnce() -> Place) {
        self.uses += 1;
        if !self.slots.contains_key(chunk) {
            self.outputs.push_back(Output::Load(chunk.clone()));
        }
        let slot = self.slots.entry(chunk.clone()).or_insert_with(|| Slot {
            place: place(),
            last_used: 0,
            state: State::Loading(Loading::default()),
        });
        slot.last_used = self.uses;
    }

    // ---- Deciding -------------------------------------------------------------------------------------------------

    fn take_commands(&mut self, records: Vec<(Offset, Bytes)>, now_ms: u64) {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return };
        if self.phase != Phase::Running {
            return;
        }
        let batch = self.progress.begin(first.0, last.0.next(), records.len());
        let mut touched = Vec::new();
        for (offset, value) in records {
            if Mutant::SkipByPartition.is_on() && offset <= self.recovered_through {
                self.progress.done((batch, 1));
                continue;
            }
            match commands::read(&self.world, self.partition, offset, &value) {
                Err(reason) => {
                    self.dead_letter(offset, value, reason, batch);
                    self.progress.done((batch, 1));
                }
                Ok(placed) => match placed.ask {
                    Ask::Audit(audit) => {
                        self.stats.audits += 1;
                        self.outputs.push_back(Output::Audit { chunk: placed.chunk, version: Version(audit.version) });
                        self.progress.done((batch, 1));
                    }
                    Ask::Command(asked) => {
                        if let AskedBody::Undecodable(reason) = &asked.body {
                            self.dead_letter(offset, value.clone(), reason.clone(), batch);
                        }
                        self.take_command(placed.chunk, placed.place, asked, (batch, &value), &mut touched, now_ms);
                    }
                },
            }
        }
        self.seal_touched(touched, now_ms);
    }

    fn take_command(
        &mut self,
        chunk: ChunkId,
        place: Place,
        asked: Asked,
        (batch, value): (BatchId, &Bytes),
        touched: &mut Vec<ChunkId>,
        now_ms: u64,
    ) {
        self.use_slot(&chunk, || place);
        match self.slots.get_mut(&chunk).map(|slot| &mut slot.state) {
            None => debug_assert!(false, "use_slot makes the slot"),
            Some(State::Loading(loading)) => loading.waiting.push(Waiting { asked, value: value.clone(), batch }),
            Some(State::Live(held)) => {
                let was_empty = held.open.is_empty();
                let faulted = decide(&mut self.stats, &mut self.progress, held, &chunk, self.partition, &asked, batch);
                let is_full = held.open.is_full();
                if was_empty && !held.open.is_empty() {
                    touched.push(chunk.clone());
                }
                if faulted {
                    self.dead_letter(asked.offset, value.clone(), MODEL_FAULT.into(), batch);
                }
                if is_full {
                    self.seal(&chunk, now_ms);
                    touched.retain(|other| *other != chunk);
                }
            }
        }
    }

    /// Copies a record to `dead-letter`. Its batch waits for the copy, so that it is not lost in a crash (R9).
    fn dead_letter(&mut self, offset: Offset, value: Bytes, reason: String, batch: BatchId) {
        self.stats.dead_letters += 1;
        let id = self.next_dead_letter;
        self.next_dead_letter += 1;
        self.progress.hold(batch);
        self.dead_letters.insert(id, (batch, 1));
        self.outputs.push_back(Output::DeadLetter { id, offset, value, reason });
    }

    fn seal_touched(&mut self, touched: Vec<ChunkId>, now_ms: u64) {
        for chunk in touched {
            self.seal(&chunk, now_ms);
        }
    }

    /// Publishes what was decided for a chunk and is not in a record yet.
    fn seal(&mut self, chunk: &ChunkId, now_ms: u64) {
        let known = self.known;
        let Some(Slot { place, state: State::Live(held), .. }) = self.slots.get_mut(chunk) else { return };
        if held.open.is_empty() {
            return;
        }
        let open: Open = std::mem::take(&mut held.open);
        held.soil(known, now_ms, open.count());
        let sealed = open.seal(chunk, &mut held.live);
        if sealed.published.is_some() {
            held.published = sealed.published;
        }
        let key = place.key.clone();
        self.unstored.insert(chunk.clone());
        self.append(key, Body::Decisions(sealed.decisions), sealed.shares);
    }

    fn take_loaded(&mut self, chunk: ChunkId, loaded: Result<Option<Stored>, String>, now_ms: u64) {
        let Some(slot) = self.slots.get_mut(&chunk) else { return };
        let State::Loading(loading) = &mut slot.state else { return };
        let model = Arc::clone(&slot.place.family.model);
        let restored = match loaded {
            Err(reason) => Err(reason),
            Ok(None) => Ok((LiveChunk::initial(model, &chunk), IndexEntry::default(), 0)),
            Ok(Some(Stored { entry, encoding })) => match &entry.newest {
                None => Ok((LiveChunk::initial(model, &chunk), entry, 0)),
                Some(newest) => LiveChunk::restore(model, newest, &encoding)
                    .map(|live| (live, entry, encoding.len()))
                    .map_err(|e| e.to_string()),
            },
        };
        let Ok((live, entry, bytes)) = restored else {
            loading.retry_at_ms = Some(now_ms + self.settings.load_retry_ms);
            return;
        };
        let Loading { bound, recovered, waiting, .. } = std::mem::take(loading);
        let published = entry.newest.as_ref().and_then(|r| Some((Version(r.version), Hash::from_slice(&r.hash)?)));
        let mut held = Box::new(Held {
            live,
            entry,
            open: Open::default(),
            dirty: None,
            snapshot: None,
            last_snapshot_ms: None,
            published,
            bytes,
        });
        let folded = match fold_recovered(&mut held, recovered) {
            Ok(folded) => folded,
            Err(reason) => return self.end(End::Drift { chunk, reason }),
        };
        if let (Some(bound), true) = (bound, folded > 0) {
            held.dirty = Some(Dirty { bound, since_ms: now_ms, decisions: folded });
        } else {
            self.unstored.remove(&chunk);
        }
        held.bytes = held.estimate_bytes(held.live.replica.encoding().len());
        self.stats.chunk_bytes += held.bytes;
        for Waiting { asked, value, batch } in waiting {
            let faulted = decide(&mut self.stats, &mut self.progress, &mut held, &chunk, self.partition, &asked, batch);
            if faulted {
                self.dead_letter(asked.offset, value, MODEL_FAULT.into(), batch);
            }
            if held.open.is_full() {
                self.put_live(&chunk, held);
                self.seal(&chunk, now_ms);
                let Some(taken) = self.take_live(&chunk) else { return };
                held = taken;
            }
        }
        self.put_live(&chunk, held);
        self.seal(&chunk, now_ms);
    }

    fn put_live(&mut self, chunk: &ChunkId, held: Box<Held>) {
        if let Some(slot) = self.slots.get_mut(chunk) {
            slot.state = State::Live(held);
        }
    }

    fn take_live(&mut self, chunk: &ChunkId) -> Option<Box<Held>> {
        let slot = self.slots.get_mut(chunk)?;
        match std::mem::replace(&mut slot.state, State::Loading(Loading::default())) {
            State::Live(held) => Some(held),
            State::Loading(_) => None,
        }
    }

    // ---- Snapshots and checkpoints --------------------------------------------------------------------------------

    fn tick(&mut self, now_ms: u64) {
        self.retry_loads(now_ms);
        if self.phase == Phase::Running {
            self.begin_snapshots(now_ms);
            if now_ms.saturating_sub(self.last_checkpoint_ms) >= self.settings.checkpoint_interval_ms {
                self.begin_checkpoint(now_ms);
            }
            self.drop_cold();
        }
    }

    fn retry_loads(&mut self, now_ms: u64) {
        for (chunk, slot) in &mut self.slots {
            if let State::Loading(loading) = &mut slot.state
                && loading.retry_at_ms.is_some_and(|at| at <= now_ms)
            {
                loading.retry_at_ms = None;
                self.outputs.push_back(Output::Load(chunk.clone()));
            }
        }
    }

    fn begin_snapshots(&mut self, now_ms: u64) {
        // What only waits for the next checkpoint does not count: it would bound puts by the checkpoints' interval.
        let is_putting = |snapshot: &Snapshot| snapshot.step == Step::Putting;
        let in_flight =
            |slot: &Slot| matches!(&slot.state, State::Live(held) if held.snapshot.as_ref().is_some_and(is_putting));
        let mut under_way = self.unstored.iter().filter(|c| self.slots.get(*c).is_some_and(in_flight)).count();
        let mut drifted = None;
        for chunk in &self.unstored {
            if under_way >= self.settings.snapshots_in_flight_max {
                break;
            }
            let Some(Slot { state: State::Live(held), place, .. }) = self.slots.get_mut(chunk) else { continue };
            let (None, Some(dirty)) = (&held.snapshot, held.dirty) else { continue };
            let is_due = dirty.decisions >= self.settings.snapshot_every
                || now_ms.saturating_sub(dirty.since_ms) >= self.settings.snapshot_max_age_ms;
            let is_soon = held
                .last_snapshot_ms
                .is_some_and(|last| now_ms.saturating_sub(last) < self.settings.snapshot_min_interval_ms);
            if !is_due || is_soon {
                continue;
            }
            under_way += 1;
            let encoding = Bytes::from(held.live.replica.encoding().into_owned());
            let hash = Hash::of(&encoding);
            let version = held.live.replica.version();
            // R10: what is stored is compared with what was published for that version.
            if let Some((published, expected)) = held.published
                && published == version
                && expected != hash
            {
                let reason = format!("at version {version} the hash is {hash}, but {expected} was published");
                drifted = Some(End::Drift { chunk: chunk.clone(), reason });
                break;
            }
            held.last_snapshot_ms = Some(now_ms);
            let bytes = held.estimate_bytes(encoding.len());
            self.stats.chunk_bytes = self.stats.chunk_bytes + bytes - std::mem::replace(&mut held.bytes, bytes);
            held.snapshot = Some(Snapshot {
                stored: Ref {
                    version: version.0,
                    hash: hash.to_bytes(),
                    location: Some(r#ref::Location::Object(StoredObject {})),
                    through_offset: held.live.through_offset.0,
                    model_revision: place.family.revision,
                    bytes: encoding.len() as u64,
                    ledger: Some(held.live.ledger.to_proto()),
                },
                requires_n: self.next_n - 1,
                dirty_after: None,
                step: Step::Putting,
            });
            self.outputs.push_back(Output::PutSnapshot { chunk: chunk.clone(), hash, encoding });
        }
        if let Some(end) = drifted {
            self.end(end);
        }
    }

    fn take_snapshot_put(&mut self, chunk: &ChunkId, hash: Hash, is_stored: bool) {
        let Some(Slot { state: State::Live(held), .. }) = self.slots.get_mut(chunk) else { return };
        match &mut held.snapshot {
            Some(snapshot) if snapshot.stored.hash[..] == hash.0 && snapshot.step == Step::Putting => {
                if is_stored {
                    snapshot.step = Step::Put;
                    return;
                }
            }
            _ => return,
        }
        // Not stored: the chunk stays dirty from where it was, and a later tick tries again.
        if let Some(Snapshot { dirty_after: Some(after), .. }) = held.snapshot.take()
            && let Some(dirty) = &mut held.dirty
        {
            dirty.decisions += after.decisions;
        }
    }

    /// Writes the refs whose objects are durable and whose decisions are acknowledged (R6), with the checkpoint.
    fn begin_checkpoint(&mut self, now_ms: u64) {
        if self.checkpoint.is_some() {
            return;
        }
        let mut entries = Vec::new();
        let mut low = self.known;
        for chunk in &self.unstored {
            let bound = match self.slots.get_mut(chunk).map(|slot| &mut slot.state) {
                Some(State::Loading(loading)) => loading.bound,
                Some(State::Live(held)) => {
                    if let Some(snapshot) = &mut held.snapshot
                        && (snapshot.step == Step::Put
                            || (snapshot.step == Step::Putting && Mutant::AnnounceBeforeStored.is_on()))
                        && (snapshot.requires_n <= self.acked_n || Mutant::RefBeforeAck.is_on())
                    {
                        snapshot.step = Step::Writing;
                        entries.push((chunk.clone(), next_entry(&held.entry, &snapshot.stored)));
                    }
                    held.bound(true)
                }
                None => None,
            };
            if let Some(bound) = bound
                && bound.offset < low.offset
            {
                low = bound;
            }
        }
        let checkpoint = Checkpoint {
            epoch: self.epoch.0,
            commands_next: match Mutant::CheckpointBeforeAck.is_on() {
                true => self.progress.read_up_to().0,
                false => self.progress.commands_next().0,
            },
            updates_low: low.offset.0,
            updates_low_epoch: low.epoch.0,
            updates_low_n: low.n,
        };
        if entries.is_empty() && checkpoint == self.last_checkpoint && self.phase == Phase::Running {
            return;
        }
        self.last_checkpoint = checkpoint;
        self.last_checkpoint_ms = now_ms;
        self.checkpoint = Some(entries.iter().map(|(chunk, _)| chunk.clone()).collect());
        self.outputs.push_back(Output::WriteCheckpoint { checkpoint, entries });
    }

    fn take_checkpoint_written(&mut self, now_ms: u64) {
        self.stats.checkpoints += 1;
        self.last_checkpoint_ms = now_ms;
        for chunk in self.checkpoint.take().unwrap_or_default() {
            let Some(Slot { place, state: State::Live(held), .. }) = self.slots.get_mut(&chunk) else { continue };
            let Some(snapshot) = held.snapshot.take() else { continue };
            self.stats.snapshots += 1;
            held.entry = next_entry(&held.entry, &snapshot.stored);
            held.dirty = snapshot.dirty_after;
            let key = place.key.clone();
            if held.is_clean() {
                self.unstored.remove(&chunk);
            }
            let notice = SnapshotStored { chunk_id: chunk.to_string(), r#ref: Some(snapshot.stored) };
            self.append(key, Body::SnapshotStored(notice), Vec::new());
        }
    }

    fn go_on_draining(&mut self, now_ms: u64) {
        let is_quiet = self.sent.is_empty() && self.checkpoint.is_none();
        match self.phase {
            // Commands that wait for a cold chunk are not decided; the next owner does it.
            Phase::Draining if is_quiet => {
                self.phase = Phase::Closing;
                self.begin_checkpoint(now_ms);
            }
            Phase::Closing if is_quiet => self.end(End::Drained),
            _ => {}
        }
    }

    /// Drops the least recently used clean chunks while there are too many.
    fn drop_cold(&mut self) {
        if self.stats.chunk_bytes <= self.settings.chunks_bytes_max {
            return;
        }
        let mut clean: Vec<(u64, ChunkId)> = self
            .slots
            .iter()
            .filter(|(_, slot)| matches!(&slot.state, State::Live(held) if held.is_clean()))
            .map(|(chunk, slot)| (slot.last_used, chunk.clone()))
            .collect();
        clean.sort_unstable();
        let target = self.settings.chunks_bytes_max / 10 * 9;
        for (_, chunk) in clean {
            if self.stats.chunk_bytes <= target {
                return;
            }
            if let Some(Slot { state: State::Live(held), .. }) = self.slots.remove(&chunk) {
                self.stats.chunk_bytes = self.stats.chunk_bytes.saturating_sub(held.bytes);
            }
        }
    }
}

/// Decides one command of a live chunk. True where the model failed on it.
fn decide(
    stats: &mut Stats,
    progress: &mut Progress,
    held: &mut Held,
    chunk: &ChunkId,
    partition: Partition,
    asked: &Asked,
    batch: BatchId,
) -> bool {
    use driftless_schemas::proto::mark::Outcome;
    let Some(decided) = held.live.decide(chunk, partition, asked) else {
        stats.resends += 1;
        progress.done((batch, 1));
        return false;
    };
    match &decided.mark.outcome {
        Some(Outcome::Committed(_)) => stats.committed += 1,
        Some(Outcome::Discarded(_)) => stats.discarded += 1,
        Some(Outcome::OutOfOrder(_)) => stats.out_of_order += 1,
        Some(Outcome::SessionExpired(_)) => stats.expired += 1,
        None => {}
    }
    let is_model_fault = decided.is_model_fault;
    held.open.push(decided, batch);
    is_model_fault
}

/// Folds what earlier owners decided (R5). Gives the number of decisions that no ref contained.
fn fold_recovered(held: &mut Held, recovered: Vec<Recovered>) -> Result<u64, String> {
    let mut folded = 0;
    for record in recovered {
        match record {
            Recovered::Decisions(decisions, updates) => {
                let news = held.live.fold(&decisions, updates.as_ref()).map_err(|e| e.to_string())?;
                if news.is_news {
                    folded += decisions.marks.len() as u64;
                }
                if let Some(updates) = updates
                    && let Some(hash) = Hash::from_slice(&updates.state_hash)
                {
                    let last = Version(updates.first_version + updates.entries.len() as u64 - 1);
                    if held.published.is_none_or(|(version, _)| version <= last) {
                        held.published = Some((last, hash));
                    }
                }
            }
            Recovered::Stored(notice) => {
                let Some(stored) = notice.r#ref else { continue };
                let (version, hash) = (held.live.replica.version(), held.live.replica.hash());
                if stored.version == version.0 && stored.hash[..] != hash.0 {
                    return Err(format!("at version {version} the hash is {hash}, but another was stored"));
                }
            }
        }
    }
    Ok(folded)
}

/// The index entry with a newer ref on top; ledgers of older refs are dropped.
fn next_entry(entry: &IndexEntry, newest: &Ref) -> IndexEntry {
    let older = entry.newest.iter().chain(&entry.older).filter(|r| r.version != newest.version);
    let older = older.take(limits::OLDER_REFS_MAX).map(|r| Ref { ledger: None, ..r.clone() }).collect();
    IndexEntry { newest: Some(newest.clone()), older }
}

//! One ownership of one partition as a state machine.
//!
//! The order of things (section 6) is the point: the epoch is durable before this core is made (the shell opens the
//! index), the fence is the first record, `updates` is read up to the own fence before anything is decided, and a record
//! that was not acknowledged ends the ownership: nothing is ever produced again.
//!
//! * `recovery`: reading `updates` up to the own fence.
//! * `loading`: chunks on their way in; those that cannot be loaded hold up nobody else.
//! * `snapshots`: objects, refs and checkpoints, in the order that R6 asks for.
//! * `history`: reading `updates` again for one chunk: to check it, or to make a lost object anew.

use crate::commands::{self, Ask};
use crate::messages::{End, Input, Output, Stats};
use crate::outbox::Open;
use crate::progress::{BatchId, Progress, Share};
use crate::settings::Settings;
use crate::slots::{Held, Slot, State, Waiting};
use crate::working::{Call, Working};
use bytes::Bytes;
use driftless_chunk::live::{Asked, AskedBody};
use driftless_chunk::mutant::Mutant;
use driftless_chunk::position::Position;
use driftless_chunk::world::{Place, World};
use driftless_schemas::proto::{Checkpoint, Fence, UpdatesRecord, updates_record::Body};
use driftless_schemas::{ChunkId, Epoch, Offset, Partition, Version, limits};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

mod recovery;
mod loading;
mod snapshots;
mod history;

use history::Histories;

const MODEL_FAULT: &str = "the model failed on it";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Reading `updates` up to the own fence.
    Recovering,
    Running,
    /// It still decides, until its last checkpoint is written: so nobody waits for the object store in a hand-over.
    Leaving(Leaving),
    /// Nothing more is taken; what is on its way is being acknowledged.
    Draining,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// The checkpoint waits until the records before `n` and the copies before `letter` are acknowledged: it contains all
    /// that was decided when the end was asked for.
    Before { n: u64, letter: u64 },
    /// The checkpoint is being written.
    Writing,
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
    /// Recovery begins where nobody knows epoch and n: the first record tells them.
    is_adopting: bool,
    commands_from: Offset,
    /// The position after an own record below which no later one stands; see `take_ack`.
    known: Position,
    next_n: u64,
    acked_n: u64,
    /// Where the newest acknowledged record stands, if the log has said so.
    acked_at: Option<Offset>,
    /// What stands from this record on is trusted.
    trusted_n: u64,
    sent: VecDeque<Sent>,
    progress: Progress,
    slots: BTreeMap<ChunkId, Slot>,
    /// Chunks with a dirty decision or a snapshot under way.
    unstored: BTreeSet<ChunkId>,
    uses: u64,
    /// Copies that are not acknowledged; of a decided command with its chunk.
    dead_letters: BTreeMap<u64, (Share, Option<ChunkId>)>,
    next_dead_letter: u64,
    /// Chunks whose refs the checkpoint that is being written contains.
    checkpoint: Option<Vec<ChunkId>>,
    last_checkpoint: Checkpoint,
    last_checkpoint_ms: u64,
    histories: Histories,
    /// Chunks whose model panicked in an earlier ownership.
    careful: BTreeSet<ChunkId>,
    /// Commands that a model failed on, as the log says: they are copied to `dead-letter` when they are read again.
    faulted: BTreeSet<Offset>,
    /// Commands that a model never answered in an earlier ownership.
    unanswered: BTreeSet<Offset>,
    working: Arc<Working>,
    /// Commands that wait for chunks which cannot be loaded.
    stuck: usize,
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
            is_adopting: false,
            commands_from: Offset(checkpoint.commands_next),
            known: reading,
            next_n: 0,
            acked_n: 0,
            acked_at: None,
            trusted_n: 0,
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
            histories: Histories::default(),
            careful: BTreeSet::new(),
            faulted: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            working: Arc::default(),
            stuck: 0,
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
        self.working.begin();
        self.take(input, now_ms);
        self.go_on_draining(now_ms);
        self.working.end();
        // Whatever was being done when it ended went on for a moment: nobody is to carry that out.
        let is_end = |output: &Output| matches!(output, Output::Ended(_));
        if let Some(at) = self.outputs.iter().position(is_end) {
            self.outputs.truncate(at + 1);
        }
    }

    fn take(&mut self, input: Input, now_ms: u64) {
        match input {
            Input::Updates(records) => self.recover(records, now_ms),
            Input::UpdatesCut(low) => self.updates_are_cut(low),
            Input::Commands(records) => self.take_commands(records, now_ms),
            Input::CommandsCut(low) => {
                if self.settings.accept_loss {
                    self.progress.skip_to(low);
                }
            }
            Input::Loaded(chunk, loaded) => self.take_loaded(chunk, loaded, now_ms),
            Input::OlderLoaded(chunk, loaded) => self.take_older(&chunk, loaded, now_ms),
            Input::History(records) => self.take_history(records, now_ms),
            Input::HistoryCut(low) => self.history_is_cut(low, now_ms),
            Input::Acked(n, offset) => self.take_ack(n, offset),
            Input::AppendFailed(n, reason) => self.end(End::AppendFailed { n, reason }),
            Input::SnapshotPut(chunk, hash, result) => self.take_snapshot_put(&chunk, hash, result.is_ok()),
            Input::DeadLettered(id) => {
                if let Some((share, _)) = self.dead_letters.remove(&id) {
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
                    self.phase = Phase::Leaving(Leaving::Before { n: self.next_n, letter: self.next_dead_letter });
                }
            }
            #[cfg(any(debug_assertions, feature = "mutants"))]
            Input::Damage(chunk) => {
                if let Some(Slot { state: State::Live(held), .. }) = self.slots.get_mut(&chunk) {
                    held.live.replica.damage();
                }
            }
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether more commands may be handed in: not too many wait for cold chunks or acknowledgements.
    #[must_use]
    pub fn wants_commands(&self) -> bool {
        // A chunk that cannot be loaded does not hold up the others.
        self.is_running() && self.progress.open().saturating_sub(self.stuck) < self.settings.commands_in_flight_max
    }

    /// Whether recovery is over.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Leaving(_))
    }

    /// These chunks' models panicked where it could not be contained; see [`End::ModelFault`].
    #[must_use]
    pub fn careful_with(mut self, chunks: BTreeSet<ChunkId>) -> Self {
        self.careful = chunks;
        self
    }

    /// A model never came back from the commands at these offsets; see [`Working`]. They are discarded unseen.
    #[must_use]
    pub fn without_asking(mut self, offsets: BTreeSet<Offset>) -> Self {
        self.unanswered = offsets;
        self
    }

    /// What it is busy with, for a watchdog.
    #[must_use]
    pub fn working(&self) -> Arc<Working> {
        Arc::clone(&self.working)
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
            stuck_chunks: self.slots.values().filter(|slot| slot.is_failing()).count(),
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

    /// A producer may write what is on its way once more (decision 0012), and is then told where the second copy stands. R4
    /// counts the first one, and the first ones of later records may stand below that place too: whoever began to read there
    /// would miss them. So a place counts where nothing of a later record can be below it. Two things are sure: no copy of
    /// what is handed over after an acknowledgement stands below the acknowledged record; and nothing stands between two
    /// neighbours. So where a record does not stand just behind the one before, none counts until all that is on its way by
    /// then is acknowledged, neighbour by neighbour.
    fn take_ack(&mut self, n: u64, offset: Option<Offset>) {
        let Some(sent) = self.sent.pop_front() else { return };
        if sent.n != n {
            // Acknowledgements come in order; if not, what is acknowledged is no prefix (R6).
            let reason = format!("record {n} was acknowledged before it");
            return self.end(End::AppendFailed { n: sent.n, reason });
        }
        self.acked_n = n;
        // The fence's place is known from reading it.
        if n > 0 {
            let is_neighbour = offset.is_some() && offset == self.acked_at.map(Offset::next);
            if !is_neighbour && !Mutant::TrustEveryOffset.is_on() {
                self.trusted_n = self.next_n - 1;
            }
            self.acked_at = offset;
            if let Some(offset) = offset
                && n >= self.trusted_n
            {
                self.known = Position { offset: offset.next(), epoch: self.epoch, n };
            }
        }
        for share in sent.shares {
            self.progress.done(share);
        }
    }

    // ---- Deciding -------------------------------------------------------------------------------------------------

    fn take_commands(&mut self, records: Vec<(Offset, Bytes)>, now_ms: u64) {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return };
        if !self.is_running() {
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
                    self.dead_letter(offset, value, reason, batch, None);
                    self.progress.done((batch, 1));
                }
                Ok(placed) => match placed.ask {
                    Ask::Audit(audit) => {
                        self.stats.audits += 1;
                        self.use_slot(&placed.chunk, || placed.place);
                        self.want_check(&placed.chunk, Version(audit.version), Some((batch, 1)));
                    }
                    Ask::Command(mut asked) => {
                        if self.unanswered.contains(&offset) {
                            asked.body = AskedBody::Unanswered;
                        }
                        if let AskedBody::Undecodable(reason) = &asked.body {
                            self.dead_letter(offset, value.clone(), reason.clone(), batch, None);
                        }
                        if self.faulted.remove(&offset) {
                            self.dead_letter(offset, value.clone(), MODEL_FAULT.into(), batch, None);
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
            Some(State::Loading(loading) | State::Checking(_, loading)) => {
                let waiting = Waiting { asked, value: value.clone(), batch };
                // All that are kept for chunks which stand still are bounded too.
                let has_room = self.stuck < self.settings.commands_in_flight_max;
                let is_aside = loading.wait(waiting, self.settings.waiting_per_chunk_max, has_room);
                self.stuck += usize::from(is_aside);
            }
            Some(State::Live(held)) => {
                let was_empty = held.open.is_empty();
                self.working.call(&chunk, Call::Decide(asked.offset));
                let faulted = decide(&mut self.stats, &mut self.progress, held, &chunk, self.partition, &asked, batch);
                let is_full = held.open.is_full();
                if was_empty && !held.open.is_empty() {
                    touched.push(chunk.clone());
                }
                if faulted {
                    self.dead_letter(asked.offset, value.clone(), MODEL_FAULT.into(), batch, Some(&chunk));
                }
                if is_full {
                    self.seal(&chunk, now_ms);
                    touched.retain(|other| *other != chunk);
                }
            }
        }
    }

    /// Copies a record to `dead-letter`. Its batch waits for the copy, and so does the snapshot of a chunk that has decided
    /// it: whoever owns the partition after a crash finds record and mark, and copies it again (R9).
    fn dead_letter(&mut self, offset: Offset, value: Bytes, reason: String, batch: BatchId, chunk: Option<&ChunkId>) {
        self.stats.dead_letters += 1;
        let id = self.next_dead_letter;
        self.next_dead_letter += 1;
        self.progress.hold(batch);
        self.dead_letters.insert(id, ((batch, 1), chunk.cloned()));
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
        self.working.call(chunk, Call::Encode);
        let Ok(sealed) = catch_unwind(AssertUnwindSafe(|| open.seal(chunk, &mut held.live))) else {
            // Which of its commands it was, is not known: none of them is decided.
            return self.end(End::ModelFault { chunk: chunk.clone() });
        };
        if sealed.content_bytes > limits::CONTENT_BYTES_MAX {
            // Nobody could store it, or load it again.
            return self.end(End::ModelFault { chunk: chunk.clone() });
        }
        if sealed.published.is_some() {
            held.published = sealed.published;
        }
        let key = place.key.clone();
        self.unstored.insert(chunk.clone());
        self.append(key, Body::Decisions(sealed.decisions), sealed.shares);
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

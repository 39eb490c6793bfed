//! An ownership of one partition as a state machine.
//!
//! The order of the steps keeps the rules (docs/design.md#ownership). The epoch is durable before
//! this core exists, because the shell has opened the index. The fence is the ownership's first
//! record. The core reads `updates` up to its own fence before it decides anything. If the log does
//! not acknowledge a record, the ownership ends, because an owner never produces a record a second
//! time.
//!
//! [`PartitionCore`] joins parts that own their state and know nothing of each other: the record
//! trail, progress, chunks, dead letters, checkpoints, and what is known about failing models. Each
//! module below is one activity:
//!
//! * `recovery`: reading `updates` up to the own fence.
//! * `marks`: the check that the positions in recovered marks are possible.
//! * `loading`: chunks that are not in memory yet. A chunk that cannot be loaded does not hold up
//!   the others.
//! * `deciding`: making decisions of commands, and records of decisions.
//! * `snapshots`: objects, refs and checkpoints, in the order that R6 asks for.
//! * `history`: reading `updates` again for one chunk. `checks` compares the result with the chunk
//!   in memory; `reconstruction` makes a lost object of the result.
//! * `read_back`: reading `updates` to learn whether the own records count (R4).
//! * `drift`: the reaction to a content that differs from the content that the log leads to (R10).
//! * `leaving`: the planned end. `loss`: reads of offsets that the log does not hold.

use crate::checkpoints::Checkpoints;
use crate::chunks::Chunks;
use crate::dead_letters::DeadLetters;
use crate::messages::{AcceptedLoss, End, Input, Milestone, Output, Stats};
use crate::model_faults::ModelFaults;
use crate::progress::{BatchPart, Place, Progress};
use crate::settings::Settings;
use crate::trail::{FENCE, FIRST_AFTER_FENCE, RecordTrail};
use crate::working::Working;
use driftless_chunk::position::Position;
use driftless_chunk::world::World;
use driftless_schemas::proto::{Fence, updates_record::Body};
use driftless_schemas::stored::Checkpoint;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, HistoryId, Offset, Partition, limits};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

mod recovery;
mod marks;
mod loading;
mod deciding;
mod snapshots;
mod history;
mod read_back;
mod checks;
mod reconstruction;
mod drift;
mod leaving;
mod loss;

use history::Histories;
use marks::Marks;
use read_back::ReadingBack;
use recovery::Recovery;

/// How far an ownership has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The owner reads `updates` up to its own fence, and decides nothing yet.
    Recovering,
    /// The owner decides commands.
    Running,
    /// The owner still decides until its last checkpoint is written, so that commands do not wait
    /// for the object store during a hand-over.
    Leaving(Leaving),
    /// The owner takes no more commands, and waits until the log has acknowledged its records.
    Draining,
    Ended,
}

/// How far the last checkpoint of a planned end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// The last checkpoint waits until the records below number `n` are acknowledged, and until the
    /// next tick also for the dead-letter copies below number `letter`. Both numbers are taken when
    /// the end is asked for, so that the checkpoint contains every earlier decision.
    Before { n: u64, letter: u64 },
    /// The last checkpoint is being written.
    Writing,
}

/// An ownership of one partition.
pub struct PartitionCore {
    world: Arc<World>,
    partition: Partition,
    settings: Settings,
    /// The limit for the estimated memory of all chunks, bytes.
    chunks_bytes_max: usize,
    phase: Phase,
    recovery: Recovery,
    marks: Marks,
    trail: RecordTrail,
    progress: Progress,
    chunks: Chunks,
    dead_letters: DeadLetters,
    checkpoints: Checkpoints,
    histories: Histories,
    reading_back: ReadingBack,
    model_faults: ModelFaults,
    working: Arc<Working>,
    /// `Some` if this ownership reads no commands: it loads these chunks, and stores what recovery
    /// has folded.
    mending: Option<BTreeSet<ChunkId>>,
    outputs: VecDeque<Output>,
    stats: Stats,
}

impl PartitionCore {
    /// Begins an ownership. The index must be open, and `checkpoint.epoch` must be this ownership's
    /// epoch, already durable. `owner` is the text that the fence carries. The owner recognises its
    /// fence by this text (R4), so no other ownership may ever use the same text.
    #[must_use]
    pub fn new(
        world: Arc<World>,
        partition: Partition,
        owner: &str,
        checkpoint: Checkpoint,
        settings: Settings,
        now: MonotonicMs,
    ) -> Self {
        Self::begin(world, partition, (owner, None), checkpoint, settings, now)
    }

    /// Begins an ownership that accepts a loss: `updates` does not hold all records that recovery
    /// needs. The fence begins a new history of the partition. For the rest as [`Self::new`].
    #[must_use]
    pub fn with_loss(
        world: Arc<World>,
        partition: Partition,
        (owner, loss): (&str, AcceptedLoss),
        checkpoint: Checkpoint,
        settings: Settings,
        now: MonotonicMs,
    ) -> Self {
        Self::begin(world, partition, (owner, Some(loss)), checkpoint, settings, now)
    }

    fn begin(
        world: Arc<World>,
        partition: Partition,
        (owner, loss): (&str, Option<AcceptedLoss>),
        checkpoint: Checkpoint,
        settings: Settings,
        now: MonotonicMs,
    ) -> Self {
        let start = Position::of_checkpoint(&checkpoint);
        // An earlier order may have left the beginning of a history to the next fence.
        let ordered = checkpoint.commands_anew.then_some(checkpoint.history);
        let begun = loss.map(|loss| loss.history).or(ordered);
        let fence = Fence {
            owner: owner.to_owned(),
            world_id: world.id_field(),
            history: begun.map(HistoryId::to_field).unwrap_or_default(),
            commands_anew: checkpoint.commands_anew,
        };
        let commands_next = Place { offset: checkpoint.commands_next, print: checkpoint.commands_print };
        let decided_again = loss.and_then(|loss| loss.commands_from).map(|offset| Place { offset, print: None });
        let recovery = Recovery::new(&checkpoint, (loss, begun), owner);
        let read_from = recovery.next();
        let mut core = Self {
            world,
            partition,
            chunks_bytes_max: settings.chunks_bytes_max.unwrap_or(limits::CHUNKS_BYTES_MAX),
            settings,
            phase: Phase::Recovering,
            recovery,
            marks: Marks::default(),
            trail: RecordTrail::new(checkpoint.epoch, start),
            progress: Progress::new(decided_again.unwrap_or(commands_next)),
            chunks: Chunks::default(),
            dead_letters: DeadLetters::default(),
            checkpoints: Checkpoints::new(checkpoint, now),
            histories: Histories::default(),
            reading_back: ReadingBack::default(),
            model_faults: ModelFaults::default(),
            working: Arc::default(),
            mending: None,
            outputs: VecDeque::new(),
            stats: Stats::default(),
        };
        // R4: the fence is the first record, and no other record follows before recovery has read
        // the fence back.
        core.append(String::new(), Body::Fence(fence), Vec::new());
        core.outputs.push_back(Output::ReadUpdates(read_from));
        core
    }

    /// Handles one input. [`Self::poll_output`] then gives the tasks that follow from it.
    pub fn handle(&mut self, input: Input, now: MonotonicMs) {
        if self.phase == Phase::Ended {
            return;
        }
        self.working.begin();
        self.take(input, now);
        self.continue_draining(now);
        self.working.end();
        // The code that ended the ownership may have returned into code that added more outputs.
        // The shell must not carry those out, so they are dropped.
        let is_end = |output: &Output| matches!(output, Output::Ended(_));
        if let Some(at) = self.outputs.iter().position(is_end) {
            self.outputs.truncate(at + 1);
        }
    }

    fn take(&mut self, input: Input, now: MonotonicMs) {
        match input {
            Input::Updates(records) => self.recover(records, now),
            Input::Commands(records) => self.take_commands(records, now),
            Input::OutOfRange(range) => self.take_out_of_range(range, now),
            Input::Loaded(chunk, loaded) => self.take_loaded(chunk, loaded, now),
            Input::OlderLoaded(chunk, loaded) => self.take_older(&chunk, loaded, now),
            Input::History(records) => self.take_history(records, now),
            Input::ReadBack(records) => self.take_read_back(records),
            Input::Acked(n, offset) => self.take_ack(n, offset),
            Input::AppendFailed(n, reason) => self.end(End::AppendFailed { n, reason }),
            Input::SnapshotPut(chunk, hash, result) => self.take_snapshot_put(&chunk, hash, result.is_ok()),
            Input::DeadLettered(id) => {
                if let Some(command) = self.dead_letters.acknowledge(id) {
                    self.progress.done(command);
                }
            }
            Input::CheckpointWritten(Ok(())) => self.take_checkpoint_written(now),
            Input::CheckpointWritten(Err(reason)) => self.end(End::Index { reason }),
            Input::CommandsEnd(end) => self.take_commands_end(end),
            Input::ChunksBytesMax(bytes) => self.chunks_bytes_max = bytes,
            Input::Tick => self.tick(now),
            Input::Drain => self.drain(),
            #[cfg(any(debug_assertions, feature = "mutants"))]
            Input::Damage(chunk) => self.damage(&chunk),
        }
    }

    /// The next task for the shell, or `None` if there is no task now.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// True if the shell may hand in more commands: the core decides commands, fewer than
    /// `commands_in_flight_max` of them wait for a chunk to load or for an acknowledgement, and the
    /// chunks and the waiting commands are within their budget of memory. Other commands wait in
    /// the log.
    #[must_use]
    pub fn wants_commands(&self) -> bool {
        // Commands that wait for a chunk which cannot be loaded do not count.
        let open = self.progress.open().saturating_sub(self.chunks.set_aside());
        let has_room = self.chunks.may_wait(self.chunks_bytes_max) && self.chunks.bytes() <= self.chunks_bytes_max;
        self.is_running() && self.mending.is_none() && open < self.settings.commands_in_flight_max && has_room
    }

    /// True while the core takes commands: from the end of recovery until the last checkpoint of a
    /// planned end is written, or until the ownership ends.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Leaving(_))
    }

    /// Makes this ownership careful with chunks whose model failed in an earlier one
    /// ([`End::ModelFault`]). Their content is encoded after each command, to find the command that
    /// makes the model fail.
    #[must_use]
    pub fn careful_with(mut self, chunks: BTreeSet<ChunkId>) -> Self {
        self.model_faults.be_careful_with(chunks);
        self
    }

    /// Makes this ownership discard the commands at these offsets without asking the model, because
    /// a model never returned from them in an earlier ownership (see [`Working`]).
    #[must_use]
    pub fn without_asking(mut self, commands: BTreeSet<Offset>) -> Self {
        self.model_faults.do_not_ask(commands);
        self
    }

    /// Makes this ownership read no commands. It loads these chunks, and stores what recovery has
    /// folded; see [`Self::is_settled`]. An operator mends a partition so, for example if its
    /// `commands` do not fit its index.
    #[must_use]
    pub fn without_commands(mut self, chunks: BTreeSet<ChunkId>) -> Self {
        self.mending = Some(chunks);
        self
    }

    /// True if the core is running, every chunk is loaded, and refs in the index contain every
    /// decision.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let is_stored = self.chunks.unstored() == 0 && !self.checkpoints.is_writing();
        self.is_running() && is_stored && self.chunks.are_all_live()
    }

    /// The owner's current step, which a watchdog reads from another thread.
    #[must_use]
    pub fn working(&self) -> Arc<Working> {
        Arc::clone(&self.working)
    }

    /// The offset below which every command is done: its decision is acknowledged, or it needs
    /// none.
    #[must_use]
    pub fn commands_next(&self) -> Offset {
        self.progress.commands_next().offset
    }

    /// The position up to which the owner knows all of `updates`.
    #[must_use]
    pub fn known(&self) -> Position {
        self.trail.known()
    }

    /// The counters and gauges of this ownership so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            records: self.trail.len(),
            chunks: self.chunks.len(),
            chunk_bytes: self.chunks.bytes(),
            dirty_chunks: self.chunks.unstored(),
            commands_open: self.progress.open(),
            stuck_chunks: self.chunks.failing(),
            ..self.stats
        }
    }

    fn tick(&mut self, now: MonotonicMs) {
        self.retry_loads(now);
        if self.is_running() {
            self.watch_while_idle(now);
        }
        if self.phase == Phase::Running {
            self.end_history_at_the_end(now);
            self.begin_history(now);
            self.begin_snapshots(now);
            let is_due = self.checkpoints.is_due(self.settings.checkpoint_interval_ms, now);
            if is_due || self.is_checkpoint_urgent() {
                self.begin_checkpoint(now);
            }
            self.chunks.drop_cold(self.chunks_bytes_max);
            self.begin_loads();
        }
        self.begin_leaving(now);
    }

    fn end(&mut self, why: End) {
        if self.phase != Phase::Ended {
            self.phase = Phase::Ended;
            self.outputs.push_back(Output::Ended(why));
        }
    }

    fn append(&mut self, key: String, body: Body, commands: Vec<BatchPart>) {
        self.end_watch();
        let (n, value) = self.trail.append(body, commands);
        self.outputs.push_back(Output::Append { n, key, value });
        if n == FIRST_AFTER_FENCE {
            self.outputs.push_back(Output::Reached(Milestone::FirstRecord));
        }
    }

    fn take_ack(&mut self, n: u64, offset: Option<Offset>) {
        if let Err(end) = self.trail.acknowledge(n, offset) {
            return self.end(end);
        }
        if n == FENCE
            && let Some(range) = self.recovery.passed_by(offset).filter(|_| self.phase == Phase::Recovering)
        {
            return self.end(End::OutOfRange(range));
        }
        self.settle();
        match n {
            FENCE => self.outputs.push_back(Output::Reached(Milestone::FenceAcknowledged)),
            FIRST_AFTER_FENCE => self.outputs.push_back(Output::Reached(Milestone::FirstRecordAcknowledged)),
            _ => {}
        }
    }

    fn close_audits(&mut self, audits: Vec<BatchPart>) {
        audits.into_iter().for_each(|audit| self.progress.done(audit));
    }

    #[cfg(any(debug_assertions, feature = "mutants"))]
    fn damage(&mut self, chunk: &ChunkId) {
        if let Some((_, resident)) = self.chunks.live_mut(chunk) {
            let calls = crate::guard::Calls::of(&self.working, chunk);
            // If the model panics during this call, its content is damaged as well, so the panic is
            // ignored.
            let _ = resident.live.run(calls, crate::working::Call::Encode, |live| live.replica.damage());
        }
    }
}

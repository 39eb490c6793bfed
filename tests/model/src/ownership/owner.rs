//! An ownership: the behaviour of `replayer/core`, one step at a time.
//!
//! There is no step for a crash, because an owner that takes no further step has crashed. Its
//! records in flight may still land. There is no step for a failed append either, for the same
//! reason. Acknowledgements come in order, and a lost acknowledgement never comes.

use super::gateway::start;
use super::index::{Batch, Checkpoint, Index, Refs};
use super::log::{Body, CHUNKS, COMMANDS, Content, Decision, LogPosition, Record, judge};
use super::mutant::Mutant;
use driftless_chunk::position::Validity;

/// The phases of an ownership, in the order in which an owner passes through them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    #[default]
    Absent,
    /// The owner has opened the index, which fences older writers, and has read refs and
    /// checkpoint.
    Opened,
    /// The epoch is durable, and the fence is in flight.
    Fencing,
    Running,
    Ended,
}

/// The state of a record that the owner has appended and that is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sent {
    Flying,
    Landed(u8),
    Lost,
}

/// A chunk in the memory of an owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OwnedChunk {
    pub content: Content,
    /// A position at or below the first decision that no ref of the chunk contains; `None` if the
    /// chunk is clean.
    pub dirty: Option<LogPosition>,
    pub snapshot: Option<Snapshot>,
}

/// A snapshot of a chunk that is being stored. Its content does not change any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    pub content: Content,
    /// The n of the last record whose decisions the snapshot contains. This record must be
    /// acknowledged before the ref is written.
    requires_n: u8,
    dirty_after: Option<LogPosition>,
    /// True if the batch that is being written to the index contains the snapshot's ref.
    is_writing: bool,
}

/// An ownership of the partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Owner {
    pub phase: Phase,
    pub epoch: u8,
    /// True if the owner uses the copy of the index.
    pub uses_copy: bool,
    pub next_n: u8,
    /// The number of the owner's records that are acknowledged without a gap.
    pub acked: u8,
    /// The records that are appended and not acknowledged, oldest first.
    pub sent: Vec<Sent>,
    /// The records on their way to the broker, in order.
    pub flight: Vec<Record>,
    /// The log position below which the owner has judged everything. The last valid record there is
    /// the owner's own.
    known: LogPosition,
    /// For each record behind the known position that is acknowledged, oldest first, the offset
    /// that the acknowledgement names.
    uncertain: Vec<Option<u8>>,
    commands_from: u8,
    /// The refs that the owner read when it opened the index.
    refs: Refs,
    checkpoint: Checkpoint,
    pub chunks: [OwnedChunk; CHUNKS],
    /// For each command, the n of this owner's record that decided the command; 0 if no record did,
    /// or if the record counts.
    decided_by: [u8; COMMANDS],
    pub batch: Option<Batch>,
    /// The number of snapshots that this owner has begun.
    pub frozen: u8,
    /// True if the index refused a batch of this owner because a newer writer opened the index.
    pub is_refused: bool,
}

/// The facts that are the same in all states of an exploration.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The chunk of each command, by offset in `commands`.
    pub chunk_of: &'a [u8],
    pub mutant: Option<Mutant>,
}

/// Why an ownership does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Retention has deleted records that the owner must read.
    CutLog,
    /// The owner's own fence is invalid, because this epoch or a higher one is the current one
    /// there.
    FenceInvalid(u8),
}

/// R5: restores the chunks from their refs and from the decisions in `log[from.offset..end]`.
/// Returns the chunks and the log position at `end`.
pub fn restore(
    log: &[Record],
    mut position: LogPosition,
    end: u8,
    refs: &Refs,
    facts: Facts<'_>,
) -> ([OwnedChunk; CHUNKS], LogPosition) {
    let mut chunks = refs.map(|content| OwnedChunk { content, ..OwnedChunk::default() });
    while position.offset < end {
        let before = position;
        let record = &log[usize::from(position.offset)];
        match (judge(&mut position, record, facts.mutant), record.body) {
            (Validity::Valid, Body::Decided(decision)) => {
                let owned = &mut chunks[usize::from(facts.chunk_of[usize::from(decision.command)])];
                if owned.content.fold(decision, facts.mutant) {
                    owned.mark_dirty(before, decision, facts.mutant);
                }
            }
            (Validity::Valid, Body::Stored(chunk, stored)) => {
                let content = &mut chunks[usize::from(chunk)].content;
                content.is_broken |= content.below(stored.through()).committed != stored.committed
                    && content.through() >= stored.through();
            }
            _ => {}
        }
    }
    (chunks, position)
}

impl OwnedChunk {
    fn mark_dirty(&mut self, bound: LogPosition, decision: Decision, mutant: Option<Mutant>) {
        if mutant == Some(Mutant::DirtyByVersion) && !decision.is_committed {
            return;
        }
        let dirty = match &mut self.snapshot {
            Some(snapshot) => &mut snapshot.dirty_after,
            None => &mut self.dirty,
        };
        dirty.get_or_insert(bound);
    }

    fn bounds(&mut self) -> impl Iterator<Item = &mut LogPosition> {
        self.dirty.iter_mut().chain(self.snapshot.iter_mut().filter_map(|snapshot| snapshot.dirty_after.as_mut()))
    }
}

/// Marks a bound that is not known yet. Only [`Mutant::BoundAfterRecord`] uses this value.
const UNKNOWN: LogPosition = LogPosition { offset: u8::MAX, epoch: 0, n: 0 };

impl Owner {
    // ---- beginning ----

    /// Opens the index as its newest writer. `number` is the owner's number, from 1. The epoch of
    /// the ownership is above the epoch of the index, and above `above`.
    pub fn open(&mut self, number: u8, index: &mut Index, above: u8) {
        self.epoch = index.epoch.max(above) + 1;
        index.writer = number;
        self.refs = index.refs;
        self.checkpoint = index.checkpoint;
        self.phase = Phase::Opened;
    }

    /// Makes the new epoch durable, and then appends the fence. The model calls this only while
    /// this owner is the newest writer of the index.
    pub fn claim(&mut self, number: u8, index: &mut Index, mutant: Option<Mutant>) {
        if mutant != Some(Mutant::ReuseEpoch) {
            index.epoch = self.epoch;
        }
        self.fence(number, mutant);
    }

    fn fence(&mut self, number: u8, mutant: Option<Mutant>) {
        self.phase = Phase::Fencing;
        match mutant {
            Some(Mutant::NoFence) => (self.next_n, self.acked) = (1, 1),
            _ => self.append(Body::Fence(number)),
        }
    }

    fn append(&mut self, body: Body) {
        self.flight.push(Record { epoch: self.epoch, n: self.next_n, body });
        self.sent.push(Sent::Flying);
        self.next_n += 1;
    }

    /// Removes and returns the first record in flight. `how` says whether the record has landed or
    /// is lost.
    pub fn flown(&mut self, how: Sent) -> Record {
        let record = self.flight.remove(0);
        // An owner that has ended does not wait for the record's acknowledgement.
        let waits = record.n.checked_sub(self.acked).and_then(|at| self.sent.get_mut(usize::from(at)));
        if let Some(sent) = waits {
            *sent = how;
        }
        record
    }

    /// The offset behind the last record that recovery reads; `None` while recovery cannot begin.
    pub fn recovery_end(&self, number: u8, log: &[Record], mutant: Option<Mutant>) -> Option<u8> {
        if self.phase != Phase::Fencing {
            return None;
        }
        if matches!(mutant, Some(Mutant::NoFence | Mutant::ReadToEnd)) {
            return Some(log.len() as u8);
        }
        let is_own = |record: &Record| match record.body {
            Body::Fence(_) if matches!(mutant, Some(Mutant::OwnFenceByEpoch | Mutant::ReuseEpoch)) => {
                record.epoch == self.epoch
            }
            Body::Fence(owner) => owner == number,
            _ => false,
        };
        log.iter().position(is_own).map(|offset| offset as u8 + 1)
    }

    /// Reads `updates` up to the owner's fence. Reading is one step, because the log below the
    /// fence does not change any more.
    ///
    /// # Errors
    /// Why the ownership ends instead.
    pub fn recover(&mut self, number: u8, log: &[Record], starts: Starts, facts: Facts<'_>) -> Result<(), Refusal> {
        let Some(end) = self.recovery_end(number, log, facts.mutant) else { return Ok(()) };
        let newest = self.epoch - 1;
        let from = start(self.checkpoint.updates_low, newest, facts.mutant);
        let restored = starts.check(from, self.checkpoint.commands_next, facts.mutant).and_then(|(from, next)| {
            let (chunks, position) = restore(log, from, end, &self.refs, facts);
            // The fence is the last record that recovery reads. R4 counts it if its epoch is above
            // the epoch at the position before it.
            let is_judged = !matches!(
                facts.mutant,
                Some(Mutant::NoFence | Mutant::ReadToEnd | Mutant::OwnFenceByEpoch | Mutant::ReuseEpoch)
            );
            let (_, before) = restore(log, from, end.saturating_sub(1), &self.refs, facts);
            match is_judged && before.epoch >= self.epoch {
                true => Err(Refusal::FenceInvalid(before.epoch)),
                false => Ok((chunks, position, next)),
            }
        });
        match restored {
            Err(refusal) => {
                self.end();
                return Err(refusal);
            }
            Ok((chunks, position, next)) => {
                self.chunks = chunks;
                self.known = position;
                self.commands_from = match facts.mutant {
                    Some(Mutant::SkipByPartition) => {
                        chunks.iter().map(|owned| owned.content.through()).fold(next, u8::max)
                    }
                    _ => next,
                };
                self.refs = Refs::default();
                self.phase = Phase::Running;
            }
        }
        Ok(())
    }

    /// Ends the ownership. Its records in flight may still land.
    fn end(&mut self) {
        *self = Self { phase: Phase::Ended, flight: std::mem::take(&mut self.flight), ..Self::default() };
    }

    // ---- deciding ----

    /// The first command of a chunk that has no decision; `None` if all have one.
    pub fn next_command(&self, chunk: u8, facts: Facts<'_>) -> Option<u8> {
        let through = self.chunks[usize::from(chunk)].content.through();
        (through.max(self.commands_from)..facts.chunk_of.len() as u8)
            .find(|command| facts.chunk_of[usize::from(*command)] == chunk)
    }

    /// Decides a command and appends the decision.
    pub fn decide(&mut self, command: u8, is_committed: bool, facts: Facts<'_>) {
        let known = self.known;
        let owned = &mut self.chunks[usize::from(facts.chunk_of[usize::from(command)])];
        let version = owned.content.version() + u8::from(is_committed);
        let decision = Decision { command, is_committed, version };
        owned.content.decided |= 1 << command;
        owned.content.committed |= u8::from(is_committed) << command;
        let bound = if facts.mutant == Some(Mutant::BoundAfterRecord) { UNKNOWN } else { known };
        owned.mark_dirty(bound, decision, facts.mutant);
        self.decided_by[usize::from(command)] = self.next_n;
        self.append(Body::Decided(decision));
    }

    /// For [`Mutant::ProduceAgain`]: appends the decision of a command again, under a new n.
    pub fn produce_again(&mut self, command: u8, facts: Facts<'_>) {
        let content = self.chunks[usize::from(facts.chunk_of[usize::from(command)])].content;
        let upto = content.below(command + 1);
        let is_committed = upto.committed >> command & 1 == 1;
        self.sent.remove(0);
        self.acked += 1;
        self.decided_by[usize::from(command)] = self.next_n;
        self.append(Body::Decided(Decision { command, is_committed, version: upto.version() }));
    }

    /// The command whose decision is in the oldest unacknowledged record.
    pub fn oldest_unacked(&self) -> Option<u8> {
        let n = self.acked;
        (!self.sent.is_empty() && n > 0)
            .then(|| self.decided_by.iter().position(|by| *by == n))
            .flatten()
            .map(|c| c as u8)
    }

    /// The index in `sent` of the record that may be acknowledged next; `None` if no record may be.
    pub fn ackable(&self, mutant: Option<Mutant>) -> Option<usize> {
        match mutant {
            Some(Mutant::AcknowledgedOutOfOrder) => self.sent.iter().position(|sent| matches!(sent, Sent::Landed(_))),
            _ => matches!(self.sent.first(), Some(Sent::Landed(_))).then_some(0),
        }
    }

    /// The owner's producer appends all records that have landed without acknowledgement again,
    /// before later records.
    pub fn write_again(&mut self, log: &[Record]) {
        let landed = self.sent.iter_mut().filter_map(|sent| match *sent {
            Sent::Landed(offset) => {
                *sent = Sent::Flying;
                Some(log[usize::from(offset)])
            }
            Sent::Flying | Sent::Lost => None,
        });
        let again: Vec<Record> = landed.collect();
        self.flight.splice(..0, again);
    }

    /// True if the producer can append a record again. After a loss the producer is gone, so it can
    /// append none.
    pub fn may_write_again(&self) -> bool {
        self.sent.iter().any(|sent| matches!(sent, Sent::Landed(_))) && !self.sent.contains(&Sent::Lost)
    }

    /// Acknowledges a record. The acknowledgement has no offset if the producer retried the append
    /// internally. Otherwise it has the offset of the record's last copy.
    pub fn acknowledged(&mut self, at: usize, has_offset: bool, mutant: Option<Mutant>) {
        let Sent::Landed(offset) = self.sent[at] else { return };
        self.sent.drain(..=at);
        for _ in 0..=at {
            // The fence counts as soon as recovery has read it.
            if self.acked > 0 {
                self.uncertain.push(has_offset.then_some(offset));
            }
            self.acked += 1;
        }
        self.settle(mutant);
    }

    /// The number of the owner's records that are acknowledged and certain to count.
    fn certain(&self) -> u8 {
        self.acked - self.uncertain.len() as u8
    }

    /// Takes the acknowledged records that are certain to count now. A record counts if it stands
    /// at the known position under the next number, or if the owner has read it back.
    fn settle(&mut self, mutant: Option<Mutant>) {
        while let Some(offset) = self.uncertain.first().copied() {
            let n = self.certain();
            if n > self.known.n {
                let is_next = n == self.known.n + 1 && offset == Some(self.known.offset);
                match offset {
                    Some(offset) if is_next || mutant == Some(Mutant::TrustEveryOffset) => {
                        self.know(LogPosition { offset: offset + 1, epoch: self.epoch, n });
                    }
                    _ => break,
                }
            }
            self.uncertain.remove(0);
        }
        // From here on, a decision that counts is treated like a recovered one, so its record is
        // forgotten.
        let certain = self.certain();
        self.decided_by.iter_mut().filter(|by| **by < certain).for_each(|by| *by = 0);
        for snapshot in self.chunks.iter_mut().filter_map(|owned| owned.snapshot.as_mut()) {
            snapshot.requires_n = if snapshot.requires_n < certain { 0 } else { snapshot.requires_n };
        }
    }

    fn know(&mut self, position: LogPosition) {
        self.known = position;
        for owned in &mut self.chunks {
            owned.bounds().filter(|bound| **bound == UNKNOWN).for_each(|bound| *bound = position);
        }
    }

    /// True if the owner reads `updates` back: a record is acknowledged that may not count, or no
    /// record is on its way.
    pub fn reads_back(&self, log: &[Record]) -> bool {
        let is_reading = self.phase == Phase::Running && (!self.uncertain.is_empty() || self.sent.is_empty());
        is_reading && usize::from(self.known.offset) < log.len()
    }

    /// Reads `updates` back to the log's end. The owner ends if it finds a valid fence.
    pub fn read_back(&mut self, log: &[Record], mutant: Option<Mutant>) {
        let mut position = self.known;
        for record in &log[usize::from(position.offset)..] {
            if judge(&mut position, record, mutant) == Validity::Fence {
                return self.end();
            }
        }
        self.know(position);
        self.settle(mutant);
    }

    /// Forgets the state that the owner needs only for writing to the index, because the index has
    /// a newer writer and refuses this owner's writes for ever. States that differ only in the
    /// forgotten parts become identical. The owner continues to decide.
    pub fn forget_index(&mut self) {
        if self.phase == Phase::Opened {
            *self = Self { phase: Phase::Ended, ..Self::default() };
        }
        self.is_refused |= self.batch.is_some_and(|batch| !batch.is_durable);
        self.batch = self.batch.filter(|batch| batch.is_durable);
        for (owned, writing) in self.chunks.iter_mut().zip(self.batch.map_or([None; CHUNKS], |batch| batch.refs)) {
            *owned = OwnedChunk {
                content: owned.content,
                dirty: None,
                snapshot: owned.snapshot.filter(|_| writing.is_some()),
            };
        }
        self.sent.clear();
        (self.acked, self.frozen, self.known) = (0, 0, LogPosition::default());
        self.uncertain.clear();
        self.decided_by = [0; COMMANDS];
        if self.phase == Phase::Running {
            self.checkpoint = Checkpoint::default();
        }
    }

    // ---- storing ----

    pub fn can_freeze(&self, chunk: usize) -> bool {
        let OwnedChunk { dirty, snapshot, .. } = &self.chunks[chunk];
        self.phase == Phase::Running && dirty.is_some() && snapshot.is_none()
    }

    /// Takes a snapshot of a chunk. In the model, the object is durable at once and so always
    /// before its ref is written.
    pub fn freeze(&mut self, chunk: usize) {
        self.frozen += 1;
        let requires_n = self.next_n - 1;
        let owned = &mut self.chunks[chunk];
        owned.snapshot = Some(Snapshot { content: owned.content, requires_n, dirty_after: None, is_writing: false });
    }

    fn commands_next(&self, facts: Facts<'_>) -> u8 {
        let is_done = |command: &u8| {
            let content = self.chunks[usize::from(facts.chunk_of[usize::from(*command)])].content;
            let counts = self.decided_by[usize::from(*command)] < self.certain();
            *command < content.through() && (counts || facts.mutant == Some(Mutant::NextBeforeAck))
        };
        let end = facts.chunk_of.len() as u8;
        (self.commands_from..end).find(|command| !is_done(command)).unwrap_or(end)
    }

    /// Begins to write a checkpoint, with the refs of all snapshots whose decisions are
    /// acknowledged and count (R6). Returns false if there is nothing to write.
    ///
    /// First takes snapshots of dirty chunks, while this owner has begun fewer than `snapshots`.
    pub fn checkpoint(&mut self, snapshots: u8, facts: Facts<'_>) -> bool {
        if self.phase != Phase::Running || self.batch.is_some() {
            return false;
        }
        for chunk in 0..CHUNKS {
            if self.frozen < snapshots && self.can_freeze(chunk) {
                self.freeze(chunk);
            }
        }
        let mut refs = [None; CHUNKS];
        let (mut low, certain) = (self.known, self.certain());
        for (owned, stored) in self.chunks.iter_mut().zip(&mut refs) {
            let mut bound = owned.dirty;
            if let Some(snapshot) = &mut owned.snapshot
                && (snapshot.requires_n < certain || facts.mutant == Some(Mutant::RefBeforeAck))
            {
                snapshot.is_writing = true;
                *stored = Some(snapshot.content);
                bound = snapshot.dirty_after;
            }
            if let Some(bound) = bound
                && bound.offset < low.offset
            {
                low = bound;
            }
        }
        let checkpoint = Checkpoint { commands_next: self.commands_next(facts), updates_low: low };
        if refs == [None; CHUNKS] && checkpoint == self.checkpoint {
            return false;
        }
        self.checkpoint = checkpoint;
        self.batch = Some(Batch { epoch: self.epoch, checkpoint, refs, is_durable: false });
        true
    }

    /// Informs the owner that its batch is durable. The owner then announces each of the batch's
    /// refs in the log.
    pub fn checkpoint_written(&mut self) {
        let Some(batch) = self.batch.take() else { return };
        for (chunk, stored) in batch.refs.into_iter().enumerate() {
            let Some(stored) = stored else { continue };
            let owned = &mut self.chunks[chunk];
            owned.dirty = owned.snapshot.take().and_then(|snapshot| snapshot.dirty_after);
            self.append(Body::Stored(chunk as u8, stored));
        }
    }
}

/// The first offset that each of the two logs still holds after retention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Starts {
    pub updates: u8,
    pub commands: u8,
}

impl Starts {
    /// Refuses to read from offsets that retention has deleted.
    pub fn check(self, from: LogPosition, next: u8, mutant: Option<Mutant>) -> Result<(LogPosition, u8), Refusal> {
        if mutant == Some(Mutant::SilentReset) {
            return Ok((LogPosition { offset: from.offset.max(self.updates), ..from }, next.max(self.commands)));
        }
        match from.offset >= self.updates && next >= self.commands {
            true => Ok((from, next)),
            false => Err(Refusal::CutLog),
        }
    }
}

//! What must hold after every step, judged from outside: by the log, the store, the index and what clients were told.
//!
//! The oracle reads every record that lands and judges it by an R4, a ledger and a fold of its own; of the product it uses
//! the formats and the models' `fold` and `encode`, whose correctness has tests elsewhere. It knows every command that
//! was written to the log, and so what each must have come to.

use crate::ledger::{Ledger, Numbers};
use crate::log::Log;
use crate::setting;
use crate::store::{IndexState, Store};
use crate::violation::{Verdict, Violation, hold};
use bytes::Bytes;
use driftless_chunk::model::{AnyModel, Content};
use driftless_chunk::world::World;
use driftless_schemas::proto::{
    self, CommandRecord, Decisions, Mark, Ref, UpdatesRecord, command, command_record, mark, updates_record::Body,
};
use driftless_schemas::{ChunkId, Hash, Offset, Partition, WriterId};
use prost::Message as _;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

/// A command as it stands in `commands`.
#[derive(Clone, Debug)]
struct Asked {
    offset: i64,
    writer: WriterId,
    seq: u64,
    after: u64,
    /// What the model is asked; `None` for a Settle.
    command: Option<Bytes>,
    is_undecodable: bool,
}

/// A chunk as the log says that it is.
pub struct ChunkTruth {
    model: Arc<dyn AnyModel>,
    content: Content,
    partition: usize,
    /// `hashes[v]` is the state hash of version v.
    hashes: Vec<Hash>,
    /// The valid records of `updates` with entries, by first version: what trackers must get byte for byte.
    published: BTreeMap<u64, Bytes>,
    asked: Vec<Asked>,
    /// Those before are answered.
    cursor: usize,
    ledger: Ledger,
    /// The state at the end of each valid record, by the offset of its last mark.
    at_offset: BTreeMap<i64, (u64, Hash, proto::Ledger)>,
    /// What was committed, by the command's bytes: its version.
    pub committed: HashMap<Bytes, u64>,
    /// The numbers of all commands.
    numbers: HashSet<(WriterId, u64)>,
    /// Those that are resolved.
    resolved: HashSet<(WriterId, u64)>,
    /// The through_offset of the newest ref in the index.
    stored_through: i64,
    /// Its owner's memory was damaged: until that is healed, hashes may be wrong; effects, numbers and order may not.
    pub is_damaged: bool,
    /// Audits of gateways since then.
    pub audits: u64,
    /// An owner was lost since then: the notice of a healing may be lost with it.
    lost_owner: bool,
}

/// One partition as the log says that it is.
#[derive(Default)]
struct PartitionTruth {
    judged: i64,
    /// (epoch, n) before the record at that offset; one more than there are records.
    standing: Vec<(u64, u64)>,
    /// Valid decisions, in order: (offset, chunk, offset of the last mark).
    decisions: Vec<(i64, ChunkId, i64)>,
    read_commands: i64,
    /// Records of `commands` that nobody can place: they must be dead letters.
    rubbish: Vec<i64>,
    states_checked: usize,
    /// Decisions of `decisions` that were seen to be covered.
    covered: usize,
}

/// Counts of what was seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Committed commands.
    pub committed: u64,
    /// Discarded ones, Settles included.
    pub discarded: u64,
    /// Marks `OutOfOrder`.
    pub out_of_order: u64,
    /// Marks `SessionExpired`.
    pub expired: u64,
    /// Commands that were resolved before.
    pub resends: u64,
    /// Records of `updates` that do not count.
    pub invalid: u64,
    /// Refs that were compared.
    pub refs: u64,
    /// Durable checkpoints that were compared.
    pub checkpoints: u64,
    /// Frames to clients that were compared.
    pub frames: u64,
}

impl Seen {
    /// Adds what another run saw.
    pub fn add(&mut self, other: &Self) {
        self.committed += other.committed;
        self.discarded += other.discarded;
        self.out_of_order += other.out_of_order;
        self.expired += other.expired;
        self.resends += other.resends;
        self.invalid += other.invalid;
        self.refs += other.refs;
        self.checkpoints += other.checkpoints;
        self.frames += other.frames;
    }

    /// With names.
    #[must_use]
    pub fn list(&self) -> [(&'static str, u64); 9] {
        [
            ("committed", self.committed),
            ("discarded", self.discarded),
            ("out_of_order", self.out_of_order),
            ("session_expired", self.expired),
            ("resends", self.resends),
            ("invalid_records", self.invalid),
            ("refs_compared", self.refs),
            ("checkpoints_compared", self.checkpoints),
            ("events_to_clients_compared", self.frames),
        ]
    }
}

/// The oracle.
pub struct Oracle {
    world: Arc<World>,
    partitions: Vec<PartitionTruth>,
    /// By id.
    pub chunks: BTreeMap<ChunkId, ChunkTruth>,
    /// What was seen.
    pub seen: Seen,
}

impl Oracle {
    /// Of an empty log.
    #[must_use]
    pub fn new(world: &Arc<World>) -> Self {
        let partition = || PartitionTruth { standing: vec![(0, 0)], ..PartitionTruth::default() };
        let mut oracle = Self {
            world: Arc::clone(world),
            partitions: world.partitions().map(|_| partition()).collect(),
            chunks: BTreeMap::new(),
            seen: Seen::default(),
        };
        for id in setting::chunks() {
            let place = oracle.world.place(&id).expect("a chunk of the simulated world");
            let truth = ChunkTruth::new(&id, Arc::clone(&place.family.model), place.partition);
            oracle.chunks.insert(id, truth);
        }
        oracle
    }

    /// Looks at all that is new in the log.
    ///
    /// # Errors
    /// What does not hold.
    pub fn look(&mut self, log: &Log) -> Verdict {
        for p in 0..self.partitions.len() {
            self.read_commands(p, log)?;
            while self.partitions[p].judged < log.updates[p].end().0 {
                let offset = self.partitions[p].judged;
                let record = log.updates[p].get(Offset(offset)).expect("below the end");
                let value = record.value.clone();
                self.judge(p, offset, &value)?;
            }
        }
        Ok(())
    }

    fn read_commands(&mut self, p: usize, log: &Log) -> Verdict {
        while self.partitions[p].read_commands < log.commands[p].end().0 {
            let offset = self.partitions[p].read_commands;
            self.partitions[p].read_commands += 1;
            let value = &log.commands[p].get(Offset(offset)).expect("below the end").value;
            let asked = CommandRecord::decode(value.clone()).ok().and_then(|record| {
                let chunk: ChunkId = record.chunk_id.parse().ok()?;
                match record.body? {
                    command_record::Body::Command(c) => Some((chunk, Asked::read(offset, c)?)),
                    command_record::Body::Audit(_) => None,
                }
            });
            let is_audit = CommandRecord::decode(value.clone())
                .is_ok_and(|r| matches!(r.body, Some(command_record::Body::Audit(_))));
            match asked {
                Some((chunk, asked)) if self.chunks.contains_key(&chunk) => {
                    let truth = self.chunks.get_mut(&chunk).expect("just seen");
                    hold(truth.partition == p, "R1", || format!("{chunk} stands in partition {p} of commands"))?;
                    truth.numbers.insert((asked.writer, asked.seq));
                    truth.asked.push(asked);
                }
                _ if is_audit => {}
                _ => self.partitions[p].rubbish.push(offset),
            }
        }
        Ok(())
    }

    fn judge(&mut self, p: usize, offset: i64, value: &Bytes) -> Verdict {
        let truth = &mut self.partitions[p];
        truth.judged += 1;
        let record = UpdatesRecord::decode(value.clone())
            .map_err(|e| Violation::new("format", format!("updates {p}:{offset}: {e}")))?;
        let (epoch, n) = truth.standing[offset as usize];
        let is_valid = match &record.body {
            Some(Body::Fence(_)) => record.epoch > epoch && record.n == 0,
            _ => epoch > 0 && record.epoch == epoch && record.n == n + 1,
        };
        let now = if is_valid { (record.epoch, record.n) } else { (epoch, n) };
        truth.standing.push(now);
        if !is_valid {
            self.seen.invalid += 1;
            return Ok(());
        }
        match record.body {
            Some(Body::Decisions(decisions)) => self.decided(p, offset, &decisions),
            Some(Body::SnapshotStored(notice)) => {
                let chunk = notice.chunk_id.parse().map_err(|_| Violation::new("format", "a bad chunk id"))?;
                let stored = notice.r#ref.ok_or_else(|| Violation::new("format", "a notice without a ref"))?;
                self.check_ref(&chunk, &stored, "announced")
            }
            _ => Ok(()),
        }
    }

    fn decided(&mut self, p: usize, offset: i64, decisions: &Decisions) -> Verdict {
        let chunk: ChunkId = decisions.chunk_id.parse().map_err(|_| Violation::new("format", "a bad chunk id"))?;
        let Some(truth) = self.chunks.get_mut(&chunk) else {
            return Err(Violation::new("R1", format!("decisions for {chunk}, which nobody edits")));
        };
        hold(truth.partition == p, "R1", || format!("decisions for {chunk} stand in partition {p}"))?;
        let updates = match decisions.updates.is_empty() {
            true => None,
            false => Some(
                proto::Updates::decode(decisions.updates.clone())
                    .map_err(|e| Violation::new("format", format!("updates of {chunk}: {e}")))?,
            ),
        };
        let mut entries = updates.iter().flat_map(|u| &u.entries);
        if let Some(updates) = &updates {
            let next = truth.hashes.len() as u64;
            hold(updates.first_version == next, "R3", || {
                format!("{chunk}: versions from {} at {p}:{offset}, {next} is next", updates.first_version)
            })?;
            truth.published.insert(updates.first_version, decisions.updates.clone());
        }
        for mark in &decisions.marks {
            truth.mark(&chunk, mark, &mut entries, &mut self.seen)?;
        }
        hold(entries.next().is_none(), "R2", || format!("{chunk}: more entries than committed marks at {p}:{offset}"))?;
        if let Some(updates) = &updates {
            let hash = *truth.hashes.last().expect("never empty");
            hold(truth.is_damaged || updates.state_hash[..] == hash.0, "R10", || {
                format!("{chunk}: at version {} the log says another hash than its fold", truth.version())
            })?;
        }
        let through = decisions.marks.last().map_or(-1, |mark| mark.source_offset);
        let standing = (truth.version(), *truth.hashes.last().expect("never empty"), truth.ledger.to_proto());
        truth.at_offset.insert(through, standing);
        self.partitions[p].decisions.push((offset, chunk, through));
        Ok(())
    }

    /// R6, R7: a ref that anybody can see names a stored object, and contains exactly what the log has decided up to its
    /// `through_offset`.
    fn check_ref(&mut self, chunk: &ChunkId, stored: &Ref, what: &str) -> Verdict {
        self.seen.refs += 1;
        let Some(truth) = self.chunks.get(chunk) else {
            return Err(Violation::new("R6", format!("a ref of {chunk}, which nobody edits")));
        };
        let Some((version, hash, ledger)) = truth.at_offset.get(&stored.through_offset) else {
            return Err(Violation::new(
                "R6",
                format!(
                    "{chunk}: a ref {what} goes through offset {}, where the log decides nothing",
                    stored.through_offset
                ),
            ));
        };
        hold(stored.version == *version && (truth.is_damaged || stored.hash[..] == hash.0), "R6", || {
            format!(
                "{chunk}: a ref {what} through {} is of version {}, but the log's is {version}, or hashes differ",
                stored.through_offset, stored.version
            )
        })?;
        hold(stored.ledger.as_ref() == Some(ledger), "R8", || {
            format!("{chunk}: a ref {what} through {} has another ledger than the log", stored.through_offset)
        })
    }

    /// Looks at what has become durable in the index.
    ///
    /// # Errors
    /// What does not hold.
    pub fn look_at_index(&mut self, partition: Partition, state: &Rc<IndexState>, store: &Store, log: &Log) -> Verdict {
        self.seen.checkpoints += 1;
        let p = partition.0 as usize;
        self.partitions[p].states_checked += 1;
        for (chunk, entry) in &state.entries {
            let Some(newest) = &entry.newest else { continue };
            if self.chunks.get(chunk).is_some_and(|truth| truth.stored_through == newest.through_offset) {
                continue;
            }
            self.check_ref(chunk, newest, "in the index")?;
            let hash = Hash::from_slice(&newest.hash).unwrap_or(Hash([0; 32]));
            hold(store.object(hash).is_some(), "R6", || format!("{chunk}: a ref in the index names no stored object"))?;
            let truth = self.chunks.get_mut(chunk).expect("checked");
            hold(newest.through_offset > truth.stored_through, "R6", || {
                format!("{chunk}: the index went back in time")
            })?;
            truth.stored_through = newest.through_offset;
        }
        self.check_checkpoint(p, &state.checkpoint, log)
    }

    fn check_checkpoint(&mut self, p: usize, checkpoint: &proto::Checkpoint, log: &Log) -> Verdict {
        let low = checkpoint.updates_low;
        let partition = &self.partitions[p];
        let standing = usize::try_from(low).ok().and_then(|low| partition.standing.get(low));
        let said = (checkpoint.updates_low_epoch, checkpoint.updates_low_n);
        hold(standing == Some(&said), "R4", || {
            format!("partition {p}: updates_low {low} with (epoch, n) {said:?}, but the log has {standing:?} there")
        })?;
        let mut covered = partition.covered;
        while let Some((offset, chunk, through)) = partition.decisions.get(covered) {
            if *offset >= low {
                break;
            }
            hold(*through <= self.chunks[chunk].stored_through, "R6", || {
                format!("partition {p}: updates_low is {low}, but the decisions of {chunk} at {offset} are in no ref")
            })?;
            covered += 1;
        }
        self.partitions[p].covered = covered;
        for (chunk, truth) in self.chunks.iter().filter(|(_, truth)| truth.partition == p) {
            truth.answered_below(checkpoint.commands_next).map_err(|offset| {
                Violation::new(
                    "R6",
                    format!(
                        "commands_next is {}, but {p}:{offset} of {chunk} is not decided",
                        checkpoint.commands_next
                    ),
                )
            })?;
        }
        for offset in self.partitions[p].rubbish.iter().filter(|offset| **offset < checkpoint.commands_next) {
            let is_kept = log.dead_letters.iter().any(|l| l.partition.0 as usize == p && l.offset.0 == *offset);
            hold(is_kept, "R9", || format!("commands {p}:{offset} cannot be placed, and is in no dead letter"))?;
        }
        Ok(())
    }

    /// Looks at an event on its way to a client.
    ///
    /// # Errors
    /// What does not hold.
    pub fn look_at_event(&mut self, event: &proto::event::Body) -> Verdict {
        use proto::event::Body as Event;
        self.seen.frames += 1;
        match event {
            Event::Tracked(m) => self.check_hash(&m.chunk_id, m.version, &m.hash, "Tracked"),
            Event::Chunk(m) => {
                self.check_hash(&m.chunk_id, m.version, &m.hash, "a Chunk")?;
                let encoding = zstd::bulk::decompress(&m.data, 1 << 20).unwrap_or_default();
                hold(Hash::of(&encoding).0 == m.hash[..], "R7", || {
                    format!("{}: a Chunk of version {} has another content than its hash", m.chunk_id, m.version)
                })
            }
            Event::Beacons(m) => {
                m.beacons.iter().try_for_each(|b| self.check_hash(&b.chunk_id, b.version, &b.hash, "a beacon"))
            }
            Event::Updates(bytes) => {
                let updates = proto::Updates::decode(bytes.clone())
                    .map_err(|e| Violation::new("format", format!("Updates to a client: {e}")))?;
                let truth = self.truth(&updates.chunk_id)?;
                hold(truth.published.get(&updates.first_version) == Some(bytes), "R4", || {
                    format!("{}: Updates from {} that the log does not count", updates.chunk_id, updates.first_version)
                })
            }
            _ => Ok(()),
        }
    }

    fn truth(&self, chunk: &str) -> Result<&ChunkTruth, Violation> {
        let id = chunk.parse::<ChunkId>().ok();
        id.and_then(|id| self.chunks.get(&id)).ok_or_else(|| Violation::new("R1", format!("{chunk} is no chunk")))
    }

    fn check_hash(&self, chunk: &str, version: u64, hash: &[u8], what: &str) -> Verdict {
        let truth = self.truth(chunk)?;
        let expected = truth.hashes.get(version as usize);
        hold(expected.is_some_and(|expected| truth.is_damaged || expected.0 == *hash), "R10", || {
            format!("{chunk}: {what} of version {version} with a hash that the log does not give it")
        })
    }

    /// Whether everything in `commands` is answered; or what is not.
    #[must_use]
    pub fn unanswered(&self) -> Option<String> {
        self.chunks.iter().find_map(|(chunk, truth)| {
            let offset = truth.answered_below(i64::MAX).err()?;
            Some(format!("{chunk}: offset {offset} of {} is not decided", truth.asked.len()))
        })
    }

    /// The memory of that chunk's owner was damaged.
    pub fn damaged(&mut self, chunk: &ChunkId) {
        if let Some(truth) = self.chunks.get_mut(chunk) {
            truth.is_damaged = true;
            truth.audits = 0;
        }
    }

    /// An owner was lost, with what it had not appended yet.
    pub fn lost_an_owner(&mut self) {
        self.chunks.values_mut().for_each(|truth| truth.lost_owner |= truth.is_damaged);
    }

    /// A gateway asks for a check of that chunk.
    pub fn audited(&mut self, chunk: &ChunkId) {
        if let Some(truth) = self.chunks.get_mut(chunk) {
            truth.audits += 1;
        }
    }

    /// Writers that some ledger had to forget.
    #[must_use]
    pub fn evictions(&self) -> usize {
        self.chunks.values().map(|truth| truth.ledger.evictions).sum()
    }
}

impl Asked {
    fn read(offset: i64, c: proto::Command) -> Option<Self> {
        let writer = WriterId::from_slice(&c.writer)?;
        let (command, is_undecodable) = match c.body {
            Some(command::Body::Command(bytes)) => (Some(bytes), false),
            Some(command::Body::Settle(_)) => (None, false),
            None => (None, true),
        };
        (c.seq > 0).then_some(Self { offset, writer, seq: c.seq, after: c.after, command, is_undecodable })
    }
}

impl ChunkTruth {
    fn new(id: &ChunkId, model: Arc<dyn AnyModel>, partition: Partition) -> Self {
        let content = model.initial(id);
        let hash = Hash::of(&model.encode(&content));
        Self {
            model,
            content,
            partition: partition.0 as usize,
            hashes: vec![hash],
            published: BTreeMap::new(),
            asked: Vec::new(),
            cursor: 0,
            ledger: Ledger::default(),
            at_offset: BTreeMap::new(),
            committed: HashMap::new(),
            numbers: HashSet::new(),
            resolved: HashSet::new(),
            stored_through: -1,
            is_damaged: false,
            audits: 0,
            lost_owner: false,
        }
    }

    /// Commands committed so far.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.hashes.len() as u64 - 1
    }

    /// The state hash of a version.
    #[must_use]
    pub fn hash(&self, version: u64) -> Option<Hash> {
        self.hashes.get(version as usize).copied()
    }

    /// Its owner was damaged, and nobody who could have noticed was there: what it published and stored then is what all
    /// others have. Or an owner died since: `docs/correctness.md` says why that may leave somebody with the older word.
    #[must_use]
    pub fn is_unnoticed(&self) -> bool {
        self.is_damaged && (self.audits == 0 || self.lost_owner)
    }

    /// The canonical encoding at the newest version.
    #[must_use]
    pub fn encoding(&self) -> Vec<u8> {
        self.model.encode(&self.content).into_owned()
    }

    /// Whether a command of that number stands in `commands`.
    #[must_use]
    pub fn was_asked(&self, writer: WriterId, seq: u64) -> bool {
        self.numbers.contains(&(writer, seq))
    }

    /// The offset of the first command below `next` that should have got a mark and has none.
    fn answered_below(&self, next: i64) -> Result<(), i64> {
        let open = self.asked[self.cursor..].iter().take_while(|asked| asked.offset < next);
        match open.into_iter().find(|a| self.ledger.judge(a.writer, a.seq, a.after) != Numbers::Resend) {
            Some(asked) => Err(asked.offset),
            None => Ok(()),
        }
    }

    fn mark<'e>(
        &mut self,
        chunk: &ChunkId,
        mark: &Mark,
        entries: &mut impl Iterator<Item = &'e proto::Entry>,
        seen: &mut Seen,
    ) -> Verdict {
        let offset = mark.source_offset;
        // What is passed over needs no decision.
        let asked = loop {
            let Some(asked) = self.asked.get(self.cursor) else {
                return Err(Violation::new(
                    "R2",
                    format!("{chunk}: a mark for offset {offset}, decided already or not there"),
                ));
            };
            if asked.offset > offset {
                return Err(Violation::new(
                    "R2",
                    format!("{chunk}: offset {offset} is decided twice, or is no command"),
                ));
            }
            self.cursor += 1;
            if asked.offset == offset {
                break asked.clone();
            }
            let numbers = self.ledger.judge(asked.writer, asked.seq, asked.after);
            hold(numbers == Numbers::Resend, "R8", || {
                format!("{chunk}: offset {} is {numbers:?}, but was passed over for {offset}", asked.offset)
            })?;
            seen.resends += 1;
        };
        let numbers = self.ledger.judge(asked.writer, asked.seq, asked.after);
        hold(mark.writer[..] == asked.writer.0 && mark.seq == asked.seq, "R2", || {
            format!("{chunk}: the mark of {offset} names another command")
        })?;
        let wrong =
            |said: &str| Err(Violation::new("R8", format!("{chunk}: offset {offset} is {numbers:?}, but {said}")));
        match (&mark.outcome, numbers) {
            (Some(mark::Outcome::Committed(_)), Numbers::Next) => {
                seen.committed += 1;
                let Some(entry) = entries.next() else {
                    return Err(Violation::new("R2", format!("{chunk}: {offset} is committed without an entry")));
                };
                self.commit(chunk, &asked, entry)
            }
            (Some(mark::Outcome::Discarded(discarded)), Numbers::Next) => {
                seen.discarded += 1;
                let is_settled = discarded.reason() == proto::DiscardReason::Settled;
                let is_settle = asked.command.is_none() && !asked.is_undecodable;
                hold(is_settled == is_settle, "R8", || format!("{chunk}: {offset} is no Settle, or is one"))?;
                self.resolve(chunk, &asked, false)
            }
            (Some(mark::Outcome::OutOfOrder(_)), Numbers::OutOfOrder) => {
                seen.out_of_order += 1;
                Ok(())
            }
            (Some(mark::Outcome::SessionExpired(expired)), Numbers::Expired(floor)) => {
                seen.expired += 1;
                hold(expired.floor_ms == floor, "R8", || format!("{chunk}: floor {}, not {floor}", expired.floor_ms))
            }
            (Some(mark::Outcome::Committed(_)), _) => wrong("committed"),
            (Some(mark::Outcome::Discarded(_)), _) => wrong("discarded"),
            (Some(mark::Outcome::OutOfOrder(_)), _) => wrong("called out of order"),
            (Some(mark::Outcome::SessionExpired(_)), _) => wrong("called expired"),
            (None, _) => wrong("has no outcome"),
        }
    }

    fn commit(&mut self, chunk: &ChunkId, asked: &Asked, entry: &proto::Entry) -> Verdict {
        let offset = asked.offset;
        hold(entry.writer[..] == asked.writer.0 && entry.seq == asked.seq, "R2", || {
            format!("{chunk}: the entry of {offset} names another command")
        })?;
        let Some(command) = &asked.command else {
            return Err(Violation::new("R8", format!("{chunk}: {offset} is committed, but is no command")));
        };
        // The effect of the models at work here is the command itself.
        hold(entry.effect == *command, "R2", || format!("{chunk}: the effect of {offset} is not its command"))?;
        self.model
            .fold(&mut self.content, &entry.effect)
            .map_err(|e| Violation::new("R10", format!("{chunk}: the effect of {offset} cannot be folded: {e}")))?;
        self.hashes.push(Hash::of(&self.model.encode(&self.content)));
        let version = self.version();
        if let Some(before) = self.committed.insert(command.clone(), version) {
            return Err(Violation::new("R8", format!("{chunk}: one edit is committed at {before} and at {version}")));
        }
        self.resolve(chunk, asked, true)
    }

    fn resolve(&mut self, chunk: &ChunkId, asked: &Asked, is_committed: bool) -> Verdict {
        self.ledger.decide(asked.writer, asked.seq, is_committed, asked.offset, setting::LEDGER_WRITERS);
        let is_first = self.resolved.insert((asked.writer, asked.seq));
        hold(is_first, "R2", || format!("{chunk}: number {} of {} is resolved twice", asked.seq, asked.writer))
    }
}

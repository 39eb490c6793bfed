//! The rules that must hold after every step, checked from outside: by the log, the store, the
//! index and the events to clients.
//!
//! The oracle reads each record that lands, and judges it with separate implementations of R4, of
//! the ledger and of folding. From the product it uses the formats, and the models' `fold` and
//! `encode`, which other tests cover. The oracle knows every command in the log, and so its
//! expected decision.

mod chunk;
mod losses;
mod seen;

pub use chunk::ChunkTruth;
pub use seen::Seen;

use crate::log::Log;
use crate::setting;
use crate::store::{IndexState, Store};
use crate::violation::{Verdict, Violation, hold};
use bytes::Bytes;
use chunk::{Asked, Standing};
use driftless_chunk::world::World;
use driftless_schemas::proto::{
    self, CommandRecord, Decisions, Ref, UpdatesRecord, command_record, updates_record::Body,
};
use driftless_schemas::{ChunkId, Hash, Offset, Partition};
use losses::Losses;
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

/// The oracle's knowledge of a partition, which comes from the log alone.
#[derive(Default)]
struct PartitionTruth {
    judged: i64,
    /// The epoch and n of the newest valid record before each offset. The last entry belongs to the
    /// end of the log.
    standing: Vec<(u64, u64)>,
    /// The valid decision records in order: offset, chunk, offset of the last mark.
    decisions: Vec<(i64, ChunkId, i64)>,
    read_commands: i64,
    /// The offsets of records in `commands` that belong to no chunk. The owner must copy each of
    /// them to `dead-letter`.
    foreign: Vec<i64>,
    /// How many decisions at the start of `decisions` are known to be covered by refs.
    covered: usize,
    /// For each epoch, the numbers of its records that have landed.
    seen_n: BTreeMap<u64, BTreeSet<u64>>,
    /// The records that the partition has lost, and its histories.
    losses: Losses,
}

/// The oracle of a run.
pub struct Oracle {
    world: Arc<World>,
    partitions: Vec<PartitionTruth>,
    /// The chunks by id.
    pub chunks: BTreeMap<ChunkId, ChunkTruth>,
    /// Counts of the events that the oracle has judged.
    pub seen: Seen,
}

impl Oracle {
    /// An oracle for an empty log.
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

    /// Judges all records that have landed in the log since the last call.
    ///
    /// # Errors
    /// The violation of the rule that does not hold.
    pub fn check_log(&mut self, log: &Log) -> Verdict {
        for p in 0..self.partitions.len() {
            self.read_commands(p, log)?;
            while self.partitions[p].judged < log.updates[p].end().0 {
                let offset = self.partitions[p].judged;
                let record = log.updates[p].get(Offset(offset)).expect("below the end");
                let value = record.value.clone();
                self.judge(p, offset, &value, log.dead_letters.len())?;
            }
        }
        Ok(())
    }

    fn read_commands(&mut self, p: usize, log: &Log) -> Verdict {
        while self.partitions[p].read_commands < log.commands[p].end().0 {
            let offset = self.partitions[p].read_commands;
            self.partitions[p].read_commands += 1;
            let value = &log.commands[p].get(Offset(offset)).expect("below the end").value;
            // A value that cannot be decoded is treated like a record without a body.
            let record = CommandRecord::decode(value.clone()).unwrap_or_default();
            let asked = match record.body {
                Some(command_record::Body::Audit(_)) => continue,
                Some(command_record::Body::Command(command)) => {
                    record.chunk_id.parse::<ChunkId>().ok().zip(Asked::read(offset, command))
                }
                None => None,
            };
            match asked {
                Some((chunk, asked)) if self.chunks.contains_key(&chunk) => {
                    let truth = self.chunks.get_mut(&chunk).expect("just seen");
                    hold(truth.partition == p, "R1", || format!("a command for {chunk} is in partition {p}"))?;
                    truth.numbers.insert((asked.writer, asked.seq));
                    let is_new_topic = self.partitions[p].losses.is_of_commands();
                    if is_new_topic { &mut truth.asked_anew } else { &mut truth.asked }.push(asked);
                }
                _ => self.partitions[p].foreign_commands().push(offset),
            }
        }
        Ok(())
    }

    fn judge(&mut self, p: usize, offset: i64, value: &Bytes, letters: usize) -> Verdict {
        let truth = &mut self.partitions[p];
        truth.judged += 1;
        let record = UpdatesRecord::decode(value.clone())
            .map_err(|e| Violation::new("format", format!("updates {p}:{offset}: {e}")))?;
        // R6: an owner appends each record once. Its producer may write records twice, but in
        // order. So the first copy of a record never stands behind that of a later one. The records
        // of other programs are about no chunk.
        let is_foreign = matches!(&record.body, Some(Body::Decisions(decisions)) if decisions.chunk_id.is_empty());
        if !is_foreign && !matches!(record.body, Some(Body::Fence(_))) {
            let seen = truth.seen_n.entry(record.epoch).or_default();
            let is_first = seen.insert(record.n);
            hold(!is_first || seen.last() == Some(&record.n), "R6", || {
                format!("updates {p}:{offset}: record {} of epoch {} stands behind a later one", record.n, record.epoch)
            })?;
        }
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
        truth.losses.check(p, offset, &record)?;
        match record.body {
            Some(Body::Fence(fence)) => {
                self.fenced(p, offset, &fence, letters);
                Ok(())
            }
            Some(Body::Decisions(decisions)) => self.decided(p, offset, &decisions),
            Some(Body::SnapshotStored(notice)) => {
                let chunk = notice.chunk_id.parse().map_err(|_| Violation::new("format", "an invalid chunk id"))?;
                let stored = notice.r#ref.ok_or_else(|| Violation::new("format", "a notice without a ref"))?;
                self.check_ref(&chunk, &stored, "announced")
            }
            _ => Ok(()),
        }
    }

    fn decided(&mut self, p: usize, offset: i64, decisions: &Decisions) -> Verdict {
        let chunk: ChunkId = decisions.chunk_id.parse().map_err(|_| Violation::new("format", "an invalid chunk id"))?;
        let Some(truth) = self.chunks.get_mut(&chunk) else {
            return Err(Violation::new("R1", format!("decisions for {chunk}, for which there are no commands")));
        };
        hold(truth.partition == p, "R1", || format!("decisions for {chunk} are in partition {p}"))?;
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
                format!("{chunk}: versions from {} at {p}:{offset}, but {next} is next", updates.first_version)
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
                format!("{chunk}: at version {} the log's hash differs from the fold's", truth.version())
            })?;
        }
        let through = decisions.marks.last().map_or(-1, |mark| mark.source_offset);
        truth.at_offset.insert(through, truth.standing());
        self.partitions[p].decisions.push((offset, chunk, through));
        Ok(())
    }

    /// R6, R7: checks a ref that readers can see. It must name a stored object, and contain exactly
    /// the log's decisions up to its `through_offset`.
    fn check_ref(&mut self, chunk: &ChunkId, stored: &Ref, what: &str) -> Verdict {
        self.seen.refs += 1;
        let Some(truth) = self.chunks.get(chunk) else {
            return Err(Violation::new("R6", format!("a ref of {chunk}, for which there are no commands")));
        };
        let Some(Standing { version, hash, ledger, .. }) = truth.at_offset.get(&stored.through_offset) else {
            return Err(Violation::new(
                "R6",
                format!(
                    "{chunk}: a ref {what} goes through offset {}, where the log has no decision",
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
        hold(stored.ledger.as_ref() == Some(&ledger.to_proto()), "R8", || {
            format!("{chunk}: a ref {what} through {} has another ledger than the log", stored.through_offset)
        })
    }

    /// Checks the newest durable state of a partition's index.
    ///
    /// # Errors
    /// The violation of the rule that does not hold.
    pub fn check_index(&mut self, partition: Partition, state: &Rc<IndexState>, store: &Store, log: &Log) -> Verdict {
        let p = partition.0 as usize;
        if self.partitions[p].losses.is_forgetting(&state.checkpoint) {
            return Ok(());
        }
        self.seen.checkpoints += 1;
        for (chunk, entry) in &state.entries {
            let newest = &entry.newest;
            let through = newest.through_offset.0;
            if self.chunks.get(chunk).is_some_and(|truth| truth.stored_through == through) {
                continue;
            }
            self.check_ref(chunk, &newest.to_proto(), "in the index")?;
            hold(store.object(newest.hash).is_some(), "R6", || {
                format!("{chunk}: a ref in the index names no stored object")
            })?;
            let truth = self.chunks.get_mut(chunk).expect("checked");
            hold(through > truth.stored_through, "R6", || format!("{chunk}: the index went back in time"))?;
            truth.stored_through = through;
        }
        self.check_checkpoint(p, &state.checkpoint.to_proto(), log)
    }

    /// Checks the newest durable state of a partition's index in another store, which a replayer
    /// uses by mistake. It may be older than the world's, but must be right.
    ///
    /// # Errors
    /// The violation of the rule that does not hold.
    pub fn check_other_index(&mut self, partition: Partition, state: &IndexState, store: &Store) -> Verdict {
        for (chunk, entry) in &state.entries {
            self.check_ref(chunk, &entry.newest.to_proto(), "in the index of another store")?;
            hold(store.object(entry.newest.hash).is_some(), "R6", || {
                format!("{chunk}: a ref in the index of another store names no object there")
            })?;
        }
        let p = partition.0 as usize;
        let checkpoint = state.checkpoint.to_proto();
        self.check_position(p, &checkpoint)?;
        self.check_commands_next(p, &checkpoint)
    }

    /// The epoch and n of the last valid record of a partition of `updates`.
    #[must_use]
    pub fn position(&self, partition: usize) -> (u64, u64) {
        self.partitions[partition].standing.last().copied().unwrap_or_default()
    }

    /// Notes that the index of some chunks was put back to this state.
    pub fn index_restored<'a>(&mut self, chunks: impl Iterator<Item = &'a ChunkId>, state: &IndexState) {
        for chunk in chunks {
            if let Some(truth) = self.chunks.get_mut(chunk) {
                let stored = state.entries.get(chunk).map(|entry| entry.newest.through_offset);
                truth.stored_through = stored.unwrap_or(Offset::NONE).0;
            }
        }
    }

    fn check_checkpoint(&mut self, p: usize, checkpoint: &proto::Checkpoint, log: &Log) -> Verdict {
        if self.is_lost(p) {
            // The owner that wrote it has not noticed yet that the log has lost records.
            return Ok(());
        }
        self.check_position(p, checkpoint)?;
        let low = checkpoint.updates_low;
        let partition = &self.partitions[p];
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
        self.check_commands_next(p, checkpoint)?;
        for offset in self.partitions[p].foreign.iter().filter(|offset| **offset < checkpoint.commands_next) {
            let letters = log.dead_letters.iter().skip(self.partitions[p].losses.letters_from());
            let is_kept = letters.into_iter().any(|l| l.partition.0 as usize == p && l.offset.0 == *offset);
            hold(is_kept, "R9", || format!("commands {p}:{offset} belongs to no chunk, and is no dead letter"))?;
        }
        Ok(())
    }

    /// Checks the epoch and n of the position `updates_low`.
    fn check_position(&self, p: usize, checkpoint: &proto::Checkpoint) -> Verdict {
        let low = checkpoint.updates_low;
        let standing = usize::try_from(low).ok().and_then(|low| self.partitions[p].standing.get(low));
        let said = (checkpoint.updates_low_epoch, checkpoint.updates_low_n);
        hold(standing == Some(&said), "R4", || {
            format!("partition {p}: updates_low {low} with (epoch, n) {said:?}, but the log has {standing:?} there")
        })
    }

    /// Checks that all commands below `commands_next` are decided.
    fn check_commands_next(&self, p: usize, checkpoint: &proto::Checkpoint) -> Verdict {
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
        Ok(())
    }

    /// Checks an event that a gateway sends to a client.
    ///
    /// # Errors
    /// The violation of the rule that does not hold.
    pub fn check_event(&mut self, event: &proto::event::Body) -> Verdict {
        use proto::event::Body as Event;
        self.seen.frames += 1;
        match event {
            Event::Tracked(m) => {
                self.check_hash(&m.chunk_id, m.version, &m.hash, "Tracked")?;
                let truth = self.truth(&m.chunk_id)?;
                let is_of_present = m.history != self.history(truth)
                    || truth.is_damaged
                    || truth.hash(m.version).is_some_and(|hash| hash.0 == m.hash[..]);
                hold(is_of_present, "R12", || {
                    format!(
                        "{}: Tracked of version {} names the new history, but has a state of the old one",
                        m.chunk_id, m.version
                    )
                })
            }
            Event::Chunk(m) => {
                self.check_hash(&m.chunk_id, m.version, &m.hash, "a Chunk")?;
                let encoding = zstd::bulk::decompress(&m.data, 1 << 20).unwrap_or_default();
                hold(Hash::of(&encoding).0 == m.hash[..], "R7", || {
                    format!("{}: the content of a Chunk of version {} does not match its hash", m.chunk_id, m.version)
                })
            }
            Event::Beacons(m) => {
                m.beacons.iter().try_for_each(|b| self.check_hash(&b.chunk_id, b.version, &b.hash, "a beacon"))
            }
            Event::Updates(bytes) => {
                let updates = proto::Updates::decode(bytes.clone())
                    .map_err(|e| Violation::new("format", format!("Updates to a client: {e}")))?;
                let truth = self.truth(&updates.chunk_id)?;
                hold(truth.has_published(updates.first_version, bytes), "R4", || {
                    format!("{}: Updates from {} are not valid in the log", updates.chunk_id, updates.first_version)
                })
            }
            _ => Ok(()),
        }
    }

    fn truth(&self, chunk: &str) -> Result<&ChunkTruth, Violation> {
        let id = chunk.parse::<ChunkId>().ok();
        let missing = || Violation::new("R1", format!("{chunk} is no chunk of the simulated world"));
        id.and_then(|id| self.chunks.get(&id)).ok_or_else(missing)
    }

    fn check_hash(&self, chunk: &str, version: u64, hash: &[u8], what: &str) -> Verdict {
        let truth = self.truth(chunk)?;
        let is_right = Hash::from_slice(hash).is_some_and(|hash| truth.had_hash(version, hash));
        let is_known = (version as usize) < truth.hashes.len();
        hold(is_right || (truth.is_damaged && is_known), "R10", || {
            format!("{chunk}: {what} of version {version} has another hash than the log")
        })
    }

    /// Describes the first command that should have a decision and has none; `None` if no decision
    /// is missing.
    #[must_use]
    pub fn unanswered(&self) -> Option<String> {
        self.chunks.iter().find_map(|(chunk, truth)| {
            let offset = truth.answered_below(i64::MAX).err()?;
            Some(format!("{chunk}: offset {offset} of {} is not decided", truth.asked.len()))
        })
    }

    /// Notes that the owner's memory of this chunk was damaged.
    pub fn damaged(&mut self, chunk: &ChunkId) {
        if let Some(truth) = self.chunks.get_mut(chunk) {
            truth.is_damaged = true;
            truth.audits = 0;
        }
    }

    /// Notes that an owner was lost, together with all records that it had not appended yet.
    pub fn lost_an_owner(&mut self) {
        self.chunks.values_mut().for_each(|truth| truth.lost_owner |= truth.is_damaged);
    }

    /// Notes that a gateway asks for an audit of that chunk.
    pub fn audited(&mut self, chunk: &ChunkId) {
        if let Some(truth) = self.chunks.get_mut(chunk) {
            truth.audits += 1;
        }
    }

    /// The number of writers that ledgers evicted.
    #[must_use]
    pub fn evictions(&self) -> usize {
        self.chunks.values().map(|truth| truth.ledger.evictions).sum()
    }
}

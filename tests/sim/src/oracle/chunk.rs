//! The oracle's knowledge of a chunk, which comes from the log: the chunk's commands, their
//! decisions, and the resulting content.

use super::seen::Seen;
use crate::ledger::{Ledger, Numbers};
use crate::setting;
use crate::violation::{Verdict, Violation, hold};
use bytes::Bytes;
use driftless_chunk::model::{AnyModel, Content};
use driftless_schemas::proto::{self, Mark, command, mark};
use driftless_schemas::{ChunkId, Hash, Partition, WriterId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// A command record in the topic `commands`.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) offset: i64,
    pub(super) writer: WriterId,
    pub(super) seq: u64,
    pub(super) after: u64,
    /// The model's command; `None` for a `Settle`.
    pub(super) command: Option<Bytes>,
    pub(super) is_undecodable: bool,
}

/// A chunk's state after a decision record.
#[derive(Clone)]
pub(super) struct Standing {
    pub(super) version: u64,
    pub(super) hash: Hash,
    pub(super) ledger: Ledger,
    pub(super) encoding: Bytes,
}

/// The things that earlier histories of a chunk's partition had, and that the present one has not.
#[derive(Default)]
pub struct Past {
    /// True if the partition has had another history.
    pub is_there: bool,
    /// The commands whose decisions are lost, by their bytes, with the version that each made;
    /// `None` for a discarded one.
    pub undone: HashMap<Bytes, Option<u64>>,
    hashes: HashSet<(u64, Hash)>,
    published: HashSet<Bytes>,
}

/// The oracle's knowledge of a chunk, which comes from the log alone.
pub struct ChunkTruth {
    pub(super) model: Arc<dyn AnyModel>,
    pub(super) content: Content,
    pub(super) partition: usize,
    /// The state hash of each version; the index is the version.
    pub(super) hashes: Vec<Hash>,
    /// The updates of valid records, by first version. Trackers must get exactly these bytes.
    pub(super) published: BTreeMap<u64, Bytes>,
    pub(super) asked: Vec<Asked>,
    /// The commands of another topic, which no owner may decide before an operator's fence.
    pub(super) asked_anew: Vec<Asked>,
    /// An index into `asked`: each command before it has a decision, or needs none because it is a
    /// resend.
    pub(super) cursor: usize,
    pub(super) ledger: Ledger,
    /// The state after each valid decision record, by the offset of the record's last mark.
    pub(super) at_offset: BTreeMap<i64, Standing>,
    /// The version that each committed command made, by the command's bytes.
    pub committed: HashMap<Bytes, u64>,
    /// Writer and `seq` of all commands in the log.
    pub(super) numbers: HashSet<(WriterId, u64)>,
    /// Writer and `seq` of all commands that are resolved, with their offsets.
    pub(super) resolved: HashMap<(WriterId, u64), i64>,
    /// The things that only earlier histories of the partition had.
    pub past: Past,
    /// The `through_offset` of the newest ref in the index.
    pub(super) stored_through: i64,
    /// True if the owner's memory was damaged. Hashes may then be wrong until the chunk is healed,
    /// but effects, numbers and order must still be right.
    pub is_damaged: bool,
    /// The number of audits by gateways since the damage.
    pub audits: u64,
    /// True if an owner was lost since the damage. The notice that tells readers of the healed
    /// chunk may then be lost too.
    pub(super) lost_owner: bool,
}

impl Asked {
    pub(super) fn read(offset: i64, c: proto::Command) -> Option<Self> {
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
    pub(super) fn new(id: &ChunkId, model: Arc<dyn AnyModel>, partition: Partition) -> Self {
        let content = model.initial(id);
        let hash = Hash::of(&model.encode(&content));
        Self {
            model,
            content,
            partition: partition.0 as usize,
            hashes: vec![hash],
            published: BTreeMap::new(),
            asked: Vec::new(),
            asked_anew: Vec::new(),
            cursor: 0,
            ledger: Ledger::default(),
            at_offset: BTreeMap::new(),
            committed: HashMap::new(),
            numbers: HashSet::new(),
            resolved: HashMap::new(),
            past: Past::default(),
            stored_through: -1,
            is_damaged: false,
            audits: 0,
            lost_owner: false,
        }
    }

    /// The number of committed commands.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.hashes.len() as u64 - 1
    }

    /// The state hash of a version.
    #[must_use]
    pub fn hash(&self, version: u64) -> Option<Hash> {
        self.hashes.get(version as usize).copied()
    }

    /// True if this is the hash of that version, in the present history or in an earlier one.
    #[must_use]
    pub fn had_hash(&self, version: u64, hash: Hash) -> bool {
        self.hash(version) == Some(hash) || self.past.hashes.contains(&(version, hash))
    }

    /// True if these updates are valid in the log, or were in an earlier history.
    #[must_use]
    pub fn has_published(&self, first_version: u64, updates: &Bytes) -> bool {
        self.published.get(&first_version) == Some(updates) || self.past.published.contains(updates)
    }

    /// The present state.
    pub(super) fn standing(&self) -> Standing {
        let hash = *self.hashes.last().expect("never empty");
        Standing { version: self.version(), hash, ledger: self.ledger.clone(), encoding: self.encoding().into() }
    }

    /// A new history begins, in which only the commands up to the offset `through` are decided. The
    /// later ones are decided again.
    pub(super) fn go_back(&mut self, chunk: &ChunkId, through: i64) {
        self.past.is_there = true;
        let kept = self.at_offset.get(&through).cloned().unwrap_or_else(|| {
            let encoding = Bytes::from(self.model.encode(&self.model.initial(chunk)).into_owned());
            Standing { version: 0, hash: self.hashes[0], ledger: Ledger::default(), encoding }
        });
        let later = self.asked[..self.cursor].iter().filter(|asked| asked.offset > through);
        for command in later.filter_map(|asked| asked.command.clone()) {
            // The same command may be there again, as a resend.
            let version = self.committed.remove(&command);
            let undone = self.past.undone.entry(command).or_default();
            *undone = version.or(*undone);
        }
        let first = kept.version as usize + 1;
        let hashes = self.hashes.drain(first..).zip(first as u64..);
        self.past.hashes.extend(hashes.map(|(hash, version)| (version, hash)));
        self.past.published.extend(self.published.split_off(&(kept.version + 1)).into_values());
        self.content = self.model.decode(&kept.encoding).expect("an encoding of this model");
        self.ledger = kept.ledger;
        self.cursor = self.asked.partition_point(|asked| asked.offset <= through);
        self.resolved.retain(|_, offset| *offset <= through);
        self.at_offset.split_off(&(through + 1));
    }

    /// A history begins in which `commands` is another topic: all offsets of the old one are
    /// forgotten.
    pub(super) fn forget_offsets(&mut self) {
        self.past.is_there = true;
        (self.asked, self.cursor) = (std::mem::take(&mut self.asked_anew), 0);
        self.ledger.forget_offsets();
        self.resolved.values_mut().for_each(|offset| *offset = -1);
        self.stored_through = -1;
        self.at_offset = [(-1, self.standing())].into();
    }

    /// True if the owner's memory was damaged and some readers may still hold the damaged state.
    /// Without an audit by a gateway, the damage goes unnoticed, because all readers hold the state
    /// that the damaged owner published and stored. If an owner was lost since the damage, some
    /// readers may keep the damaged state; `docs/correctness.md` gives the reason.
    #[must_use]
    pub fn is_unnoticed(&self) -> bool {
        self.is_damaged && (self.audits == 0 || self.lost_owner)
    }

    /// The canonical encoding at the newest version.
    #[must_use]
    pub fn encoding(&self) -> Vec<u8> {
        self.model.encode(&self.content).into_owned()
    }

    /// True if the topic `commands` holds a command of this writer with this `seq`.
    #[must_use]
    pub fn was_asked(&self, writer: WriterId, seq: u64) -> bool {
        self.numbers.contains(&(writer, seq))
    }

    /// Checks that each command below offset `next` has a decision or needs none. The error is the
    /// offset of the first command that lacks a decision.
    pub(super) fn answered_below(&self, next: i64) -> Result<(), i64> {
        let open = self.asked[self.cursor..].iter().take_while(|asked| asked.offset < next);
        match open.into_iter().find(|a| self.ledger.judge(a.writer, a.seq, a.after) != Numbers::Resend) {
            Some(asked) => Err(asked.offset),
            None => Ok(()),
        }
    }

    pub(super) fn mark<'e>(
        &mut self,
        chunk: &ChunkId,
        mark: &Mark,
        entries: &mut impl Iterator<Item = &'e proto::Entry>,
        seen: &mut Seen,
    ) -> Verdict {
        let offset = mark.source_offset;
        // The commands before this mark's offset must be resends, which need no decision.
        let asked = loop {
            let Some(asked) = self.asked.get(self.cursor) else {
                return Err(Violation::new(
                    "R2",
                    format!("{chunk}: a mark for offset {offset}, which is decided already or does not exist"),
                ));
            };
            if asked.offset > offset {
                return Err(Violation::new(
                    "R2",
                    format!("{chunk}: offset {offset} is decided twice, or is no command of this chunk"),
                ));
            }
            self.cursor += 1;
            if asked.offset == offset {
                break asked.clone();
            }
            let numbers = self.ledger.judge(asked.writer, asked.seq, asked.after);
            hold(numbers == Numbers::Resend, "R8", || {
                format!("{chunk}: offset {} is {numbers:?}, but {offset} was decided first", asked.offset)
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
                hold(is_settled == is_settle, "R8", || {
                    format!("{chunk}: {offset} is a Settle: {is_settle}, but its mark says {is_settled}")
                })?;
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
            (Some(mark::Outcome::Committed(_)), _) => wrong("its mark says committed"),
            (Some(mark::Outcome::Discarded(_)), _) => wrong("its mark says discarded"),
            (Some(mark::Outcome::OutOfOrder(_)), _) => wrong("its mark says out of order"),
            (Some(mark::Outcome::SessionExpired(_)), _) => wrong("its mark says expired"),
            (None, _) => wrong("its mark has no outcome"),
        }
    }

    fn commit(&mut self, chunk: &ChunkId, asked: &Asked, entry: &proto::Entry) -> Verdict {
        let offset = asked.offset;
        hold(entry.writer[..] == asked.writer.0 && entry.seq == asked.seq, "R2", || {
            format!("{chunk}: the entry of {offset} names another command")
        })?;
        let Some(command) = &asked.command else {
            return Err(Violation::new("R8", format!("{chunk}: {offset} is committed, but is a Settle")));
        };
        // For the models of the simulated world, the effect is the command itself.
        hold(entry.effect == *command, "R2", || format!("{chunk}: the effect of {offset} is not its command"))?;
        self.model
            .fold(&mut self.content, &entry.effect)
            .map_err(|e| Violation::new("R10", format!("{chunk}: folding the effect of {offset} failed: {e}")))?;
        self.hashes.push(Hash::of(&self.model.encode(&self.content)));
        let version = self.version();
        if let Some(before) = self.committed.insert(command.clone(), version) {
            let detail = format!("{chunk}: the command at {offset} is committed at {before} and again at {version}");
            return Err(Violation::new("R8", detail));
        }
        self.resolve(chunk, asked, true)
    }

    fn resolve(&mut self, chunk: &ChunkId, asked: &Asked, is_committed: bool) -> Verdict {
        self.ledger.decide(asked.writer, asked.seq, is_committed, asked.offset, setting::LEDGER_WRITERS);
        let before = self.resolved.insert((asked.writer, asked.seq), asked.offset);
        hold(before.is_none(), "R2", || format!("{chunk}: number {} of {} is resolved twice", asked.seq, asked.writer))
    }
}

//! A chunk as the log says that it is: its commands, their decisions, and the state that follows.

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

/// A command as it stands in `commands`.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) offset: i64,
    pub(super) writer: WriterId,
    pub(super) seq: u64,
    pub(super) after: u64,
    /// What the model is asked; `None` for a Settle.
    pub(super) command: Option<Bytes>,
    pub(super) is_undecodable: bool,
}

/// A chunk as the log says that it is.
pub struct ChunkTruth {
    pub(super) model: Arc<dyn AnyModel>,
    pub(super) content: Content,
    pub(super) partition: usize,
    /// `hashes[v]` is the state hash of version v.
    pub(super) hashes: Vec<Hash>,
    /// The valid records of `updates` with entries, by first version: what trackers must get byte for byte.
    pub(super) published: BTreeMap<u64, Bytes>,
    pub(super) asked: Vec<Asked>,
    /// Those before are answered.
    pub(super) cursor: usize,
    pub(super) ledger: Ledger,
    /// The state at the end of each valid record, by the offset of its last mark.
    pub(super) at_offset: BTreeMap<i64, (u64, Hash, proto::Ledger)>,
    /// What was committed, by the command's bytes: its version.
    pub committed: HashMap<Bytes, u64>,
    /// The numbers of all commands.
    pub(super) numbers: HashSet<(WriterId, u64)>,
    /// Those that are resolved.
    pub(super) resolved: HashSet<(WriterId, u64)>,
    /// The through_offset of the newest ref in the index.
    pub(super) stored_through: i64,
    /// Its owner's memory was damaged: until that is healed, hashes may be wrong; effects, numbers and order may not.
    pub is_damaged: bool,
    /// Audits of gateways since then.
    pub audits: u64,
    /// An owner was lost since then: the notice of a healing may be lost with it.
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

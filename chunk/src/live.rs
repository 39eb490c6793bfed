//! A live chunk: replica + ledger at one place of the log. The owner decides with it, everybody else folds with it (R5).
//!
//! It keeps R2 and R8: [`LiveChunk::decide`] gives a command at most one decision, in the writer's order, and
//! [`LiveChunk::fold`] applies the decisions of a record and skips what it holds already. `through_offset` is its place:
//! every command of the chunk at or below that offset of `commands` is decided and contained. A version is no place,
//! because discards do not move it.

use crate::ledger::{Ledger, Verdict};
use crate::model::{AnyModel, Context, Decision, Fault};
use crate::mutant::Mutant;
use crate::replica::{ApplyError, Replica};
use bytes::Bytes;
use driftless_schemas::proto::{
    self, Committed, Decisions, DiscardReason, Discarded, Entry, Mark, OutOfOrder, SessionExpired, Updates, command,
    mark::Outcome,
};
use driftless_schemas::{ChunkId, Hash, Offset, Partition, Seq, Version, WriterId, format, limits};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A chunk's replica and ledger.
#[derive(Clone, Debug)]
pub struct LiveChunk {
    /// Content, version, hash.
    pub replica: Replica,
    /// What is resolved.
    pub ledger: Ledger,
    /// Every command of the chunk at or below this is decided and contained.
    pub through_offset: Offset,
    /// After each command the content is encoded, and a command whose content cannot be, or is too large to be stored, is
    /// discarded: for a chunk where that has happened. Slow.
    pub is_careful: bool,
}

/// Where a command stands and what it says, with the numbers read already.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The command's offset in `commands`.
    pub offset: Offset,
    /// Who wrote it.
    pub writer: WriterId,
    /// Its number.
    pub seq: Seq,
    /// The writer's previous number that it has not withdrawn.
    pub after: Seq,
    /// The user's name.
    pub author: String,
    /// When ingest received it.
    pub received_at_ms: i64,
    /// What the token said.
    pub roles: Vec<String>,
    /// What it wants.
    pub body: AskedBody,
}

/// What a command wants.
#[derive(Clone, Debug)]
pub enum AskedBody {
    /// The model decides.
    Command(Bytes),
    /// Resolve the numbers below; no effect.
    Settle,
    /// The model never came back from it when it was asked: it is not asked again, and the command is discarded.
    Unanswered,
    /// It cannot be read beyond its numbers: it is discarded, so that it does not block its writer (R9).
    Undecodable(String),
}

/// A decision, before it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// What goes into the log for everybody who keeps a ledger.
    pub mark: Mark,
    /// What goes to the trackers, where it was committed.
    pub entry: Option<Entry>,
    /// The model failed on it: it belongs into `dead-letter`.
    pub is_model_fault: bool,
}

/// What folding a record brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Entries that were new to the replica.
    pub entries: usize,
    /// Whether anything was new.
    pub is_news: bool,
    /// The hash that the log gives to the version that the replica has now, where the record tells it.
    pub published: Option<Hash>,
}

impl Asked {
    /// Reads a command's numbers.
    ///
    /// # Errors
    /// Where the writer is not 16 bytes or `seq` is 0: R8 cannot be applied, and nobody waits for it.
    pub fn from_proto(offset: Offset, c: proto::Command) -> Result<Self, format::Error> {
        let writer = WriterId::from_slice(&c.writer)
            .ok_or_else(|| format::field("Command", "writer", format!("{} bytes instead of 16", c.writer.len())))?;
        if c.seq == 0 {
            return Err(format::field("Command", "seq", "numbers count from 1"));
        }
        let body = match c.body {
            Some(command::Body::Command(bytes)) => AskedBody::Command(bytes),
            Some(command::Body::Settle(_)) => AskedBody::Settle,
            None => AskedBody::Undecodable("it has no body that this version knows".into()),
        };
        Ok(Self {
            offset,
            writer,
            seq: Seq(c.seq),
            after: Seq(c.after),
            author: c.author,
            received_at_ms: c.received_at_ms,
            roles: c.roles,
            body,
        })
    }
}

impl LiveChunk {
    /// A chunk that never existed.
    #[must_use]
    pub fn initial(model: Arc<dyn AnyModel>, chunk: &ChunkId) -> Self {
        Self {
            replica: Replica::initial(model, chunk),
            ledger: Ledger::new(),
            through_offset: Offset::NONE,
            is_careful: false,
        }
    }

    /// A stored state (R5, R7).
    ///
    /// # Errors
    /// [`ApplyError`] where the bytes are not what the ref names, or the ref is not valid.
    pub fn restore(model: Arc<dyn AnyModel>, stored: &proto::Ref, encoding: &[u8]) -> Result<Self, ApplyError> {
        let hash = Hash::from_slice(&stored.hash)
            .ok_or_else(|| format::field("Ref", "hash", format!("{} bytes instead of 32", stored.hash.len())))?;
        // A ref of an index entry's history has none: with an empty one, what is resolved would be decided again (R2).
        let ledger =
            stored.ledger.as_ref().ok_or_else(|| format::field("Ref", "ledger", "it has none: it is history"))?;
        if let Some(entry) = ledger.entries.iter().find(|entry| entry.last_offset > stored.through_offset) {
            let problem = format!("offset {} is above through_offset {}", entry.last_offset, stored.through_offset);
            return Err(format::field("Ref", "ledger", problem).into());
        }
        check_version("Ref", "version", stored.version)?;
        let ledger = if Mutant::ForgetLedger.is_on() { Ledger::new() } else { Ledger::from_proto(ledger)? };
        Ok(Self {
            replica: Replica::restore(model, encoding, Version(stored.version), hash)?,
            ledger,
            through_offset: Offset(stored.through_offset),
            is_careful: false,
        })
    }

    /// The numbers of a ref whose content is lost, with what is left of the content.
    ///
    /// # Errors
    /// As [`LiveChunk::restore`].
    pub fn restore_without_content(mut left: Replica, stored: &proto::Ref) -> Result<Self, ApplyError> {
        let ledger =
            stored.ledger.as_ref().ok_or_else(|| format::field("Ref", "ledger", "it has none: it is history"))?;
        check_version("Ref", "version", stored.version)?;
        left.skip_to(Version(stored.version));
        Ok(Self {
            replica: left,
            ledger: Ledger::from_proto(ledger)?,
            through_offset: Offset(stored.through_offset),
            is_careful: false,
        })
    }

    /// Decides a command (R2, R8). `None`: a resend, no effect. Commands come in the order of their offsets; one at or
    /// below `through_offset` is decided already and gives `None`.
    pub fn decide(&mut self, chunk: &ChunkId, partition: Partition, asked: &Asked) -> Option<Decided> {
        if asked.offset <= self.through_offset && !Mutant::DropThroughOffset.is_on() {
            return None;
        }
        let verdict = match (self.ledger.verdict(asked.writer, asked.seq, asked.after), &asked.body) {
            (Verdict::OutOfOrder, AskedBody::Undecodable(_)) if Mutant::UndecodableWithoutAfter.is_on() => {
                Verdict::Decide
            }
            (verdict, _) => verdict,
        };
        let (outcome, entry, is_model_fault) = match verdict {
            Verdict::Resend => return None,
            Verdict::OutOfOrder => (Outcome::OutOfOrder(OutOfOrder {}), None, false),
            Verdict::Expired { floor_ms } => (Outcome::SessionExpired(SessionExpired { floor_ms }), None, false),
            Verdict::Decide => self.decide_next(chunk, partition, asked),
        };
        self.through_offset = asked.offset;
        let mark = Mark {
            source_offset: asked.offset.0,
            author: asked.author.clone(),
            received_at_ms: asked.received_at_ms,
            writer: asked.writer.to_bytes(),
            seq: asked.seq.0,
            outcome: Some(outcome),
        };
        Some(Decided { mark, entry, is_model_fault })
    }

    fn decide_next(&mut self, chunk: &ChunkId, partition: Partition, asked: &Asked) -> (Outcome, Option<Entry>, bool) {
        let decided = match &asked.body {
            AskedBody::Settle => Err((DiscardReason::Settled, String::new())),
            AskedBody::Undecodable(why) => Err((DiscardReason::Undecodable, why.clone())),
            AskedBody::Unanswered => Err((DiscardReason::ModelFault, "the model did not come back from it".into())),
            AskedBody::Command(command) => self.ask_model(chunk, partition, asked, command),
        };
        self.ledger.resolve(asked.writer, asked.seq, decided.is_ok(), asked.offset);
        match decided {
            Ok(effect) => {
                let entry = Entry { writer: asked.writer.to_bytes(), seq: asked.seq.0, effect };
                (Outcome::Committed(Committed {}), Some(entry), false)
            }
            Err((reason, detail)) => {
                let discarded = Discarded { reason: reason.into(), detail: cut(detail) };
                (Outcome::Discarded(discarded), None, reason == DiscardReason::ModelFault)
            }
        }
    }

    /// Asks the model and folds its effect. Whatever a model does, the chunk lives on: a panic or a bad effect discards
    /// the command and leaves the content as it was.
    fn ask_model(
        &mut self,
        chunk: &ChunkId,
        partition: Partition,
        asked: &Asked,
        command: &Bytes,
    ) -> Result<Bytes, (DiscardReason, String)> {
        let context = Context {
            chunk,
            author: &asked.author,
            roles: &asked.roles,
            received_at_ms: asked.received_at_ms,
            seed: seed(partition, asked.offset),
        };
        let model = Arc::clone(self.replica.model());
        let fault = |detail: String| (DiscardReason::ModelFault, detail);
        // Ingest refuses it; but whatever stands in `commands`, its decision must fit into a record of `updates`.
        if command.len() > limits::COMMAND_BYTES_MAX {
            let detail = format!("a command of {} bytes: {} are allowed", command.len(), limits::COMMAND_BYTES_MAX);
            return Err((DiscardReason::Invalid, detail));
        }
        let decision = catch_unwind(AssertUnwindSafe(|| model.decide(self.replica.content(), &context, command)))
            .map_err(|_| fault("the model panicked while deciding".into()))?;
        let effect = match decision {
            Decision::Discarded { reason, detail } => return Err((reason, detail)),
            Decision::Committed(Cow::Borrowed(effect)) => share(command, effect),
            Decision::Committed(Cow::Owned(effect)) => Bytes::from(effect),
        };
        if effect.len() > limits::EFFECT_BYTES_MAX {
            return Err(fault(format!(
                "an effect of {} bytes: {} are allowed",
                effect.len(),
                limits::EFFECT_BYTES_MAX
            )));
        }
        let before = (self.is_careful || !model.fold_is_atomic()).then(|| self.replica.clone());
        let folded = catch_unwind(AssertUnwindSafe(|| {
            self.replica.fold(&effect)?;
            if self.is_careful {
                let bytes = self.replica.encoding().len();
                if bytes > limits::CONTENT_BYTES_MAX {
                    let most = limits::CONTENT_BYTES_MAX;
                    return Err(Fault(format!("a content of {bytes} bytes: {most} are the most that can be stored")));
                }
            }
            Ok(())
        }))
        .unwrap_or_else(|_| Err(Fault("the model panicked while folding or encoding".into())));
        folded.map(|()| effect).map_err(|problem| {
            if let Some(before) = before {
                self.replica = before;
            }
            fault(problem.0)
        })
    }

    /// Folds the decisions of a valid record (R4 is the caller's). Marks at or below `through_offset` and entries at or
    /// below the version are skipped, so that a record may be folded twice.
    ///
    /// # Errors
    /// [`ApplyError`]; the chunk is then not to be used any more.
    pub fn fold(&mut self, decisions: &Decisions, updates: Option<&Updates>) -> Result<Folded, ApplyError> {
        let folded = self.fold_effects(decisions, updates)?;
        if let Some(published) = folded.published {
            self.replica.compare(published)?;
        }
        Ok(folded)
    }

    /// As [`LiveChunk::fold`] where the decisions before these are lost for good: numbers and versions move on, the content
    /// stays as it is.
    ///
    /// # Errors
    /// [`ApplyError::Format`].
    pub fn fold_without_content(
        &mut self,
        decisions: &Decisions,
        updates: Option<&Updates>,
    ) -> Result<Folded, ApplyError> {
        if let Some(updates) = updates {
            self.replica.skip_to(Version(updates.first_version.saturating_add(updates.entries.len() as u64 - 1)));
        }
        self.fold_effects(decisions, None)
    }

    /// As [`LiveChunk::fold`], but the hash is not compared: whoever folds many records in a row compares once, with the
    /// last [`Folded::published`].
    ///
    /// # Errors
    /// [`ApplyError`] other than [`ApplyError::Hash`]; the chunk is then not to be used any more.
    pub fn fold_effects(&mut self, decisions: &Decisions, updates: Option<&Updates>) -> Result<Folded, ApplyError> {
        let mut folded = Folded::default();
        if let Some(updates) = updates {
            (folded.entries, folded.published) = self.replica.apply_effects(updates)?;
        }
        for mark in &decisions.marks {
            let offset = Offset(mark.source_offset);
            if offset <= self.through_offset {
                continue;
            }
            folded.is_news = true;
            self.through_offset = offset;
            let is_committed = match &mark.outcome {
                Some(Outcome::Discarded(_)) if Mutant::DropDiscardedMarks.is_on() => continue,
                Some(Outcome::Committed(_)) => true,
                Some(Outcome::Discarded(_)) => false,
                Some(Outcome::OutOfOrder(_) | Outcome::SessionExpired(_)) => continue,
                None => return Err(format::field("Mark", "outcome", "it has none that this version knows").into()),
            };
            let writer = WriterId::from_slice(&mark.writer)
                .ok_or_else(|| format::field("Mark", "writer", format!("{} bytes instead of 16", mark.writer.len())))?;
            self.ledger.resolve(writer, Seq(mark.seq), is_committed, offset);
        }
        Ok(folded)
    }
}

/// Reads what stands in `decisions.updates`, and checks that entries and committed marks agree in number, order, writer
/// and seq, and that the marks' offsets rise.
///
/// # Errors
/// [`format::Error`] where they do not, or the bytes cannot be read.
pub fn read_updates(decisions: &Decisions) -> Result<Option<Updates>, format::Error> {
    if let Some(pair) = decisions.marks.windows(2).find(|pair| pair[0].source_offset >= pair[1].source_offset) {
        let problem = format!("offset {} comes after {}", pair[1].source_offset, pair[0].source_offset);
        return Err(format::field("Decisions", "marks", problem));
    }
    decisions.marks.iter().try_for_each(check_mark)?;
    let committed_marks = || decisions.marks.iter().filter(|m| matches!(m.outcome, Some(Outcome::Committed(_))));
    let committed = committed_marks().count();
    if decisions.updates.is_empty() {
        return match committed {
            0 => Ok(None),
            n => Err(format::field("Decisions", "updates", format!("empty, but {n} marks are committed"))),
        };
    }
    let updates: Updates = format::decode_known("Updates", decisions.updates.clone())?;
    if updates.entries.len() != committed || updates.chunk_id != decisions.chunk_id {
        let problem = format!(
            "{} entries of {}, but {committed} committed marks of {}",
            updates.entries.len(),
            updates.chunk_id,
            decisions.chunk_id
        );
        return Err(format::field("Decisions", "updates", problem));
    }
    check_version("Updates", "first_version", updates.first_version.saturating_add(committed as u64))?;
    let mut pairs = updates.entries.iter().zip(committed_marks());
    if let Some((entry, mark)) = pairs.find(|(entry, mark)| entry.writer != mark.writer || entry.seq != mark.seq) {
        let problem = format!("an entry of seq {} meets a mark of seq {}, or another writer's", entry.seq, mark.seq);
        return Err(format::field("Decisions", "updates", problem));
    }
    Ok(Some(updates))
}

fn check_version(message: &'static str, field: &'static str, version: u64) -> Result<(), format::Error> {
    match version <= limits::VERSION_MAX {
        true => Ok(()),
        false => Err(format::field(message, field, format!("{version} is above {}", limits::VERSION_MAX))),
    }
}

/// What prost lets pass: a reason that this version does not know is kept as a number, an outcome as none.
fn check_mark(mark: &Mark) -> Result<(), format::Error> {
    match &mark.outcome {
        None => Err(format::Error::TooNew { message: "Mark" }),
        Some(Outcome::Discarded(d)) if DiscardReason::try_from(d.reason).is_err() => {
            Err(format::Error::TooNew { message: "Discarded" })
        }
        Some(_) if mark.seq == 0 => Err(format::field("Mark", "seq", "numbers count from 1")),
        Some(_) => Ok(()),
    }
}

/// The effect without a copy where it is a part of the command; a model may also lend a constant.
fn share(command: &Bytes, effect: &[u8]) -> Bytes {
    let (whole, part) = (command.as_ptr_range(), effect.as_ptr_range());
    match whole.start <= part.start && part.end <= whole.end {
        true => command.slice_ref(effect),
        false => Bytes::copy_from_slice(effect),
    }
}

/// The seed of a command's decision: the first 8 bytes of BLAKE3("driftless seed" ‖ partition ‖ offset), little-endian.
fn seed(partition: Partition, offset: Offset) -> u64 {
    let mut bytes = *b"driftless seed............";
    bytes[14..18].copy_from_slice(&partition.0.to_le_bytes());
    bytes[18..26].copy_from_slice(&offset.0.to_le_bytes());
    let Hash(hash) = Hash::of(&bytes);
    u64::from_le_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]])
}

fn cut(mut detail: String) -> String {
    let mut end = limits::DETAIL_BYTES_MAX.min(detail.len());
    while !detail.is_char_boundary(end) {
        end -= 1;
    }
    detail.truncate(end);
    detail
}

#[cfg(test)]
mod tests;

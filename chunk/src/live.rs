//! A live chunk: replica and ledger at one position of the log. The partition's owner decides
//! commands with this type, and every other process folds the owner's decisions with it (R5).
//!
//! This module keeps R2 and R8. [`LiveChunk::decide`] gives a command at most one decision, in the
//! writer's order. [`LiveChunk::fold`] applies the decisions of a record and skips those that the
//! chunk already contains. `through_offset` is the chunk's position: every command of the chunk at
//! or below that offset of `commands` is decided, and the chunk contains its decision. The version
//! cannot serve as the position, because a discard does not change the version.

use crate::ledger::{Ledger, Verdict};
use crate::model::{AnyModel, Context, Decision, Fault};
use crate::mutant::Mutant;
use crate::replica::{ApplyError, Replica};
use bytes::Bytes;
use driftless_schemas::proto::{
    self, Committed, Decisions, DiscardReason, Discarded, Entry, Mark, OutOfOrder, SessionExpired, Updates, command,
    mark::Outcome,
};
use driftless_schemas::stored::StoredRef;
use driftless_schemas::{ChunkId, Hash, Offset, Partition, Seq, Version, WriterId, format, limits};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A chunk's replica and ledger.
#[derive(Clone, Debug)]
pub struct LiveChunk {
    /// Content, version and hash.
    pub replica: Replica,
    /// The resolved numbers of recent writers.
    pub ledger: Ledger,
    /// The chunk's position: every command of the chunk at or below this offset of `commands` is
    /// decided, and replica and ledger contain the decision.
    pub through_offset: Offset,
    /// True in careful mode, which is for a chunk whose content could not be encoded before. In
    /// careful mode the owner encodes the content after each command, which is slow. It discards a
    /// command whose resulting content cannot be encoded or is too large to store.
    pub is_careful: bool,
}

/// A command from the log, with its numbers decoded.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The command's offset in `commands`.
    pub offset: Offset,
    /// The writer.
    pub writer: WriterId,
    /// The command's number.
    pub seq: Seq,
    /// The writer's newest number before `seq` that it has not withdrawn. The command is decided
    /// only after that number is resolved.
    pub after: Seq,
    /// The name of the user who sent the command.
    pub author: String,
    /// The time at which ingest received the command, milliseconds since the Unix epoch.
    pub received_at_ms: i64,
    /// The roles that the author's token named.
    pub roles: Vec<String>,
    /// The command itself.
    pub body: AskedBody,
}

/// The body of a command.
#[derive(Clone, Debug)]
pub enum AskedBody {
    /// A command for the model.
    Command(Bytes),
    /// No command. It only resolves the writer's numbers up to its own.
    Settle,
    /// A command whose decision never returned from the model, as an earlier owner noted. The model
    /// is not called again, and the command is discarded.
    Unanswered,
    /// Only the numbers could be decoded. The command is discarded, so that it does not block its
    /// writer (R9).
    Undecodable(String),
}

/// A decision that is not in the log yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// The mark: the command's number and outcome, for every reader that keeps a ledger.
    pub mark: Mark,
    /// The entry with the effect, for every reader that keeps a replica; `None` if the command was
    /// not committed.
    pub entry: Option<Entry>,
    /// True if the model failed on the command. The owner must then write the command to the topic
    /// `dead-letter`.
    pub is_model_fault: bool,
}

/// The result of folding a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// The number of entries that were new to the replica.
    pub entries: usize,
    /// True if any mark was new to the ledger.
    pub is_news: bool,
    /// The log's hash of the replica's present version; `None` if the record has no hash of that
    /// version.
    pub published: Option<Hash>,
}

impl Asked {
    /// Decodes a command's numbers.
    ///
    /// # Errors
    /// If the writer is not 16 bytes or `seq` is 0. R8 cannot be applied then, and no client waits
    /// for an outcome.
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
    /// Makes the live state of a chunk to which no command was ever decided.
    #[must_use]
    pub fn initial(model: Arc<dyn AnyModel>, chunk: &ChunkId) -> Self {
        Self {
            replica: Replica::initial(model, chunk),
            ledger: Ledger::new(),
            through_offset: Offset::NONE,
            is_careful: false,
        }
    }

    /// Restores a stored state (R5, R7).
    ///
    /// # Errors
    /// [`ApplyError`] if the bytes do not fit the ref, or the ref is invalid.
    pub fn restore(model: Arc<dyn AnyModel>, stored: &StoredRef, encoding: &[u8]) -> Result<Self, ApplyError> {
        // An older ref of an index entry has no ledger. With an empty ledger, resolved numbers
        // would be decided again (R2).
        let ledger =
            stored.ledger.as_ref().ok_or_else(|| format::field("Ref", "ledger", "it has none: it is history"))?;
        if let Some(entry) = ledger.entries.iter().find(|entry| entry.last_offset > stored.through_offset) {
            let problem = format!("offset {} is above through_offset {}", entry.last_offset, stored.through_offset);
            return Err(format::field("Ref", "ledger", problem).into());
        }
        check_version("Ref", "version", stored.version.0)?;
        let ledger = if Mutant::ForgetLedger.is_on() { Ledger::new() } else { Ledger::from_stored(ledger)? };
        Ok(Self {
            replica: Replica::restore(model, encoding, stored.version, stored.hash)?,
            ledger,
            through_offset: stored.through_offset,
            is_careful: false,
        })
    }

    /// Restores a chunk from a ref whose stored content is lost. Version and ledger come from the
    /// ref, and the content is that of the older replica `left`.
    ///
    /// # Errors
    /// The errors of [`LiveChunk::restore`].
    pub fn restore_without_content(mut left: Replica, stored: &StoredRef) -> Result<Self, ApplyError> {
        let ledger =
            stored.ledger.as_ref().ok_or_else(|| format::field("Ref", "ledger", "it has none: it is history"))?;
        check_version("Ref", "version", stored.version.0)?;
        left.skip_to(stored.version);
        Ok(Self {
            replica: left,
            ledger: Ledger::from_stored(ledger)?,
            through_offset: stored.through_offset,
            is_careful: false,
        })
    }

    /// Decides a command (R2, R8). `None` means a resend, which has no effect.
    ///
    /// Commands must come in the order of their offsets. For a command at or below
    /// `through_offset`, which is already decided, the result is `None` too.
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
            AskedBody::Unanswered => Err((DiscardReason::ModelFault, "the model never returned from it".into())),
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

    /// Calls the model and folds its effect. The chunk survives every failure of the model: a panic
    /// or a bad effect discards the command and leaves the content unchanged.
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
        // Ingest refuses such a command, but another program may have written it to `commands`. The
        // decision of any record in `commands` must fit into a record of `updates`.
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
        let keep = || (self.is_careful || !model.fold_is_atomic()).then(|| self.replica.clone());
        let before =
            catch_unwind(AssertUnwindSafe(keep)).map_err(|_| fault("the model panicked while copying".into()))?;
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

    /// Folds the decisions of a valid record; the caller applies R4.
    ///
    /// Marks at or below `through_offset` and entries at or below the version are skipped, so a
    /// record may be folded twice.
    ///
    /// # Errors
    /// [`ApplyError`] if the record cannot be folded. The chunk must not be used after an error.
    pub fn fold(&mut self, decisions: &Decisions, updates: Option<&Updates>) -> Result<Folded, ApplyError> {
        let folded = self.fold_effects(decisions, updates)?;
        if let Some(published) = folded.published {
            self.replica.compare(published)?;
        }
        Ok(folded)
    }

    /// Folds a record when earlier records are lost for good. Ledger and version advance, but the
    /// content does not change.
    ///
    /// # Errors
    /// [`ApplyError::Format`] if the record is not valid.
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

    /// Folds a record like [`LiveChunk::fold`], but does not compare the hash. A caller that folds
    /// many records in a row compares once, with the last [`Folded::published`].
    ///
    /// # Errors
    /// [`ApplyError`] other than [`ApplyError::Hash`]. The chunk must not be used after an error.
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

/// Decodes `decisions.updates`; `None` if no command was committed. Checks that entries and
/// committed marks agree in count, order, writer and seq, and that the offsets of the marks rise.
///
/// # Errors
/// [`format::Error`] if a check fails, or the bytes cannot be decoded.
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

/// Refuses a mark with an outcome or a reason that this version does not know. prost accepts such a
/// mark: it keeps an unknown reason as a number, and drops an unknown outcome.
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

/// Makes the effect's bytes. If the effect is a part of the command, the result shares the
/// command's memory. Otherwise the model has lent a constant, which is copied.
fn share(command: &Bytes, effect: &[u8]) -> Bytes {
    let (whole, part) = (command.as_ptr_range(), effect.as_ptr_range());
    match whole.start <= part.start && part.end <= whole.end {
        true => command.slice_ref(effect),
        false => Bytes::copy_from_slice(effect),
    }
}

/// The seed of a command's decision: the first 8 bytes of BLAKE3("driftless seed" ‖ partition ‖
/// offset), little-endian.
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

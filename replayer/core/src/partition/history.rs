//! Reads `updates` again for one chunk, to check the chunk or to rebuild a lost object.
//!
//! The owner takes a base, which is a stored state or the chunk's initial content, and folds the
//! chunk's effects from the log into it. The log is read for one chunk at a time. If the resulting
//! hash differs from the hash that the log or the ref names, the base itself may be wrong. So such
//! a result counts only if a second base leads to the same content, or if there is no other base.

use super::{PartitionCore, Phase};
use crate::guard::{Calls, Guarded, ModelPanicked, RestoreError};
use crate::messages::{End, OlderError, Output};
use crate::progress::BatchPart;
use crate::recovered::{Recovered, read_record};
use crate::refs::newest_of;
use crate::slots::State;
use crate::working::Call;
use bytes::Bytes;
use driftless_chunk::position::{Position, Validity};
use driftless_chunk::replica::{ApplyError, Replica};
use driftless_schemas::proto::{UpdatesRecord, updates_record::Body};
use driftless_schemas::stored::{IndexEntry, StoredRef};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Epoch, Hash, Offset, Version};
use std::collections::VecDeque;
use std::sync::Arc;

/// The chunks for which the log is to be read again, and the one for which it is being read.
#[derive(Default)]
pub(super) struct Histories {
    wanted: VecDeque<(ChunkId, Purpose)>,
    current: Option<History>,
    /// No reading begins before this time; it is set when the store did not answer.
    retry_at: MonotonicMs,
}

/// Why the log is read again for a chunk.
pub(super) enum Purpose {
    /// Compare the chunk in memory with ref and log. States that were stored at this version or
    /// above are in doubt too, so they are no bases. The audits that asked for the check stay open
    /// until it ends, so that a crash does not lose them.
    Check(Version, Vec<BatchPart>),
    /// Rebuild the content of the newest ref, whose object is lost.
    Reconstruct(Box<IndexEntry>),
}

/// A content that a base and the log have led to.
pub(super) struct Rebuilt {
    pub replica: Guarded<Replica>,
    /// The version of the base.
    pub base: Version,
    pub version: Version,
    pub hash: Hash,
}

struct History {
    chunk: ChunkId,
    purpose: Purpose,
    /// The refs that are still to be tried as bases, the newest first. After them, the chunk's
    /// initial content is the last base.
    bases: VecDeque<StoredRef>,
    /// The base with the effects that were read so far. `None` while a base is being loaded.
    replica: Option<Guarded<Replica>>,
    /// A copy of the base, which is made only if an operator accepts loss. A fold that fails may
    /// leave a broken content in `replica`, and then the chunk goes on with this copy.
    intact: Option<Guarded<Replica>>,
    /// The version of the base.
    base: Version,
    /// The contents that earlier bases have led to, newest base first. None of them has the hash
    /// that the log or the ref names.
    others: Vec<Rebuilt>,
    /// True if the base is the chunk's initial content, after which there is no other base.
    is_last: bool,
    /// The newest ref's version, and the position from which the log is read if that ref is the
    /// base. For any other base, the log is read from its start.
    after_newest: Option<(Version, Position)>,
    /// How far the log was read for this chunk.
    position: Position,
    /// The version that the replica must reach.
    target: Version,
    /// The number of this owner's last record that can contain effects of the chunk.
    until_n: u64,
    /// From this offset on, all valid records are this owner's own.
    own_from: Offset,
}

impl PartitionCore {
    /// Asks for a check of the chunk, because of a gateway's audit or of the owner's own doubt.
    /// States that were stored at version `suspect` or above are in doubt.
    pub(super) fn want_check(&mut self, chunk: &ChunkId, suspect: Version, audit: Option<BatchPart>) {
        // A check that is under way serves this request too, if its bases are all older than
        // `suspect`.
        if let Some(History { chunk: checked, purpose: Purpose::Check(_, audits), bases, base, .. }) =
            &mut self.histories.current
            && checked == chunk
            && bases.iter().all(|base| base.version < suspect)
            && (*base < suspect || *base == Version(0))
        {
            return audits.extend(audit);
        }
        let known = self.histories.wanted.iter_mut().find_map(|(wanted, why)| match why {
            Purpose::Check(from, audits) if wanted == chunk => Some((from, audits)),
            _ => None,
        });
        match known {
            Some((from, audits)) => {
                *from = suspect.min(*from);
                audits.extend(audit);
            }
            None => {
                let wanted = Purpose::Check(suspect, audit.into_iter().collect());
                self.histories.wanted.push_back((chunk.clone(), wanted));
            }
        }
    }

    pub(super) fn want_reconstruction(&mut self, chunk: &ChunkId, entry: Box<IndexEntry>) {
        let is_under_way = self.histories.current.as_ref().is_some_and(|current| current.chunk == *chunk);
        let is_known = |(wanted, why): &(ChunkId, Purpose)| wanted == chunk && matches!(why, Purpose::Reconstruct(_));
        if !is_under_way && !self.histories.wanted.iter().any(is_known) {
            self.histories.wanted.push_back((chunk.clone(), Purpose::Reconstruct(entry)));
        }
    }

    /// Begins to read the log for the next chunk that is ready, unless it is being read for another
    /// chunk.
    pub(super) fn begin_history(&mut self, now: MonotonicMs) {
        for _ in 0..self.histories.wanted.len() {
            let is_early = now < self.histories.retry_at || self.trail.is_uncertain();
            if self.histories.current.is_some() || self.phase != Phase::Running || is_early {
                return;
            }
            let Some((chunk, wanted)) = self.histories.wanted.pop_front() else { return };
            match (wanted, self.chunks.state(&chunk)) {
                // A healed chunk is stored before it is checked again: a chunk that many gateways
                // ask about would otherwise never be stored.
                (Purpose::Check(suspect, audits), Some(State::Live(resident)))
                    if resident.snapshot.is_none() && !resident.is_urgent =>
                {
                    self.begin_check(chunk, suspect, audits, now);
                }
                (Purpose::Check(suspect, audits), Some(State::Checking(resident, _)))
                    if resident.snapshot.is_none() =>
                {
                    self.begin_check(chunk, suspect, audits, now);
                }
                (Purpose::Reconstruct(entry), Some(State::Loading(_))) => {
                    self.begin_reconstruction(chunk, entry, now);
                }
                // A snapshot of the chunk is under way, or the chunk is still loading. Its check
                // begins later.
                (wanted @ Purpose::Check(..), Some(_)) => self.histories.wanted.push_back((chunk, wanted)),
                // The chunk was clean and is not in memory any more. It is loaded again, because
                // its stored state must be checked.
                (wanted @ Purpose::Check(..), None) => {
                    let Ok(place) = self.world.place(&chunk) else { continue };
                    self.use_slot(&chunk, place);
                    self.histories.wanted.push_back((chunk, wanted));
                }
                // The object was loaded after all, so there is nothing to rebuild.
                (Purpose::Reconstruct(_), _) => {}
            }
        }
    }

    fn begin_check(&mut self, chunk: ChunkId, suspect: Version, audits: Vec<BatchPart>, now: MonotonicMs) {
        self.chunks.begin_check(&chunk);
        let known = self.trail.known();
        let Some((_, resident)) = self.chunks.checking_mut(&chunk) else { return self.close_audits(audits) };
        self.stats.checks += 1;
        let newest = resident.refs.newest.as_ref().map(|newest| newest.version);
        let after_newest = resident.dirty.map_or(known, |dirty| dirty.bound);
        let bases = resident.refs.iter().filter(|stored| stored.version < suspect).cloned().collect();
        let target = resident.live.version();
        let history = self.history(chunk, Purpose::Check(suspect, audits), bases, target);
        self.histories.current = Some(History { after_newest: newest.zip(Some(after_newest)), ..history });
        self.load_base(now);
    }

    fn begin_reconstruction(&mut self, chunk: ChunkId, entry: Box<IndexEntry>, now: MonotonicMs) {
        let target = entry.newest.version;
        let bases = entry.older.iter().filter(|older| older.version <= target).cloned().collect();
        let history = self.history(chunk, Purpose::Reconstruct(entry), bases, target);
        self.histories.current = Some(history);
        self.load_base(now);
    }

    fn history(&self, chunk: ChunkId, purpose: Purpose, bases: VecDeque<StoredRef>, target: Version) -> History {
        History {
            chunk,
            purpose,
            bases,
            replica: None,
            intact: None,
            base: Version(0),
            others: Vec::new(),
            is_last: false,
            after_newest: None,
            position: Position::START,
            target,
            until_n: self.trail.newest_n(),
            own_from: self.trail.known().offset,
        }
    }

    // ---- The base -------------------------------------------------------------------------------

    /// Asks the shell for the next base, or takes the chunk's initial content if no ref is left.
    fn load_base(&mut self, now: MonotonicMs) {
        let Some(history) = &mut self.histories.current else { return };
        let chunk = history.chunk.clone();
        if let Some(base) = history.bases.front() {
            return self.outputs.push_back(Output::LoadOlder(chunk, base.clone()));
        }
        history.is_last = true;
        let Some(model) = self.chunks.place(&chunk).map(|place| Arc::clone(&place.family.model)) else {
            // The chunk was loaded after all, and dropped since.
            return self.give_history_up("it is not wanted any more", now);
        };
        let calls = Calls::of(&self.working, &chunk);
        let initial = || Ok::<_, ApplyError>((Replica::initial(model, &chunk), ()));
        match Guarded::make(calls, Call::Restore, initial) {
            Ok(Ok((initial, ()))) => self.read_on_from(initial, Position::START, now),
            Ok(Err(e)) => self.give_history_up(&e.to_string(), now),
            Err(e) => self.give_history_up(&e.to_string(), now),
        }
    }

    pub(super) fn take_older(&mut self, chunk: &ChunkId, loaded: Result<Bytes, OlderError>, now: MonotonicMs) {
        let Some(history) = self.histories.current.as_mut().filter(|history| history.chunk == *chunk) else { return };
        if loaded == Err(OlderError::Unavailable) {
            return self.put_history_off(now);
        }
        let Some(base) = history.bases.pop_front() else { return };
        let Some(model) = self.chunks.place(chunk).map(|place| Arc::clone(&place.family.model)) else {
            return self.give_history_up("it is not wanted any more", now);
        };
        let restore = |encoding: Bytes| {
            let calls = Calls::of(&self.working, chunk);
            let replica = || Replica::restore(model, &encoding, base.version, base.hash).map(|replica| (replica, ()));
            Guarded::make(calls, Call::Restore, replica).ok()?.ok()
        };
        match loaded.ok().and_then(restore) {
            None => self.load_base(now),
            Some((replica, ())) => {
                // The newest ref is recognised by its version, because two versions may have the
                // same hash.
                let after_newest = history.after_newest.filter(|(newest, _)| *newest == replica.version());
                self.read_on_from(replica, after_newest.map_or(Position::START, |(_, position)| position), now);
            }
        }
    }

    /// Puts the reading off, because the store does not answer. The base is not skipped, because it
    /// may be loaded later.
    fn put_history_off(&mut self, now: MonotonicMs) {
        self.histories.retry_at = now.plus_ms(self.settings.load_retry_ms);
        let Some(History { chunk, purpose, .. }) = self.histories.current.take() else { return };
        self.outputs.push_back(Output::EndHistory);
        self.histories.wanted.push_back((chunk, purpose));
    }

    /// Puts the reading of the log off, because the owner must read its own records back first. A
    /// load of a base goes on; the log is read for it only after the reading back.
    pub(super) fn interrupt_history(&mut self) {
        if let Some(History { chunk, purpose, .. }) = self.histories.current.take_if(|h| h.replica.is_some()) {
            self.outputs.push_back(Output::EndHistory);
            self.histories.wanted.push_front((chunk, purpose));
        }
    }

    fn read_on_from(&mut self, mut base: Guarded<Replica>, position: Position, now: MonotonicMs) {
        self.end_watch();
        let epoch = self.trail.epoch();
        let Some(history) = &mut self.histories.current else { return };
        if self.settings.accept_loss && matches!(history.purpose, Purpose::Reconstruct(_)) {
            // A base that cannot be copied is used nevertheless. Only the copy to fall back on is
            // missing.
            history.intact = base.copy(Calls::of(&self.working, &history.chunk)).ok();
        }
        let is_there = base.version() >= history.target;
        history.base = base.version();
        history.replica = Some(base);
        history.position = position;
        let is_all_read = history.is_all_read(epoch);
        match is_there {
            true => self.conclude_history(now),
            false if is_all_read => self.give_history_up("the log has not all of its decisions any more", now),
            false if self.is_reading_back() => self.interrupt_history(),
            false => self.outputs.push_back(Output::ReadHistory(position.offset)),
        }
    }

    // ---- The log --------------------------------------------------------------------------------

    /// Continues at `low`, because the records below `low` are gone. The epoch is unknown until the
    /// first fence behind `low`. The hash of the result shows whether it is right.
    pub(super) fn history_is_cut(&mut self, low: Offset, now: MonotonicMs) {
        if let Some(history) = &mut self.histories.current {
            if low >= history.own_from {
                return self.give_history_up("the log begins after it", now);
            }
            history.position = Position { offset: low, history: history.position.history, ..Position::START };
            self.outputs.push_back(Output::ReadHistory(low));
        }
    }

    pub(super) fn take_history(&mut self, records: Vec<(Offset, Bytes)>, now: MonotonicMs) {
        let (own_epoch, known) = (self.trail.epoch(), self.trail.known());
        for (offset, value) in records {
            let Some(history) = &mut self.histories.current else { return };
            let Some(replica) = history.replica.as_mut().filter(|_| offset >= history.position.offset) else {
                continue;
            };
            let record = match read_record(value) {
                Ok(record) => record,
                Err(reason) => return self.end(End::Unreadable { offset, reason }),
            };
            let validity = history.position.judge(offset, &record);
            if validity == Validity::Fence && record.epoch > own_epoch.0 {
                return self.end(End::Replaced { epoch: Epoch(record.epoch) });
            }
            if validity == Validity::Valid {
                let calls = Calls::of(&self.working, &history.chunk);
                match fold_one(replica, calls, &history.chunk, record) {
                    Err(e) => {
                        if !e.leaves_content_intact() {
                            history.replica = history.intact.take();
                        }
                        return self.give_history_up(&e.to_string(), now);
                    }
                    Ok(()) if replica.version() >= history.target => return self.conclude_history(now),
                    Ok(()) => {}
                }
            }
            let Position { epoch, offset, .. } = history.position;
            // If retention has deleted this owner's fence, none of its records can be judged.
            let is_judged = epoch == own_epoch || offset < history.own_from;
            if history.is_all_read(own_epoch) || history.is_behind(known) || !is_judged {
                return self.give_history_up("the log has not all of its decisions any more", now);
            }
        }
    }

    /// Ends the reading for a chunk if nothing more can come: the owner knows where its last record
    /// about the chunk is, and that place is read. Without the fence, which may be cut off, or with
    /// a second fence of this epoch, the records themselves do not show it.
    pub(super) fn end_history_at_the_end(&mut self, now: MonotonicMs) {
        let known = self.trail.known();
        let is_over = |history: &History| history.replica.is_some() && history.is_behind(known);
        if self.histories.current.as_ref().is_some_and(is_over) {
            self.give_history_up("the log has not all of its decisions any more", now);
        }
    }

    // ---- The end --------------------------------------------------------------------------------

    fn conclude_history(&mut self, now: MonotonicMs) {
        let rebuilt = match self.take_rebuilt() {
            Ok(Some(rebuilt)) => rebuilt,
            Ok(None) => return,
            Err(reason) => return self.give_history_up(&reason, now),
        };
        if self.is_another_base_wanted(&rebuilt) {
            if let Some(history) = &mut self.histories.current {
                history.others.push(rebuilt);
            }
            self.outputs.push_back(Output::EndHistory);
            return self.load_base(now);
        }
        let Some(History { chunk, purpose, .. }) = self.histories.current.take() else { return };
        self.outputs.push_back(Output::EndHistory);
        match purpose {
            Purpose::Check(_, audits) => self.conclude_check(&chunk, rebuilt, audits, now),
            Purpose::Reconstruct(entry) => self.conclude_reconstruction(chunk, rebuilt, *entry, now),
        }
    }

    /// Takes the content that base and log have led to, with its hash. `None`: there is no such
    /// content.
    fn take_rebuilt(&mut self) -> Result<Option<Rebuilt>, String> {
        let Some(history) = &mut self.histories.current else { return Ok(None) };
        let Some(mut replica) = history.replica.take() else { return Ok(None) };
        let version = replica.version();
        // A corrupt index entry may have older refs with a version above the newest ref's, and a
        // corrupt log may have a record that leads past the target version.
        if version > history.target {
            return Err("what is stored or logged leads past its version".to_owned());
        }
        let calls = Calls::of(&self.working, &history.chunk);
        let hash = replica.run(calls, Call::Encode, Replica::hash).map_err(|e: ModelPanicked| e.to_string())?;
        Ok(Some(Rebuilt { replica, base: history.base, version, hash }))
    }

    /// True if another base is to be tried: the content's hash differs from the hash that the log
    /// or the ref names, no earlier base led to the same content, and a base is left.
    fn is_another_base_wanted(&self, rebuilt: &Rebuilt) -> bool {
        let Some(history) = self.histories.current.as_ref().filter(|history| !history.is_last) else { return false };
        let Rebuilt { version, hash, .. } = *rebuilt;
        let is_said = match (&history.purpose, self.chunks.state(&history.chunk)) {
            (Purpose::Check(..), Some(State::Checking(resident, _))) => !resident.differs_from_log(version, hash),
            (Purpose::Check(..), _) => true,
            (Purpose::Reconstruct(entry), _) => newest_of(entry) == (version, hash),
        };
        !is_said && history.others.iter().all(|other| other.hash != hash)
    }

    /// Ends the reading, because base and log do not lead to the target version. If an earlier base
    /// led to a content, a check uses that content. Otherwise a checked chunk keeps its content. A
    /// chunk that cannot be loaded stays unloaded, unless an operator accepts loss.
    fn give_history_up(&mut self, reason: &str, now: MonotonicMs) {
        let Some(History { chunk, purpose, replica, others, .. }) = self.histories.current.take() else { return };
        self.outputs.push_back(Output::EndHistory);
        // No second base has confirmed a content, so the content of the newest base counts.
        match (purpose, others.into_iter().next()) {
            (Purpose::Check(_, audits), Some(rebuilt)) => self.conclude_check(&chunk, rebuilt, audits, now),
            (Purpose::Check(_, audits), None) => self.leave_unchecked(&chunk, reason, audits, now),
            (Purpose::Reconstruct(entry), rebuilt) => {
                self.give_reconstruction_up(chunk, *entry, rebuilt, replica, reason, now);
            }
        }
    }
}

impl Histories {
    /// True while the log is read again for a chunk, or a base is loaded for it.
    pub fn is_reading(&self) -> bool {
        self.current.is_some()
    }
}

impl History {
    /// True if every record of this owner that can contain effects of the chunk was read.
    fn is_all_read(&self, own_epoch: Epoch) -> bool {
        self.position.epoch == own_epoch && self.position.n >= self.until_n
    }

    /// True if the log was read up to a position behind every record of this owner that can contain
    /// effects of the chunk.
    fn is_behind(&self, known: Position) -> bool {
        known.n >= self.until_n && self.position.offset >= known.offset
    }
}

/// True if a record of `updates` names this chunk.
fn is_about(record: &UpdatesRecord, chunk: &ChunkId) -> bool {
    match &record.body {
        Some(Body::Decisions(decisions)) => decisions.chunk_id == chunk.as_str(),
        Some(Body::SnapshotStored(notice)) => notice.chunk_id == chunk.as_str(),
        _ => false,
    }
}

/// Folds a record's updates into the replica, if the record is about this chunk.
fn fold_one(
    replica: &mut Guarded<Replica>,
    calls: Calls<'_>,
    chunk: &ChunkId,
    record: UpdatesRecord,
) -> Result<(), RestoreError> {
    // A record of another chunk is not decoded further, because a fault in it must not keep this
    // chunk from being healed.
    if !is_about(&record, chunk) {
        return Ok(());
    }
    match Recovered::read(record).map_err(RestoreError::Record)? {
        Some((_, Recovered::Decisions(_, Some(updates)))) => {
            replica.run(calls, Call::Restore, |replica| replica.apply_effects(&updates))??;
            Ok(())
        }
        _ => Ok(()),
    }
}

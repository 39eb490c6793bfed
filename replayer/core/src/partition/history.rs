//! Reading `updates` again for one chunk: to check it against ref and log, or to make a lost object anew.
//!
//! A base (a stored state, or the chunk's beginning) is loaded, the log's effects are folded into it, one chunk at a time.
//! While a chunk is checked its commands wait: to decide with a content that is in doubt would be to publish more of it.
//! What differs is replaced by what ref and log give, counted, and stored at once, so that every tracker gets a fresh
//! state; decisions stay as they are (R5).

use super::recovery::read_record;
use super::{PartitionCore, Phase};
use crate::messages::{End, OlderError, Output, Stored};
use crate::progress::Share;
use crate::slots::{Dirty, Held, Loading, Recovered, Slot, State};
use crate::working::Call;
use bytes::Bytes;
use driftless_chunk::position::{Position, Validity};
use driftless_chunk::replica::Replica;
use driftless_schemas::proto::{IndexEntry, Ref};
use driftless_schemas::{ChunkId, Epoch, Hash, Offset, Version};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What is wanted, and what is under way: one at a time.
#[derive(Default)]
pub(super) struct Histories {
    wanted: VecDeque<(ChunkId, Wanted)>,
    current: Option<History>,
    /// The store did not answer: not again before.
    retry_at_ms: u64,
}

enum Wanted {
    /// Compare it; what was stored from this version on is in doubt too. The audits that ask for it stay open until then,
    /// so that a crash does not lose them.
    Check(Version, Vec<Share>),
    /// Make the content of its newest ref again.
    Reconstruct(Box<IndexEntry>),
}

enum Purpose {
    /// With the version from which on what was stored is in doubt.
    Check(Version, Vec<Share>),
    Reconstruct(Box<IndexEntry>),
}

struct History {
    chunk: ChunkId,
    purpose: Purpose,
    /// Refs to begin with, the best first; after them, the chunk's beginning.
    bases: VecDeque<Ref>,
    replica: Option<Replica>,
    /// The version that it began with.
    base: Version,
    /// What other bases have led to, the best first, none of them to what the log says.
    came_to: Vec<(Version, Replica)>,
    /// The chunk's beginning was tried: there is no other base.
    is_last: bool,
    /// Where the newest ref ends, where the log is read from if that is the base.
    after_newest: Option<(Version, Position)>,
    position: Position,
    /// The version that it must come to.
    target: Version,
    /// The last own record that may tell of it.
    until_n: u64,
    /// From here on, at the latest, the records are the own ones.
    own_from: Offset,
}

impl PartitionCore {
    /// A gateway's audit, or a doubt of our own.
    pub(super) fn want_check(&mut self, chunk: &ChunkId, suspect: Version, audit: Option<Share>) {
        // One that is under way answers it too, if what it begins with is older.
        if let Some(History { chunk: checked, purpose: Purpose::Check(_, audits), bases, base, .. }) =
            &mut self.histories.current
            && checked == chunk
            && bases.iter().all(|base| base.version < suspect.0)
            && (*base < suspect || *base == Version(0))
        {
            return audits.extend(audit);
        }
        let known = self.histories.wanted.iter_mut().find_map(|(wanted, why)| match why {
            Wanted::Check(from, audits) if wanted == chunk => Some((from, audits)),
            _ => None,
        });
        match known {
            Some((from, audits)) => {
                *from = suspect.min(*from);
                audits.extend(audit);
            }
            None => {
                let wanted = Wanted::Check(suspect, audit.into_iter().collect());
                self.histories.wanted.push_back((chunk.clone(), wanted));
            }
        }
    }

    /// A doubt of our own: the chunk's content is not what was published. Its commands wait from now on.
    pub(super) fn doubt(&mut self, chunk: &ChunkId) {
        let Some(slot) = self.slots.get_mut(chunk) else { return };
        slot.state = match std::mem::replace(&mut slot.state, State::Loading(Loading::default())) {
            State::Live(held) if held.snapshot.is_none() => State::Checking(held, Loading::of_check()),
            other => other,
        };
        self.want_check(chunk, Version(u64::MAX), None);
    }

    fn close_audits(&mut self, audits: Vec<Share>) {
        audits.into_iter().for_each(|audit| self.progress.done(audit));
    }

    pub(super) fn want_reconstruction(&mut self, chunk: &ChunkId, entry: Box<IndexEntry>) {
        let is_under_way = self.histories.current.as_ref().is_some_and(|current| current.chunk == *chunk);
        let is_known = |(wanted, why): &(ChunkId, Wanted)| wanted == chunk && matches!(why, Wanted::Reconstruct(_));
        if !is_under_way && !self.histories.wanted.iter().any(is_known) {
            self.histories.wanted.push_back((chunk.clone(), Wanted::Reconstruct(entry)));
        }
    }

    /// Begins with the next chunk that can be begun with.
    pub(super) fn begin_history(&mut self, now_ms: u64) {
        for _ in 0..self.histories.wanted.len() {
            let is_early = now_ms < self.histories.retry_at_ms;
            if self.histories.current.is_some() || self.phase != Phase::Running || is_early {
                return;
            }
            let Some((chunk, wanted)) = self.histories.wanted.pop_front() else { return };
            match (wanted, self.slots.get(&chunk).map(|slot| &slot.state)) {
                // What was healed is stored first: else a chunk that many ask about would never be.
                (Wanted::Check(suspect, audits), Some(State::Live(held)))
                    if held.snapshot.is_none() && !held.is_urgent =>
                {
                    self.begin_check(chunk, suspect, audits, now_ms);
                }
                (Wanted::Check(suspect, audits), Some(State::Checking(held, _))) if held.snapshot.is_none() => {
                    self.begin_check(chunk, suspect, audits, now_ms);
                }
                (Wanted::Reconstruct(entry), Some(State::Loading(_))) => {
                    self.begin_reconstruction(chunk, entry, now_ms)
                }
                // Its snapshot, or its state, is on its way: later.
                (wanted @ Wanted::Check(..), Some(_)) => self.histories.wanted.push_back((chunk, wanted)),
                // It was dropped, clean: what is stored of it is to be checked all the same.
                (wanted @ Wanted::Check(..), None) => {
                    let Ok(place) = self.world.place(&chunk) else { continue };
                    self.use_slot(&chunk, || place);
                    self.histories.wanted.push_back((chunk, wanted));
                }
                // It was loaded after all.
                (Wanted::Reconstruct(_), _) => {}
            }
        }
    }

    fn begin_check(&mut self, chunk: ChunkId, suspect: Version, audits: Vec<Share>, now_ms: u64) {
        let known = self.known;
        let Some(slot) = self.slots.get_mut(&chunk) else { return };
        let (held, waiting) = match std::mem::replace(&mut slot.state, State::Loading(Loading::default())) {
            State::Live(held) => (held, Loading::of_check()),
            State::Checking(held, waiting) => (held, waiting),
            loading @ State::Loading(_) => {
                slot.state = loading;
                return self.close_audits(audits);
            }
        };
        self.stats.checks += 1;
        let refs = held.entry.newest.iter().chain(&held.entry.older);
        let bases: VecDeque<Ref> = refs.filter(|r| r.version < suspect.0).cloned().collect();
        let newest = held.entry.newest.as_ref().map(|newest| Version(newest.version));
        let history = History {
            chunk,
            purpose: Purpose::Check(suspect, audits),
            bases,
            replica: None,
            base: Version(0),
            came_to: Vec::new(),
            is_last: false,
            after_newest: newest.map(|version| (version, held.dirty.map_or(known, |dirty| dirty.bound))),
            position: Position::START,
            target: held.live.replica.version(),
            until_n: self.next_n - 1,
            own_from: self.known.offset,
        };
        slot.state = State::Checking(held, waiting);
        self.histories.current = Some(history);
        self.load_base(now_ms);
    }

    fn begin_reconstruction(&mut self, chunk: ChunkId, entry: Box<IndexEntry>, now_ms: u64) {
        let target = Version(entry.newest.as_ref().map_or(0, |newest| newest.version));
        let history = History {
            chunk,
            bases: entry.older.iter().filter(|older| older.version <= target.0).cloned().collect(),
            purpose: Purpose::Reconstruct(entry),
            replica: None,
            base: Version(0),
            came_to: Vec::new(),
            is_last: false,
            after_newest: None,
            position: Position::START,
            target,
            until_n: self.next_n - 1,
            own_from: self.known.offset,
        };
        self.histories.current = Some(history);
        self.load_base(now_ms);
    }

    /// Asks for the next base, or begins at the chunk's beginning.
    fn load_base(&mut self, now_ms: u64) {
        let Some(history) = &mut self.histories.current else { return };
        let chunk = history.chunk.clone();
        if let Some(base) = history.bases.front() {
            return self.outputs.push_back(Output::LoadOlder(chunk, base.clone()));
        }
        history.is_last = true;
        let Some(model) = self.slots.get(&chunk).map(|slot| Arc::clone(&slot.place.family.model)) else {
            // It was loaded after all, and dropped since.
            return self.give_history_up("it is not wanted any more", now_ms);
        };
        self.working.call(&chunk, Call::Restore);
        match catch_unwind(AssertUnwindSafe(|| Replica::initial(model, &chunk))) {
            Ok(initial) => self.read_on_from(initial, Position::START, now_ms),
            Err(_) => self.give_history_up("its model panicked", now_ms),
        }
    }

    pub(super) fn take_older(&mut self, chunk: &ChunkId, loaded: Result<Bytes, OlderError>, now_ms: u64) {
        let Some(history) = self.histories.current.as_mut().filter(|history| history.chunk == *chunk) else { return };
        if loaded == Err(OlderError::Unavailable) {
            return self.put_history_off(now_ms);
        }
        let Some(base) = history.bases.pop_front() else { return };
        let Some(model) = self.slots.get(chunk).map(|slot| Arc::clone(&slot.place.family.model)) else {
            return self.give_history_up("it is not wanted any more", now_ms);
        };
        let hash = Hash::from_slice(&base.hash).unwrap_or(Hash([0; 32]));
        self.working.call(chunk, Call::Restore);
        let restore = |encoding: Bytes| Replica::restore(model, &encoding, Version(base.version), hash).ok();
        let restored = loaded.ok().and_then(|encoding| catch_unwind(AssertUnwindSafe(|| restore(encoding))).ok()?);
        match restored {
            None => self.load_base(now_ms),
            Some(replica) => {
                // Two versions may have one hash.
                let after_newest = history.after_newest.filter(|(newest, _)| *newest == replica.version());
                self.read_on_from(replica, after_newest.map_or(Position::START, |(_, position)| position), now_ms);
            }
        }
    }

    /// The store does not answer. A base that nobody could load now is not given up for it.
    fn put_history_off(&mut self, now_ms: u64) {
        self.histories.retry_at_ms = now_ms + self.settings.load_retry_ms;
        let Some(History { chunk, purpose, .. }) = self.histories.current.take() else { return };
        self.outputs.push_back(Output::EndHistory);
        match purpose {
            Purpose::Check(suspect, audits) => {
                self.histories.wanted.push_back((chunk, Wanted::Check(suspect, audits)));
            }
            Purpose::Reconstruct(entry) => self.histories.wanted.push_back((chunk, Wanted::Reconstruct(entry))),
        }
    }

    fn read_on_from(&mut self, base: Replica, position: Position, now_ms: u64) {
        let Some(history) = &mut self.histories.current else { return };
        let is_there = base.version() >= history.target;
        history.base = base.version();
        history.replica = Some(base);
        history.position = position;
        let is_all_read = position.epoch == self.epoch && position.n >= history.until_n;
        match is_there {
            true => self.conclude_history(now_ms),
            false if is_all_read => self.give_history_up("the log has not all of its decisions any more", now_ms),
            false => self.outputs.push_back(Output::ReadHistory(position.offset)),
        }
    }

    /// What stood below is gone. From here on, the first fence tells the epoch; what comes out is compared by its hash.
    pub(super) fn history_is_cut(&mut self, low: Offset, now_ms: u64) {
        if let Some(history) = &mut self.histories.current {
            if low >= history.own_from {
                return self.give_history_up("the log begins after it", now_ms);
            }
            history.position = Position { offset: low, ..Position::START };
            self.outputs.push_back(Output::ReadHistory(low));
        }
    }

    pub(super) fn take_history(&mut self, records: Vec<(Offset, Bytes)>, now_ms: u64) {
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
            if validity == Validity::Fence && record.epoch > self.epoch.0 {
                return self.end(End::Replaced { epoch: Epoch(record.epoch) });
            }
            if validity == Validity::Valid {
                self.working.call(&history.chunk, Call::Restore);
                let folded = catch_unwind(AssertUnwindSafe(|| fold_one(replica, &history.chunk, record)));
                match folded.unwrap_or_else(|_| Err("its model panicked".to_owned())) {
                    Err(reason) => return self.give_history_up(&reason, now_ms),
                    Ok(()) if replica.version() >= history.target => return self.conclude_history(now_ms),
                    Ok(()) => {}
                }
            }
            let Position { epoch, n, offset } = history.position;
            let is_all_read = epoch == self.epoch && n >= history.until_n;
            // Without its fence, which was cut off, nothing that the own epoch wrote can be judged.
            if is_all_read || (epoch != self.epoch && offset >= history.own_from) {
                return self.give_history_up("the log has not all of its decisions any more", now_ms);
            }
        }
    }

    fn conclude_history(&mut self, now_ms: u64) {
        // An index entry that is spoilt may have refs above its newest, and a record of a spoilt log may go over the version.
        if let Some(history) = &mut self.histories.current
            && history.replica.as_ref().is_some_and(|replica| replica.version() > history.target)
        {
            history.replica = None;
            return self.give_history_up("what is stored or logged leads past its version", now_ms);
        }
        if self.is_another_base_wanted() {
            self.outputs.push_back(Output::EndHistory);
            return self.load_base(now_ms);
        }
        let Some(history) = self.histories.current.take() else { return };
        let History { chunk, purpose, replica: Some(replica), base, target, .. } = history else { return };
        self.outputs.push_back(Output::EndHistory);
        debug_assert_eq!(replica.version(), target);
        match purpose {
            Purpose::Check(_, audits) => self.conclude_check(&chunk, base, replica, audits, now_ms),
            Purpose::Reconstruct(entry) => self.conclude_reconstruction(chunk, base, *entry, replica, now_ms),
        }
    }

    /// What comes to another hash than log or ref say is not believed at once: the base may be what is wrong. Two bases that
    /// agree are, or the chunk's beginning.
    fn is_another_base_wanted(&mut self) -> bool {
        let Some(history) = &mut self.histories.current else { return false };
        let History { chunk, purpose, replica, came_to, base, is_last: false, .. } = history else { return false };
        let Some(mut rebuilt) = replica.take() else { return false };
        let (version, hash) = (rebuilt.version(), rebuilt.hash());
        let is_said = match (&*purpose, self.slots.get(chunk).map(|slot| &slot.state)) {
            (Purpose::Check(..), Some(State::Checking(held, _))) => {
                held.published.is_none_or(|(at, said)| at != version || said == hash)
            }
            (Purpose::Check(..), _) => true,
            (Purpose::Reconstruct(entry), _) => said_by(entry) == Some((version, hash)),
        };
        if is_said || came_to.iter_mut().any(|(_, other)| other.hash() == hash) {
            *replica = Some(rebuilt);
            return false;
        }
        came_to.push((*base, rebuilt));
        true
    }

    fn conclude_check(
        &mut self,
        chunk: &ChunkId,
        base: Version,
        mut rebuilt: Replica,
        audits: Vec<Share>,
        now_ms: u64,
    ) {
        let known = self.known;
        self.working.call(chunk, Call::Encode);
        let Some((mut held, waiting)) = self.take_checked(chunk) else { return self.close_audits(audits) };
        let (version, hash) = (rebuilt.version(), rebuilt.hash());
        let found = held.live.replica.hash_again();
        let said = held.published.filter(|(at, _)| *at == version).map_or(hash, |(_, said)| said);
        held.published = Some((version, hash));
        if found != hash || said != hash {
            held.live.replica = rebuilt;
            drop_above(&mut held.entry, base);
            held.is_urgent = true;
            held.dirty.get_or_insert(Dirty { bound: known, since_ms: now_ms, decisions: 0 });
            self.unstored.insert(chunk.clone());
            self.stats.drifts += 1;
            let reason = format!(
                "at version {version} ref and log give the hash {hash}, the owner had {found} and had published {said}"
            );
            self.outputs.push_back(Output::Drift(chunk.clone(), reason));
        }
        // It is right, and somebody does not know or cannot load it: the notice was lost with its writer, or the object is.
        held.is_urgent |= held.dirty.is_some();
        match held.dirty {
            Some(_) => held.audits.extend(audits),
            None => self.close_audits(audits),
        }
        let again = held.entry.newest.clone().filter(|_| held.is_clean());
        let encoding = Bytes::from(held.live.replica.encoding().into_owned());
        let key = self.slots.get(chunk).map(|slot| slot.place.key.clone());
        self.put_live(chunk, held);
        if let (Some(newest), Some(key)) = (again, key) {
            self.outputs.push_back(Output::Repair { chunk: chunk.clone(), hash, encoding });
            self.announce(chunk, key, newest);
        }
        if let Some(waiting) = self.release(chunk, waiting) {
            self.decide_waiting(chunk, waiting, now_ms);
        }
    }

    fn conclude_reconstruction(
        &mut self,
        chunk: ChunkId,
        base: Version,
        mut entry: IndexEntry,
        mut replica: Replica,
        now_ms: u64,
    ) {
        self.working.call(&chunk, Call::Encode);
        let said = said_by(&entry).map(|(_, said)| said);
        let (version, found) = (replica.version(), replica.hash());
        let is_waiting = matches!(self.slots.get(&chunk), Some(Slot { state: State::Loading(_), .. }));
        if said != Some(found) && !is_waiting {
            // It was loaded after all: with what was stored, which is in doubt now.
            return self.want_check(&chunk, version, None);
        }
        let encoding = Bytes::from(replica.encoding().into_owned());
        if let Some(newest) = &mut entry.newest {
            newest.hash = found.to_bytes();
        }
        self.stats.reconstructed += 1;
        self.outputs.push_back(Output::Repair { chunk: chunk.clone(), hash: found, encoding: encoding.clone() });
        self.take_loaded(chunk.clone(), Ok(Some(Stored { entry, encoding })), now_ms);
        if said != Some(found) {
            self.tell_mended(&chunk, base, (version, found), now_ms);
        }
    }

    /// The memory of an owner was damaged, it stored what it had, and that object is lost as well. What everybody was told of
    /// the version was wrong: they are told again, as after a check.
    fn tell_mended(&mut self, chunk: &ChunkId, base: Version, (version, found): (Version, Hash), now_ms: u64) {
        let bound = self.known;
        let Some(Slot { state, .. }) = self.slots.get_mut(chunk) else { return };
        let (held, is_checked) = match state {
            State::Live(held) => (held, false),
            State::Checking(held, _) => (held, true),
            State::Loading(_) => return,
        };
        drop_above(&mut held.entry, base);
        if is_checked {
            // The log tells of the wrong hash too, so it is in doubt already: its check tells everybody.
            return;
        }
        held.is_urgent = true;
        held.dirty.get_or_insert(Dirty { bound, since_ms: now_ms, decisions: 0 });
        self.unstored.insert(chunk.clone());
        self.stats.drifts += 1;
        let reason =
            format!("at version {version} the log leads to the hash {found}; what was stored is another, and lost");
        self.outputs.push_back(Output::Drift(chunk.clone(), reason));
    }

    /// It cannot be done: a checked chunk stays as it is, one that cannot be loaded stays stuck, or goes on with an older
    /// content where an operator accepts that.
    fn give_history_up(&mut self, reason: &str, now_ms: u64) {
        let Some(History { chunk, purpose, replica, came_to, .. }) = self.histories.current.take() else { return };
        self.outputs.push_back(Output::EndHistory);
        match purpose {
            Purpose::Check(_, audits) if !came_to.is_empty() => {
                // There is no second opinion.
                if let Some((base, rebuilt)) = came_to.into_iter().next() {
                    self.conclude_check(&chunk, base, rebuilt, audits, now_ms);
                }
            }
            Purpose::Check(_, audits) => {
                self.outputs.push_back(Output::Stuck(chunk.clone(), format!("it cannot be checked: {reason}")));
                self.keep_unchecked(&chunk, reason, audits, now_ms);
            }
            Purpose::Reconstruct(entry) => {
                let reason = format!("its lost object cannot be made again: {reason}");
                if let Some(Slot { state: State::Loading(loading), .. }) = self.slots.get_mut(&chunk) {
                    loading.is_given_up = true;
                }
                match (came_to.into_iter().next(), replica) {
                    // There is no second opinion.
                    (Some((base, rebuilt)), _) if self.settings.accept_loss => {
                        self.conclude_reconstruction(chunk, base, *entry, rebuilt, now_ms);
                    }
                    (None, Some(older)) if self.settings.accept_loss => {
                        self.go_on_with_older(&chunk, *entry, older, now_ms);
                    }
                    _ => {
                        let way_out = "start this replayer once with --accept-loss to go on with an older content";
                        self.outputs.push_back(Output::Stuck(chunk, format!("{reason}; {way_out}")));
                    }
                }
            }
        }
    }

    fn keep_unchecked(&mut self, chunk: &ChunkId, reason: &str, audits: Vec<Share>, now_ms: u64) {
        let Some((mut held, waiting)) = self.take_checked(chunk) else { return self.close_audits(audits) };
        self.working.call(chunk, Call::Encode);
        let (version, hash) = (held.live.replica.version(), held.live.replica.hash_again());
        if held.published.is_some_and(|(at, said)| at == version && said != hash) {
            // Nobody can tell any more which of them is right: what is here is what everybody gets.
            let bound = self.known;
            held.published = Some((version, hash));
            held.is_urgent = true;
            held.dirty.get_or_insert(Dirty { bound, since_ms: now_ms, decisions: 0 });
            self.unstored.insert(chunk.clone());
            self.stats.drifts += 1;
            let reason = format!("at version {version} its hash is {hash}, but the log says another, and {reason}");
            self.outputs.push_back(Output::Drift(chunk.clone(), reason));
        }
        // The content is what its ref names: perhaps somebody cannot load that object.
        let is_newest = |newest: &&Ref| newest.version == version.0 && newest.hash[..] == hash.0;
        let again = held.entry.newest.as_ref().filter(is_newest).filter(|_| held.is_clean()).cloned();
        let encoding = again.is_some().then(|| Bytes::from(held.live.replica.encoding().into_owned()));
        match held.dirty {
            Some(_) => held.audits.extend(audits),
            None => self.close_audits(audits),
        }
        let key = self.slots.get(chunk).map(|slot| slot.place.key.clone());
        self.put_live(chunk, held);
        if let (Some(newest), Some(encoding), Some(key)) = (again, encoding, key) {
            self.outputs.push_back(Output::Repair { chunk: chunk.clone(), hash, encoding });
            self.announce(chunk, key, newest);
        }
        if let Some(waiting) = self.release(chunk, waiting) {
            self.decide_waiting(chunk, waiting, now_ms);
        }
    }

    fn take_checked(&mut self, chunk: &ChunkId) -> Option<(Box<Held>, Loading)> {
        let slot = self.slots.get_mut(chunk)?;
        match std::mem::replace(&mut slot.state, State::Loading(Loading::default())) {
            State::Checking(held, loading) => Some((held, loading)),
            other => {
                slot.state = other;
                None
            }
        }
    }
}

/// What was stored after the base may hold the same error: nothing begins with it any more.
fn drop_above(entry: &mut IndexEntry, base: Version) {
    entry.older.retain(|older| older.version <= base.0);
    entry.newest = entry.newest.take().filter(|newest| newest.version <= base.0);
}

/// What the newest ref says of its version.
fn said_by(entry: &IndexEntry) -> Option<(Version, Hash)> {
    entry.newest.as_ref().and_then(|newest| Some((Version(newest.version), Hash::from_slice(&newest.hash)?)))
}

/// Folds what a record says of this chunk.
fn fold_one(
    replica: &mut Replica,
    chunk: &ChunkId,
    record: driftless_schemas::proto::UpdatesRecord,
) -> Result<(), String> {
    match Recovered::read(record)? {
        Some((of, Recovered::Decisions(_, Some(updates)))) if of == *chunk => {
            replica.apply_effects(&updates).map(|_| ()).map_err(|e| e.to_string())
        }
        _ => Ok(()),
    }
}

//! Compares a chunk in memory with the content that its ref and the log lead to (R10).
//!
//! While a chunk is checked its commands wait, because a decision on a doubtful content would
//! publish more of a possible error. If the contents differ, the one that ref and log lead to
//! replaces the one in memory. Decisions that were made are never changed (R5).

use super::PartitionCore;
use super::history::Rebuilt;
use crate::guard::Calls;
use crate::messages::Output;
use crate::progress::BatchPart;
use driftless_schemas::stored::StoredRef;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Hash};

impl PartitionCore {
    pub(super) fn conclude_check(
        &mut self,
        chunk: &ChunkId,
        rebuilt: Rebuilt,
        audits: Vec<BatchPart>,
        now: MonotonicMs,
    ) {
        let Rebuilt { replica, base, version, hash } = rebuilt;
        let Some((_, resident)) = self.chunks.checking_mut(chunk) else { return self.close_audits(audits) };
        // If the model cannot encode the content in memory, that content is damaged, too.
        let found = resident.measure(Calls::of(&self.working, chunk)).ok().map(|(_, found)| found);
        let said = resident.folded.published.filter(|(at, _)| *at == version).map_or(hash, |(_, said)| said);
        resident.folded.published = Some((version, hash));
        if found != Some(hash) || said != hash {
            resident.live.replace_content(replica);
            resident.refs.drop_above(base);
            let found = found.map_or_else(|| "a content that cannot be encoded".to_owned(), |found| found.to_string());
            let reason = format!(
                "at version {version} ref and log give the hash {hash}, the owner had {found} and had published {said}"
            );
            self.declare_drift(chunk, reason, now);
        }
        // The content is right now, but the gateway that audited it may have missed a notice, or
        // may be unable to load an object. So a content with unstored decisions is stored and
        // announced at once.
        if let Some((_, resident)) = self.chunks.checking_mut(chunk) {
            resident.is_urgent |= resident.dirty.is_some();
        }
        self.end_check(chunk, hash, |_| true, audits, now);
    }

    /// Ends a check that has no result, because ref and log do not lead to the chunk's version any
    /// more.
    pub(super) fn leave_unchecked(&mut self, chunk: &ChunkId, reason: &str, audits: Vec<BatchPart>, now: MonotonicMs) {
        self.outputs.push_back(Output::Stuck(chunk.clone(), format!("it cannot be checked: {reason}")));
        let Some((_, resident)) = self.chunks.checking_mut(chunk) else { return self.close_audits(audits) };
        let Ok((version, hash)) = resident.measure(Calls::of(&self.working, chunk)) else {
            // The content in memory cannot be encoded, and there is no other to replace it. The
            // next owner begins with the stored state.
            return self.end_by_model(chunk);
        };
        if resident.differs_from_log(version, hash) {
            // Nothing is left to show which hash is right. So every tracker gets the content in
            // memory.
            resident.folded.published = Some((version, hash));
            let reason = format!("at version {version} its hash is {hash}, but the log says another, and {reason}");
            self.declare_drift(chunk, reason, now);
        }
        // A gateway may have asked for the check because it cannot load the object of the newest
        // ref. If the content in memory is that object's, `end_check` stores it again.
        let is_content = |newest: &StoredRef| (newest.version, newest.hash) == (version, hash);
        self.end_check(chunk, hash, is_content, audits, now);
    }

    /// Makes the chunk live again, and decides the commands that waited. The audits of a dirty
    /// chunk stay open until the chunk is stored. For a clean chunk, the newest ref's object is
    /// stored and announced again, if `is_content` returns true: the ref names the content in
    /// memory.
    fn end_check(
        &mut self,
        chunk: &ChunkId,
        hash: Hash,
        is_content: impl Fn(&StoredRef) -> bool,
        audits: Vec<BatchPart>,
        now: MonotonicMs,
    ) {
        let Some((place, resident)) = self.chunks.checking_mut(chunk) else { return self.close_audits(audits) };
        let again = resident.refs.newest.clone().filter(|newest| resident.is_clean() && is_content(newest));
        let key = place.key.clone();
        let encoding = again.is_some().then(|| resident.encoding(Calls::of(&self.working, chunk))).transpose();
        let Ok(encoding) = encoding else { return self.end_by_model(chunk) };
        match resident.dirty {
            Some(_) => resident.audits.extend(audits),
            None => self.close_audits(audits),
        }
        let Some(waiting) = self.chunks.end_check(chunk) else { return };
        if let (Some(newest), Some(encoding)) = (again, encoding) {
            self.outputs.push_back(Output::Repair { chunk: chunk.clone(), hash, encoding });
            self.announce(chunk, key, &newest);
        }
        if let Some(waiting) = self.release(chunk, waiting) {
            self.decide_waiting(chunk, waiting, now);
        }
    }
}

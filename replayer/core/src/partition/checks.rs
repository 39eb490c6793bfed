//! A chunk in memory is compared with what ref and log lead to (R10).
//!
//! While a chunk is checked its commands wait: a decision on a content that is in doubt would
//! publish more of it. A content that differs is replaced by what ref and log lead to; decisions
//! stay as they are (R5).

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
        // A content that its model cannot encode is damaged, too.
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
        // The content is right, and a gateway does not know it or cannot load it: a notice was lost
        // with its writer, or an object is lost.
        if let Some((_, resident)) = self.chunks.checking_mut(chunk) {
            resident.is_urgent |= resident.dirty.is_some();
        }
        self.end_check(chunk, hash, |_| true, audits, now);
    }

    /// Ref and log do not lead to the chunk's version any more.
    pub(super) fn leave_unchecked(&mut self, chunk: &ChunkId, reason: &str, audits: Vec<BatchPart>, now: MonotonicMs) {
        self.outputs.push_back(Output::Stuck(chunk.clone(), format!("it cannot be checked: {reason}")));
        let Some((_, resident)) = self.chunks.checking_mut(chunk) else { return self.close_audits(audits) };
        let Ok((version, hash)) = resident.measure(Calls::of(&self.working, chunk)) else {
            // No other content is left to take its place; the next owner begins with what is
            // stored.
            return self.end_by_model(chunk);
        };
        if resident.differs_from_log(version, hash) {
            // Which hash is right cannot be found out any more: the content in memory is what every
            // tracker gets.
            resident.folded.published = Some((version, hash));
            let reason = format!("at version {version} its hash is {hash}, but the log says another, and {reason}");
            self.declare_drift(chunk, reason, now);
        }
        // A gateway may have asked because it cannot load the object of the newest ref.
        let is_content = |newest: &StoredRef| (newest.version, newest.hash) == (version, hash);
        self.end_check(chunk, hash, is_content, audits, now);
    }

    /// The chunk is live again. The audits of a dirty chunk stay open until it is stored. Of a
    /// clean chunk, the object is stored again and announced once more if `is_content` says that
    /// the newest ref names its content.
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

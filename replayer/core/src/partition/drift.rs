//! Drift: the content of a chunk is not what the log says (R10).
//!
//! The owner declares every drift here: it stores and announces the content that is right by now at
//! once, so that every tracker gets a fresh state, and tells the operator.

use super::PartitionCore;
use crate::guard::Calls;
use crate::messages::Output;
use crate::working::Call;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Version};

impl PartitionCore {
    /// The owner's content, what it stored, or what it published was wrong; what is in memory now
    /// is right.
    pub(super) fn declare_drift(&mut self, chunk: &ChunkId, reason: String, now: MonotonicMs) {
        self.announce_at_once(chunk, now);
        self.stats.drifts += 1;
        self.outputs.push_back(Output::Drift(chunk.clone(), reason));
    }

    /// Commits of a chunk are lost. All trackers must see the content that is left, under a version
    /// that no tracker has seen with another content.
    pub(super) fn declare_loss(&mut self, chunk: &ChunkId, now: MonotonicMs) {
        let Some(resident) = self.chunks.resident_mut(chunk) else { return };
        let calls = Calls::of(&self.working, chunk);
        let published = resident.live.run(calls, Call::Encode, |live| (live.replica.version(), live.replica.hash()));
        let Ok((version, hash)) = published else { return self.end_by_model(chunk) };
        resident.folded.published = Some((version, hash));
        let lost = resident.folded.lost;
        self.announce_at_once(chunk, now);
        let reason = format!("{lost} commits up to version {version} are lost; its content is that of an older one");
        self.outputs.push_back(Output::Lost(chunk.clone(), reason));
    }

    fn announce_at_once(&mut self, chunk: &ChunkId, now: MonotonicMs) {
        let known = self.trail.known();
        if let Some(resident) = self.chunks.resident_mut(chunk) {
            resident.mark_urgent(known, now);
            self.chunks.mark_unstored(chunk);
        }
    }

    /// R10: the hash that the log says of the chunk's version must be the content's. If it is not,
    /// no command is decided with the content before ref and log have told what is right.
    pub(super) fn compare_with_published(&mut self, chunk: &ChunkId) {
        let Some((_, resident)) = self.chunks.live_mut(chunk) else { return };
        let calls = Calls::of(&self.working, chunk);
        let found = resident.live.run(calls, Call::Encode, |live| (live.replica.version(), live.replica.hash()));
        let Ok((version, hash)) = found else { return self.end_by_model(chunk) };
        if resident.differs_from_log(version, hash) {
            self.doubt(chunk);
        }
    }

    /// The owner itself doubts the content; the chunk's commands wait from now on.
    pub(super) fn doubt(&mut self, chunk: &ChunkId) {
        self.chunks.begin_check(chunk);
        self.want_check(chunk, Version(u64::MAX), None);
    }
}

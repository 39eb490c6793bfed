//! Handles drift: the content of a chunk differs from the content that the log leads to (R10).
//!
//! The owner declares every drift here. It stores and announces the corrected content at once, so
//! that every tracker loads that content, and it reports the drift to the operator.

use super::PartitionCore;
use crate::guard::Calls;
use crate::messages::Output;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Version};

impl PartitionCore {
    /// Declares drift: the content that the owner had, an object that it stored, or a hash that it
    /// published was wrong. The content that is in memory now is right.
    pub(super) fn declare_drift(&mut self, chunk: &ChunkId, reason: String, now: MonotonicMs) {
        self.announce_at_once(chunk, now);
        self.stats.drifts += 1;
        self.outputs.push_back(Output::Drift(chunk.clone(), reason));
    }

    /// Declares that commits of a chunk are lost. All trackers must load the content that is left,
    /// under a version that no tracker has seen with another content.
    pub(super) fn declare_loss(&mut self, chunk: &ChunkId, now: MonotonicMs) {
        let Some(resident) = self.chunks.resident_mut(chunk) else { return };
        let calls = Calls::of(&self.working, chunk);
        let published = resident.version_and_hash(calls);
        let Ok((version, hash)) = published else { return self.end_by_model(chunk) };
        resident.folded.published = Some((version, hash));
        let lost = resident.folded.lost;
        self.announce_at_once(chunk, now);
        let reason = format!("{lost} commits up to version {version} are lost; its content is that of an older one");
        self.outputs.push_back(Output::Lost(chunk.clone(), reason));
    }

    fn announce_at_once(&mut self, chunk: &ChunkId, now: MonotonicMs) {
        let bound = self.trail.bound();
        if let Some(resident) = self.chunks.resident_mut(chunk) {
            resident.mark_urgent(bound, now);
            self.chunks.mark_unstored(chunk);
        }
    }

    /// R10: the hash that the log publishes for the chunk's version must be the hash of the chunk's
    /// content. If the hashes differ, the chunk is checked before it decides any command.
    pub(super) fn compare_with_published(&mut self, chunk: &ChunkId) {
        let Some((_, resident)) = self.chunks.live_mut(chunk) else { return };
        let calls = Calls::of(&self.working, chunk);
        let found = resident.version_and_hash(calls);
        let Ok((version, hash)) = found else { return self.end_by_model(chunk) };
        if resident.differs_from_log(version, hash) {
            self.doubt(chunk);
        }
    }

    /// Asks for a check because the owner itself doubts the chunk's content. The chunk's commands
    /// wait from now on.
    pub(super) fn doubt(&mut self, chunk: &ChunkId) {
        self.chunks.begin_check(chunk);
        self.want_check(chunk, Version(u64::MAX), None);
    }
}

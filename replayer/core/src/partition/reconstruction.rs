//! Rebuilds the lost object of a chunk's newest ref from an older state and the log.

use super::PartitionCore;
use super::history::Rebuilt;
use crate::guard::{Calls, Guarded};
use crate::messages::{Output, Stored};
use crate::refs::newest_of;
use crate::working::Call;
use bytes::Bytes;
use driftless_chunk::replica::Replica;
use driftless_schemas::stored::IndexEntry;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Hash, Version};

impl PartitionCore {
    pub(super) fn conclude_reconstruction(
        &mut self,
        chunk: ChunkId,
        rebuilt: Rebuilt,
        mut entry: IndexEntry,
        now: MonotonicMs,
    ) {
        let Rebuilt { mut replica, base, version, hash } = rebuilt;
        let (_, said) = newest_of(&entry);
        if said != hash && self.chunks.loading_mut(&chunk).is_none() {
            // The chunk was loaded after all, and the rebuilt hash is not the one that its ref
            // names. So the chunk must be checked.
            return self.want_check(&chunk, version, None);
        }
        let calls = Calls::of(&self.working, &chunk);
        let encode = |replica: &mut Replica| Bytes::from(replica.encoding().into_owned());
        let encoding = match replica.run(calls, Call::Encode, encode) {
            Ok(encoding) => encoding,
            Err(e) => return self.stay_stuck(chunk, &e.to_string()),
        };
        entry.newest.hash = hash;
        self.stats.reconstructed += 1;
        self.outputs.push_back(Output::Repair { chunk: chunk.clone(), hash, encoding: encoding.clone() });
        self.take_loaded(chunk.clone(), Ok(Some(Stored { entry, encoding })), now);
        if said != hash {
            self.tell_mended(&chunk, base, (version, hash), now);
        }
    }

    /// Corrects trackers after a rebuilt content has another hash than the newest ref named. In
    /// this case the memory of an owner was damaged, the owner stored the damaged content, and that
    /// object is lost as well. Trackers were told the wrong hash for this version, so drift is
    /// declared, as after a check.
    fn tell_mended(&mut self, chunk: &ChunkId, base: Version, (version, hash): (Version, Hash), now: MonotonicMs) {
        let is_checked = self.chunks.checking_mut(chunk).is_some();
        let Some(resident) = self.chunks.resident_mut(chunk) else { return };
        resident.refs.drop_above(base);
        // A chunk that is being checked is in doubt because the log publishes the wrong hash too.
        // Its check will correct every tracker.
        if !is_checked {
            let reason =
                format!("at version {version} the log leads to the hash {hash}; what was stored is another, and lost");
            self.declare_drift(chunk, reason, now);
        }
    }

    /// Handles a newest ref whose content cannot be rebuilt. If an operator accepts loss, the chunk
    /// goes on with `rebuilt`, the content that one base led to, or else with `older`, the content
    /// of an older version. Otherwise the chunk stays unloaded.
    pub(super) fn give_reconstruction_up(
        &mut self,
        chunk: ChunkId,
        entry: IndexEntry,
        rebuilt: Option<Rebuilt>,
        older: Option<Guarded<Replica>>,
        reason: &str,
        now: MonotonicMs,
    ) {
        match (rebuilt, older) {
            (Some(rebuilt), _) if self.settings.accept_loss => {
                self.give_up_loading(&chunk);
                self.conclude_reconstruction(chunk, rebuilt, entry, now);
            }
            (None, Some(older)) if self.settings.accept_loss => {
                self.give_up_loading(&chunk);
                self.continue_with_older(&chunk, entry, older, now);
            }
            _ => self.stay_stuck(chunk, reason),
        }
    }

    fn stay_stuck(&mut self, chunk: ChunkId, reason: &str) {
        self.give_up_loading(&chunk);
        let way_out = match self.settings.accept_loss {
            true => "no older content is left to go on with".to_owned(),
            false => format!("`driftless recover apply --chunk {chunk}` goes on with an older content"),
        };
        let reason = format!("its lost object cannot be made again: {reason}; {way_out}");
        self.outputs.push_back(Output::Stuck(chunk, reason));
    }

    /// Notes that the lost object cannot be rebuilt, so that a later failed load does not ask for
    /// it again.
    fn give_up_loading(&mut self, chunk: &ChunkId) {
        if let Some((_, loading)) = self.chunks.loading_mut(chunk) {
            loading.is_given_up = true;
        }
    }
}

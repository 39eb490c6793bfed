//! The object of a chunk's newest ref is lost, and is made again out of an older state and the log.

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
            // The object was loaded after all, and it is in doubt now.
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

    /// The memory of an owner was damaged, the owner stored what it had, and that object is lost as
    /// well. What trackers were told of the version was wrong: they are told again, as after a
    /// check.
    fn tell_mended(&mut self, chunk: &ChunkId, base: Version, (version, hash): (Version, Hash), now: MonotonicMs) {
        let is_checked = self.chunks.checking_mut(chunk).is_some();
        let Some(resident) = self.chunks.resident_mut(chunk) else { return };
        resident.refs.drop_above(base);
        // A chunk that is being checked is in doubt because the log tells of the wrong hash too:
        // its check tells every tracker.
        if !is_checked {
            let reason =
                format!("at version {version} the log leads to the hash {hash}; what was stored is another, and lost");
            self.declare_drift(chunk, reason, now);
        }
    }

    /// The content of the newest ref cannot be made again. If an operator accepts loss, the chunk
    /// goes on with what one base has led to, or with an older content; else it stays as it is.
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
        let reason = format!(
            "its lost object cannot be made again: {reason}; \
             start this replayer once with --accept-loss to go on with an older content"
        );
        self.outputs.push_back(Output::Stuck(chunk, reason));
    }

    /// A later load that fails asks for no reconstruction any more.
    fn give_up_loading(&mut self, chunk: &ChunkId) {
        if let Some((_, loading)) = self.chunks.loading_mut(chunk) {
            loading.is_given_up = true;
        }
    }
}

//! The shares of users in the memory for replicas. While the load of one user waits for room, the
//! user that has the most gives some of its own up, until both have the same.

use super::Hub;
use driftless_runtime_core::pool::Charge;
use driftless_schemas::proto::TrackRejectCode;
use driftless_schemas::{ChunkId, limits};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The reason for the rejection of a chunk that a user must give up.
const GIVEN_UP: &str = "this gateway's memory for chunks is used up, and you have more of it than others: untrack some \
                        chunks, ask again later, or ask another gateway";

impl Hub {
    /// If loads of other users wait, takes chunks from the user that has the most memory: chunks
    /// that only this user tracks. Their Tracks are rejected, as if there had been no room.
    pub(super) fn share_replicas(&mut self) {
        if self.now < self.share_at {
            return;
        }
        self.share_at = self.now.plus_ms(limits::SHARE_INTERVAL_MS);
        self.yielding = None;
        let mut waiting: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        let loads = self.loads_without_room.iter().filter(|id| self.chunks.get(*id).is_some_and(|c| c.waits_for_room));
        for user in loads.filter_map(|id| self.waits_for(id)) {
            *waiting.entry(user).or_default() += self.load_bytes();
        }
        if waiting.is_empty() {
            return;
        }
        let mut held: BTreeMap<Arc<str>, (usize, Vec<ChunkId>)> = BTreeMap::new();
        for (id, chunk) in self.chunks.iter().filter(|(_, chunk)| chunk.live.is_some()) {
            let mut users = chunk.trackers.iter().filter_map(|socket| Some(&self.sockets.get(socket)?.joined.user));
            if let Some(user) = users.next()
                && users.all(|other| other == user)
            {
                let (bytes, chunks) = held.entry(Arc::clone(user)).or_default();
                *bytes += chunk.charge.as_ref().map_or(0, Charge::bytes);
                chunks.push(id.clone());
            }
        }
        let Some((user, (most, mut chunks))) =
            held.iter().max_by_key(|(_, (bytes, _))| *bytes).map(|(u, h)| (u.clone(), h.clone()))
        else {
            return;
        };
        // Another user gets as much as it wants, as long as it then has no more than this one
        // keeps.
        let wanted = waiting.iter().filter(|(other, _)| **other != user).map(|(other, wanted)| {
            let has = held.get(other).map_or(0, |(bytes, _)| *bytes);
            (*wanted).min(most.saturating_sub(has) / 2)
        });
        let wanted: usize = wanted.sum::<usize>().min(most / 2);
        if wanted == 0 {
            return;
        }
        chunks.sort_unstable();
        let mut freed = 0;
        for id in chunks {
            if freed >= wanted {
                break;
            }
            freed += self.chunks.get(&id).and_then(|chunk| chunk.charge.as_ref()).map_or(0, Charge::bytes);
            self.give_up_chunk(&id);
        }
        self.yielding = Some(user);
    }

    fn give_up_chunk(&mut self, id: &ChunkId) {
        let Some(chunk) = self.chunks.get(id) else { return };
        for socket in chunk.trackers.clone() {
            self.reject_track(socket, id.as_str(), TrackRejectCode::Unavailable, GIVEN_UP.to_owned());
            self.answer_in_order(socket);
        }
        // Dropped at once: a user that asks again at once must not get it back.
        if let Some(chunk) = self.chunks.get_mut(id) {
            (chunk.live, chunk.base, chunk.charge) = (None, None, None);
        }
        // The tick does the rest.
        self.watched.insert(id.clone());
    }

    /// True if the chunk is wanted only by the user who has given memory up for others.
    pub(super) fn must_yield(&self, id: &ChunkId) -> bool {
        self.yielding.is_some() && self.waits_for(id) == self.yielding
    }
}

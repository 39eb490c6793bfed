//! The work of each tick: has partitions opened, retries loads, closes sockets that have waited too
//! long (R12), drops idle replicas, and sends beacons.

use super::Hub;
use super::partitions::HISTORY_CHANGED;
use crate::chunk::{Load, Waiting};
use crate::socket::SocketId;
use driftless_schemas::proto::{Beacon, Beacons, event};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, HistoryId, Offset, close, limits};
use prost::Message as _;

/// The reason for the rejection of a Track that found no room in memory.
const NO_ROOM: &str =
    "this gateway's memory for chunks is used up: untrack some chunks, ask again later, or ask another gateway";

impl Hub {
    pub(super) fn tick(&mut self) {
        self.open_due();
        self.share_replicas();
        for id in std::mem::take(&mut self.watched) {
            if self.watch(&id) {
                self.watched.insert(id);
            }
        }
        self.send_beacons();
    }

    /// Does the work of a tick for one chunk. Retries its load, closes sockets that have waited too
    /// long for this gateway to catch up (R12), and drops its replica if that is idle. Returns true
    /// if the next tick must look at the chunk again.
    fn watch(&mut self, id: &ChunkId) -> bool {
        let now = self.now;
        let Some(history) = self.history_of(id) else { return false };
        let Some(chunk) = self.chunks.get_mut(id) else { return false };
        let behind_max = self.settings.behind_max_ms;
        let is_late = |w: &Waiting| w.behind_since.is_some_and(|since| now.ms_since(since) >= behind_max);
        let late: Vec<SocketId> = chunk.waiting.iter().filter(|(_, w)| is_late(w)).map(|(socket, _)| *socket).collect();
        late.iter().for_each(|socket| drop(chunk.waiting.remove(socket)));
        if chunk.live.is_none() && chunk.is_wanted() {
            let waited = now.ms_since(chunk.used_at) >= limits::ROOM_WAIT_MS;
            self.begin_load(id);
            let waits = self.chunks.get(id).is_some_and(|chunk| chunk.load == Load::Idle);
            if waited && waits && self.is_full() {
                self.give_up(id, NO_ROOM);
            }
        }
        for socket in late {
            if history > HistoryId::FIRST && !self.knows_histories(socket) {
                // The state is probably one of an earlier history, which this client cannot say.
                self.close(socket, close::HISTORY, HISTORY_CHANGED);
                continue;
            }
            self.close(socket, close::BEHIND, "this gateway is behind what you have: connect to another one");
        }
        let Some(chunk) = self.chunks.get_mut(id) else { return false };
        let is_used = !chunk.trackers.is_empty() || chunk.is_wanted();
        if is_used {
            return chunk.is_wanted();
        }
        if now.ms_since(chunk.used_at) < self.settings.idle_replica_ms && !self.replicas.is_pressed() {
            return true;
        }
        chunk.live = None;
        chunk.base = None;
        chunk.charge = None;
        let before = chunk.ring.bytes();
        if let Some(newest) = &chunk.newest_ref {
            chunk.ring.trim(newest.through_offset, 0);
        }
        self.ring_bytes = self.ring_bytes + chunk.ring.bytes() - before;
        // Keep a chunk whose ring was trimmed, because `trimmed_through` is still needed: a state
        // that is loaded later may be older than the trimmed records, and is then stale
        // (docs/design.md#gateway).
        let is_abandoned = chunk.load == Load::Abandoned;
        let has_no_past = chunk.newest_ref.is_none() && chunk.ring.trimmed_through == Offset::NONE;
        if chunk.ring.is_empty() && has_no_past && !is_abandoned {
            self.chunks.remove(id);
        }
        false
    }

    /// Sends beacons to the sockets that are due. Each socket is due once an interval, at a time of
    /// its own.
    fn send_beacons(&mut self) {
        let interval = self.settings.beacon_interval_ms;
        let mut due = Vec::new();
        for (id, socket) in &mut self.sockets {
            if self.now >= socket.beacons_at {
                socket.beacons_at = self.now.plus_ms(interval);
                due.push(*id);
            }
        }
        due.sort_unstable();
        due.into_iter().for_each(|id| self.send_beacons_to(id));
    }

    /// Returns when a new socket gets its first beacons. The times of different sockets are spread
    /// over one interval, because many sockets may connect at the same time.
    pub(super) fn first_beacons_at(&self, id: SocketId) -> MonotonicMs {
        let interval = self.settings.beacon_interval_ms.max(1);
        // Fibonacci hashing (Knuth, The Art of Computer Programming, vol. 3, section 6.4) spreads
        // consecutive socket ids.
        let spread = (id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % interval;
        self.now.plus_ms(interval + spread)
    }

    /// Sends the beacons of a socket's quiet chunks, round robin within the byte budget.
    fn send_beacons_to(&mut self, socket_id: SocketId) {
        let Self { settings, sockets, chunks, now, .. } = self;
        let interval = settings.beacon_interval_ms;
        let budget = u64::from(settings.beacon_bytes_per_second) * interval / 1000;
        // A socket with a long queue gets no beacons, because it is busy or takes nothing at all.
        let room = settings.socket_queue_bytes_max / 4;
        let Some(socket) = sockets.get_mut(&socket_id).filter(|socket| socket.queued_bytes <= room) else { return };
        let (mut beacons, mut bytes, mut cursor) = (Vec::new(), 0, None);
        for id in socket.after_beacon_cursor() {
            let Some(chunk) = chunks.get_mut(id) else { continue };
            cursor = Some(id.clone());
            // A chunk with recent records needs no beacon, because its updates carried the hash.
            let is_quiet = now.ms_since(chunk.recorded_at) >= interval;
            if !is_quiet || !chunk.trackers.contains(&socket_id) || socket.lagging.contains_key(id) {
                continue;
            }
            let Some((version, hash)) = chunk.newest() else { continue };
            let beacon = Beacon { chunk_id: id.to_string(), version: version.0, hash: hash.to_bytes() };
            bytes += beacon.encoded_len() as u64;
            beacons.push(beacon);
            if bytes >= budget {
                break;
            }
        }
        socket.beacon_cursor = cursor.or(socket.beacon_cursor.take());
        if !beacons.is_empty() {
            self.send_event(socket_id, event::Body::Beacons(Beacons { beacons }));
        }
    }
}

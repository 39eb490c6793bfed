//! What happens by itself: loads are tried again, beacons are sent, what nobody uses is dropped.

use super::Hub;
use crate::chunk::Waiting;
use crate::socket::SocketId;
use driftless_schemas::proto::{Beacon, Beacons, event};
use driftless_schemas::{ChunkId, Offset, close};
use prost::Message as _;

impl Hub {
    pub(super) fn tick(&mut self, now_ms: u64) {
        for id in std::mem::take(&mut self.watched) {
            if self.watch(&id, now_ms) {
                self.watched.insert(id);
            }
        }
        self.send_beacons(now_ms);
    }

    /// Retries loads, closes sockets that have waited too long (R12), drops idle replicas. False: nothing to watch.
    fn watch(&mut self, id: &ChunkId, now_ms: u64) -> bool {
        let Some(chunk) = self.chunks.get_mut(id) else { return false };
        let behind_max = self.settings.behind_max_ms;
        let is_late = |w: &Waiting| w.behind_since_ms.is_some_and(|since| now_ms.saturating_sub(since) >= behind_max);
        let late: Vec<SocketId> = chunk.waiting.iter().filter(|(_, w)| is_late(w)).map(|(socket, _)| *socket).collect();
        late.iter().for_each(|socket| drop(chunk.waiting.remove(socket)));
        if chunk.live.is_none() && chunk.is_wanted() {
            self.begin_load(id, now_ms);
        }
        for socket in late {
            self.close(socket, close::BEHIND, "this gateway is behind what you have: connect to another one");
        }
        let Some(chunk) = self.chunks.get_mut(id) else { return false };
        let is_used = !chunk.trackers.is_empty() || chunk.is_wanted();
        if is_used {
            return chunk.is_wanted();
        }
        if now_ms.saturating_sub(chunk.used_ms) < self.settings.idle_replica_ms {
            return true;
        }
        chunk.live = None;
        chunk.base = None;
        let before = chunk.ring.bytes();
        if let Some(newest) = &chunk.newest_ref {
            chunk.ring.trim(Offset(newest.through_offset), 0);
        }
        self.ring_bytes = self.ring_bytes + chunk.ring.bytes() - before;
        // What was trimmed must stay known: a ref that is read later may be older (section 7).
        if chunk.ring.is_empty() && chunk.newest_ref.is_none() && chunk.ring.trimmed_through == Offset::NONE {
            self.chunks.remove(id);
        }
        false
    }

    /// Each socket gets its beacons once an interval, not all of them at once.
    fn send_beacons(&mut self, now_ms: u64) {
        let interval = self.settings.beacon_interval_ms;
        let mut due = Vec::new();
        for (id, socket) in &mut self.sockets {
            if now_ms >= socket.beacons_ms {
                socket.beacons_ms = now_ms + interval;
                due.push(*id);
            }
        }
        due.sort_unstable();
        due.into_iter().for_each(|id| self.send_beacons_to(id, now_ms));
    }

    /// When a socket that has just come gets its first beacons: not when all who came with it do.
    pub(super) fn first_beacons_ms(&self, id: SocketId, now_ms: u64) -> u64 {
        let interval = self.settings.beacon_interval_ms.max(1);
        // Fibonacci hashing (Knuth, The Art of Computer Programming, vol. 3, 6.4): neighbours are spread.
        let spread = (id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % interval;
        now_ms + interval + spread
    }

    fn send_beacons_to(&mut self, socket_id: SocketId, now_ms: u64) {
        let Self { settings, sockets, chunks, .. } = self;
        let interval = settings.beacon_interval_ms;
        let budget = u64::from(settings.beacon_bytes_per_second) * interval / 1000;
        // Whom much waits for is not quiet, and may take nothing at all.
        let room = settings.socket_queue_bytes_max / 4;
        let Some(socket) = sockets.get_mut(&socket_id).filter(|socket| socket.queued_bytes <= room) else { return };
        let (mut beacons, mut bytes, mut cursor) = (Vec::new(), 0, None);
        for id in socket.after_beacon_cursor() {
            let Some(chunk) = chunks.get_mut(id) else { continue };
            cursor = Some(id.clone());
            // What has news has its hash with them.
            let is_quiet = now_ms.saturating_sub(chunk.recorded_ms) >= interval;
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

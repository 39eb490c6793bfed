//! What happens by itself: loads are tried again, beacons are sent, what nobody uses is dropped.

use super::Hub;
use crate::chunk::Waiting;
use crate::socket::SocketId;
use driftless_schemas::proto::{Beacon, Beacons, event};
use driftless_schemas::{ChunkId, Offset, close};

impl Hub {
    pub(super) fn tick(&mut self, now_ms: u64) {
        for id in std::mem::take(&mut self.watched) {
            if self.watch(&id, now_ms) {
                self.watched.insert(id);
            }
        }
        let interval = self.settings.beacon_interval_ms;
        if now_ms >= *self.next_beacons_ms.get_or_insert(now_ms + interval) {
            self.next_beacons_ms = Some(now_ms + interval);
            self.send_beacons();
        }
    }

    /// Retries loads, closes sockets that have waited too long (R12), drops idle replicas. False: nothing to watch.
    fn watch(&mut self, id: &ChunkId, now_ms: u64) -> bool {
        let Some(chunk) = self.chunks.get_mut(id) else { return false };
        let is_live = chunk.live.is_some();
        let behind_max = self.settings.behind_max_ms;
        let is_late = |w: &Waiting| matches!(w, Waiting::Track { have: Some(_), since_ms, .. } if is_live && now_ms.saturating_sub(*since_ms) >= behind_max);
        let (late, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut chunk.waiting).into_iter().partition(is_late);
        chunk.waiting = waiting;
        if !is_live && !chunk.waiting.is_empty() {
            self.begin_load(id, now_ms);
        }
        for waiting in late {
            if let Waiting::Track { socket, .. } = waiting {
                self.close(socket, close::BEHIND, "this gateway is behind what you have: connect to another one");
            }
        }
        let Some(chunk) = self.chunks.get_mut(id) else { return false };
        let is_used = !chunk.trackers.is_empty() || !chunk.waiting.is_empty();
        if is_used {
            return !chunk.waiting.is_empty();
        }
        if now_ms.saturating_sub(chunk.used_ms) < self.settings.idle_replica_ms {
            return true;
        }
        chunk.live = None;
        chunk.base = None;
        if let Some(newest) = &chunk.newest_ref {
            chunk.ring.trim(Offset(newest.through_offset), 0);
        }
        // What was trimmed must stay known: a ref that is read later may be older (section 7).
        if chunk.ring.is_empty() && chunk.newest_ref.is_none() && chunk.ring.trimmed_through == Offset::NONE {
            self.chunks.remove(id);
        }
        false
    }

    fn send_beacons(&mut self) {
        let mut sockets: Vec<SocketId> = self.sockets.keys().copied().collect();
        sockets.sort_unstable();
        for socket_id in sockets {
            let max = self.settings.socket_queue_bytes_max / 4;
            // Whom much waits for is not quiet, and may take nothing at all.
            let Some(socket) = self.sockets.get_mut(&socket_id).filter(|socket| socket.queued_bytes <= max) else {
                continue;
            };
            let mut beacons = Vec::new();
            for id in socket.next_for_beacons(self.settings.beacons_max) {
                let Some(chunk) = self.chunks.get_mut(&id) else { continue };
                if !chunk.trackers.contains(&socket_id) || socket.lagging.contains_key(&id) {
                    continue;
                }
                let Some((version, hash)) = chunk.newest() else { continue };
                beacons.push(Beacon { chunk_id: id.to_string(), version: version.0, hash: hash.to_bytes() });
            }
            if !beacons.is_empty() {
                self.send_event(socket_id, event::Body::Beacons(Beacons { beacons }));
            }
        }
    }
}

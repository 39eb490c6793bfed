//! Requests of sockets: Track, Untrack, Refresh and DriftReport.

use super::Hub;
use crate::chunk::{Chunk, ContentError, Load, Waiting};
use crate::messages::Output;
use crate::socket::SocketId;
use bytes::Bytes;
use driftless_chunk::ledger::Resolved;
use driftless_chunk::mutant::Mutant;
use driftless_chunk::replica::ApplyError;
use driftless_chunk::world::Place;
use driftless_schemas::access::Access;
use driftless_schemas::proto::{
    self, Have, RefusalCode, Refused, ResolvedExpired, TrackRejectCode, TrackRejected, Tracked, event, request, tracked,
};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::world::Unplaced;
use driftless_schemas::{ChunkId, HistoryId, Version, limits};
use std::sync::Arc;

impl Hub {
    pub(super) fn take_request(&mut self, socket: SocketId, body: request::Body) {
        match body {
            request::Body::Track(track) => self.track(socket, track),
            request::Body::Untrack(untrack) => self.untrack(socket, &untrack.chunk_id),
            request::Body::Refresh(refresh) => self.refresh(socket, refresh),
            request::Body::DriftReport(report) => {
                if let Ok(chunk) = report.chunk_id.parse::<ChunkId>() {
                    self.recheck(&chunk);
                    self.outputs.push_back(Output::DriftReported(chunk, Version(report.version)));
                }
            }
            _ => self.refuse(
                socket,
                RefusalCode::WrongService,
                "this is the gateway: it takes Track, Untrack, Refresh and DriftReport; Submit goes to ingest",
            ),
        }
    }

    /// Checks the hash of the hub's own replica after a client's drift report, at most once each
    /// `audit_interval_ms`. The hub does not trust the report, but the client may have drifted
    /// because the hub's replica is damaged.
    fn recheck(&mut self, id: &ChunkId) {
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        let is_due = |last: MonotonicMs| self.now.ms_since(last) >= self.settings.audit_interval_ms;
        let Some((version, expected)) = chunk.newest().filter(|_| chunk.rechecked_at.is_none_or(is_due)) else {
            return;
        };
        chunk.rechecked_at = Some(self.now);
        let found = chunk.live.as_mut().map(|live| live.replica.hash_again());
        if let Some(found) = found.filter(|found| *found != expected) {
            let e = ApplyError::Hash { version, expected, found };
            self.rebuild(id, &e.to_string());
        }
    }

    fn refuse(&mut self, socket: SocketId, code: RefusalCode, message: &str) {
        let refused = Refused { code: code.into(), message: message.to_owned() };
        self.send_event(socket, event::Body::Refused(refused));
    }

    pub(super) fn reject_track(&mut self, socket: SocketId, chunk_id: &str, code: TrackRejectCode, message: String) {
        if let (Ok(id), Some(s)) = (chunk_id.parse::<ChunkId>(), self.sockets.get_mut(&socket)) {
            let lag = s.untrack(&id);
            self.end_lagging(lag);
            if let Some(chunk) = self.chunks.get_mut(&id) {
                chunk.trackers.remove(&socket);
                chunk.waiting.remove(&socket);
            }
        }
        let chunk_id = chunk_id.chars().take(limits::CHUNK_ID_BYTES_MAX).collect();
        let rejected = TrackRejected { chunk_id, code: code.into(), message };
        self.send_event(socket, event::Body::TrackRejected(rejected));
    }

    fn track(&mut self, socket_id: SocketId, track: proto::Track) {
        let placed = self.check_track(socket_id, &track.chunk_id);
        let (id, place) = match placed {
            Ok(placed) => placed,
            Err((code, message)) => return self.reject_track(socket_id, &track.chunk_id, code, message),
        };
        let Some(socket) = self.sockets.get_mut(&socket_id) else { return };
        let lag = socket.lagging.remove(&id);
        socket.enqueue_answer(id.clone());
        self.end_lagging(lag);
        let chunk = self.chunks.entry(id.clone()).or_insert_with(|| Chunk::new(place));
        chunk.used_at = self.now;
        // The client must get no updates between a repeated Track and its answer, so the socket
        // stops being a tracker until then.
        chunk.trackers.remove(&socket_id);
        chunk.waiting.insert(socket_id, Waiting { have: track.have, behind_since: None });
        if chunk.live.is_none() {
            self.begin_load(&id);
        }
        self.answer_in_order(socket_id);
    }

    /// Answers Tracks in the order of the requests, as far as the socket's queue has room. A chunk
    /// that is still loading blocks the answers behind it. A chunk that failed to load, or whose
    /// replica is older than the client's state, does not.
    pub(super) fn answer_in_order(&mut self, socket_id: SocketId) {
        while let room = self.queue_bytes_max() / 4
            && let Some(socket) = self.sockets.get_mut(&socket_id)
            && socket.queued_bytes <= room
            && let Some(id) = socket.next_answer().cloned()
        {
            let Some(chunk) = self.chunks.get_mut(&id) else { return socket.dequeue_answer(&id) };
            if chunk.live.is_some() {
                socket.dequeue_answer(&id);
                self.track_loaded(socket_id, &id);
            } else if matches!(chunk.load, Load::Idle | Load::InFlight | Load::Abandoned) {
                return;
            } else {
                socket.dequeue_answer(&id);
            }
        }
    }

    fn check_track(&self, socket: SocketId, chunk_id: &str) -> Result<(ChunkId, Place), (TrackRejectCode, String)> {
        let Some(socket) = self.sockets.get(&socket) else {
            return Err((TrackRejectCode::NoReadAccess, "the socket has not said Hello".into()));
        };
        let id: ChunkId = chunk_id
            .parse()
            .map_err(|e: driftless_schemas::ChunkIdError| (TrackRejectCode::BadChunkId, e.to_string()))?;
        let place = self.world.place(&id).map_err(|e| match e {
            Unplaced::UnknownFamily { .. } => (TrackRejectCode::UnknownFamily, e.to_string()),
            Unplaced::OutOfBounds { .. } => (TrackRejectCode::OutOfBounds, e.to_string()),
        })?;
        if !socket.joined.access.may_read(&id) {
            let message =
                format!("the token gives no read access to {id}: its `driftless.read` has no entry that covers it");
            return Err((TrackRejectCode::NoReadAccess, message));
        }
        if socket.joined.families.as_ref().is_some_and(|families| !families.contains(&place.family.spec.name)) {
            let family = &place.family;
            let message = format!("Hello named no model {} of revision {}", family.spec.model, family.revision);
            return Err((TrackRejectCode::Model, message));
        }
        if let Some(reason) = self.unavailable(place.partition) {
            return Err((TrackRejectCode::Unavailable, reason));
        }
        if socket.tracked.len() >= limits::TRACKED_CHUNKS_MAX && !socket.tracked.contains_key(&id) {
            return Err((
                TrackRejectCode::TooMany,
                format!("{} chunks are tracked: untrack some", limits::TRACKED_CHUNKS_MAX),
            ));
        }
        Ok((id, place))
    }

    /// Answers a Track of a chunk that is loaded. R12: a client whose state is newer than the
    /// replica waits until this gateway has caught up.
    pub(super) fn track_loaded(&mut self, socket_id: SocketId, id: &ChunkId) {
        let Some(history) = self.history_of(id) else { return };
        let knows = self.knows_histories(socket_id);
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        let version = chunk.newest().map(|(version, _)| version);
        let Some(waiting) = chunk.waiting.get_mut(&socket_id) else { return };
        // A state of an earlier history says nothing of this one.
        let is_of_earlier = |have: &Have| knows && HistoryId::from_field(&have.history).is_none_or(|of| of < history);
        waiting.have.take_if(|have| is_of_earlier(have));
        let is_ahead = |have: &Have| {
            let is_of_later = knows && HistoryId::from_field(&have.history).is_some_and(|of| of > history);
            is_of_later || version.is_none_or(|version| have.version > version.0)
        };
        let is_behind = waiting.have.as_ref().is_some_and(is_ahead);
        if is_behind && !Mutant::AnswerWhileBehind.is_on() {
            waiting.behind_since.get_or_insert(self.now);
            self.watched.insert(id.clone());
            return;
        }
        let have = chunk.waiting.remove(&socket_id).and_then(|waiting| waiting.have);
        chunk.trackers.insert(socket_id);
        self.answer_or_lag(socket_id, id, have);
    }

    /// Answers a Track or Refresh now. If the socket's queue is full, marks the chunk as lagging
    /// instead; the answer then follows once the queue has drained.
    fn answer_or_lag(&mut self, socket_id: SocketId, id: &ChunkId, have: Option<Have>) {
        let max = self.queue_bytes_max();
        match self.sockets.get(&socket_id).is_some_and(|socket| socket.queued_bytes > max) {
            true => self.begin_lagging(socket_id, id, have),
            false => self.answer_track(socket_id, id, have.as_ref()),
        }
    }

    /// Sends Tracked, then what brings the client up to date: nothing, the missing updates, or a
    /// whole state, whichever is smallest.
    pub(super) fn answer_track(&mut self, socket_id: SocketId, id: &ChunkId, have: Option<&Have>) {
        let Some(socket) = self.sockets.get(&socket_id) else { return };
        let writer = socket.joined.writer;
        let Some(history) = self.history_of(id) else { return };
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        let newest = chunk.newest();
        let (Some(live), Some((version, hash))) = (&chunk.live, newest) else { return };
        let resolved = match chunk.older_ledger.as_ref().unwrap_or(&live.ledger).resolved(writer) {
            Resolved::Expired => tracked::Resolved::Expired(ResolvedExpired {}),
            Resolved::Known { seq, committed_bits } => {
                tracked::Resolved::Ledger(proto::Resolved { seq: seq.0, committed_bits })
            }
        };
        let frames = match chunk.content_after(id, have, (version, hash)) {
            Ok(frames) => frames,
            // The rebuilt replica answers all trackers, and this socket is one of them.
            Err(ContentError::Drift(e)) => return self.rebuild(id, &e.to_string()),
            Err(ContentError::Compress(e)) => {
                return self.reject_track(socket_id, id.as_str(), TrackRejectCode::Unavailable, e);
            }
        };
        let tracked = Tracked {
            chunk_id: id.to_string(),
            version: version.0,
            hash: hash.to_bytes(),
            resolved: Some(resolved),
            history: history.to_field(),
        };
        self.send_event(socket_id, event::Body::Tracked(tracked));
        self.send_answer(socket_id, frames);
    }

    /// Sends what a client asked for, and charges its bytes to the user. The answer is sent in any
    /// case; a user in debt is not read for a while.
    fn send_answer(&mut self, socket_id: SocketId, frames: impl IntoIterator<Item = Bytes>) {
        let mut bytes = 0;
        for frame in frames {
            bytes += frame.len();
            self.send(socket_id, frame);
        }
        if let Some(bucket) = self.sockets.get(&socket_id).and_then(|socket| socket.joined.bucket.as_ref()) {
            // The connection asks for the wait when it charges the next requests.
            let _ = bucket.owe([0, bytes], self.now);
        }
    }

    fn untrack(&mut self, socket_id: SocketId, chunk_id: &str) {
        let id = match chunk_id.parse::<ChunkId>() {
            Ok(id) => id,
            // The error shortens the id, so the answer is not longer than the request.
            Err(e) => return self.refuse(socket_id, RefusalCode::NotTracked, &e.to_string()),
        };
        let Some(socket) = self.sockets.get_mut(&socket_id) else { return };
        let lag = socket.untrack(&id);
        self.end_lagging(lag);
        self.forget_tracker(socket_id, &id);
        // The chunk may have blocked the answers behind it.
        self.answer_in_order(socket_id);
    }

    pub(super) fn forget_tracker(&mut self, socket_id: SocketId, id: &ChunkId) {
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        chunk.used_at = self.now;
        chunk.trackers.remove(&socket_id);
        chunk.waiting.remove(&socket_id);
        self.watched.insert(id.clone());
    }

    fn refresh(&mut self, socket_id: SocketId, refresh: proto::Refresh) {
        let is_tracked = |id: &ChunkId| self.chunks.get(id).is_some_and(|c| c.trackers.contains(&socket_id));
        let Some(id) = refresh.chunk_id.parse::<ChunkId>().ok().filter(is_tracked) else {
            let message = format!("{:?} is not tracked on this socket: send Track first", refresh.chunk_id);
            return self.refuse(socket_id, RefusalCode::NotTracked, &message);
        };
        let Some(socket) = self.sockets.get(&socket_id).filter(|socket| !socket.lagging.contains_key(&id)) else {
            // A lagging chunk needs no answer now: when it stops lagging, the client gets all that
            // it misses.
            return;
        };
        let is_full = socket.queued_bytes > self.queue_bytes_max();
        let Some(chunk) = self.chunks.get_mut(&id) else { return };
        let Some((version, _)) = chunk.newest() else { return };
        match chunk.ring.frames_after(Version(refresh.version), version) {
            Some(frames) if refresh.version <= version.0 && !is_full => {
                self.send_answer(socket_id, frames);
            }
            // The version is too old, or newer than the replica: send a whole Chunk.
            _ => self.answer_or_lag(socket_id, &id, None),
        }
    }

    /// Takes the access of a renewed token, and rejects tracked chunks that this access does not
    /// cover.
    pub(super) fn renew(&mut self, socket_id: SocketId, access: Arc<Access>) {
        let Some(socket) = self.sockets.get_mut(&socket_id) else { return };
        socket.joined.access = access;
        let lost: Vec<ChunkId> =
            socket.tracked.keys().filter(|id| !socket.joined.access.may_read(id)).cloned().collect();
        for id in lost {
            self.forget_tracker(socket_id, &id);
            let message = format!("the renewed token gives no read access to {id}");
            self.reject_track(socket_id, id.as_str(), TrackRejectCode::NoReadAccess, message);
        }
        self.answer_in_order(socket_id);
    }

    pub(super) fn leave(&mut self, socket_id: SocketId) {
        let Some(socket) = self.sockets.remove(&socket_id) else { return };
        self.queued_bytes -= socket.queued_bytes;
        for lag in socket.lagging.into_values() {
            self.end_lagging(Some(lag));
        }
        for id in socket.tracked.into_keys() {
            self.forget_tracker(socket_id, &id);
        }
    }
}

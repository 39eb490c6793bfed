//! What sockets ask.

use super::Hub;
use crate::chunk::{Chunk, ContentError, Load, Waiting};
use crate::messages::Output;
use crate::socket::SocketId;
use driftless_chunk::ledger::Resolved;
use driftless_chunk::mutant::Mutant;
use driftless_chunk::replica::ApplyError;
use driftless_chunk::world::Place;
use driftless_schemas::access::Access;
use driftless_schemas::proto::{
    self, Have, RefusalCode, Refused, ResolvedExpired, TrackRejectCode, TrackRejected, Tracked, event, request, tracked,
};
use driftless_schemas::world::Unplaced;
use driftless_schemas::{ChunkId, Version, limits};
use std::sync::Arc;

impl Hub {
    pub(super) fn take_request(&mut self, socket: SocketId, body: request::Body, now_ms: u64) {
        match body {
            request::Body::Track(track) => self.track(socket, track, now_ms),
            request::Body::Untrack(untrack) => self.untrack(socket, &untrack.chunk_id, now_ms),
            request::Body::Refresh(refresh) => self.refresh(socket, refresh),
            request::Body::DriftReport(report) => {
                if let Ok(chunk) = report.chunk_id.parse::<ChunkId>() {
                    self.recheck(&chunk, now_ms);
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

    /// A client says that it drifted: it is not believed, but our own replica is looked at, now and then.
    fn recheck(&mut self, id: &ChunkId, now_ms: u64) {
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        let is_due = |last: u64| now_ms.saturating_sub(last) >= self.settings.audit_interval_ms;
        let Some((version, told)) = chunk.newest().filter(|_| chunk.looked_ms.is_none_or(is_due)) else { return };
        chunk.looked_ms = Some(now_ms);
        let found = chunk.live.as_mut().map(|live| live.replica.hash_again());
        if let Some(found) = found.filter(|found| *found != told) {
            let e = ApplyError::Hash { version, expected: told, found };
            self.rebuild(id, &e.to_string(), now_ms);
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

    fn track(&mut self, socket_id: SocketId, track: proto::Track, now_ms: u64) {
        let placed = self.check_track(socket_id, &track.chunk_id);
        let (id, place) = match placed {
            Ok(placed) => placed,
            Err((code, message)) => return self.reject_track(socket_id, &track.chunk_id, code, message),
        };
        let Some(socket) = self.sockets.get_mut(&socket_id) else { return };
        let lag = socket.lagging.remove(&id);
        socket.enqueue_answer(id.clone());
        self.end_lagging(lag);
        let chunk = self.chunks.entry(id.clone()).or_insert_with(|| Chunk::new(place.family));
        chunk.used_ms = now_ms;
        // It asked anew: nothing of the old tracking goes between the request and its answer.
        chunk.trackers.remove(&socket_id);
        chunk.waiting.insert(socket_id, Waiting { have: track.have, behind_since_ms: None });
        if chunk.live.is_none() {
            self.begin_load(&id, now_ms);
        }
        self.answer_in_order(socket_id);
    }

    /// Answers come in the order of the requests, as long as there is room for them. Who is waited for because its state is
    /// loaded holds the others up; who cannot be loaded, or is behind, does not.
    pub(super) fn answer_in_order(&mut self, socket_id: SocketId) {
        while let Some(socket) = self.sockets.get_mut(&socket_id)
            && socket.queued_bytes <= self.settings.socket_queue_bytes_max / 4
            && let Some(id) = socket.next_answer().cloned()
        {
            let Some(chunk) = self.chunks.get_mut(&id) else { return socket.dequeue_answer(&id) };
            if chunk.live.is_some() {
                socket.dequeue_answer(&id);
                self.track_loaded(socket_id, &id);
            } else if matches!(chunk.load, Load::Idle | Load::InFlight) {
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
        if socket.tracked.len() >= limits::TRACKED_CHUNKS_MAX && !socket.tracked.contains_key(&id) {
            return Err((
                TrackRejectCode::TooMany,
                format!("{} chunks are tracked: untrack some", limits::TRACKED_CHUNKS_MAX),
            ));
        }
        Ok((id, place))
    }

    /// R12: a client that is ahead waits until this gateway has caught up.
    pub(super) fn track_loaded(&mut self, socket_id: SocketId, id: &ChunkId) {
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        let version = chunk.newest().map(|(version, _)| version);
        let Some(waiting) = chunk.waiting.get_mut(&socket_id) else { return };
        let is_behind =
            waiting.have.as_ref().is_some_and(|have| version.is_none_or(|version| have.version > version.0));
        if is_behind && !Mutant::AnswerWhileBehind.is_on() {
            waiting.behind_since_ms.get_or_insert(self.now_ms);
            self.watched.insert(id.clone());
            return;
        }
        let have = chunk.waiting.remove(&socket_id).and_then(|waiting| waiting.have);
        chunk.trackers.insert(socket_id);
        self.answer_or_lag(socket_id, id, have);
    }

    /// Where much waits for the socket already, the answer comes when that has drained.
    fn answer_or_lag(&mut self, socket_id: SocketId, id: &ChunkId, have: Option<Have>) {
        let max = self.settings.socket_queue_bytes_max;
        match self.sockets.get(&socket_id).is_some_and(|socket| socket.queued_bytes > max) {
            true => self.begin_lagging(socket_id, id, have),
            false => self.answer_track(socket_id, id, have.as_ref()),
        }
    }

    /// Tracked, then nothing, the missing updates, or a Chunk, whichever fits and is smaller.
    pub(super) fn answer_track(&mut self, socket_id: SocketId, id: &ChunkId, have: Option<&Have>) {
        let Some(socket) = self.sockets.get(&socket_id) else { return };
        let writer = socket.joined.writer;
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
            // Its trackers get their answers from the new replica.
            Err(ContentError::Drift(e)) => return self.rebuild(id, &e.to_string(), self.now_ms),
            Err(ContentError::Compress(e)) => {
                return self.reject_track(socket_id, id.as_str(), TrackRejectCode::Unavailable, e);
            }
        };
        let tracked =
            Tracked { chunk_id: id.to_string(), version: version.0, hash: hash.to_bytes(), resolved: Some(resolved) };
        self.send_event(socket_id, event::Body::Tracked(tracked));
        for frame in frames {
            self.send(socket_id, frame);
        }
    }

    fn untrack(&mut self, socket_id: SocketId, chunk_id: &str, now_ms: u64) {
        let id = match chunk_id.parse::<ChunkId>() {
            Ok(id) => id,
            // The error names it cut: the answer must not be as long as the question.
            Err(e) => return self.refuse(socket_id, RefusalCode::NotTracked, &e.to_string()),
        };
        let Some(socket) = self.sockets.get_mut(&socket_id) else { return };
        let lag = socket.untrack(&id);
        self.end_lagging(lag);
        self.forget_tracker(socket_id, &id, now_ms);
        // It may have held the others up.
        self.answer_in_order(socket_id);
    }

    pub(super) fn forget_tracker(&mut self, socket_id: SocketId, id: &ChunkId, now_ms: u64) {
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        chunk.used_ms = now_ms;
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
            // All that it misses comes with the Tracked that ends the lagging.
            return;
        };
        let is_full = socket.queued_bytes > self.settings.socket_queue_bytes_max;
        let Some(chunk) = self.chunks.get_mut(&id) else { return };
        let Some((version, _)) = chunk.newest() else { return };
        match chunk.ring.frames_after(Version(refresh.version), version) {
            Some(frames) if refresh.version <= version.0 && !is_full => {
                for frame in frames {
                    self.send(socket_id, frame);
                }
            }
            // Too old, or from another world: a whole Chunk.
            _ => self.answer_or_lag(socket_id, &id, None),
        }
    }

    pub(super) fn renew(&mut self, socket_id: SocketId, access: Arc<Access>, now_ms: u64) {
        let Some(socket) = self.sockets.get_mut(&socket_id) else { return };
        socket.joined.access = access;
        let lost: Vec<ChunkId> =
            socket.tracked.keys().filter(|id| !socket.joined.access.may_read(id)).cloned().collect();
        for id in lost {
            self.forget_tracker(socket_id, &id, now_ms);
            let message = format!("the renewed token gives no read access to {id}");
            self.reject_track(socket_id, id.as_str(), TrackRejectCode::NoReadAccess, message);
        }
        self.answer_in_order(socket_id);
    }

    pub(super) fn leave(&mut self, socket_id: SocketId, now_ms: u64) {
        let Some(socket) = self.sockets.remove(&socket_id) else { return };
        for lag in socket.lagging.into_values() {
            self.end_lagging(Some(lag));
        }
        for id in socket.tracked.into_keys() {
            self.forget_tracker(socket_id, &id, now_ms);
        }
    }
}

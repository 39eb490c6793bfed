//! Loads stored states, and answers the Tracks and questions that wait for them.

use super::Hub;
use crate::answer::{Answer, status};
use crate::chunk::{Chunk, Load, RestoreError};
use crate::messages::{Ask, LoadError, Loaded, Output};
use crate::reread::Reread;
use crate::socket::SocketId;
use driftless_chunk::replica::ApplyError;
use driftless_schemas::proto::TrackRejectCode;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Hash, Version, limits};
use std::sync::Arc;

/// Even the smallest budget has room for this many loads at a time.
const LOADS_AT_LEAST: usize = 4;

impl Hub {
    /// The name of a user whose Track waits for the chunk; `None` if only questions wait for it.
    #[must_use]
    pub fn waits_for(&self, id: &ChunkId) -> Option<Arc<str>> {
        let socket = self.chunks.get(id)?.waiting.keys().next()?;
        Some(Arc::clone(&self.sockets.get(socket)?.joined.user))
    }

    /// The room that a load takes, in bytes. The size of the content is known only when it is
    /// there.
    pub(super) fn load_bytes(&self) -> usize {
        limits::CONTENT_BYTES_MAX.min(self.replicas.max() / LOADS_AT_LEAST)
    }

    /// True if the replicas alone leave no room for a load. Loads in flight only take some time.
    pub(super) fn is_full(&self) -> bool {
        !self.replicas.has_room(self.load_bytes())
    }

    /// Notes the memory that the chunk's replica takes now. A load keeps its room until it ends.
    pub(super) fn charge(&mut self, id: &ChunkId) {
        let Some(chunk) = self.chunks.get_mut(id).filter(|chunk| !chunk.is_loading()) else { return };
        let mut charge = self.replicas.charge();
        charge.set(chunk.replica_bytes());
        chunk.charge = Some(charge).filter(|charge| charge.bytes() > 0);
    }

    /// Starts a load if none is in flight, the retry time has come, and memory has room. Otherwise
    /// a later tick tries again, or the end of another load.
    pub(super) fn begin_load(&mut self, id: &ChunkId) {
        self.watched.insert(id.clone());
        let partition = self.chunks.get(id).map(|chunk| chunk.partition);
        if !partition.is_some_and(|partition| self.is_reading(partition)) {
            // The partition is still being opened, so there is no view of its index yet. The next
            // tick tries again.
            return;
        }
        let room = self.load_bytes();
        if !self.has_room_for_load() || self.must_yield(id) {
            if let Some(chunk) = self.chunks.get_mut(id)
                && !std::mem::replace(&mut chunk.waits_for_room, true)
            {
                self.loads_without_room.push_back(id.clone());
                self.forget_unwanted_loads();
            }
            return;
        }
        let Self { chunks, world, now, loads, .. } = self;
        let Some(chunk) = chunks.get_mut(id) else { return };
        chunk.load = match chunk.load {
            Load::Idle => Load::InFlight,
            Load::RetryAt { attempts, at } if at <= *now => Load::Retrying { attempts },
            _ => return,
        };
        chunk.charge.insert(loads.charge()).set(room);
        let reread = |evicted| Some(Box::new(Reread::new(id.clone(), world.place(id).ok()?.partition, evicted)));
        let reread = chunk.ring.evicted().and_then(reread);
        self.outputs.push_back(Output::Load(id.clone(), chunk.newest_ref.clone(), reread));
    }

    pub(super) fn take_loaded(
        &mut self,
        id: ChunkId,
        loaded: Result<Option<Loaded>, LoadError>,
        reread: Option<Box<Reread>>,
    ) {
        if let Err(LoadError::Lost { stored, .. }) = &loaded {
            self.audit(&id, stored.version, stored.hash);
        }
        self.take_load(&id, loaded, reread);
        self.charge(&id);
        self.begin_loads_without_room();
    }

    /// Keeps the queue of loads short, although clients track chunks and untrack them again.
    fn forget_unwanted_loads(&mut self) {
        if self.loads_without_room.len() <= 2 * self.chunks.len() + LOADS_AT_LEAST {
            return;
        }
        let chunks = &mut self.chunks;
        // The flag is taken at the first place of a chunk, and so later places go.
        let mut waits = |id: &ChunkId| chunks.get_mut(id).is_some_and(|c| std::mem::take(&mut c.waits_for_room));
        self.loads_without_room.retain(|id| waits(id));
        for id in &self.loads_without_room {
            if let Some(chunk) = self.chunks.get_mut(id) {
                chunk.waits_for_room = true;
            }
        }
    }

    fn has_room_for_load(&self) -> bool {
        self.replicas.has_room(self.loads.used() + self.load_bytes())
    }

    /// Starts loads that had no room, as far as there is room now.
    fn begin_loads_without_room(&mut self) {
        let mut yielded = Vec::new();
        while self.has_room_for_load()
            && let Some(id) = self.loads_without_room.pop_front()
        {
            let Some(chunk) = self.chunks.get_mut(&id) else { continue };
            chunk.waits_for_room = false;
            let is_wanted = chunk.live.is_none() && chunk.is_wanted();
            if is_wanted && self.must_yield(&id) {
                yielded.push(id);
            } else if is_wanted {
                self.begin_load(&id);
            }
        }
        for id in yielded {
            self.begin_load(&id);
        }
    }

    fn take_load(&mut self, id: &ChunkId, loaded: Result<Option<Loaded>, LoadError>, reread: Option<Box<Reread>>) {
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        let attempts = match chunk.load {
            Load::InFlight => 1,
            Load::Retrying { attempts } => attempts + 1,
            Load::Abandoned => {
                chunk.load = Load::Idle;
                self.watched.insert(id.clone());
                return;
            }
            Load::Idle | Load::RetryAt { .. } => return,
        };
        let restored = match loaded {
            // The shell has logged the reason. It may name the bucket or quote the object store, so
            // clients do not get it.
            Err(LoadError::Unavailable(_)) => {
                Err(format!("the gateway cannot read or load the stored state of {id}; its log says why"))
            }
            Err(LoadError::Lost { stored, .. }) => Err(format!(
                "the stored state with the hash {} is lost or damaged; the owner is asked to store it again",
                stored.hash
            )),
            Ok(loaded) => match chunk.restore(id, loaded, reread) {
                Ok(()) => Ok(()),
                Err(RestoreError::Apply(ApplyError::Hash { version, found, expected })) => {
                    // The replica was just restored, so its memory is not the cause: stored state
                    // and log contradict each other.
                    self.audit(id, version, found);
                    Err(format!(
                        "at version {version} stored state and log lead to hash {found}, but the log says {expected}; \
                         the owner is asked to check the chunk"
                    ))
                }
                Err(RestoreError::Stale) if chunk.has_ref_for_trimmed() => {
                    // The state of the newest ref contains the trimmed records, so load that state
                    // at once.
                    chunk.load = Load::Idle;
                    return self.begin_load(id);
                }
                Err(e) => Err(e.to_string()),
            },
        };
        // Watch the chunk even if no request waits for it any more, so that an idle replica is
        // dropped.
        self.watched.insert(id.clone());
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        match restored {
            Ok(()) => {
                chunk.load = Load::Idle;
                chunk.used_at = self.now;
                self.answer_waiting(id);
            }
            Err(reason) => {
                chunk.load = Load::RetryAt { attempts, at: self.now.plus_ms(self.settings.load_retry_ms) };
                if attempts >= self.settings.load_attempts_max {
                    self.give_up(id, &reason);
                } else {
                    // A chunk that failed to load no longer blocks the answers to later requests.
                    let unblocked: Vec<SocketId> = chunk.waiting.keys().copied().collect();
                    unblocked.into_iter().for_each(|socket| self.answer_in_order(socket));
                }
            }
        }
    }

    /// Asks the owner to check a chunk, at most once each `audit_interval_ms`. The owner decides
    /// what is wrong, because the finding of one gateway proves nothing about the log.
    pub(super) fn audit(&mut self, id: &ChunkId, version: Version, found: Hash) {
        let (now, interval_ms) = (self.now, self.settings.audit_interval_ms);
        let is_due = |last: MonotonicMs| now.ms_since(last) >= interval_ms;
        let Some(chunk) = self.chunks.get_mut(id).filter(|chunk| chunk.audited_at.is_none_or(is_due)) else { return };
        chunk.audited_at = Some(now);
        self.outputs.push_back(Output::Audit(id.clone(), version, found));
    }

    /// Rejects all Tracks and questions that wait for the chunk. The next Track or question starts
    /// a new load.
    pub(super) fn give_up(&mut self, id: &ChunkId, reason: &str) {
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        chunk.load = Load::Idle;
        let (waiting, asks) = (std::mem::take(&mut chunk.waiting), std::mem::take(&mut chunk.asks));
        for (id, _) in asks {
            self.outputs.push_back(Output::Answer(id, Answer::Unavailable(reason.to_owned())));
        }
        for socket in waiting.into_keys() {
            self.reject_track(socket, id.as_str(), TrackRejectCode::Unavailable, reason.to_owned());
            self.answer_in_order(socket);
        }
    }

    /// Answers the Tracks and questions that wait for a chunk, if its replica is loaded. A Track
    /// that is in its socket's answer queue is answered in the order of that queue.
    pub(super) fn answer_waiting(&mut self, id: &ChunkId) {
        let Some(chunk) = self.chunks.get_mut(id).filter(|chunk| chunk.live.is_some()) else { return };
        if !chunk.is_wanted() {
            return;
        }
        chunk.used_at = self.now;
        let waiting: Vec<SocketId> = chunk.waiting.keys().copied().collect();
        for (ask_id, ask) in std::mem::take(&mut chunk.asks) {
            self.answer(ask_id, id, ask);
        }
        for socket_id in waiting {
            match self.sockets.get(&socket_id).is_some_and(|socket| socket.awaits_answer(id)) {
                true => self.answer_in_order(socket_id),
                false => self.track_loaded(socket_id, id),
            }
        }
    }

    pub(super) fn ask(&mut self, ask_id: u64, id: ChunkId, ask: Ask) {
        let now = self.now;
        let place = match self.world.place(&id) {
            Ok(place) => place,
            Err(e) => return self.outputs.push_back(Output::Answer(ask_id, Answer::Unavailable(e.to_string()))),
        };
        if let Some(reason) = self.unavailable(place.partition) {
            return self.outputs.push_back(Output::Answer(ask_id, Answer::Degraded(reason)));
        }
        let chunk = self.chunks.entry(id.clone()).or_insert_with(|| Chunk::new(place));
        chunk.used_at = now;
        if chunk.live.is_some() {
            return self.answer(ask_id, &id, ask);
        }
        chunk.asks.push((ask_id, ask));
        self.begin_load(&id);
    }

    fn answer(&mut self, ask_id: u64, id: &ChunkId, ask: Ask) {
        let Some(history) = self.history_of(id) else { return };
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        let newest = chunk.newest();
        let (Some(live), Some((version, hash))) = (&chunk.live, newest) else { return };
        let answer = match ask {
            Ask::Content => match chunk.verified_encoding((version, hash)) {
                Ok(encoding) => Answer::Content { version, hash, encoding: encoding.into() },
                Err(e) => {
                    chunk.asks.push((ask_id, ask));
                    return self.rebuild(id, &e.to_string());
                }
            },
            Ask::Status(writer, seq) => {
                Answer::Status(status(live.ledger.resolved(writer), &chunk.ring, writer, seq), history)
            }
        };
        self.outputs.push_back(Output::Answer(ask_id, answer));
    }
}

//! Stored states on their way in, and the questions that wait for them.

use super::Hub;
use crate::answer::{Answer, status};
use crate::chunk::{Load, RestoreError};
use crate::messages::{Ask, LoadError, Loaded, Output};
use crate::reread::Reread;
use crate::socket::SocketId;
use driftless_chunk::replica::ApplyError;
use driftless_schemas::proto::TrackRejectCode;
use driftless_schemas::{ChunkId, Hash, Version};

impl Hub {
    pub(super) fn begin_load(&mut self, id: &ChunkId, now_ms: u64) {
        self.watched.insert(id.clone());
        let Self { chunks, world, .. } = self;
        let Some(chunk) = chunks.get_mut(id) else { return };
        chunk.load = match chunk.load {
            Load::Idle => Load::InFlight,
            Load::Again { attempts, at_ms } if at_ms <= now_ms => Load::Retrying { attempts },
            _ => return,
        };
        let reread = |evicted| Some(Box::new(Reread::new(id.clone(), world.place(id).ok()?.partition, evicted)));
        let reread = chunk.ring.evicted().and_then(reread);
        self.outputs.push_back(Output::Load(id.clone(), chunk.newest_ref.clone(), reread));
    }

    pub(super) fn take_loaded(
        &mut self,
        id: ChunkId,
        loaded: Result<Option<Loaded>, LoadError>,
        reread: Option<Box<Reread>>,
        now_ms: u64,
    ) {
        if let Err(LoadError::Lost { stored, .. }) = &loaded {
            let hash = Hash::from_slice(&stored.hash).unwrap_or(Hash([0; 32]));
            self.audit(&id, Version(stored.version), hash, now_ms);
        }
        let Some(chunk) = self.chunks.get_mut(&id) else { return };
        let attempts = match chunk.load {
            Load::InFlight => 1,
            Load::Retrying { attempts } => attempts + 1,
            Load::Idle | Load::Again { .. } => return,
        };
        let restored = match loaded {
            Err(LoadError::Unavailable(reason) | LoadError::Lost { reason, .. }) => Err(reason),
            Ok(loaded) => match chunk.restore(&id, loaded, reread) {
                Ok(()) => Ok(()),
                Err(RestoreError::Apply(ApplyError::Hash { version, found, expected })) => {
                    // Not this replica's fault: it was just made.
                    self.audit(&id, version, found, now_ms);
                    Err(format!(
                        "at version {version} the log leads to {found}, but says {expected}; the owner is asked"
                    ))
                }
                Err(RestoreError::Stale) if chunk.has_ref_for_trimmed() => {
                    // The newer ref is read at once.
                    chunk.load = Load::Idle;
                    return self.begin_load(&id, now_ms);
                }
                Err(e) => Err(e.to_string()),
            },
        };
        // Also where those who waited are gone: it must become idle.
        self.watched.insert(id.clone());
        let Some(chunk) = self.chunks.get_mut(&id) else { return };
        match restored {
            Ok(()) => {
                chunk.load = Load::Idle;
                chunk.used_ms = now_ms;
                self.answer_waiting(&id, now_ms);
            }
            Err(reason) => {
                chunk.load = Load::Again { attempts, at_ms: now_ms + self.settings.load_retry_ms };
                if attempts >= self.settings.load_attempts_max {
                    self.give_up(&id, &reason);
                } else {
                    // Nobody waits for others behind it any longer.
                    let held_up: Vec<SocketId> = chunk.waiting.keys().copied().collect();
                    held_up.into_iter().for_each(|socket| self.answer_in_order(socket));
                }
            }
        }
    }

    /// Asks the owner to look at a chunk, now and then, until it has spoken: what one gateway has found counts for nothing
    /// by itself.
    pub(super) fn audit(&mut self, id: &ChunkId, version: Version, found: Hash, now_ms: u64) {
        let is_due = |last: u64| now_ms.saturating_sub(last) >= self.settings.audit_interval_ms;
        let Some(chunk) = self.chunks.get_mut(id).filter(|chunk| chunk.audited_ms.is_none_or(is_due)) else { return };
        chunk.audited_ms = Some(now_ms);
        self.outputs.push_back(Output::Audit(id.clone(), version, found));
    }

    /// Those who wait are told; whoever asks next begins anew.
    fn give_up(&mut self, id: &ChunkId, reason: &str) {
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

    /// Those who wait for a replica that is here: in their turn, or at once where they have none.
    pub(super) fn answer_waiting(&mut self, id: &ChunkId, now_ms: u64) {
        let Some(chunk) = self.chunks.get_mut(id).filter(|chunk| chunk.live.is_some()) else { return };
        if !chunk.is_wanted() {
            return;
        }
        chunk.used_ms = now_ms;
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

    pub(super) fn ask(&mut self, ask_id: u64, id: ChunkId, ask: Ask, now_ms: u64) {
        let chunk = match self.chunk_of(id.as_str()) {
            Ok((_, chunk)) => chunk,
            Err(reason) => return self.outputs.push_back(Output::Answer(ask_id, Answer::Unavailable(reason))),
        };
        chunk.used_ms = now_ms;
        if chunk.live.is_some() {
            return self.answer(ask_id, &id, ask);
        }
        chunk.asks.push((ask_id, ask));
        self.begin_load(&id, now_ms);
    }

    fn answer(&mut self, ask_id: u64, id: &ChunkId, ask: Ask) {
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        let newest = chunk.newest();
        let (Some(live), Some((version, hash))) = (&chunk.live, newest) else { return };
        let answer = match ask {
            Ask::Content => match chunk.verified_encoding((version, hash)) {
                Ok(encoding) => Answer::Content { version, hash, encoding: encoding.into() },
                Err(e) => {
                    chunk.asks.push((ask_id, ask));
                    return self.rebuild(id, &e.to_string(), self.now_ms);
                }
            },
            Ask::Status(writer, seq) => Answer::Status(status(live.ledger.resolved(writer), &chunk.ring, writer, seq)),
        };
        self.outputs.push_back(Output::Answer(ask_id, answer));
    }
}

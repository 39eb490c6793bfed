//! The gateway's messages about a chunk: Tracked, Chunk, Updates, Outcomes, Beacons, Lagging,
//! TrackRejected.
//!
//! The outbox learns the outcome of commands from every message, even if the replica cannot use the
//! message, because a decision is final in any case. The replica accepts only updates that fit (R3,
//! R10), and a healthy replica is never replaced by an older state of the same history (R12).

use super::{Chunk, Turn};
use crate::event::{ChunkStatus, Event};
use crate::pending::Resolution;
use driftless_chunk::ledger::Resolved;
use driftless_chunk::mutant::Mutant;
use driftless_chunk::replica::{ApplyError, Replica};
use driftless_schemas::proto::{self, Refresh, TrackRejectCode, outcome, request, tracked};
use driftless_schemas::time::{MonotonicMs, UnixMs};
use driftless_schemas::{Hash, HistoryId, Quoted, Seq, Version, limits};

impl Chunk {
    /// Handles Tracked, which names the chunk's history, begins the stream of updates, and tells
    /// which of the writer's numbers are resolved.
    pub fn tracked(&mut self, message: &proto::Tracked, turn: &mut Turn<'_>) {
        if !self.is_track_sent {
            return;
        }
        let Some(history) = HistoryId::from_field(&message.history) else {
            return self.reload("the gateway sent a Tracked with a malformed history".into(), turn);
        };
        self.enter_history(history, turn);
        self.mark_served();
        self.stop_following();
        self.is_followed = true;
        self.tracked_version = Version(message.version);
        self.seen_to = self.tracked_version;
        let resolved = match &message.resolved {
            Some(tracked::Resolved::Ledger(ledger)) => {
                Resolved::Known { seq: Seq(ledger.seq), committed_bits: ledger.committed_bits }
            }
            Some(tracked::Resolved::Expired(_)) => Resolved::Expired,
            None => Resolved::Known { seq: Seq(0), committed_bits: 0 },
        };
        self.outbox.tracked(turn.now, resolved, self.tracked_version, turn.settings);
        let Some(hash) = Hash::from_slice(&message.hash) else {
            return self.reload("the gateway sent a Tracked without a hash".into(), turn);
        };
        if !self.is_healthy && self.tracked_version == Version(0) {
            self.start_empty(turn);
        }
        self.compare_hash(self.tracked_version, hash, turn);
        self.update_status(turn);
    }

    /// Handles a Chunk, which contains a whole content.
    pub fn chunk(&mut self, message: &proto::Chunk, turn: &mut Turn<'_>) {
        if !self.is_followed {
            return;
        }
        self.is_refreshing = false;
        let version = Version(message.version);
        let Some(hash) = Hash::from_slice(&message.hash) else {
            return self.reload("the gateway sent a Chunk without a hash".into(), turn);
        };
        let is_newer = |replica: &Replica| version > replica.version() || Mutant::ClientTakesOlder.is_on();
        if self.is_healthy && self.replica.as_ref().is_some_and(|replica| !is_newer(replica)) {
            self.compare_hash(version, hash, turn);
            return self.update_status(turn);
        }
        match self.restore(message, version, hash, turn) {
            Err(why) => return self.reload(format!("a Chunk of version {version} cannot be used: {why}"), turn),
            Ok(replica) => self.replica = Some(replica),
        }
        self.is_healthy = true;
        self.invalidate();
        if version > self.seen_to {
            // The client never received the commits between `seen_to` and this version. Only
            // another Tracked tells which of the client's own commands are among them.
            self.seen_to = version;
            if self.outbox.has_open_numbers() {
                return self.send_track(turn);
            }
        }
        self.update_status(turn);
    }

    /// Handles Updates, which contain the effects of commits of all users.
    pub fn updates(&mut self, updates: &proto::Updates, turn: &mut Turn<'_>) {
        if updates.entries.is_empty() || updates.first_version == 0 {
            return self.reload("the gateway sent Updates without entries".into(), turn);
        }
        self.record_commits(updates, turn);
        if !self.is_followed {
            return;
        }
        let last = Version(updates.first_version.saturating_add(updates.entries.len() as u64 - 1));
        if updates.first_version <= self.seen_to.next().0 {
            self.seen_to = self.seen_to.max(last);
        } else {
            self.gap_to = self.gap_to.max(Some(last));
            self.outbox.stream_interrupted();
        }
        if !self.is_healthy && updates.first_version == 1 {
            self.start_empty(turn);
        }
        let Some(replica) = self.replica.as_mut().filter(|_| self.is_healthy) else {
            // The Chunk has not arrived yet.
            self.gap_to = self.gap_to.max(Some(last));
            return;
        };
        let (undo, outbox) = (&mut self.undo, &self.outbox);
        let own_writer = turn.writer.filter(|_| turn.settings.undo_max > 0);
        let applied = replica.apply_each(updates, |model, before, entry| {
            if let Some(id) = own_writer
                .filter(|own_writer| entry.writer == own_writer.0.as_slice())
                .and_then(|_| outbox.command(Seq(entry.seq)))
            {
                undo.remember(id, model.inverse(before, &entry.effect), turn.settings.undo_max);
            }
        });
        match applied {
            Ok((fresh, published)) => {
                if let Some(hash) = published {
                    self.unverified = Some((replica.version(), hash));
                }
                if fresh > 0 {
                    self.is_refreshing = false;
                    self.answer_by = MonotonicMs::NEVER;
                    self.invalidate();
                }
            }
            Err(ApplyError::Gap { .. }) => self.gap_to = self.gap_to.max(Some(last)),
            Err(ApplyError::Hash { version, expected, found }) => {
                self.invalidate();
                return self.report_drift(version, Some(expected), found, turn);
            }
            Err(ApplyError::Fold { version, .. }) => {
                let found = replica.hash();
                self.invalidate();
                return self.report_drift(version, None, found, turn);
            }
            Err(problem @ (ApplyError::Format(_) | ApplyError::Content { .. })) => {
                return self.reload(problem.to_string(), turn);
            }
        }
        self.update_status(turn);
    }

    /// Records this client's commits and their versions, whether or not the replica can use the
    /// message.
    fn record_commits(&mut self, updates: &proto::Updates, turn: &Turn<'_>) {
        let Some(writer) = turn.writer else { return };
        for (entry, i) in updates.entries.iter().zip(0u64..) {
            if entry.writer == writer.0.as_slice() {
                let version = Version(updates.first_version.saturating_add(i));
                let resolution = Resolution::Committed { version: Some(version), visible_at: version };
                self.outbox.decided(turn.now, Seq(entry.seq), resolution, turn.settings);
            }
        }
    }

    /// Handles Outcomes, which tell why commands of this client were not committed.
    pub fn outcomes(&mut self, outcomes: proto::Outcomes, turn: &mut Turn<'_>) {
        for outcome in outcomes.outcomes {
            let seq = Seq(outcome.seq);
            match outcome.outcome {
                Some(outcome::Outcome::Discarded(discarded)) => {
                    let resolution = Resolution::NotCommitted(Some((discarded.reason(), discarded.detail)));
                    self.outbox.decided(turn.now, seq, resolution, turn.settings);
                }
                Some(outcome::Outcome::OutOfOrder(_)) => self.outbox.out_of_order(turn.now, seq),
                Some(outcome::Outcome::SessionExpired(expired)) => {
                    self.outbox.session_expired(UnixMs(i64::try_from(expired.floor_ms).unwrap_or(i64::MAX)));
                }
                None => {}
            }
        }
    }

    /// Handles a beacon, which names the version and the hash of the newest updates that the
    /// gateway sent on this socket. If the client has not received updates up to that version, some
    /// were lost.
    pub fn beacon(&mut self, beacon: &proto::Beacon, turn: &mut Turn<'_>) {
        let Some(hash) = Hash::from_slice(&beacon.hash) else { return };
        if !self.is_followed || !self.is_healthy {
            return;
        }
        let version = Version(beacon.version);
        self.compare_hash(version, hash, turn);
        if version > self.seen_to {
            self.gap_to = self.gap_to.max(Some(version));
            self.outbox.stream_interrupted();
        }
        self.update_status(turn);
    }

    /// Handles Lagging: the gateway sends no updates of this chunk until the next Tracked.
    pub fn lagging(&mut self, turn: &mut Turn<'_>) {
        if self.is_track_sent {
            self.stop_following();
            if self.status() == &ChunkStatus::Live {
                self.set_status(ChunkStatus::Lagging, turn);
            }
        }
    }

    /// Handles TrackRejected. If the code is `Unavailable`, the gateway cannot serve the chunk at
    /// present, and the client keeps its replica (R12) and tries again later.
    pub fn track_rejected(&mut self, rejected: proto::TrackRejected, turn: &mut Turn<'_>) {
        if !self.is_track_sent {
            return;
        }
        if rejected.code() == TrackRejectCode::Unavailable {
            return self.retry_later(rejected.message, turn);
        }
        let code = rejected.code();
        self.drop_state(&format!("the gateway does not serve this chunk: {}", rejected.message), turn);
        self.set_status(ChunkStatus::Rejected { code, message: rejected.message }, turn);
    }

    /// Makes the replica of version 0 from the model, because a gateway sends no content of a chunk
    /// without commits. The callers compare its hash with the gateway's as for any version.
    fn start_empty(&mut self, turn: &Turn<'_>) {
        if let Some(model) = self.model(turn) {
            self.replica = Some(Replica::initial(model, &self.id));
            self.is_healthy = true;
            self.invalidate();
        }
    }

    /// Makes a replica from a Chunk message. The error says for people why that is impossible.
    fn restore(
        &self,
        message: &proto::Chunk,
        version: Version,
        hash: Hash,
        turn: &Turn<'_>,
    ) -> Result<Replica, String> {
        let family = turn.families.of(&self.id).ok_or("its family was not announced")?;
        let model = family.model.clone()?;
        if !family.is_of(&message.model, message.revision) {
            return Err(format!("it is of model {} revision {}", Quoted(&message.model), message.revision));
        }
        let encoding = (turn.settings.host.decompress)(&message.data, limits::CONTENT_BYTES_MAX)?;
        Replica::restore(model, &encoding, version, hash).map_err(|e| e.to_string())
    }

    /// Compares the replica's hash with the hash in the newest updates (R10). One comparison per
    /// frame is enough, because the newest hash covers the effects of all earlier updates.
    pub(super) fn verify_updates(&mut self, turn: &mut Turn<'_>) {
        let Some((version, expected)) = self.unverified.take() else { return };
        let Some(replica) = self.replica.as_mut().filter(|replica| self.is_healthy && replica.version() == version)
        else {
            return;
        };
        let found = replica.hash();
        if found != expected && !Mutant::IgnoreHash.is_on() {
            self.invalidate();
            self.report_drift(version, Some(expected), found, turn);
        }
    }

    /// R10: at the same version the replica must have the hash that the gateway names.
    fn compare_hash(&mut self, version: Version, expected: Hash, turn: &mut Turn<'_>) {
        let Some(replica) = self.replica.as_mut().filter(|replica| self.is_healthy && replica.version() == version)
        else {
            return;
        };
        self.unverified = None;
        // Compute the hash from the content again, because a cached hash would hide later damage.
        let found = replica.hash_again();
        if found == expected {
            turn.events.push_back(Event::Verified { chunk: self.id.clone(), version, hash: found });
        } else if !Mutant::IgnoreHash.is_on() {
            self.report_drift(version, Some(expected), found, turn);
        }
    }

    /// Updates the status after a message, and asks for missing updates.
    fn update_status(&mut self, turn: &mut Turn<'_>) {
        if !self.is_followed {
            return;
        }
        let version = self.replica.as_ref().filter(|_| self.is_healthy).map(Replica::version);
        if self.gap_to.is_some_and(|to| self.seen_to >= to && version.is_some_and(|version| version >= to)) {
            self.gap_to = None;
            self.outbox.stream_complete();
        }
        let Some(version) = version else {
            // Without a healthy replica the gateway must send a Chunk.
            return self.expect_answer(turn);
        };
        if self.gap_to.is_some() && !self.is_refreshing {
            self.is_refreshing = true;
            let chunk_id = self.id.to_string();
            turn.requests.push(request::Body::Refresh(Refresh { chunk_id, version: version.0 }));
        }
        if version >= self.tracked_version && self.gap_to.is_none() {
            self.answer_by = MonotonicMs::NEVER;
            self.set_status(ChunkStatus::Live, turn);
        } else {
            self.expect_answer(turn);
        }
    }

    /// Starts the timeout of the expected answer, unless it is running already.
    fn expect_answer(&mut self, turn: &Turn<'_>) {
        if self.answer_by == MonotonicMs::NEVER {
            self.answer_by = turn.now.plus_ms(turn.settings.answer_timeout_ms);
        }
    }
}

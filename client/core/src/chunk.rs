//! A tracked chunk: its confirmed replica, this client's pending commands, and the progress of its
//! Track request.
//!
//! This file handles the calls of users, the events of connections, and timers. `chunk/gateway.rs`
//! handles the gateway's messages.

mod gateway;

use crate::event::{ChunkStatus, CommandId, Event, Number, SubmitError};
use crate::families::Families;
use crate::history::{self, Origin};
use crate::outbox::{Outbox, SendPermit, never_sent};
use crate::pending::{ConcludedCommand, Visible};
use crate::settings::Settings;
use crate::undo::Undo;
use crate::view::View;
use bytes::Bytes;
use driftless_chunk::model::{AnyModel, Content};
use driftless_chunk::mutant::Mutant;
use driftless_chunk::replica::Replica;
use driftless_schemas::proto::{Have, Rejected, Submit, Track, Untrack, request};
use driftless_schemas::time::{MonotonicMs, UnixMs};
use driftless_schemas::{ChunkId, Hash, HistoryId, Version, WorldId, WriterId};
use std::collections::VecDeque;
use std::sync::Arc;

/// The number of reloads that a chunk may have within [`RELOAD_WINDOW_MS`]. At the next reload the
/// chunk fails.
const RELOADS_MAX: usize = 3;
/// The time in milliseconds within which reloads are counted.
const RELOAD_WINDOW_MS: u64 = 60_000;
/// Milliseconds before the client sends Track again for a chunk that the gateway cannot serve at
/// present. The time doubles with each attempt, up to 32 times this value.
const UNAVAILABLE_RETRY_MS: u64 = 1_000;

/// The context in which a chunk handles one input, and the queues for the chunk's requests and
/// events.
pub(crate) struct Turn<'a> {
    pub now: MonotonicMs,
    pub settings: &'a Settings,
    pub families: &'a Families,
    /// The writer id of the current session; `None` without a session.
    pub writer: Option<WriterId>,
    /// The world that the last gateway named; `None` if none named one.
    pub world: Option<WorldId>,
    /// Whether a gateway has welcomed the client.
    pub is_connected: bool,
    pub requests: &'a mut Vec<request::Body>,
    pub events: &'a mut VecDeque<Event>,
}

/// A tracked chunk.
pub(crate) struct Chunk {
    pub id: ChunkId,
    /// Whether the user tracks the chunk. If false, the client keeps the chunk until none of its
    /// commands is pending.
    pub is_wanted: bool,
    status: ChunkStatus,
    replica: Option<Replica>,
    /// True if there is a replica that agrees with the log, as far as the client knows.
    is_healthy: bool,
    /// The version of the replica and the log's hash of that version, from the newest updates.
    /// `None` if the replica was compared with that hash already.
    unverified: Option<(Version, Hash)>,
    view: View,
    pub outbox: Outbox,
    pub undo: Undo,
    /// True if a Track was sent on this connection.
    is_track_sent: bool,
    /// True if Tracked was received, and no Lagging after it: the gateway sends this client all
    /// updates.
    is_followed: bool,
    /// True if a gateway has answered Track with Tracked in the present history. Commands to the
    /// chunk are sent only then.
    was_served: bool,
    /// The version of the chunk that the last Tracked named.
    tracked_version: Version,
    /// The client has seen all commits up to this version: the last Tracked covers them, or later
    /// Updates contained them.
    seen_to: Version,
    /// If updates are missing: the version that the replica must reach before the stream is
    /// complete again.
    gap_to: Option<Version>,
    /// When the client sends Track again, unless an answer to the Track or Refresh advances the
    /// replica before that.
    answer_by: MonotonicMs,
    /// True if a Refresh was sent and no answer has advanced the replica yet.
    is_refreshing: bool,
    /// When the client sends Track again after a gateway could not serve the chunk;
    /// [`MonotonicMs::NEVER`] otherwise.
    retry_at: MonotonicMs,
    /// How often in a row a gateway could not serve the chunk.
    retries: u32,
    /// The times of the reloads within the last [`RELOAD_WINDOW_MS`].
    reloads: VecDeque<MonotonicMs>,
    /// True if the view may have changed since the last [`Event::Changed`].
    is_changed: bool,
    /// Whether the client's list of touched chunks contains this chunk.
    pub is_touched: bool,
    /// When [`Chunk::tick`] has work next; computed at the end of the last input.
    pub due: MonotonicMs,
}

impl Chunk {
    pub fn new(id: ChunkId, outbox: Outbox) -> Self {
        Self {
            id,
            is_wanted: true,
            status: ChunkStatus::Loading,
            replica: None,
            is_healthy: false,
            unverified: None,
            view: View::default(),
            outbox,
            undo: Undo::default(),
            is_track_sent: false,
            is_followed: false,
            was_served: false,
            tracked_version: Version(0),
            seen_to: Version(0),
            gap_to: None,
            answer_by: MonotonicMs::NEVER,
            is_refreshing: false,
            retry_at: MonotonicMs::NEVER,
            retries: 0,
            reloads: VecDeque::new(),
            is_changed: false,
            is_touched: false,
            due: MonotonicMs::NEVER,
        }
    }

    // ---- reading ----

    pub fn status(&self) -> &ChunkStatus {
        &self.status
    }

    pub fn replica(&mut self) -> Option<&mut Replica> {
        self.replica.as_mut()
    }

    pub fn damage(&mut self) -> bool {
        let is_damaged = self.replica.as_mut().is_some_and(Replica::damage);
        self.invalidate();
        is_damaged
    }

    pub fn view(&mut self, settings: &Settings) -> Option<(&Arc<dyn AnyModel>, &Content, Version)> {
        let replica = self.replica.as_ref()?;
        let content = self.view.content(&self.id, replica, self.outbox.entries(), settings);
        Some((replica.model(), content, replica.version()))
    }

    fn model(&self, turn: &Turn<'_>) -> Option<Arc<dyn AnyModel>> {
        turn.families.of(&self.id).and_then(|family| family.model.as_ref().ok()).cloned()
    }

    /// Whether the chunk was rejected or has failed, so that the client does not send Track.
    fn is_refused(&self) -> bool {
        matches!(self.status, ChunkStatus::Rejected { .. } | ChunkStatus::Failed { .. })
    }

    /// Whether the client can forget the chunk.
    pub fn is_removable(&self) -> bool {
        !self.is_wanted && self.outbox.is_empty()
    }

    // ---- the user ----

    pub fn submit(&mut self, id: CommandId, command: Bytes, turn: &mut Turn<'_>) -> Result<(), SubmitError> {
        if self.is_refused() || !self.is_wanted {
            return Err(SubmitError::NotTracked { chunk: self.id.clone() });
        }
        let pending = self.outbox.pending();
        if pending >= turn.settings.pending_max {
            return Err(SubmitError::TooMany { chunk: self.id.clone(), pending });
        }
        self.outbox.submit(id, command, turn.settings.wall_time(turn.now));
        self.is_changed = true;
        Ok(())
    }

    pub fn cancel(&mut self, id: CommandId, turn: &mut Turn<'_>) {
        let concluded = self.outbox.cancel(id);
        self.invalidate();
        self.push_outcomes(concluded, turn);
    }

    /// Handles the user's call to track the chunk. If the chunk was rejected or has failed, the
    /// client tries again.
    pub fn want(&mut self, turn: &mut Turn<'_>) {
        self.is_wanted = true;
        if self.is_refused() {
            self.reloads.clear();
            self.set_status(ChunkStatus::Loading, turn);
            self.send_track(turn);
        }
    }

    // ---- ingest ----

    pub fn rejected(&mut self, rejected: Rejected, turn: &Turn<'_>) {
        self.outbox.rejected(turn.now, rejected);
        // A command leaves the view when ingest rejects it finally.
        self.invalidate();
    }

    // ---- the gateway's connection ----

    /// Sends Track. If the replica is healthy, `have` names its version, its hash and its history,
    /// so that the gateway need not send the content again. Without a connection this method does
    /// nothing, because the next Welcome calls it again.
    pub fn send_track(&mut self, turn: &mut Turn<'_>) {
        if self.is_refused() || !turn.is_connected {
            return;
        }
        if let Some(Err(message)) = turn.families.of(&self.id).map(|family| family.model.as_ref()) {
            let message = message.clone();
            return self.fail(message, turn);
        }
        let history = self.outbox.origin.map_or(HistoryId::FIRST, |origin| origin.history).to_field();
        let have = match &mut self.replica {
            Some(replica) if self.is_healthy => {
                Some(Have { version: replica.version().0, hash: replica.hash().to_bytes(), history })
            }
            _ => None,
        };
        if self.is_track_sent {
            turn.requests.push(request::Body::Untrack(Untrack { chunk_id: self.id.to_string() }));
        }
        turn.requests.push(request::Body::Track(Track { chunk_id: self.id.to_string(), have }));
        self.stop_following();
        self.is_track_sent = true;
        self.answer_by = turn.now.plus_ms(turn.settings.answer_timeout_ms);
    }

    /// Records that the stream of updates may be incomplete from now on. The next Tracked ends this
    /// state.
    fn stop_following(&mut self) {
        self.is_followed = false;
        self.is_refreshing = false;
        self.gap_to = None;
        self.answer_by = MonotonicMs::NEVER;
        self.retry_at = MonotonicMs::NEVER;
        self.outbox.stream_interrupted();
    }

    pub fn gateway_lost(&mut self, turn: &mut Turn<'_>) {
        self.is_track_sent = false;
        self.stop_following();
        // Another gateway may serve a chunk that this one could not.
        let was_shown = matches!(self.status, ChunkStatus::Live | ChunkStatus::Unavailable { .. });
        if was_shown {
            let has_replica = self.replica.is_some();
            self.set_status(if has_replica { ChunkStatus::Lagging } else { ChunkStatus::Loading }, turn);
        }
    }

    /// Handles a change of the family's parameters: restores the replica from its own encoding with
    /// the new model. If the new model cannot read the encoding, there is no replica any more.
    pub fn remodel(&mut self, turn: &mut Turn<'_>) {
        self.invalidate();
        let (Some(replica), Some(model)) = (&mut self.replica, turn.families.of(&self.id)) else { return };
        let hash = replica.hash();
        let again =
            model.model.as_ref().ok().and_then(|model| {
                Replica::restore(Arc::clone(model), &replica.encoding(), replica.version(), hash).ok()
            });
        self.is_healthy &= again.is_some();
        self.replica = again;
    }

    pub fn untrack_request(&self) -> Option<request::Body> {
        self.is_track_sent.then(|| request::Body::Untrack(Untrack { chunk_id: self.id.to_string() }))
    }

    // ---- time ----

    pub fn tick(&mut self, turn: &mut Turn<'_>) {
        if turn.now >= self.answer_by.min(self.retry_at) {
            self.send_track(turn);
        }
    }

    pub fn deadline(&self, now: MonotonicMs, permit: SendPermit) -> MonotonicMs {
        self.answer_by.min(self.retry_at).min(self.outbox.deadline(now, self.permit(permit)))
    }

    fn permit(&self, permit: SendPermit) -> SendPermit {
        SendPermit { can_send: permit.can_send && self.was_served && !self.is_refused(), ..permit }
    }

    // ---- the end of an input ----

    /// Concludes commands, reports their outcomes, and sends the commands that are due. If the
    /// chunk's ledger has forgotten the session, returns the ledger's floor: the next session must
    /// begin later.
    pub fn finish(&mut self, turn: &mut Turn<'_>, permit: SendPermit, submits: &mut Vec<Submit>) -> Option<UnixMs> {
        // Verify the replica first, because commands are concluded only when a healthy replica
        // shows their effect.
        self.verify_updates(turn);
        let floor = self.outbox.finish_frame(turn.now);
        let permit = SendPermit { can_number: permit.can_number && floor.is_none(), ..permit };
        let concluded = self.outbox.conclude(self.visible());
        if !concluded.is_empty() {
            self.invalidate();
        }
        self.push_outcomes(concluded, turn);
        let is_stuck = self.outbox.send_due(turn.now, self.permit(permit), &self.id, turn.settings, submits);
        if is_stuck && self.is_followed {
            self.send_track(turn);
        }
        if std::mem::take(&mut self.is_changed) {
            let version = self.replica.as_ref().map_or(Version(0), Replica::version);
            turn.events.push_back(Event::Changed { chunk: self.id.clone(), version });
        }
        floor
    }

    fn visible(&self) -> Visible {
        match &self.replica {
            Some(replica) if self.is_healthy => Visible::UpTo(replica.version()),
            _ if self.is_refused() => Visible::Everything,
            _ => Visible::Nothing,
        }
    }

    /// Reports outcomes to the user.
    pub fn push_outcomes(&self, concluded: impl IntoIterator<Item = ConcludedCommand>, turn: &mut Turn<'_>) {
        for ConcludedCommand { id, outcome, seq, is_receipted } in concluded {
            let number = turn.writer.zip(seq).map(|(writer, seq)| Number { writer, seq });
            turn.events.push_back(Event::Outcome {
                chunk: self.id.clone(),
                command: id,
                outcome,
                number,
                is_receipted,
            });
        }
    }

    fn set_status(&mut self, status: ChunkStatus, turn: &mut Turn<'_>) {
        if self.status != status {
            self.status = status.clone();
            turn.events.push_back(Event::Status { chunk: self.id.clone(), status });
        }
    }

    /// Drops the prediction, so that the next read of the view computes it anew.
    pub fn invalidate(&mut self) {
        self.view.invalidate();
        self.is_changed = true;
    }

    // ---- the end of following ----

    /// Loads a fresh replica, because this one differs from the log or a message cannot be used.
    /// Gives up after [`RELOADS_MAX`] reloads in a short time.
    fn reload(&mut self, message: String, turn: &mut Turn<'_>) {
        self.is_healthy = false;
        self.reloads.retain(|at| turn.now < at.plus_ms(RELOAD_WINDOW_MS));
        if self.reloads.len() >= RELOADS_MAX {
            return self.fail(format!("reloaded {RELOADS_MAX} times within a minute, and again: {message}"), turn);
        }
        self.reloads.push_back(turn.now);
        self.set_status(ChunkStatus::Reloading { message }, turn);
        self.send_track(turn);
    }

    /// Stops following the chunk until the user tracks it again, and ends its commands.
    pub fn fail(&mut self, message: String, turn: &mut Turn<'_>) {
        turn.requests.extend(self.untrack_request());
        self.drop_state(&message, turn);
        self.set_status(ChunkStatus::Failed { message }, turn);
    }

    /// Drops replica and view, and ends all pending commands.
    fn drop_state(&mut self, reason: &str, turn: &mut Turn<'_>) {
        self.is_track_sent = false;
        self.was_served = false;
        self.stop_following();
        self.replica = None;
        self.is_healthy = false;
        self.invalidate();
        let concluded = self.outbox.abandon(reason, &never_sent(reason));
        self.push_outcomes(concluded, turn);
    }

    /// Handles another world, which a gateway named in its Welcome. The chunk's history in it is
    /// not known before the next Tracked.
    pub fn enter_world(&mut self, turn: &mut Turn<'_>) {
        if self.outbox.origin.is_some() {
            self.begin_history(None, history::OTHER_WORLD.into(), turn);
        }
    }

    /// Handles Tracked with this history. If it is not the history of the replica, another history
    /// begins.
    fn enter_history(&mut self, history: HistoryId, turn: &mut Turn<'_>) {
        let next = Origin { world: turn.world, history };
        let is_left = |known: &Origin| known.is_left_for(next) && !Mutant::ClientKeepsOldHistory.is_on();
        if let Some(known) = self.outbox.origin.filter(is_left) {
            self.begin_history(Some(history), history::change(&self.id, known, next), turn);
        }
        self.outbox.origin = Some(next);
    }

    /// Drops all that belongs to the old history: the replica, the view, the inverses, and the
    /// commands that were sent. Tells the user once.
    ///
    /// No message needs a tag that says to which history it belongs. A gateway keeps the order of a
    /// chunk's messages, so no Updates, Outcomes or Beacon of the old history comes after the
    /// Tracked of the new one. Receipts and rejections of old numbers find no command any more.
    fn begin_history(&mut self, history: Option<HistoryId>, message: String, turn: &mut Turn<'_>) {
        self.was_served = false;
        self.stop_following();
        self.replica = None;
        self.is_healthy = false;
        self.unverified = None;
        self.undo = Undo::default();
        self.invalidate();
        let concluded = self.outbox.begin_history(&history::outcome_lost(&message), turn.settings);
        let (chunk, world) = (self.id.clone(), turn.world);
        turn.events.push_back(Event::HistoryChanged { chunk, world, history, message });
        self.push_outcomes(concluded, turn);
        if !self.is_refused() {
            self.set_status(ChunkStatus::Loading, turn);
        }
    }

    /// Sets the timer that sends Track again, because the gateway cannot serve the chunk at
    /// present, and shows the reason. A view that must not be trusted stays `Reloading`.
    fn retry_later(&mut self, message: String, turn: &mut Turn<'_>) {
        self.is_track_sent = false;
        self.stop_following();
        self.retry_at = turn.now.plus_ms(UNAVAILABLE_RETRY_MS << self.retries.min(5));
        self.retries += 1;
        let status = match self.status {
            ChunkStatus::Reloading { .. } => ChunkStatus::Reloading { message },
            _ => ChunkStatus::Unavailable { message },
        };
        self.set_status(status, turn);
    }

    fn mark_served(&mut self) {
        self.was_served = true;
        self.retries = 0;
    }

    /// Reports that the replica differs from the log (R10), and reloads it.
    fn report_drift(&mut self, version: Version, expected: Option<Hash>, found: Hash, turn: &mut Turn<'_>) {
        turn.requests.push(request::Body::DriftReport(driftless_schemas::proto::DriftReport {
            chunk_id: self.id.to_string(),
            version: version.0,
            expected_hash: expected.map(Hash::to_bytes).unwrap_or_default(),
            found_hash: found.to_bytes(),
        }));
        turn.events.push_back(Event::Drift { chunk: self.id.clone(), version, expected, found });
        self.reload(format!("at version {version} the replica differs from the log"), turn);
    }
}

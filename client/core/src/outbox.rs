//! The pending commands of a chunk. This module keeps the writer's side of rule R8.
//!
//! Every command is a [`PendingCommand`] from submission until its outcome. The outbox numbers a
//! command when it first sends it, and never uses a number twice. At every transmission it computes
//! `after` anew: the newest earlier number that is neither skipped nor resolved, or else the newest
//! number that is known to be resolved.
//!
//! A command that the user cancelled, or that ingest will never accept, is *skipped*: the outbox
//! does not send it again, and the `after` of later commands points before it. When a later number
//! (or a `Settle`) is resolved, the skipped number is resolved too, and its bit in the ledger tells
//! its outcome.
//!
//! While the client handles a frame of the gateway, the outbox records how numbers were resolved.
//! At the end of the frame it concludes commands. A committed command is concluded only when the
//! confirmed replica shows its effect. Each command is concluded once, and a conclusion is final.
//!
//! Resolutions mean something only within one history of the chunk. When the history changes, every
//! numbered command without an outcome ends as unknown: the old history may have resolved it, and
//! the new history may or may not contain it. Numbers go on above the newest one.

use crate::event::{CommandId, Outcome};
use crate::history::Origin;
use crate::pending::{ConcludedCommand, PendingCommand, Resolution, Visible};
use crate::resend_timer::ResendTimer;
use crate::settings::Settings;
use bytes::Bytes;
use driftless_chunk::ledger::Resolved;
use driftless_chunk::mutant::Mutant;
use driftless_schemas::proto::{self, RejectCode, Submit};
use driftless_schemas::time::{MonotonicMs, UnixMs};
use driftless_schemas::{ChunkId, Seq, Version, limits};
use std::collections::VecDeque;

/// The number of final rejections of a `Settle` after which the commands that it would resolve end
/// as unknown. The outbox tries several times, because the user's access may come back, and because
/// the log may still decide earlier transmissions of these commands.
const SETTLE_TRIES: u32 = 6;
/// Milliseconds for which the outbox sends nothing after a final rejection of a `Settle`.
const SETTLE_HOLD_MS: u64 = 10_000;
/// Milliseconds for which the outbox waits for the reason of a discard after the stream has shown a
/// later number. After that the command ends as discarded, and its reason is unknown.
const REASON_GRACE_MS: u64 = 1_000;

/// Permission to send and to number commands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendPermit {
    /// True if the outbox may send: ingest has welcomed the client, and a gateway has served the
    /// chunk.
    pub can_send: bool,
    /// True if the outbox may number commands; false while the session is ending.
    pub can_number: bool,
}

/// The commands of this client to one chunk that have no outcome yet, and the numbers of the
/// current session.
pub(crate) struct Outbox {
    /// The commands in the order of submission. Numbered commands come first, in the order of their
    /// numbers; commands that wait for a number follow.
    entries: VecDeque<PendingCommand>,
    /// The newest number given out; 0 if there is none.
    newest: Seq,
    /// The history in which the numbers are resolved; `None` before the first Tracked, and while
    /// the new history is not known. The chunk's replica belongs to the same history.
    pub origin: Option<Origin>,
    /// The newest of this writer's numbers that is known to be resolved.
    resolved: Seq,
    /// The newest of this writer's numbers that the stream showed as decided since the last
    /// Tracked.
    stream_seq: Seq,
    /// Whether the stream since the last Tracked is complete. If so, a number up to `stream_seq`
    /// that the stream did not show as committed was not committed.
    is_continuous: bool,
    /// The time since which the outcome of a number up to `stream_seq` is missing; `None` if no
    /// such outcome is missing.
    missing_since: Option<MonotonicMs>,
    /// The ledger's floor, if the stream of updates said that the ledger has forgotten this writer.
    /// The next session must begin later.
    expired_floor: Option<UnixMs>,
    resend_timer: ResendTimer,
}

impl Outbox {
    pub fn new(settings: &Settings) -> Self {
        Self {
            entries: VecDeque::new(),
            newest: Seq(0),
            origin: None,
            resolved: Seq(0),
            stream_seq: Seq(0),
            is_continuous: false,
            missing_since: None,
            expired_floor: None,
            resend_timer: ResendTimer::new(settings),
        }
    }

    pub fn entries(&self) -> impl Iterator<Item = &PendingCommand> {
        self.entries.iter()
    }

    /// The user's command with this number, if it has no outcome yet.
    pub fn command(&self, seq: Seq) -> Option<CommandId> {
        self.entries.iter().find(|entry| entry.seq == Some(seq))?.id
    }

    /// The number of the user's commands that have no outcome yet.
    pub fn pending(&self) -> usize {
        self.entries.iter().filter(|entry| entry.id.is_some()).count()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a numbered command in this chunk is unresolved.
    pub fn has_open_numbers(&self) -> bool {
        self.entries.iter().any(|entry| entry.seq.is_some() && entry.resolution.is_none())
    }

    // ---- the user ----

    pub fn submit(&mut self, id: CommandId, command: Bytes, submitted_at: UnixMs) {
        self.entries.push_back(PendingCommand::command(id, command, submitted_at));
    }

    /// Withdraws a command. If the command was never sent, removes and returns it with its outcome.
    /// Otherwise returns `None`, and [`Self::conclude`] returns the command later.
    pub fn cancel(&mut self, id: CommandId) -> Option<ConcludedCommand> {
        let at = self.entries.iter().position(|entry| entry.id == Some(id))?;
        let entry = self.entries.get_mut(at)?;
        entry.is_cancelled = true;
        if let Some(seq) = entry.seq {
            if Mutant::ReuseWithdrawnNumber.is_on() && seq == self.newest {
                self.newest = Seq(seq.0 - 1);
            }
            return None;
        }
        self.entries.remove(at)?.concluded(Outcome::Withdrawn)
    }

    // ---- ingest ----

    /// Handles a receipt, which says that a transmission is in the log.
    pub fn receipted(&mut self, seq: Seq) {
        if let Some(entry) = numbered(&mut self.entries, seq) {
            entry.is_receipted = true;
        }
    }

    /// Handles a rejection, which says that one transmission is not in the log. Other transmissions
    /// of the command may be in the log, so a decision overrides the rejection.
    pub fn rejected(&mut self, now: MonotonicMs, rejected: proto::Rejected) {
        let seq = Seq(rejected.seq);
        let Some(entry) = numbered(&mut self.entries, seq) else { return };
        if entry.resolution.is_some() {
            return;
        }
        entry.rejected += 1;
        let code = rejected.code();
        if rejected.retry() != proto::Retry::Final {
            return self.resend_timer.hold(now, u64::from(rejected.retry_after_ms));
        }
        entry.finals += 1;
        if entry.id.is_none() && entry.finals < SETTLE_TRIES {
            return self.resend_timer.hold(now, SETTLE_HOLD_MS);
        }
        entry.refused = Some((code, rejected.message));
        if entry.id.is_none() {
            let reason = "ingest refuses to settle the command, and no other message tells its outcome";
            self.give_up_skipped_up_to(seq, reason);
        }
        // Later commands in flight name the refused number as their `after`. Send them again with
        // another `after`, because the refused number will not be resolved before them.
        self.resend_timer.request(now);
    }

    /// Resolves all unresolved skipped numbers up to `seq` as unknown.
    fn give_up_skipped_up_to(&mut self, seq: Seq, reason: &str) {
        let below = |entry: &&mut PendingCommand| {
            entry.seq.is_some_and(|s| s <= seq) && entry.is_skipped() && entry.resolution.is_none()
        };
        self.entries
            .iter_mut()
            .filter(below)
            .for_each(|entry| entry.resolution = Some(Resolution::Unknown(reason.into())));
    }

    /// Handles a new connection to ingest.
    pub fn reconnected(&mut self, now: MonotonicMs, settings: &Settings) {
        self.resend_timer.reconnected(now, settings);
    }

    // ---- the gateway ----

    /// Handles a decision about one of this writer's numbers that the gateway's stream of updates
    /// contains.
    pub fn decided(&mut self, now: MonotonicMs, seq: Seq, resolution: Resolution, settings: &Settings) {
        self.stream_seq = self.stream_seq.max(seq);
        self.resolve_up_to(now, seq, settings);
        if let Some(entry) = numbered(&mut self.entries, seq) {
            entry.resolve(resolution);
        }
    }

    /// Handles an out-of-order outcome, which says that an earlier command has not reached the
    /// decider. The outbox sends its commands again.
    pub fn out_of_order(&mut self, now: MonotonicMs, seq: Seq) {
        if seq > self.resolved {
            self.resend_timer.request(now);
        }
    }

    /// Handles an expired session. A new session must begin later than `floor`.
    pub fn session_expired(&mut self, floor: UnixMs) {
        self.expired_floor = self.expired_floor.max(Some(floor));
    }

    /// Handles a Tracked. `resolved` covers all decisions up to the gateway's position in the log,
    /// where the chunk has `version`. The stream of updates shows all later decisions.
    pub fn tracked(&mut self, now: MonotonicMs, resolved: Resolved, version: Version, settings: &Settings) {
        self.is_continuous = true;
        self.stream_seq = Seq(0);
        self.missing_since = None;
        self.expired_floor = None;
        let Resolved::Known { seq: newest, .. } = resolved else {
            if Mutant::ResubmitOnExpiredTracked.is_on() {
                self.expired_floor = Some(UnixMs(0));
                return;
            }
            // The ledger may have evicted this writer after a command was committed, so the
            // outcomes cannot be known.
            return self.give_up("the chunk's ledger has forgotten this session");
        };
        self.resolve_up_to(now, newest, settings);
        for entry in self.entries.iter_mut().filter(|entry| entry.resolution.is_none()) {
            let Some(seq) = entry.seq.filter(|seq| *seq <= newest) else { continue };
            entry.resolve(match resolved.is_committed(seq) {
                Some(true) => Resolution::Committed { version: None, visible_at: version },
                Some(false) => Resolution::NotCommitted(None),
                None => Resolution::Unknown("the chunk's ledger no longer remembers this command".into()),
            });
        }
    }

    /// Handles a gap in the stream of updates. The stream counts as incomplete until the gap is
    /// filled, or until the next Tracked.
    pub fn stream_interrupted(&mut self) {
        self.is_continuous = false;
    }

    /// Handles the end of a gap, after the missing updates have arrived.
    pub fn stream_complete(&mut self) {
        self.is_continuous = true;
    }

    /// Records that all numbers up to `seq` are resolved.
    fn resolve_up_to(&mut self, now: MonotonicMs, seq: Seq, settings: &Settings) {
        // A faulty server may name numbers that this client never gave out. `after` must stay below
        // the next number.
        let seq = seq.min(self.newest);
        if seq > self.resolved {
            self.resolved = seq;
            self.resend_timer.progressed(now, settings);
        }
    }

    // ---- the end of a frame ----

    /// Resolves the numbers that were not committed: up to `stream_seq`, a complete stream shows
    /// every commit. Returns the ledger's floor if the ledger has forgotten the session; the next
    /// session must begin later.
    pub fn finish_frame(&mut self, now: MonotonicMs) -> Option<UnixMs> {
        if !self.is_continuous {
            return None;
        }
        let floor = self.expired_floor.take();
        let is_overdue = self.missing_since.is_some_and(|at| now >= at.plus_ms(REASON_GRACE_MS)) || floor.is_some();
        let mut is_missed = false;
        for entry in self.entries.iter_mut().filter(|entry| entry.resolution.is_none()) {
            if entry.seq.is_none_or(|seq| seq > self.stream_seq) {
                continue;
            }
            // The command was discarded. The gateway sends an outcome with the reason for a command
            // that was not skipped, so wait for that outcome.
            if entry.is_skipped() || is_overdue {
                entry.resolution = Some(Resolution::NotCommitted(None));
            } else {
                is_missed = true;
            }
        }
        self.missing_since = is_missed.then(|| self.missing_since.unwrap_or(now));
        if floor.is_some() {
            self.expire();
        }
        floor
    }

    /// Removes the numbers of all unresolved commands. The stream said that the ledger has
    /// forgotten the writer, so none of these numbers will be committed. The commands then wait for
    /// numbers of a new session. Skipped commands do not wait: they are resolved as not committed.
    fn expire(&mut self) {
        for entry in self.entries.iter_mut().filter(|entry| entry.seq.is_some() && entry.resolution.is_none()) {
            if entry.is_skipped() || entry.id.is_none() {
                entry.resolution = Some(Resolution::NotCommitted(None));
            } else {
                entry.forget_number();
            }
        }
        self.resend_timer.cancel();
    }

    /// Removes and returns the commands whose outcome is certain. A committed command stays in the
    /// outbox, and in the view, until the confirmed replica shows its effect.
    pub fn conclude(&mut self, visible: Visible) -> Vec<ConcludedCommand> {
        let mut concluded = Vec::new();
        self.entries.retain_mut(|entry| match entry.outcome(visible) {
            None => true,
            Some(outcome) => {
                concluded.extend(entry.concluded(outcome));
                false
            }
        });
        concluded
    }

    /// Resolves all unresolved numbers as unknown.
    pub fn give_up(&mut self, reason: &str) {
        for entry in self.entries.iter_mut().filter(|entry| entry.seq.is_some() && entry.resolution.is_none()) {
            entry.resolution = Some(Resolution::Unknown(reason.to_owned()));
        }
    }

    /// Ends all commands, and returns them. Resolved commands get their outcome, unresolved ones
    /// that were sent end as unknown, and commands that were never sent get the outcome `unsent`.
    pub fn abandon(&mut self, reason: &str, unsent: &Outcome) -> Vec<ConcludedCommand> {
        self.give_up(reason);
        let mut concluded = self.conclude(Visible::Everything);
        concluded.extend(self.entries.drain(..).filter_map(|entry| entry.concluded(unsent.clone())));
        concluded
    }

    /// Prepares the outbox for a new session, whose numbers count from 1. Returns the concluded
    /// commands of the old session; its unresolved commands end as unknown.
    pub fn renumber(&mut self, settings: &Settings) -> Vec<ConcludedCommand> {
        self.give_up("the session was lost");
        let concluded = self.conclude(Visible::Everything);
        let entries = std::mem::take(&mut self.entries);
        *self = Self { entries, origin: self.origin, ..Self::new(settings) };
        concluded
    }

    /// Prepares the outbox for another history of the chunk. Returns the numbered commands, which
    /// end as unknown. This overrides a resolution in the old history that was not concluded yet,
    /// because the new history may lack a commit, and may commit what was discarded.
    ///
    /// `newest` stays, so that no number is used for two commands: a late transmission may still
    /// reach the new history. `resolved` begins anew, because the new ledger may never have seen
    /// the old numbers, and an `after` above its newest number would never be decided (R8).
    pub fn begin_history(&mut self, reason: &str, settings: &Settings) -> Vec<ConcludedCommand> {
        for entry in self.entries.iter_mut().filter(|entry| entry.seq.is_some()) {
            entry.resolution = Some(Resolution::Unknown(reason.to_owned()));
        }
        let concluded = self.conclude(Visible::Everything);
        let entries = std::mem::take(&mut self.entries);
        let newest = if Mutant::ClientNumbersAnew.is_on() { Seq(0) } else { self.newest };
        *self = Self { entries, newest, ..Self::new(settings) };
        concluded
    }

    // ---- sending ----

    /// Appends the commands that are due to `out`: first unresolved commands if a resend is due,
    /// then new commands, then a `Settle` if no command in flight resolves a skipped number.
    /// Returns true if several resends have brought no decision. The caller should then send Track
    /// again, because an outcome may be lost, and Tracked would repeat it.
    pub fn send_due(
        &mut self,
        now: MonotonicMs,
        permit: SendPermit,
        chunk: &ChunkId,
        settings: &Settings,
        out: &mut Vec<Submit>,
    ) -> bool {
        if !permit.can_send || now < self.resend_timer.hold_until() {
            return false;
        }
        let mut is_stuck = false;
        if !self.has_sendable() {
            self.resend_timer.cancel();
        } else if now >= self.resend_timer.resend_at() {
            self.resend(chunk, out);
            is_stuck = self.resend_timer.resent(now, settings);
        }
        while permit.can_number && self.has_room(limits::CLIENT_WINDOW) {
            let Some(at) = self.entries.iter().position(|entry| entry.seq.is_none()) else { break };
            self.send_new(now, at, chunk, out);
        }
        if self.needs_settle() && self.has_room(limits::LEDGER_WINDOW) {
            let at = self.entries.iter().position(|entry| entry.seq.is_none()).unwrap_or(self.entries.len());
            self.entries.insert(at, PendingCommand::settle());
            self.send_new(now, at, chunk, out);
        }
        is_stuck
    }

    /// When [`Self::send_due`] or [`Self::finish_frame`] has work next if no input arrives before.
    pub fn deadline(&self, now: MonotonicMs, permit: SendPermit) -> MonotonicMs {
        let mut deadline = MonotonicMs::NEVER;
        if permit.can_send && self.has_sendable() {
            deadline = self.resend_timer.resend_at();
        }
        if permit.can_send && !self.entries.is_empty() && self.resend_timer.hold_until() > now {
            deadline = deadline.min(self.resend_timer.hold_until());
        }
        match self.missing_since {
            Some(at) if self.is_continuous => deadline.min(at.plus_ms(REASON_GRACE_MS)),
            _ => deadline,
        }
    }

    /// Numbered commands without a known resolution.
    fn open(&self) -> impl Iterator<Item = (Seq, &PendingCommand)> {
        self.entries.iter().filter(|entry| entry.resolution.is_none()).filter_map(|entry| Some((entry.seq?, entry)))
    }

    /// Whether a resend may bring a decision: a command is in flight that is neither skipped nor
    /// resolved.
    fn has_sendable(&self) -> bool {
        self.open().any(|(seq, entry)| !entry.is_skipped() && seq > self.resolved)
    }

    /// Whether the outbox may give out one more number: the distance from the oldest unresolved
    /// number to the new one must stay below `window`.
    fn has_room(&self, window: u64) -> bool {
        self.open().next().is_none_or(|(oldest, _)| self.newest.next().0 - oldest.0 < window)
    }

    /// Whether a `Settle` is needed: a skipped number is unresolved, and no higher number is in
    /// flight whose decision would resolve it.
    fn needs_settle(&self) -> bool {
        let skipped =
            self.open().filter(|(seq, entry)| entry.is_skipped() && *seq > self.resolved).map(|(seq, _)| seq).max();
        let sent = self.open().filter(|(_, entry)| !entry.is_skipped()).map(|(seq, _)| seq).max();
        skipped.is_some() && sent < skipped
    }

    /// Sends all commands again that are numbered, unresolved and not skipped.
    fn resend(&mut self, chunk: &ChunkId, out: &mut Vec<Submit>) {
        let mut after = self.resolved;
        for entry in self.entries.iter_mut().filter(|entry| entry.resolution.is_none() && !entry.is_skipped()) {
            let Some(seq) = entry.seq.filter(|seq| *seq > self.resolved) else { continue };
            if !(entry.is_receipted && Mutant::ReceiptedNotResent.is_on()) {
                entry.sent += 1;
                out.push(entry.message(chunk, seq, after));
            }
            after = seq;
        }
    }

    /// Numbers the command at index `at`, and sends it for the first time.
    fn send_new(&mut self, now: MonotonicMs, at: usize, chunk: &ChunkId, out: &mut Vec<Submit>) {
        if !self.has_sendable() {
            self.resend_timer.start(now);
        }
        let previous = self.open().filter(|(_, entry)| !entry.is_skipped()).map(|(seq, _)| seq).max();
        let after = previous.unwrap_or_default().max(self.resolved);
        let Some(entry) = self.entries.get_mut(at) else { return };
        let seq = self.newest.next();
        self.newest = seq;
        entry.seq = Some(seq);
        entry.sent = 1;
        out.push(entry.message(chunk, seq, after));
    }
}

/// The command with the number `seq`; `None` if it has its outcome, or if there is no such number.
fn numbered(entries: &mut VecDeque<PendingCommand>, seq: Seq) -> Option<&mut PendingCommand> {
    entries.iter_mut().take_while(|entry| entry.seq.is_some()).find(|entry| entry.seq == Some(seq))
}

/// The outcome of a command that was never sent and never will be.
pub(crate) fn never_sent(reason: &str) -> Outcome {
    Outcome::Rejected { code: RejectCode::Unspecified, message: format!("the command was never sent: {reason}") }
}

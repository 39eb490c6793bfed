//! One chunk's own commands: rule R8 from the writer's side.
//!
//! Every command is an [`PendingCommand`] from submitting until its outcome. It gets its number when it is first sent; a number is
//! never used twice. `after` is computed anew at every sending: the previous number that is not skipped, or the newest
//! number that is known to be resolved. A command that was cancelled, or that ingest will never take, is skipped: it is
//! not sent again, later ones point before it, and its fate is read off the ledger's bit once a later number (or a
//! `Settle`) is resolved. Facts come first and conclusions after: a conclusion is drawn once, at the end of a frame,
//! when the confirmed replica shows what the fact says; it is never taken back.

use crate::event::{CommandId, Outcome};
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

/// How often ingest may refuse a `Settle` for good before what it would settle is given up as unknown: access may come
/// back, and what is in the log may still be decided.
const SETTLE_TRIES: u32 = 6;
/// Between two of them.
const SETTLE_HOLD_MS: u64 = 10_000;
/// How long an explicit outcome may come behind the commit of a later command. After that the reason is unknown.
const REASON_GRACE_MS: u64 = 1_000;

/// What may be sent now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendPermit {
    /// Ingest is there, and the chunk is served to us.
    pub can_send: bool,
    /// The session goes on: commands may get numbers.
    pub can_number: bool,
}

pub(crate) struct Outbox {
    /// In the user's order: first those with a number, by number, then those that wait for one.
    entries: VecDeque<PendingCommand>,
    /// The newest number given out; 0 if none is.
    newest: Seq,
    /// The newest own number that is known to be resolved.
    resolved: Seq,
    /// The newest own number that the stream showed as decided since the last Tracked.
    stream_seq: Seq,
    /// Whether the stream since the last Tracked has shown everything: then a number below `stream_seq` that it did not
    /// show as committed was not committed.
    is_continuous: bool,
    /// When a number below `stream_seq` was first missed.
    missing_since: Option<MonotonicMs>,
    /// The stream said that the ledger has forgotten this writer.
    expired_floor: Option<UnixMs>,
    resend_timer: ResendTimer,
}

impl Outbox {
    pub fn new(settings: &Settings) -> Self {
        Self {
            entries: VecDeque::new(),
            newest: Seq(0),
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

    /// The user's command with this number, as long as it has no outcome.
    pub fn command(&self, seq: Seq) -> Option<CommandId> {
        self.entries.iter().find(|entry| entry.seq == Some(seq))?.id
    }

    /// Commands of the user that have no outcome yet.
    pub fn pending(&self) -> usize {
        self.entries.iter().filter(|entry| entry.id.is_some()).count()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a number of this session is still open here.
    pub fn has_open_numbers(&self) -> bool {
        self.entries.iter().any(|entry| entry.seq.is_some() && entry.resolution.is_none())
    }

    // ---- the user ----

    pub fn submit(&mut self, id: CommandId, command: Bytes, submitted_at: UnixMs) {
        self.entries.push_back(PendingCommand::command(id, command, submitted_at));
    }

    /// Gives an outcome where it is one at once. Anything else ends through [`Self::conclude`].
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

    /// A transmission is in the log.
    pub fn receipted(&mut self, seq: Seq) {
        if let Some(entry) = numbered(&mut self.entries, seq) {
            entry.is_receipted = true;
        }
    }

    /// This transmission is not in the log. A decision beats it, and other transmissions may be in the log.
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
            let reason = "ingest refuses to settle it, and nothing else tells what became of it";
            self.give_up_skipped_up_to(seq, reason);
        }
        // Later ones that are out point at it.
        self.resend_timer.request(now);
    }

    fn give_up_skipped_up_to(&mut self, seq: Seq, reason: &str) {
        let below = |entry: &&mut PendingCommand| {
            entry.seq.is_some_and(|s| s <= seq) && entry.is_skipped() && entry.resolution.is_none()
        };
        self.entries
            .iter_mut()
            .filter(below)
            .for_each(|entry| entry.resolution = Some(Resolution::Unknown(reason.into())));
    }

    /// A new connection to ingest.
    pub fn reconnected(&mut self, now: MonotonicMs, settings: &Settings) {
        self.resend_timer.reconnected(now, settings);
    }

    // ---- the gateway ----

    /// The stream shows that an own number was decided. `fact` says how.
    pub fn decided(&mut self, now: MonotonicMs, seq: Seq, resolution: Resolution, settings: &Settings) {
        self.stream_seq = self.stream_seq.max(seq);
        self.resolve_up_to(now, seq, settings);
        if let Some(entry) = numbered(&mut self.entries, seq) {
            entry.resolve(resolution);
        }
    }

    pub fn out_of_order(&mut self, now: MonotonicMs, seq: Seq) {
        if seq > self.resolved {
            self.resend_timer.request(now);
        }
    }

    pub fn session_expired(&mut self, floor: UnixMs) {
        self.expired_floor = self.expired_floor.max(Some(floor));
    }

    /// Everything decided up to the gateway's position, which is at `version`; from here on the stream shows the rest.
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
            // It proves nothing (FACTS.md): the writer may have been evicted after it committed.
            return self.give_up("the chunk's ledger has forgotten this session");
        };
        self.resolve_up_to(now, newest, settings);
        for entry in self.entries.iter_mut().filter(|entry| entry.resolution.is_none()) {
            let Some(seq) = entry.seq.filter(|seq| *seq <= newest) else { continue };
            entry.resolve(match resolved.is_committed(seq) {
                Some(true) => Resolution::Committed { version: None, visible_at: version },
                Some(false) => Resolution::NotCommitted(None),
                None => Resolution::Unknown("it is beyond what the chunk's ledger remembers".into()),
            });
        }
    }

    /// The stream leaves something out from here on, until the next Tracked.
    pub fn stream_interrupted(&mut self) {
        self.is_continuous = false;
    }

    /// What the stream had left out has been seen after all.
    pub fn stream_complete(&mut self) {
        self.is_continuous = true;
    }

    fn resolve_up_to(&mut self, now: MonotonicMs, seq: Seq, settings: &Settings) {
        // A number that was never given is nobody's: `after` must stay below the numbers that are given next.
        let seq = seq.min(self.newest);
        if seq > self.resolved {
            self.resolved = seq;
            self.resend_timer.progressed(now, settings);
        }
    }

    // ---- the end of a frame ----

    /// Draws the conclusions that a complete frame allows. Gives the floor for the next session where this one expired.
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
            // One that was not skipped has an outcome of its own, which tells the reason.
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

    /// The stream said that the ledger does not know the writer and never will: no open number is committed. They wait
    /// for the numbers of a new session.
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

    /// Takes out what has an outcome. `shown` is the version of a healthy confirmed replica: what is committed stays in
    /// the view until the replica has it. `None` where no replica will show it: then nothing waits.
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

    /// What becomes of open numbers is not to be known any more.
    pub fn give_up(&mut self, reason: &str) {
        for entry in self.entries.iter_mut().filter(|entry| entry.seq.is_some() && entry.resolution.is_none()) {
            entry.resolution = Some(Resolution::Unknown(reason.to_owned()));
        }
    }

    /// Ends everything; what was never sent, with `unsent`.
    pub fn abandon(&mut self, reason: &str, unsent: &Outcome) -> Vec<ConcludedCommand> {
        self.give_up(reason);
        let mut concluded = self.conclude(Visible::Everything);
        concluded.extend(self.entries.drain(..).filter_map(|entry| entry.concluded(unsent.clone())));
        concluded
    }

    /// A new session: numbers count from 1 again.
    pub fn renumber(&mut self, settings: &Settings) -> Vec<ConcludedCommand> {
        self.give_up("the session was lost");
        let concluded = self.conclude(Visible::Everything);
        let entries = std::mem::take(&mut self.entries);
        *self = Self { entries, ..Self::new(settings) };
        concluded
    }

    // ---- sending ----

    /// Sends again what is due, then what is new, then a `Settle` where nothing else resolves a skipped number. Gives
    /// true where sending again does not help any more: another Tracked may.
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

    /// When [`Self::send_due`] or [`Self::finish_frame`] has something to do without any input.
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

    fn open(&self) -> impl Iterator<Item = (Seq, &PendingCommand)> {
        self.entries.iter().filter(|entry| entry.resolution.is_none()).filter_map(|entry| Some((entry.seq?, entry)))
    }

    /// Whether something is out that a resend may help.
    fn has_sendable(&self) -> bool {
        self.open().any(|(seq, entry)| !entry.is_skipped() && seq > self.resolved)
    }

    /// `newest sent − oldest unresolved < window`, also with the next number.
    fn has_room(&self, window: u64) -> bool {
        self.open().next().is_none_or(|(oldest, _)| self.newest.next().0 - oldest.0 < window)
    }

    /// Whether a skipped number is open, and no number above it will resolve it.
    fn needs_settle(&self) -> bool {
        let skipped =
            self.open().filter(|(seq, entry)| entry.is_skipped() && *seq > self.resolved).map(|(seq, _)| seq).max();
        let sent = self.open().filter(|(_, entry)| !entry.is_skipped()).map(|(seq, _)| seq).max();
        skipped.is_some() && sent < skipped
    }

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

fn numbered(entries: &mut VecDeque<PendingCommand>, seq: Seq) -> Option<&mut PendingCommand> {
    entries.iter_mut().take_while(|entry| entry.seq.is_some()).find(|entry| entry.seq == Some(seq))
}

/// What became of a command that was never sent and never will be.
pub(crate) fn never_sent(reason: &str) -> Outcome {
    Outcome::Rejected { code: RejectCode::Unspecified, message: format!("it was never sent: {reason}") }
}

//! The timer that says when the outbox sends a chunk's unresolved commands again. A lost message
//! must not block these commands, and a fault must not cause a storm of resends.
//!
//! A requested resend is due at once, but at least `gap_ms` after the previous resend, and not
//! before the delay that ingest asked for. Without any request, a resend is due after `stall_ms`
//! without progress. Progress is a decision about one of this client's commands; a receipt is no
//! progress. Each resend doubles `gap_ms` and `stall_ms`, and progress resets both.

use crate::settings::Settings;
use driftless_schemas::time::MonotonicMs;

/// The longest gap, in milliseconds, between two requested resends.
const GAP_MAX_MS: u64 = 5_000;
/// The longest delay, in milliseconds, that a client accepts from ingest.
const HOLD_MAX_MS: u64 = 60_000;
/// The number of resends without progress after which the client tracks the chunk again, because an
/// outcome may be lost.
const RESENDS_BEFORE_TRACK: u32 = 3;

/// The timer of one chunk.
#[derive(Clone, Debug)]
pub(crate) struct ResendTimer {
    gap_ms: u64,
    stall_ms: u64,
    /// The time of the last decision, resend, or first transmission, whichever is latest.
    idle_since: MonotonicMs,
    /// When the commands were last sent again; `None` before the first resend.
    resent_at: Option<MonotonicMs>,
    /// When a requested resend is due; [`MonotonicMs::NEVER`] without a request.
    requested_at: MonotonicMs,
    /// The outbox sends nothing before this time, because ingest asked it to wait.
    hold_until: MonotonicMs,
    resends_without_progress: u32,
}

impl ResendTimer {
    pub fn new(settings: &Settings) -> Self {
        Self {
            gap_ms: settings.resend_gap_ms,
            stall_ms: settings.resend_after_ms,
            idle_since: MonotonicMs(0),
            resent_at: None,
            requested_at: MonotonicMs::NEVER,
            hold_until: MonotonicMs(0),
            resends_without_progress: 0,
        }
    }

    /// Starts the wait for progress: a command is sent while no other command is in flight.
    pub fn start(&mut self, now: MonotonicMs) {
        self.idle_since = now;
    }

    /// Records progress: the log contains a decision of one of this client's commands.
    pub fn progressed(&mut self, now: MonotonicMs, settings: &Settings) {
        self.idle_since = now;
        self.resends_without_progress = 0;
        self.gap_ms = settings.resend_gap_ms;
        self.stall_ms = settings.resend_after_ms;
        // The cause of a requested resend may be older than this progress, so delay the resend. If
        // a message is in fact lost, progress stops, and the resend becomes due.
        if self.requested_at != MonotonicMs::NEVER {
            self.requested_at = self.requested_at.max(now.plus_ms(self.gap_ms));
        }
    }

    /// Requests a resend, because a message shows that the decider waits for an earlier command.
    pub fn request(&mut self, now: MonotonicMs) {
        let earliest = self.resent_at.map_or(now, |at| now.max(at.plus_ms(self.gap_ms)));
        self.requested_at = self.requested_at.min(earliest);
    }

    /// Delays all sending by the time that ingest asked for. 0 means the current `gap_ms`.
    pub fn hold(&mut self, now: MonotonicMs, retry_after_ms: u64) {
        let wait = if retry_after_ms == 0 { self.gap_ms } else { retry_after_ms.min(HOLD_MAX_MS) };
        self.hold_until = self.hold_until.max(now.plus_ms(wait));
        self.requested_at = self.hold_until;
    }

    /// Requests a resend at once, because messages of the old connection may be lost.
    pub fn reconnected(&mut self, now: MonotonicMs, settings: &Settings) {
        self.gap_ms = settings.resend_gap_ms;
        self.hold_until = MonotonicMs(0);
        self.requested_at = now;
    }

    /// Records that all unresolved commands were sent again. Returns true after every third resend
    /// without progress.
    pub fn resent(&mut self, now: MonotonicMs, settings: &Settings) -> bool {
        self.resent_at = Some(now);
        self.idle_since = now;
        self.requested_at = MonotonicMs::NEVER;
        self.gap_ms = (self.gap_ms * 2).min(GAP_MAX_MS);
        self.stall_ms = (self.stall_ms * 2).min(settings.resend_after_max_ms);
        self.resends_without_progress = self.resends_without_progress.wrapping_add(1);
        self.resends_without_progress.is_multiple_of(RESENDS_BEFORE_TRACK)
    }

    /// Drops a requested resend, because no command is in flight.
    pub fn cancel(&mut self) {
        self.requested_at = MonotonicMs::NEVER;
    }

    /// When the unresolved commands are due to be sent again.
    pub fn resend_at(&self) -> MonotonicMs {
        self.requested_at.min(self.idle_since.plus_ms(self.stall_ms)).max(self.hold_until)
    }

    /// The time before which the outbox must send nothing.
    pub fn hold_until(&self) -> MonotonicMs {
        self.hold_until
    }
}

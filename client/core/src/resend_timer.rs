//! When a chunk's unresolved commands are sent again, so that neither a loss hangs nor a fault makes a storm.
//!
//! A resend is due at once when something says that one is needed, but not sooner than `gap` after the last one, nor
//! before the time that ingest asked to wait for; and in any case after `stall` without progress. Both double with each
//! resend in vain, and start anew with progress: a decision about an own command. Receipts are no progress.

use crate::settings::Settings;
use driftless_schemas::time::MonotonicMs;

/// The longest gap between two resends that something asked for.
const GAP_MAX_MS: u64 = 5_000;
/// No server makes a client wait longer than this.
const HOLD_MAX_MS: u64 = 60_000;

/// After so many resends in vain the gateway is asked for what is resolved: an outcome may have got lost.
const RESENDS_BEFORE_TRACK: u32 = 3;

#[derive(Clone, Debug)]
pub(crate) struct ResendTimer {
    gap_ms: u64,
    stall_ms: u64,
    /// The last decision, resend, or first sending.
    idle_since: MonotonicMs,
    resent_at: Option<MonotonicMs>,
    requested_at: MonotonicMs,
    hold_until: MonotonicMs,
    /// Resends since the last progress.
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

    /// A command goes out while nothing else is.
    pub fn start(&mut self, now: MonotonicMs) {
        self.idle_since = now;
    }

    /// An own command was decided.
    pub fn progressed(&mut self, now: MonotonicMs, settings: &Settings) {
        self.idle_since = now;
        self.resends_without_progress = 0;
        self.gap_ms = settings.resend_gap_ms;
        self.stall_ms = settings.resend_after_ms;
        // What asked for the resend may be older than what made the progress; a real loss stops the progress.
        if self.requested_at != MonotonicMs::NEVER {
            self.requested_at = self.requested_at.max(now.plus_ms(self.gap_ms));
        }
    }

    /// Something says that the decider waits for an earlier command.
    pub fn request(&mut self, now: MonotonicMs) {
        let earliest = self.resent_at.map_or(now, |at| now.max(at.plus_ms(self.gap_ms)));
        self.requested_at = self.requested_at.min(earliest);
    }

    /// Ingest asks to wait, then to send again. Zero leaves the time to us.
    pub fn hold(&mut self, now: MonotonicMs, retry_after_ms: u64) {
        let wait = if retry_after_ms == 0 { self.gap_ms } else { retry_after_ms.min(HOLD_MAX_MS) };
        self.hold_until = self.hold_until.max(now.plus_ms(wait));
        self.requested_at = self.hold_until;
    }

    /// A new connection: what it may have lost is sent at once.
    pub fn reconnected(&mut self, now: MonotonicMs, settings: &Settings) {
        self.gap_ms = settings.resend_gap_ms;
        self.hold_until = MonotonicMs(0);
        self.requested_at = now;
    }

    /// All unresolved commands went out again. Gives true every third time in vain.
    pub fn resent(&mut self, now: MonotonicMs, settings: &Settings) -> bool {
        self.resent_at = Some(now);
        self.idle_since = now;
        self.requested_at = MonotonicMs::NEVER;
        self.gap_ms = (self.gap_ms * 2).min(GAP_MAX_MS);
        self.stall_ms = (self.stall_ms * 2).min(settings.resend_after_max_ms);
        self.resends_without_progress = self.resends_without_progress.wrapping_add(1);
        self.resends_without_progress.is_multiple_of(RESENDS_BEFORE_TRACK)
    }

    /// Nothing is out any more.
    pub fn cancel(&mut self) {
        self.requested_at = MonotonicMs::NEVER;
    }

    /// When the unresolved commands are to be sent again.
    pub fn resend_at(&self) -> MonotonicMs {
        self.requested_at.min(self.idle_since.plus_ms(self.stall_ms)).max(self.hold_until)
    }

    /// Before this, nothing is sent.
    pub fn hold_until(&self) -> MonotonicMs {
        self.hold_until
    }
}

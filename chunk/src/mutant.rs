//! Deliberate bugs, one at a time, to prove that the simulator's oracles bite (`cargo xtask sim --mutants`).
//!
//! Only the feature `mutants`, which nothing but the simulator asks for, makes them possible; without it
//! [`Mutant::is_on`] is a constant `false` that the compiler removes. A mutant is on for the thread that turned it on,
//! so that seeds can run side by side. The same switch makes a ledger small, so that evictions are common.

use driftless_schemas::limits;

/// A bug. Each names the rule that it breaks and, where the bug stands in the simulator's shell and not in a core, says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "`Mutant::story` tells what each is")]
pub enum Mutant {
    SkipFence,
    ReadToTheEnd,
    OpenIndexAfterFence,
    ReuseEpoch,
    ReopenIndex,
    StartWithoutEpoch,
    TrustEveryOffset,
    CountZombies,
    AcceptGaps,
    ProduceAgain,
    CheckpointBeforeAck,
    RefBeforeAck,
    AnnounceBeforeStored,
    DropThroughOffset,
    SkipByPartition,
    ForgetLedger,
    DropDiscardedMarks,
    IgnoreAfter,
    AfterMustBeNewest,
    EvictWithoutFloor,
    LowestFloor,
    UndecodableWithoutAfter,
    TrimByVersion,
    TrimUnderLoad,
    EvictUnnoticed,
    RereadWithoutEpoch,
    ResolvedFromOlderPosition,
    AnswerWhileBehind,
    ReadWithExpiredToken,
    SkipWhileLagging,
    IgnoreHash,
    ClientTakesOlder,
    ReuseWithdrawnNumber,
    FinalResend,
    TimeoutIsRejection,
    ResubmitOnExpiredTracked,
    ReceiptedNotResent,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 37] = [
        Self::SkipFence,
        Self::ReadToTheEnd,
        Self::OpenIndexAfterFence,
        Self::ReuseEpoch,
        Self::ReopenIndex,
        Self::StartWithoutEpoch,
        Self::TrustEveryOffset,
        Self::CountZombies,
        Self::AcceptGaps,
        Self::ProduceAgain,
        Self::CheckpointBeforeAck,
        Self::RefBeforeAck,
        Self::AnnounceBeforeStored,
        Self::DropThroughOffset,
        Self::SkipByPartition,
        Self::ForgetLedger,
        Self::DropDiscardedMarks,
        Self::IgnoreAfter,
        Self::AfterMustBeNewest,
        Self::EvictWithoutFloor,
        Self::LowestFloor,
        Self::UndecodableWithoutAfter,
        Self::TrimByVersion,
        Self::TrimUnderLoad,
        Self::EvictUnnoticed,
        Self::RereadWithoutEpoch,
        Self::ResolvedFromOlderPosition,
        Self::AnswerWhileBehind,
        Self::ReadWithExpiredToken,
        Self::SkipWhileLagging,
        Self::IgnoreHash,
        Self::ClientTakesOlder,
        Self::ReuseWithdrawnNumber,
        Self::FinalResend,
        Self::TimeoutIsRejection,
        Self::ResubmitOnExpiredTracked,
        Self::ReceiptedNotResent,
    ];

    /// What is wrong with it, in a line.
    #[must_use]
    pub fn story(self) -> &'static str {
        match self {
            Self::SkipFence => "R4: an owner decides without a fence in the log (shell)",
            Self::ReadToTheEnd => "R4: an owner reads to the log's end, not to its own fence (shell)",
            Self::OpenIndexAfterFence => "R4: the index is opened after the fence was appended (shell)",
            Self::ReuseEpoch => "R4: a new owner takes the epoch of the one before (shell)",
            Self::ReopenIndex => "R4: a fenced owner opens its index again and goes on (shell)",
            Self::StartWithoutEpoch => "R4: reading begins at `updates_low` without the epoch and n at that place",
            Self::TrustEveryOffset => "R4: what is acknowledged at an offset is taken for the newest below it",
            Self::CountZombies => "R4: records of a replaced owner count",
            Self::AcceptGaps => "R4: a record counts although one before it was lost",
            Self::ProduceAgain => "R6: a record that failed is appended again by hand (shell)",
            Self::CheckpointBeforeAck => "R6: `commands_next` passes what is not acknowledged",
            Self::RefBeforeAck => "R6: a ref becomes visible before its decisions are acknowledged",
            Self::AnnounceBeforeStored => "R6: a ref becomes visible before its object is stored",
            Self::DropThroughOffset => "R2: commands at or below `through_offset` are decided again",
            Self::SkipByPartition => "R2: what one chunk has decided is skipped for all chunks of the partition",
            Self::ForgetLedger => "R8: a restored chunk begins with an empty ledger",
            Self::DropDiscardedMarks => "R8: marks of discarded commands are not folded",
            Self::IgnoreAfter => "R8: `after` is not looked at",
            Self::AfterMustBeNewest => "R8: `after` must be the newest resolved number, not at most it",
            Self::EvictWithoutFloor => "R8: a writer is evicted and the floor stays",
            Self::LowestFloor => "R8: the floor becomes the evicted session's time, also where it was higher",
            Self::UndecodableWithoutAfter => "R8: an undecodable command is discarded before `after` is looked at",
            Self::TrimByVersion => "a ring is trimmed by version; discards do not move it",
            Self::TrimUnderLoad => "a ring is trimmed for a newer ref while an older one loads",
            Self::EvictUnnoticed => "R5: what a ring gives up for want of room is not read again",
            Self::RereadWithoutEpoch => "R4: what is read again is judged without the epoch and n at its place",
            Self::ResolvedFromOlderPosition => "R8: `resolved` and version come from two positions of the log",
            Self::AnswerWhileBehind => "R12: a gateway answers a Track although it is behind `have`",
            Self::ReadWithExpiredToken => "access: a gateway answers Track and Refresh with an expired token",
            Self::SkipWhileLagging => "R9: after lagging a gateway goes on as if nothing was missed",
            Self::IgnoreHash => "R10: a client does not compare hashes",
            Self::ClientTakesOlder => "R12: a client replaces a healthy replica by an older Chunk",
            Self::ReuseWithdrawnNumber => "R8: a client gives a withdrawn number to its next command",
            Self::FinalResend => "R8: a client takes the rejection of a resend for the end",
            Self::TimeoutIsRejection => "R8: ingest answers a time-out of the log as a rejection (shell)",
            Self::ResubmitOnExpiredTracked => "R8: a client submits again on `expired` in Tracked",
            Self::ReceiptedNotResent => "R8: a client does not resend what was receipted",
        }
    }

    /// Whether this thread runs with this bug.
    #[must_use]
    #[inline]
    pub fn is_on(self) -> bool {
        #[cfg(feature = "mutants")]
        return switch::current() == Some(self);
        #[cfg(not(feature = "mutants"))]
        false
    }
}

/// Writers in a ledger: [`limits::LEDGER_WRITERS_MAX`], but for a simulation that asked for fewer.
#[must_use]
#[inline]
pub fn ledger_writers_max() -> usize {
    #[cfg(feature = "mutants")]
    if let Some(max) = switch::ledger_writers_max() {
        return max;
    }
    limits::LEDGER_WRITERS_MAX
}

#[cfg(feature = "mutants")]
pub use switch::{set, set_ledger_writers_max};

#[cfg(feature = "mutants")]
mod switch {
    use super::Mutant;
    use std::cell::Cell;

    thread_local! {
        static CURRENT: Cell<Option<Mutant>> = const { Cell::new(None) };
        static LEDGER_WRITERS_MAX: Cell<Option<usize>> = const { Cell::new(None) };
    }

    /// Turns a bug on, or all of them off, for this thread.
    pub fn set(mutant: Option<Mutant>) {
        CURRENT.set(mutant);
    }

    /// Makes the ledgers of this thread small.
    pub fn set_ledger_writers_max(max: Option<usize>) {
        LEDGER_WRITERS_MAX.set(max);
    }

    pub(super) fn current() -> Option<Mutant> {
        CURRENT.get()
    }

    pub(super) fn ledger_writers_max() -> Option<usize> {
        LEDGER_WRITERS_MAX.get()
    }
}

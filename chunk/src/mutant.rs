//! Deliberate bugs, called mutants. `cargo xtask sim --mutants` turns on one at a time, to prove
//! that the simulator's oracles find it.
//!
//! Only the simulator enables the feature `mutants`. Without the feature, [`Mutant::is_on`] is a
//! constant `false` that the compiler removes. A mutant is on only in the thread that turned it on,
//! so that several seeds can run in parallel. The same feature can make ledgers small, so that
//! evictions are common.

use driftless_schemas::limits;

/// A deliberate bug. Its description ([`Mutant::story`]) names the rule that it breaks. Where the
/// bug is in the simulator's shell and not in a core, the description says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "`Mutant::story` describes each")]
pub enum Mutant {
    SkipFence,
    ReadToTheEnd,
    OpenIndexAfterFence,
    ReuseEpoch,
    OwnFenceByEpoch,
    ReopenIndex,
    StartWithoutEpoch,
    ForgetTheEnd,
    TrustEveryOffset,
    OverlookFence,
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
    GatewayForgetsTheEnd,
    ServeOldHistory,
    IgnoreHash,
    ClientTakesOlder,
    ClientKeepsOldHistory,
    ClientNumbersAnew,
    ReuseWithdrawnNumber,
    FinalResend,
    TimeoutIsRejection,
    ResubmitOnExpiredTracked,
    ReceiptedNotResent,
}

impl Mutant {
    /// Every mutant.
    pub const ALL: [Mutant; 44] = [
        Self::SkipFence,
        Self::ReadToTheEnd,
        Self::OpenIndexAfterFence,
        Self::ReuseEpoch,
        Self::OwnFenceByEpoch,
        Self::ReopenIndex,
        Self::StartWithoutEpoch,
        Self::ForgetTheEnd,
        Self::TrustEveryOffset,
        Self::OverlookFence,
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
        Self::GatewayForgetsTheEnd,
        Self::ServeOldHistory,
        Self::IgnoreHash,
        Self::ClientTakesOlder,
        Self::ClientKeepsOldHistory,
        Self::ClientNumbersAnew,
        Self::ReuseWithdrawnNumber,
        Self::FinalResend,
        Self::TimeoutIsRejection,
        Self::ResubmitOnExpiredTracked,
        Self::ReceiptedNotResent,
    ];

    /// A description of the bug in one line.
    #[must_use]
    pub fn story(self) -> &'static str {
        match self {
            Self::SkipFence => "R4: an owner decides without a fence in the log (shell)",
            Self::ReadToTheEnd => "R4: an owner reads to the log's end instead of its own fence (shell)",
            Self::OpenIndexAfterFence => "R4: the index is opened after the fence was appended (shell)",
            Self::ReuseEpoch => "R4: a new owner uses the epoch of its predecessor (shell)",
            Self::OwnFenceByEpoch => "R4: an owner takes any valid fence of its epoch for its own",
            Self::ReopenIndex => "R4: a fenced owner opens its index again and goes on (shell)",
            Self::StartWithoutEpoch => "R4: reading begins at `updates_low` without the epoch and n at that place",
            Self::ForgetTheEnd => "R4: an owner takes up a log that has lost records which an earlier owner has read",
            Self::TrustEveryOffset => "R4: every acknowledged offset counts as a position",
            Self::OverlookFence => "R4: an owner that reads another owner's fence goes on",
            Self::CountZombies => "R4: records of a replaced owner count",
            Self::AcceptGaps => "R4: a record counts although an earlier one was lost",
            Self::ProduceAgain => "R6: a record that failed is appended again by hand (shell)",
            Self::CheckpointBeforeAck => "R6: `commands_next` passes commands whose decision is not acknowledged",
            Self::RefBeforeAck => "R6: a ref becomes visible before its decisions are acknowledged",
            Self::AnnounceBeforeStored => "R6: a ref becomes visible before its object is stored",
            Self::DropThroughOffset => "R2: commands at or below `through_offset` are decided again",
            Self::SkipByPartition => {
                "R2: offsets that one chunk has decided are skipped for every chunk of the partition"
            }
            Self::ForgetLedger => "R8: a restored chunk begins with an empty ledger",
            Self::DropDiscardedMarks => "R8: marks of discarded commands are not folded",
            Self::IgnoreAfter => "R8: `after` is ignored",
            Self::AfterMustBeNewest => "R8: `after` must be the newest resolved number, not at most it",
            Self::EvictWithoutFloor => "R8: a writer is evicted and the floor stays",
            Self::LowestFloor => "R8: the floor becomes the evicted session's time, even if it was higher",
            Self::UndecodableWithoutAfter => "R8: an undecodable command is discarded before `after` is checked",
            Self::TrimByVersion => "a ring is trimmed by version; discards do not move it",
            Self::TrimUnderLoad => "a ring is trimmed for a newer ref while an older one loads",
            Self::EvictUnnoticed => "R5: records that a full ring evicted are not read again",
            Self::RereadWithoutEpoch => {
                "R4: records that are read again are judged without the epoch and n of their position"
            }
            Self::ResolvedFromOlderPosition => "R8: `resolved` and version come from two positions of the log",
            Self::AnswerWhileBehind => "R12: a gateway answers a Track although it is behind `have`",
            Self::ReadWithExpiredToken => "access: a gateway answers Track and Refresh with an expired token",
            Self::SkipWhileLagging => "R9: after lagging a gateway goes on as if no update was missed",
            Self::GatewayForgetsTheEnd => "R12: a gateway takes up a log that is not the one of its view of the index",
            Self::ServeOldHistory => "R12: a gateway keeps its replicas when another history begins",
            Self::IgnoreHash => "R10: a client does not compare hashes",
            Self::ClientTakesOlder => "R12: a client replaces a healthy replica by an older Chunk",
            Self::ClientKeepsOldHistory => "R12: a client keeps its replica when another history begins",
            Self::ClientNumbersAnew => "R8: a client begins its numbers anew when another history begins",
            Self::ReuseWithdrawnNumber => "R8: a client gives a withdrawn number to its next command",
            Self::FinalResend => "R8: a client takes the rejection of a resend as final",
            Self::TimeoutIsRejection => "R8: ingest answers a log time-out with a rejection (shell)",
            Self::ResubmitOnExpiredTracked => "R8: a client submits again on `expired` in Tracked",
            Self::ReceiptedNotResent => "R8: a client does not resend receipted commands",
        }
    }

    /// Whether this bug is on in the current thread.
    #[must_use]
    #[inline]
    pub fn is_on(self) -> bool {
        #[cfg(feature = "mutants")]
        return switch::current() == Some(self);
        #[cfg(not(feature = "mutants"))]
        false
    }
}

/// The largest number of writers in a ledger: [`limits::LEDGER_WRITERS_MAX`], unless a simulation
/// has set a smaller number.
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

    /// Turns a bug on for this thread, and any other bug off. `None` turns all bugs off.
    pub fn set(mutant: Option<Mutant>) {
        CURRENT.set(mutant);
    }

    /// Sets the largest number of writers in the ledgers of this thread; `None` restores the
    /// default.
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

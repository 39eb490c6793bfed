//! The rules broken one at a time. A model that does not catch them says nothing about the rules either.
//!
//! Each names the property that must catch it, so that none is caught by accident.

use crate::configurations::Setup;
use crate::{ownership, writer};

/// A broken rule and what catches it.
#[derive(Clone, Debug)]
pub struct Mutant {
    pub name: String,
    pub setup: Setup,
    pub property: &'static str,
}

const TWICE: &str = "R2: no command has two decisions that count";
const ORDER: &str = "R1: a chunk's commands are decided in their order";
const DENSE: &str = "R3: versions are dense";
const REF: &str = "R6: a ref holds what the log decided, and nothing else";
const NEXT: &str = "R6: commands_next never passes what is undecided";
const LOW: &str = "R6: updates_low never passes what no ref covers";
const TRIPLE: &str = "R4: updates_low has the epoch and n of its offset";
const RESTORE: &str = "R5: whoever starts from the index restores what the log says";
const GATEWAY: &str = "R5: a gateway's replica is what the log says";
const IDLE: &str = "R9: an owner at rest has left nothing undecided";

const COMMITTED_TWICE: &str = "R8: no command is committed twice";
const LOST: &str = "R8: no command is lost behind a later one";
const REFUSED: &str = "R8: out of order is said only where `after` is not resolved";
const TOLD: &str = "R8: what the author is told is what the log says, now and later";
const UNKNOWN: &str = "R8: unknown is said only where the ledger has forgotten the writer";
const LEDGERS: &str = "R5: the decider's ledger is what the marks make of it";
const HANGS: &str = "R8: when nothing fails any more, every command ends";

/// All of them.
#[must_use]
pub fn all() -> Vec<Mutant> {
    of_ownership().into_iter().chain(of_writing()).collect()
}

fn of_ownership() -> Vec<Mutant> {
    use ownership::Bounds;
    use ownership::mutant::Mutant::*;
    let plain = || Bounds { snapshots: 1, ..Bounds::plain(&[0, 0], 2) };
    let gateway = || Bounds { losses: 0, views: 1, ..Bounds::plain(&[0, 0], 1) };
    let mutant = |which: ownership::mutant::Mutant, bounds, property| Mutant {
        name: format!("{which:?}"),
        setup: Setup::Ownership(bounds, Some(which)),
        property,
    };
    vec![
        mutant(LowWithoutEpoch, plain(), RESTORE),
        mutant(LowWithNewestEpoch, plain(), RESTORE),
        mutant(TrustEveryOffset, Bounds { losses: 0, rewrites: 1, ..Bounds::plain(&[0, 1], 1) }, TRIPLE),
        mutant(NoNumbers, plain(), ORDER),
        mutant(ProduceAgain, plain(), REF),
        mutant(AcknowledgedOutOfOrder, plain(), IDLE),
        mutant(DirtyByVersion, plain(), LOW),
        mutant(TrimByVersion, gateway(), GATEWAY),
        mutant(ResumeByVersion, plain(), RESTORE),
        mutant(LoadWhileTrimmed, gateway(), GATEWAY),
        mutant(ReopenIndex, plain(), REF),
        mutant(OpenAfterFence, plain(), REF),
        mutant(NoFence, plain(), TWICE),
        mutant(ReadToEnd, plain(), TWICE),
        mutant(RefBeforeAck, plain(), REF),
        mutant(NextBeforeAck, Bounds { snapshots: 0, ..plain() }, NEXT),
        mutant(EpochNotDurable, plain(), DENSE),
        mutant(SkipByPartition, Bounds::plain(&[0, 1], 2), NEXT),
        mutant(SilentReset, Bounds { cuts: 1, ..plain() }, TRIPLE),
        mutant(IndexWithoutFence, plain(), REF),
        mutant(BoundAfterRecord, Bounds { snapshots: 0, ..plain() }, LOW),
    ]
}

fn of_writing() -> Vec<Mutant> {
    use writer::Bounds;
    use writer::mutant::Mutant::*;
    let plain = || Bounds::plain(2, 1);
    let evicted = || Bounds { others: vec![15], ledger_writers: 1, reconnects: 1, ..plain() };
    let mutant = |which: writer::mutant::Mutant, bounds, property| Mutant {
        name: format!("{which:?}"),
        setup: Setup::Writing(bounds, Some(which)),
        property,
    };
    vec![
        mutant(HoldAtIngest, Bounds { cancels: 1, retryable: 1, ..plain() }, HANGS),
        mutant(SettleInWindow, Bounds { cancels: 2, ..plain() }, HANGS),
        mutant(ReceiptedNotResent, plain(), HANGS),
        mutant(ResentOnReconnectOnly, Bounds { reconnects: 1, ..plain() }, HANGS),
        mutant(UndecodableAnyOrder, plain(), LOST),
        mutant(AfterEquals, Bounds { cancels: 1, ..plain() }, REFUSED),
        mutant(ReuseNumber, Bounds { cancels: 1, window: 1, ..plain() }, TOLD),
        mutant(RejectedResendIsFinal, Bounds { finals: 1, ..plain() }, TOLD),
        mutant(TimeoutIsRejection, Bounds { cancels: 1, ..plain() }, TOLD),
        mutant(WithdrawnAtOnce, Bounds { cancels: 1, ..plain() }, TOLD),
        mutant(EvictWithoutFloor, evicted(), COMMITTED_TWICE),
        mutant(FloorWithoutMax, Bounds { others: vec![5, 15], ..evicted() }, COMMITTED_TWICE),
        mutant(ResolvedOlderThanVersion, Bounds { tracks: 1, ..plain() }, TOLD),
        mutant(OrderNotInRef, Bounds { others: vec![5, 15], ledger_writers: 2, ..plain() }, LEDGERS),
        mutant(ResubmitOnTrackedExpired, Bounds { tracks: 1, ..evicted() }, COMMITTED_TWICE),
        mutant(WindowTooWide, Bounds { commands: 3, window: 1, tracks: 1, ..plain() }, UNKNOWN),
        mutant(SessionBelowFloor, evicted(), HANGS),
        mutant(SilentGap, plain(), TOLD),
    ]
}

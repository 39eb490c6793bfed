//! Mutants: the rules, broken one at a time. If a model does not catch a broken rule, then the
//! model proves nothing about that rule.
//!
//! Each mutant names the property that must catch it, so that no mutant passes as caught because of
//! another property.

use crate::configurations::Setup;
use crate::{ownership, writer};

/// A broken rule and the property that must catch it.
#[derive(Clone, Debug)]
pub struct Mutant {
    pub name: String,
    pub setup: Setup,
    pub property: &'static str,
}

const TWICE: &str = "R2: no command has two valid decisions";
const ORDER: &str = "R1: a chunk's commands are decided in log order";
const REF: &str = "R6: a ref contains exactly what the log decided";
const NEXT: &str = "R6: commands_next never passes an undecided command";
const LOW: &str = "R6: updates_low never passes a decision that no ref covers";
const TRIPLE: &str = "R4: updates_low has the epoch and n of its offset";
const RESTORE: &str = "R5: an owner that starts from the index restores what the log says";
const GATEWAY: &str = "R5: a gateway's replica matches the log";
const OWN_FENCE: &str = "R4: an owner that decides has a valid fence";
const IDLE: &str = "R9: an idle owner has left no command undecided";

const COMMITTED_TWICE: &str = "R8: no command is committed twice";
const LOST: &str = "R8: no command is lost behind a later one";
const REFUSED: &str = "R8: a command is out of order only if its `after` is not resolved";
const TOLD: &str = "R8: the author's outcomes agree with the log, now and later";
const UNKNOWN: &str = "R8: an outcome is unknown only if the ledger has forgotten the writer";
const LEDGERS: &str = "R5: the decider's ledger follows from the marks alone";
const HANGS: &str = "R8: once failures stop, every command ends";

/// All mutants of both models.
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
        mutant(OwnFenceByEpoch, Bounds { losses: 0, backups: 1, ..plain() }, OWN_FENCE),
        mutant(NoNumbers, plain(), ORDER),
        mutant(ProduceAgain, plain(), REF),
        mutant(AcknowledgedOutOfOrder, plain(), IDLE),
        mutant(DirtyByVersion, plain(), LOW),
        mutant(TrimByVersion, gateway(), GATEWAY),
        mutant(ResumeByVersion, plain(), RESTORE),
        mutant(LoadWhileTrimmed, gateway(), GATEWAY),
        mutant(ReopenIndex, plain(), LOW),
        mutant(NoFence, plain(), TWICE),
        mutant(ReadToEnd, plain(), TWICE),
        mutant(ReuseEpoch, plain(), LOW),
        mutant(RefBeforeAck, plain(), REF),
        mutant(NextBeforeAck, Bounds { snapshots: 0, ..plain() }, NEXT),
        mutant(SkipByPartition, Bounds::plain(&[0, 1], 2), NEXT),
        mutant(SilentReset, Bounds { cuts: 1, ..plain() }, TRIPLE),
        mutant(IndexWithoutFence, plain(), LOW),
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

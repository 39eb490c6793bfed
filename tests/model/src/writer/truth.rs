//! The properties of every state, checked from the log and from the outcomes that the user got.

use super::client::{Client, Outcome};
use super::fault::Fault;
use super::log::{Fate, Log};
use super::rules::Rules;
use super::state::State;
use super::{Bounds, SESSION, Writing};
use stateright::Property;

/// Events that must occur in some state, because the exploration proves little without them. The
/// constants are bits of [`State::seen`].
pub mod seen {
    pub const OUT_OF_ORDER: u8 = 1;
    pub const EXPIRED: u8 = 2;
    pub const COMMITTED_LATER: u8 = 4;
    pub const WITHDRAWN: u8 = 8;
    pub const REJECTED: u8 = 16;
    pub const UNKNOWN: u8 = 32;
    pub const SETTLED: u8 = 64;
    pub const ALL_COMMITTED: u8 = 128;
}

/// Records the first property that a state violates, and the events that the state shows.
pub fn examine(state: &mut State, rules: Rules) {
    let State { client, log, .. } = &*state;
    let fault = state
        .fault
        .or_else(|| log_fault(log))
        .or_else(|| told_fault(client, log))
        .or_else(|| (log.ledger != log.ledger_at(log.marks.len(), rules)).then_some(Fault::ReplicasDiffer))
        .or_else(|| (state.is_quiet() && !state.ends_well(rules)).then_some(Fault::Hangs));
    state.seen = notable(client, log);
    state.fault = fault;
}

fn log_fault(log: &Log) -> Option<Fault> {
    let mut last = 0;
    for mark in log.marks.iter().filter(|mark| mark.fate == Fate::Committed && mark.id > 0) {
        match mark.id.cmp(&last) {
            std::cmp::Ordering::Greater => last = mark.id,
            std::cmp::Ordering::Equal => return Some(Fault::CommittedTwice),
            std::cmp::Ordering::Less => {
                let commits = log.marks.iter().filter(|m| m.fate == Fate::Committed && m.id == mark.id).count();
                return Some(if commits > 1 { Fault::CommittedTwice } else { Fault::OutOfTurn });
            }
        }
    }
    None
}

fn told_fault(client: &Client, log: &Log) -> Option<Fault> {
    for (id, outcome) in client.outcomes.iter().enumerate() {
        let is_committed = log.marks.iter().any(|m| m.fate == Fate::Committed && usize::from(m.id) == id);
        let fault = match outcome {
            None => continue,
            Some(Outcome::Committed) => (!is_committed).then_some(Fault::ToldOtherwise),
            Some(Outcome::Discarded | Outcome::Rejected | Outcome::Withdrawn) => {
                is_committed.then_some(Fault::ToldOtherwise)
            }
            Some(Outcome::Unknown) => (log.ledger.floor < SESSION).then_some(Fault::UnknownInVain),
        };
        if fault.is_some() {
            return fault;
        }
    }
    None
}

fn notable(client: &Client, log: &Log) -> u8 {
    let mut seen = 0;
    for mark in &log.marks {
        match mark.fate {
            Fate::OutOfOrder => seen |= seen::OUT_OF_ORDER,
            Fate::Expired { .. } if mark.writer.is_own => seen |= seen::EXPIRED,
            Fate::Committed if mark.writer.is_own && mark.writer.time > SESSION => seen |= seen::COMMITTED_LATER,
            Fate::Discarded if mark.id == 0 => seen |= seen::SETTLED,
            _ => {}
        }
    }
    for outcome in client.outcomes.iter().flatten() {
        match outcome {
            Outcome::Withdrawn => seen |= seen::WITHDRAWN,
            Outcome::Rejected => seen |= seen::REJECTED,
            Outcome::Unknown => seen |= seen::UNKNOWN,
            Outcome::Committed | Outcome::Discarded => {}
        }
    }
    if client.outcomes[1..].iter().all(|outcome| *outcome == Some(Outcome::Committed)) {
        seen |= seen::ALL_COMMITTED;
    }
    seen
}

/// The properties of this model: the faults that must never occur, and the events that must occur
/// within these bounds.
pub fn properties(bounds: &Bounds) -> Vec<Property<Writing>> {
    macro_rules! never {
        ($fault:ident, $claim:literal) => {
            Property::always($claim, |m: &Writing, s: &State| s.fault != Some(Fault::$fault) || !m.is_first())
        };
    }
    macro_rules! occurs {
        ($bit:ident, $what:literal) => {
            Property::sometimes($what, |_: &Writing, s: &State| s.seen & seen::$bit != 0)
        };
    }
    let mut properties = vec![
        never!(CommittedTwice, "R8: no command is committed twice"),
        never!(OutOfTurn, "R8: commands are committed in their author's order"),
        never!(LostBehind, "R8: no command is lost behind a later one"),
        never!(RefusedInVain, "R8: a command is out of order only if its `after` is not resolved"),
        never!(ToldOtherwise, "R8: the author's outcomes agree with the log, now and later"),
        never!(UnknownInVain, "R8: an outcome is unknown only if the ledger has forgotten the writer"),
        never!(ReplicasDiffer, "R5: the decider's ledger follows from the marks alone"),
        never!(Hangs, "R8: once failures stop, every command ends"),
        occurs!(ALL_COMMITTED, "every command is committed, and its author knows it"),
    ];
    if bounds.commands > 1 {
        properties.push(occurs!(OUT_OF_ORDER, "a command arrives before an earlier one"));
    }
    if bounds.cancels > 0 {
        properties.push(occurs!(WITHDRAWN, "a command is withdrawn"));
        properties.push(occurs!(SETTLED, "a Settle is decided"));
    }
    if bounds.finals > 0 {
        properties.push(occurs!(REJECTED, "a command is rejected"));
    }
    if bounds.others.len() >= usize::from(bounds.ledger_writers) {
        properties.push(occurs!(EXPIRED, "a session is found expired"));
        properties.push(occurs!(COMMITTED_LATER, "a command is committed under a later session"));
        if bounds.tracks > 0 {
            properties.push(occurs!(UNKNOWN, "an outcome is unknown"));
        }
    }
    properties
}

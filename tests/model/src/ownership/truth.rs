//! The properties that must hold in every state. They are checked from the log alone, that is from
//! the decisions that are valid by R4, in log order.

use super::State;
use super::gateway::{Gateway, start};
use super::log::{Body, CHUNKS, COMMANDS, Content, LogPosition, judge};
use super::owner::{Facts, Owner, Phase, restore};
use driftless_chunk::position::Validity;

/// A property that a state violates. Each variant names the rule or the document that demands the
/// property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// R2: a command has two valid decisions.
    DecidedTwice,
    /// R3: the version of a valid decision does not follow from the previous version of its chunk.
    VersionNotDense,
    /// R1: a command was decided before an earlier command of its chunk.
    Overtaken,
    /// R6: a ref in the index differs from the log's decisions up to its `through_offset`.
    RefBeyondLog,
    /// A command below `commands_next` has no valid decision (docs/design.md#object-store).
    NextBeyondLog,
    /// A decision below `updates_low` is in no ref (docs/design.md#object-store).
    LowBeyondRef,
    /// R4: the epoch and n of `updates_low` differ from those that R4 gives at this offset.
    LowMisjudged,
    /// R5: an owner that starts now would restore other contents than the log's.
    Misrestored,
    /// R5, R12: a gateway's replica differs from the log, or lacks a decision that the gateway has
    /// read.
    GatewayWrong,
    /// R9: the newest owner has nothing left to do, and a command is not decided.
    LeftUndecided,
}

/// Events that must occur in some state, because the exploration proves little without them. The
/// constants are bits of [`State::seen`].
pub mod seen {
    pub const REPLACED: u8 = 1;
    pub const HOLE: u8 = 2;
    pub const FROM_REF: u8 = 4;
    pub const FENCED_BY_INDEX: u8 = 8;
    pub const ALL_DECIDED_BY_TWO: u8 = 16;
    pub const GATEWAY_LIVE: u8 = 32;
    pub const BOUND_BEHIND: u8 = 64;
    pub const TWICE: u8 = 128;
}

/// The valid decisions of a log, and the contents that follow from them.
struct Truth {
    contents: [Content; CHUNKS],
    /// For each valid decision, its offset in `updates` and the offset of its command.
    decided: Vec<(u8, u8)>,
    low: Option<LogPosition>,
    seen: u8,
    deciders: u8,
}

/// Returns the first property that a state violates, and the events that the state shows.
pub fn examine(state: &State, facts: Facts<'_>) -> (Option<Fault>, u8) {
    let truth = match Truth::of(state, facts) {
        Ok(truth) => truth,
        Err(fault) => return (Some(fault), 0),
    };
    let fault = index_fault(state, &truth, facts)
        .or_else(|| state.gateway.as_ref().and_then(|gateway| gateway_fault(gateway, &truth, facts)))
        .or_else(|| left_undecided(state, &truth, facts));
    (fault, truth.seen | notable(state, &truth, facts))
}

impl Truth {
    fn of(state: &State, facts: Facts<'_>) -> Result<Self, Fault> {
        let mut truth = Self { contents: Default::default(), decided: Vec::new(), low: None, seen: 0, deciders: 0 };
        let mut position = LogPosition::default();
        let asked = state.index.checkpoint.updates_low.offset;
        for record in &state.log {
            if position.offset == asked {
                truth.low = Some(position);
            }
            let before = position;
            match (judge(&mut position, record, facts.mutant), record.body) {
                (Validity::Invalid, Body::Fence) => {}
                (Validity::Invalid, _) if record.epoch < before.epoch => truth.seen |= seen::REPLACED,
                (Validity::Invalid, _) if record.n > before.n + 1 => truth.seen |= seen::HOLE,
                (Validity::Invalid, _) => truth.seen |= seen::TWICE,
                (Validity::Valid, Body::Decided(decision)) => {
                    let chunk = facts.chunk_of[usize::from(decision.command)];
                    let content = &mut truth.contents[usize::from(chunk)];
                    if content.decided >> decision.command & 1 == 1 {
                        return Err(Fault::DecidedTwice);
                    }
                    let mut earlier = 0..decision.command;
                    let is_open = |c: u8| facts.chunk_of[usize::from(c)] == chunk && content.decided >> c & 1 == 0;
                    if earlier.any(is_open) {
                        return Err(Fault::Overtaken);
                    }
                    if decision.version != content.version() + u8::from(decision.is_committed) {
                        return Err(Fault::VersionNotDense);
                    }
                    content.decided |= 1 << decision.command;
                    content.committed |= u8::from(decision.is_committed) << decision.command;
                    truth.decided.push((before.offset, decision.command));
                    truth.deciders |= 1 << record.epoch;
                }
                _ => {}
            }
        }
        if position.offset == asked {
            truth.low = Some(position);
        }
        Ok(truth)
    }

    fn is_decided(&self, command: u8) -> bool {
        self.contents.iter().any(|content| content.decided >> command & 1 == 1)
    }
}

fn index_fault(state: &State, truth: &Truth, facts: Facts<'_>) -> Option<Fault> {
    let index = &state.index;
    for (stored, content) in index.refs.iter().zip(truth.contents) {
        if *stored != content.below(stored.through()) {
            return Some(Fault::RefBeyondLog);
        }
    }
    if (0..index.checkpoint.commands_next).any(|command| !truth.is_decided(command)) {
        return Some(Fault::NextBeyondLog);
    }
    let low = index.checkpoint.updates_low;
    let is_covered = |command: u8| {
        let chunk = facts.chunk_of[usize::from(command)];
        command < index.refs[usize::from(chunk)].through()
    };
    if truth.decided.iter().any(|(offset, command)| *offset < low.offset && !is_covered(*command)) {
        return Some(Fault::LowBeyondRef);
    }
    if truth.low != Some(low) {
        return Some(Fault::LowMisjudged);
    }
    // An owner that starts in this state restores exactly the log's decisions, or refuses to start.
    let from = start(low, index.epoch, facts.mutant);
    let restored = state
        .starts
        .check(from, index.checkpoint.commands_next, facts.mutant)
        .and_then(|(from, _)| restore(&state.log, from, state.log.len() as u8, &index.refs, u8::MAX, facts));
    match restored {
        Ok((chunks, _)) if chunks.iter().zip(truth.contents).any(|(owned, content)| owned.content != content) => {
            Some(Fault::Misrestored)
        }
        _ => None,
    }
}

/// Checks that each replica of a gateway equals the log's content up to some offset, and contains
/// every decision that the gateway has read.
fn gateway_fault(gateway: &Gateway, truth: &Truth, facts: Facts<'_>) -> Option<Fault> {
    for (chunk, tracked) in gateway.chunks.iter().enumerate() {
        let Some(live) = tracked.live else { continue };
        let is_missing = |(offset, command): &(u8, u8)| {
            *offset < gateway.position.offset
                && usize::from(facts.chunk_of[usize::from(*command)]) == chunk
                && *command >= live.through()
        };
        if live != truth.contents[chunk].below(live.through()) || truth.decided.iter().any(is_missing) {
            return Some(Fault::GatewayWrong);
        }
    }
    None
}

/// Returns a fault if the newest owner has nothing left to do and some command is not decided.
fn left_undecided(state: &State, truth: &Truth, facts: Facts<'_>) -> Option<Fault> {
    let (number, owner) = state.owners.iter().enumerate().find(|(i, _)| *i as u8 + 1 == state.index.writer)?;
    let is_newest = state.owners[number + 1..].iter().all(|later| later.phase == Phase::Absent);
    let is_idle = owner.phase == Phase::Running
        && owner.sent.is_empty()
        && (0..CHUNKS as u8).all(|chunk| owner.next_command(chunk, facts).is_none());
    let is_all = (state.starts.commands..facts.chunk_of.len() as u8).all(|command| truth.is_decided(command));
    (is_newest && is_idle && !is_all).then_some(Fault::LeftUndecided)
}

fn notable(state: &State, truth: &Truth, facts: Facts<'_>) -> u8 {
    let mut seen = 0;
    let is_fresh = |owner: &Owner| owner.phase == Phase::Running && owner.next_n == 1;
    let has_ref = state.index.refs.iter().any(|stored| stored.decided != 0);
    if has_ref && state.owners.iter().skip(1).any(is_fresh) {
        seen |= seen::FROM_REF;
    }
    let is_refused = |(i, owner): (usize, &Owner)| {
        let is_stuck = owner.batch.is_some_and(|batch| !batch.is_durable) && i as u8 + 1 != state.index.writer;
        owner.is_refused || is_stuck
    };
    if state.owners.iter().enumerate().any(is_refused) {
        seen |= seen::FENCED_BY_INDEX;
    }
    if truth.decided.len() == facts.chunk_of.len() && truth.deciders.count_ones() > 1 {
        seen |= seen::ALL_DECIDED_BY_TWO;
    }
    if state.gateway.as_ref().is_some_and(|g| g.chunks.iter().any(|tracked| tracked.live.is_some())) {
        seen |= seen::GATEWAY_LIVE;
    }
    if state.starts.updates > state.index.checkpoint.updates_low.offset {
        seen |= seen::BOUND_BEHIND;
    }
    debug_assert!(truth.decided.len() <= COMMANDS);
    seen
}

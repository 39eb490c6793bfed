//! The properties that must hold in every state. They are checked from the log alone, that is from
//! the decisions that are valid by R4, in log order.

use super::State;
use super::gateway::{Gateway, start};
use super::index::Index;
use super::log::{Body, CHUNKS, COMMANDS, Content, LogPosition, judge};
use super::mutant::Mutant;
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
    /// R4: an owner decides, and its fence is invalid.
    FenceInvalid,
    /// R9: the owner whose fence is the current one has nothing left to do, and a command is not
    /// decided.
    LeftUndecided,
}

/// Events that must occur in some state, because the exploration proves little without them. The
/// constants are bits of [`State::seen`].
pub mod seen {
    pub const REPLACED: u16 = 1;
    pub const HOLE: u16 = 2;
    pub const FROM_REF: u16 = 4;
    pub const FENCED_BY_INDEX: u16 = 8;
    pub const ALL_DECIDED_BY_TWO: u16 = 16;
    pub const GATEWAY_LIVE: u16 = 32;
    pub const BOUND_BEHIND: u16 = 64;
    pub const TWICE: u16 = 128;
    pub const EPOCH_TWICE: u16 = 256;
}

/// The valid decisions of a log, and the contents that follow from them.
struct Truth {
    contents: [Content; CHUNKS],
    /// For each valid decision, its offset in `updates` and the offset of its command.
    decided: Vec<(u8, u8)>,
    /// The position at each offset of the log, its end included.
    positions: Vec<LogPosition>,
    /// The number of the owner whose fence is the current one; 0 if there is no valid fence.
    current: u8,
    /// One bit for each owner whose fence is valid, by its number.
    fenced: u8,
    seen: u16,
    deciders: u8,
}

/// Returns the first property that a state violates, and the events that the state shows.
pub fn examine(state: &State, facts: Facts<'_>) -> (Option<Fault>, u16) {
    let truth = match Truth::of(state, facts) {
        Ok(truth) => truth,
        Err(fault) => return (Some(fault), 0),
    };
    let fault = std::iter::once(&state.index)
        .chain(&state.copy)
        .find_map(|index| index_fault(state, index, &truth, facts))
        .or_else(|| state.gateway.as_ref().and_then(|gateway| gateway_fault(gateway, &truth, facts)))
        .or_else(|| left_undecided(state, &truth, facts))
        .or_else(|| fence_invalid(state, &truth, facts));
    (fault, truth.seen | notable(state, &truth, facts))
}

impl Truth {
    fn of(state: &State, facts: Facts<'_>) -> Result<Self, Fault> {
        let mut truth = Self {
            contents: Default::default(),
            decided: Vec::new(),
            positions: Vec::new(),
            current: 0,
            fenced: 0,
            seen: 0,
            deciders: 0,
        };
        let mut position = LogPosition::default();
        for record in &state.log {
            truth.positions.push(position);
            let before = position;
            match (judge(&mut position, record, facts.mutant), record.body) {
                (Validity::Fence, Body::Fence(owner)) => {
                    truth.current = owner;
                    truth.fenced |= 1 << owner;
                }
                (Validity::Invalid, Body::Fence(owner)) if record.epoch == before.epoch && owner != truth.current => {
                    truth.seen |= seen::EPOCH_TWICE;
                }
                (Validity::Invalid, Body::Fence(_)) => {}
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
        truth.positions.push(position);
        Ok(truth)
    }

    fn is_decided(&self, command: u8) -> bool {
        self.contents.iter().any(|content| content.decided >> command & 1 == 1)
    }
}

fn index_fault(state: &State, index: &Index, truth: &Truth, facts: Facts<'_>) -> Option<Fault> {
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
    if truth.positions.get(usize::from(low.offset)) != Some(&low) {
        return Some(Fault::LowMisjudged);
    }
    // An owner that starts in this state restores exactly the log's decisions, or refuses to start.
    let from = start(low, index.epoch, facts.mutant);
    let restored = state
        .starts
        .check(from, index.checkpoint.commands_next, facts.mutant)
        .map(|(from, _)| restore(&state.log, from, state.log.len() as u8, &index.refs, facts));
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

/// Returns a fault if some command is not decided, although an owner has nothing left to do. The
/// owner's fence must be the current one, and its index must still accept its writes. No later
/// owner may have begun.
fn left_undecided(state: &State, truth: &Truth, facts: Facts<'_>) -> Option<Fault> {
    let writer = |i: u8| state.index_of(i).writer == i + 1;
    let number = (0..state.owners.len() as u8).rev().find(|i| writer(*i))?;
    let owner = &state.owners[usize::from(number)];
    let is_newest = state.owners[usize::from(number) + 1..].iter().all(|later| later.phase == Phase::Absent);
    if is_judged(facts) && truth.current != number + 1 {
        // Another owner decides, or none does until the next one begins.
        return None;
    }
    let is_idle = owner.phase == Phase::Running
        && owner.sent.is_empty()
        && (0..CHUNKS as u8).all(|chunk| owner.next_command(chunk, facts).is_none());
    let is_all = (state.starts.commands..facts.chunk_of.len() as u8).all(|command| truth.is_decided(command));
    (is_newest && is_idle && !is_all).then_some(Fault::LeftUndecided)
}

/// Returns a fault if an owner decides although its fence is invalid.
fn fence_invalid(state: &State, truth: &Truth, facts: Facts<'_>) -> Option<Fault> {
    let decides = |(i, owner): (usize, &Owner)| owner.phase == Phase::Running && truth.fenced >> (i + 1) & 1 == 0;
    let is_any = is_judged(facts) && state.owners.iter().enumerate().any(decides);
    is_any.then_some(Fault::FenceInvalid)
}

/// False for mutants under which an owner decides without reading its own fence. Other properties
/// must catch them.
fn is_judged(facts: Facts<'_>) -> bool {
    !matches!(facts.mutant, Some(Mutant::NoFence | Mutant::ReadToEnd | Mutant::ReuseEpoch))
}

fn notable(state: &State, truth: &Truth, facts: Facts<'_>) -> u16 {
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

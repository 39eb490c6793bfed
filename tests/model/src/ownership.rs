//! R2 to R6 and recovery (docs/design.md#ownership) for one partition: owners, the log `updates`,
//! the index, a gateway.
//!
//! All commands are in `commands` from the start, because an owner that reads slowly sees the same
//! as an owner to which commands come late. The initial states differ in whether each command is
//! committed or discarded. Each owner decides a command contrary to the previous owner, so that a
//! second decision of one command is visible. A record holds one decision. Decisions of different
//! chunks may be made in any order, as when a chunk is loaded late. An owner never stops by itself.
//! An owner that takes no further step has crashed.

pub mod mutant;
pub mod log;
pub mod index;
pub mod owner;
pub mod gateway;
pub mod truth;

use crate::explore::First;
use gateway::Gateway;
use index::Index;
use log::{CHUNKS, COMMANDS, Record};
use mutant::Mutant;
use owner::{Facts, Owner, Phase, Refusal, Sent, Starts};
use stateright::{Model, Property};
use std::fmt;
use truth::{Fault, seen};

/// The limits of an exploration: how often each kind of event may happen in one trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The chunk of each command, by its offset in `commands`.
    pub chunk_of: Vec<u8>,
    /// The limit on ownerships. Each may begin at any time after the previous ownership has begun.
    pub owners: u8,
    /// The limit on one owner's decisions that are in flight at a time.
    pub in_flight: u8,
    /// The limit on appends that get lost. Later appends may land nevertheless.
    pub losses: u8,
    /// The limit on how often a producer appends its unacknowledged records again.
    pub rewrites: u8,
    /// The limit on the snapshots that one owner takes.
    pub snapshots: u8,
    /// True if a snapshot is frozen some time before the checkpoint that writes its ref. False if
    /// the checkpoint freezes it.
    pub is_frozen_early: bool,
    /// True if an index batch takes three steps: it begins, becomes durable, and its writer learns
    /// of it. False if all three are one step.
    pub is_flush_split: bool,
    /// True if acknowledgements may come without the record's offset.
    pub has_blind_acks: bool,
    /// The limit on gateways that start, one after the other.
    pub views: u8,
    /// The limit on how often retention cuts a log, at any offset.
    pub cuts: u8,
    /// The limit on how often an operator saves the index. Each saved index is put back at some
    /// later time.
    pub backups: u8,
    /// The limit on how often an operator copies the index. Later owners open either of the two
    /// indexes.
    pub copies: u8,
    /// True if an owner that the index has fenced forgets the state that it needs only for writing
    /// to the index. Forgetting reduces the number of states. If this is false, such owners are
    /// explored in full.
    pub is_reduced: bool,
}

impl Bounds {
    /// Bounds for owners whose appends land or get lost. All other events are off.
    pub fn plain(chunk_of: &[u8], owners: u8) -> Self {
        Self {
            chunk_of: chunk_of.to_vec(),
            owners,
            in_flight: 2,
            losses: 1,
            rewrites: 0,
            snapshots: 2,
            is_frozen_early: false,
            is_flush_split: false,
            has_blind_acks: false,
            views: 0,
            cuts: 0,
            backups: 0,
            copies: 0,
            is_reduced: true,
        }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chunk_of, owners, in_flight, losses, rewrites, snapshots, views, cuts, backups, copies, .. } = self;
        let chunks = chunk_of.iter().max().map_or(0, |chunk| chunk + 1);
        let word = |is_so: bool, word: &'static str| if is_so { word } else { "" };
        write!(
            f,
            "ownership: commands {}, chunks {chunks}, owners {owners}, in flight {in_flight}, losses {losses}, \
             rewrites {rewrites}, snapshots per owner {snapshots}, gateways {views}, cuts {cuts}, \
             backups {backups}, copies {copies}{}{}{}{}",
            chunk_of.len(),
            word(self.is_frozen_early, ", frozen early"),
            word(self.is_flush_split, ", flush in steps"),
            word(self.has_blind_acks, ", blind acknowledgements"),
            word(!self.is_reduced, ", unreduced"),
        )
    }
}

/// The model, with its bounds and possibly with one broken rule.
#[derive(Debug)]
pub struct Ownership {
    pub bounds: Bounds,
    pub mutant: Option<Mutant>,
    first: First,
}

/// The whole state: what is durable, what is in memory, and what is in flight. The fields `fault`
/// and `seen` follow from the other fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// One bit for each command: whether the first owner commits the command. Each later owner
    /// decides contrary to the previous owner.
    outcomes: u8,
    pub log: Vec<Record>,
    pub starts: Starts,
    pub index: Index,
    /// The copy of the index, with which a second replayer runs.
    pub copy: Option<Index>,
    /// A saved index that can be put back.
    pub backup: Option<Index>,
    /// The highest epoch that made a fence invalid. Later owners may or may not know of it.
    learned: u8,
    pub owners: Vec<Owner>,
    pub gateway: Option<Gateway>,
    views: u8,
    losses: u8,
    rewrites: u8,
    cuts: u8,
    backups: u8,
    copies: u8,
    fault: Option<Fault>,
    seen: u16,
}

/// A step of the model. The first number is the index of the owner that takes the step, counted
/// from 0. Cuts have an offset instead, and loads of the gateway a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The owner opens the index, or its copy, and claims an epoch.
    Open(u8, Opening),
    Claim(u8),
    Recover(u8),
    Decide(u8, u8),
    Land(u8),
    Lose(u8),
    WriteAgain(u8),
    Acknowledge(u8),
    AcknowledgeBlind(u8),
    Freeze(u8, u8),
    Checkpoint(u8),
    CheckpointLands(u8),
    CheckpointKnown(u8),
    CutUpdates(u8),
    CutCommands(u8),
    ReadBack(u8),
    Backup,
    Restore,
    Copy,
    View,
    ViewFollows,
    ViewReads,
    ViewCloses,
    Load(u8),
    Loaded(u8),
    ProduceAgain(u8, u8),
    Reopen(u8),
}

/// How an owner opens an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// True if the owner opens the copy of the index.
    pub is_copy: bool,
    /// True if the owner knows which epoch made an earlier fence invalid.
    pub knows_epoch: bool,
}

impl State {
    /// The index that an owner uses.
    pub fn index_of(&self, o: u8) -> &Index {
        match &self.copy {
            Some(copy) if self.owners[usize::from(o)].uses_copy => copy,
            _ => &self.index,
        }
    }
}

impl Ownership {
    pub fn new(bounds: Bounds, mutant: Option<Mutant>) -> Self {
        assert!(bounds.chunk_of.len() <= COMMANDS && bounds.chunk_of.iter().all(|c| usize::from(*c) < CHUNKS));
        Self { bounds, mutant, first: First::default() }
    }

    fn facts(&self) -> Facts<'_> {
        Facts { chunk_of: &self.bounds.chunk_of, mutant: self.mutant }
    }

    /// True if fenced owners forget what they need only for writing to the index. Mutants are
    /// always explored in full, because some of them let a replaced owner write.
    fn is_reduced(&self) -> bool {
        self.bounds.is_reduced && self.mutant.is_none()
    }

    /// The limit on the snapshots that checkpoints freeze; 0 if another step freezes them earlier.
    fn freezing(&self) -> u8 {
        if self.bounds.is_frozen_early { 0 } else { self.bounds.snapshots }
    }

    fn chunks(&self) -> u8 {
        self.bounds.chunk_of.iter().max().map_or(0, |chunk| chunk + 1)
    }

    fn owner_actions(&self, state: &State, o: u8, actions: &mut Vec<Action>) {
        let owner = &state.owners[usize::from(o)];
        let is_writer = state.index_of(o).writer == o + 1;
        match owner.phase {
            Phase::Absent if o == 0 || state.owners[usize::from(o) - 1].phase != Phase::Absent => {
                for (is_copy, index) in [(false, Some(&state.index)), (true, state.copy.as_ref())] {
                    let Some(index) = index else { continue };
                    actions.push(Action::Open(o, Opening { is_copy, knows_epoch: false }));
                    if state.learned > index.epoch {
                        actions.push(Action::Open(o, Opening { is_copy, knows_epoch: true }));
                    }
                }
            }
            Phase::Opened if is_writer => actions.push(Action::Claim(o)),
            Phase::Fencing if owner.recovery_end(o + 1, &state.log, self.mutant).is_some() => {
                actions.push(Action::Recover(o))
            }
            Phase::Running => self.running_actions(state, o, actions),
            _ => {}
        }
        if !owner.flight.is_empty() {
            actions.push(Action::Land(o));
            if state.losses < self.bounds.losses {
                actions.push(Action::Lose(o));
            }
        }
        if state.rewrites < self.bounds.rewrites && owner.may_write_again() {
            actions.push(Action::WriteAgain(o));
        }
        if owner.ackable(self.mutant).is_some() {
            actions.push(Action::Acknowledge(o));
            if self.bounds.has_blind_acks {
                actions.push(Action::AcknowledgeBlind(o));
            }
        }
        if let Some(batch) = &owner.batch {
            match batch.is_durable {
                true => actions.push(Action::CheckpointKnown(o)),
                false if is_writer || self.mutant == Some(Mutant::IndexWithoutFence) => {
                    actions.push(Action::CheckpointLands(o));
                }
                false => {}
            }
        }
    }

    fn running_actions(&self, state: &State, o: u8, actions: &mut Vec<Action>) {
        let owner = &state.owners[usize::from(o)];
        let is_writer = state.index_of(o).writer == o + 1;
        // The index refuses the writes of a replaced owner, so the model leaves these steps out.
        let may_write = is_writer || !self.is_reduced();
        for chunk in 0..self.chunks() {
            if owner.flight.len() < usize::from(self.bounds.in_flight)
                && let Some(command) = owner.next_command(chunk, self.facts())
                && command >= state.starts.commands
            {
                actions.push(Action::Decide(o, command));
            }
            if may_write
                && self.bounds.is_frozen_early
                && owner.can_freeze(usize::from(chunk))
                && owner.frozen < self.bounds.snapshots
            {
                actions.push(Action::Freeze(o, chunk));
            }
        }
        // If a flush is one step, then a batch that has begun counts as written. So a replaced
        // owner must not begin one.
        let may_begin = is_writer || self.bounds.is_flush_split || self.mutant == Some(Mutant::IndexWithoutFence);
        if may_write && may_begin && owner.clone().checkpoint(self.freezing(), self.facts()) {
            actions.push(Action::Checkpoint(o));
        }
        if may_write && owner.reads_back(&state.log) {
            actions.push(Action::ReadBack(o));
        }
        if self.mutant == Some(Mutant::ReopenIndex) && !is_writer {
            actions.push(Action::Reopen(o));
        }
        if self.mutant == Some(Mutant::ProduceAgain)
            && let Some(command) = owner.oldest_unacked()
            && owner.flight.len() < usize::from(self.bounds.in_flight)
        {
            actions.push(Action::ProduceAgain(o, command));
        }
    }

    fn gateway_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let Some(gateway) = &state.gateway else {
            if state.views < self.bounds.views && state.starts.updates <= state.index.checkpoint.updates_low.offset {
                actions.push(Action::View);
            }
            return;
        };
        if gateway.refs != state.index.refs {
            actions.push(Action::ViewFollows);
        }
        match gateway.position.offset < state.starts.updates && self.mutant != Some(Mutant::SilentReset) {
            true => actions.push(Action::ViewCloses),
            false if usize::from(gateway.position.offset) < state.log.len() => actions.push(Action::ViewReads),
            false => {}
        }
        if state.views < self.bounds.views {
            actions.push(Action::ViewCloses);
        }
        for chunk in 0..self.chunks() {
            let tracked = &gateway.chunks[usize::from(chunk)];
            match (&tracked.live, &tracked.loading) {
                (None, None) => actions.push(Action::Load(chunk)),
                (None, Some(_)) => actions.push(Action::Loaded(chunk)),
                (Some(_), _) => {}
            }
        }
    }

    fn step(&self, state: &mut State, action: Action) {
        let facts = self.facts();
        let State { log, starts, index, copy, backup, owners, gateway, outcomes, learned, .. } = state;
        let outcomes = *outcomes;
        match action {
            Action::Open(o, Opening { is_copy, knows_epoch }) => {
                let owner = &mut owners[usize::from(o)];
                owner.uses_copy = is_copy;
                let above = if knows_epoch { *learned } else { 0 };
                owner.open(o + 1, used_by(owner, index, copy), above);
            }
            Action::Claim(o) => {
                let owner = &mut owners[usize::from(o)];
                owner.claim(o + 1, used_by(owner, index, copy), self.mutant);
            }
            Action::Recover(o) => {
                let owner = &mut owners[usize::from(o)];
                if let Err(Refusal::FenceInvalid(current)) = owner.recover(o + 1, log, *starts, facts) {
                    *learned = current.max(*learned);
                }
            }
            Action::ReadBack(o) => owners[usize::from(o)].read_back(log, self.mutant),
            Action::Backup => {
                *backup = Some(index.without_writer());
                state.backups += 1;
            }
            Action::Restore => backup.take().into_iter().for_each(|backup| *index = backup),
            Action::Copy => {
                *copy = Some(index.without_writer());
                state.copies += 1;
            }
            Action::Decide(o, command) => {
                owners[usize::from(o)].decide(command, (outcomes >> command ^ o) & 1 == 1, facts)
            }
            Action::Land(o) => {
                let record = owners[usize::from(o)].flown(Sent::Landed(log.len() as u8));
                log.push(record);
            }
            Action::Lose(o) => {
                owners[usize::from(o)].flown(Sent::Lost);
                state.losses += 1;
            }
            Action::WriteAgain(o) => {
                owners[usize::from(o)].write_again(log);
                state.rewrites += 1;
            }
            Action::Acknowledge(o) | Action::AcknowledgeBlind(o) => {
                let owner = &mut owners[usize::from(o)];
                if let Some(at) = owner.ackable(self.mutant) {
                    owner.acknowledged(at, matches!(action, Action::Acknowledge(_)), self.mutant);
                }
            }
            Action::Freeze(o, chunk) => owners[usize::from(o)].freeze(usize::from(chunk)),
            Action::Checkpoint(o) => {
                let owner = &mut owners[usize::from(o)];
                owner.checkpoint(self.freezing(), facts);
                if !self.bounds.is_flush_split {
                    let index = used_by(owner, index, copy);
                    owner.batch.iter().for_each(|batch| index.take(batch));
                    owner.checkpoint_written();
                }
            }
            Action::CheckpointLands(o) => {
                let owner = &mut owners[usize::from(o)];
                let index = used_by(owner, index, copy);
                if let Some(batch) = &mut owner.batch {
                    batch.is_durable = true;
                    index.take(batch);
                }
            }
            Action::CheckpointKnown(o) => owners[usize::from(o)].checkpoint_written(),
            Action::CutUpdates(to) => {
                starts.updates = to;
                state.cuts += 1;
            }
            Action::CutCommands(to) => {
                starts.commands = to;
                state.cuts += 1;
            }
            Action::View => {
                *gateway = Some(Gateway::open(index, self.mutant));
                state.views += 1;
            }
            Action::ViewCloses => *gateway = None,
            Action::ViewFollows => gateway.iter_mut().for_each(|gateway| gateway.refs = index.refs),
            Action::ViewReads => gateway.iter_mut().for_each(|gateway| {
                gateway.position.offset = gateway.position.offset.max(starts.updates);
                gateway.read(log, facts.chunk_of, self.mutant);
            }),
            Action::Load(chunk) => gateway.iter_mut().for_each(|gateway| gateway.load(usize::from(chunk))),
            Action::Loaded(chunk) => {
                gateway.iter_mut().for_each(|gateway| gateway.chunks[usize::from(chunk)].loaded(self.mutant));
            }
            Action::ProduceAgain(o, command) => owners[usize::from(o)].produce_again(command, facts),
            Action::Reopen(o) => index.writer = o + 1,
        }
    }
}

/// The index that an owner uses.
fn used_by<'a>(owner: &Owner, index: &'a mut Index, copy: &'a mut Option<Index>) -> &'a mut Index {
    match copy {
        Some(copy) if owner.uses_copy => copy,
        _ => index,
    }
}

impl Model for Ownership {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let state = |outcomes| State {
            outcomes,
            log: Vec::new(),
            starts: Starts::default(),
            index: Index::default(),
            copy: None,
            backup: None,
            learned: 0,
            owners: vec![Owner::default(); self.bounds.owners.into()],
            gateway: None,
            views: 0,
            losses: 0,
            rewrites: 0,
            cuts: 0,
            backups: 0,
            copies: 0,
            fault: None,
            seen: 0,
        };
        (0..1 << self.bounds.chunk_of.len()).map(state).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.fault.is_some() {
            return;
        }
        for o in 0..self.bounds.owners {
            self.owner_actions(state, o, actions);
        }
        self.gateway_actions(state, actions);
        if state.backups < self.bounds.backups {
            actions.push(Action::Backup);
        }
        if state.backup.is_some() {
            actions.push(Action::Restore);
        }
        if state.copies < self.bounds.copies {
            actions.push(Action::Copy);
        }
        if state.cuts < self.bounds.cuts {
            actions.extend((state.starts.updates + 1..=state.log.len() as u8).map(Action::CutUpdates));
            actions.extend((state.starts.commands + 1..=self.bounds.chunk_of.len() as u8).map(Action::CutCommands));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.step(&mut state, action);
        if self.is_reduced() {
            for o in 0..self.bounds.owners {
                if o + 1 < state.index_of(o).writer {
                    state.owners[usize::from(o)].forget_index();
                }
            }
        }
        (state.fault, state.seen) = truth::examine(&state, self.facts());
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! never {
            ($fault:ident, $claim:literal) => {
                Property::always($claim, |m: &Self, s: &State| s.fault != Some(Fault::$fault) || !m.first.claim())
            };
        }
        macro_rules! occurs {
            ($bit:ident, $what:literal) => {
                Property::sometimes($what, |_: &Self, s: &State| s.seen & seen::$bit != 0)
            };
        }
        let mut properties = vec![
            never!(DecidedTwice, "R2: no command has two valid decisions"),
            never!(VersionNotDense, "R3: versions are dense"),
            never!(Overtaken, "R1: a chunk's commands are decided in log order"),
            never!(RefBeyondLog, "R6: a ref contains exactly what the log decided"),
            never!(NextBeyondLog, "R6: commands_next never passes an undecided command"),
            never!(LowBeyondRef, "R6: updates_low never passes a decision that no ref covers"),
            never!(LowMisjudged, "R4: updates_low has the epoch and n of its offset"),
            never!(Misrestored, "R5: an owner that starts from the index restores what the log says"),
            never!(GatewayWrong, "R5: a gateway's replica matches the log"),
            never!(LeftUndecided, "R9: an idle owner has left no command undecided"),
            never!(FenceInvalid, "R4: an owner that decides has a valid fence"),
        ];
        if self.bounds.owners > 1 {
            properties.push(occurs!(REPLACED, "a late record of a replaced owner is skipped"));
        }
        if self.bounds.snapshots > 0 && self.bounds.owners > 1 {
            properties.push(occurs!(FROM_REF, "a later owner starts from a stored ref"));
        }
        if self.bounds.chunk_of.len() > 1 && self.bounds.owners > 1 {
            properties.push(occurs!(ALL_DECIDED_BY_TWO, "two owners together decide everything"));
        }
        if self.bounds.losses > 0 && self.bounds.in_flight > 1 && self.bounds.chunk_of.len() > 1 {
            properties.push(occurs!(HOLE, "a record after a hole is skipped"));
        }
        if self.bounds.rewrites > 0 {
            properties.push(occurs!(TWICE, "a record stands twice and counts once"));
        }
        if self.bounds.is_flush_split && self.bounds.owners > 1 {
            properties.push(occurs!(FENCED_BY_INDEX, "the index refuses a replaced owner's batch"));
        }
        if self.bounds.views > 0 {
            properties.push(occurs!(GATEWAY_LIVE, "a gateway has a replica"));
        }
        if self.bounds.backups + self.bounds.copies > 0 {
            properties.push(occurs!(EPOCH_TWICE, "two fences of one epoch are in the log"));
        }
        if self.bounds.cuts > 0 {
            properties.push(occurs!(BOUND_BEHIND, "updates_low is below the log's start"));
        }
        properties
    }
}

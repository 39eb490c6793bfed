//! R8 from the user's command to its outcome: one client, its commands to one chunk, one or more
//! connections to ingest, the log with its ledger, other writers that evict this one from the
//! ledger, and a gateway that may be behind.
//!
//! Each message can get lost, land twice, or be rejected for now or for good. On an old connection
//! it can also wait and land after later messages. The client may resend at any time.
//! [`fault::Fault::Hangs`] expresses liveness as a safety property: no message is in flight and no
//! failure happens from now on, yet some command never gets an outcome.

pub mod mutant;
pub mod ledger;
pub mod rules;
pub mod log;
pub mod client;
pub mod fault;
pub mod state;
pub mod truth;

use crate::explore::First;
use ledger::{Limits, Verdict};
use log::Message;
use mutant::Mutant;
use rules::Rules;
use state::State;
use stateright::{Model, Property};
use std::fmt;

/// The time of the client's first session. Other writers have times below and above it, so that
/// they are evicted before or after the client.
pub const SESSION: u8 = 10;

/// The limits of an exploration: how often each kind of event may happen in one trace. Messages may
/// always get lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The number of commands that the user submits.
    pub commands: u8,
    pub cancels: u8,
    /// The limit on how often the client resends all its unresolved commands.
    pub resends: u8,
    /// The limit on new connections to ingest. Messages on an old connection may still land.
    pub reconnects: u8,
    /// The limit on messages that land twice.
    pub doubles: u8,
    /// The limit on rejections that allow a retry.
    pub retryable: u8,
    /// The limit on rejections that are final.
    pub finals: u8,
    /// The session times of other writers, in the order in which their commands land. Each writer
    /// has one command.
    pub others: Vec<u8>,
    /// The limit on the writers that the ledger holds.
    pub ledger_writers: u8,
    /// The limit on the numbers that the client may have in flight. The ledger remembers one more.
    pub window: u8,
    /// The limit on how often the client tracks the chunk anew, at a gateway that may be behind.
    pub tracks: u8,
}

impl Bounds {
    /// Bounds for a client whose messages only land or get lost. All other events are off, except
    /// resends.
    pub fn plain(commands: u8, resends: u8) -> Self {
        Self {
            commands,
            cancels: 0,
            resends,
            reconnects: 0,
            doubles: 0,
            retryable: 0,
            finals: 0,
            others: Vec::new(),
            ledger_writers: 3,
            window: 2,
            tracks: 0,
        }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { commands, cancels, resends, reconnects, doubles, retryable, finals, others, tracks, .. } = self;
        write!(
            f,
            "writer: commands {commands}, cancels {cancels}, resends {resends}, reconnects {reconnects}, doubles {doubles}, \
             rejections for now {retryable}, for good {finals}, other writers {others:?}, tracks {tracks}; ledger {} writers, window {}",
            self.ledger_writers, self.window,
        )
    }
}

/// The model, with its bounds and possibly with one broken rule.
#[derive(Debug)]
pub struct Writing {
    pub bounds: Bounds,
    pub mutant: Option<Mutant>,
    first: First,
}

/// A step of the model. Connections have indexes from 0; the last one is the client's current
/// connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Submit,
    Cancel(u8),
    Resend,
    Reconnect,
    Commit(u8),
    Discard(u8),
    /// The first message of the connection with this index lands, and the log makes no decision
    /// about it.
    Land(u8),
    Lose(u8),
    LandTwice(u8),
    RejectForNow(u8),
    RejectForGood(u8),
    Other(u8),
    Follow,
    /// The client tracks the chunk at a gateway that has read this many marks of the log.
    Track(u8),
    /// Only mutants take this step and the steps below.
    HeldBack(u8),
    TimeOut(u8),
    Undecodable(u8),
    TrackMixed(u8, u8),
    RestoreDecider,
    Miss,
}

impl Writing {
    pub fn new(bounds: Bounds, mutant: Option<Mutant>) -> Self {
        assert!(bounds.window < 8 && bounds.commands < 8);
        Self { bounds, mutant, first: First::default() }
    }

    pub fn rules(&self) -> Rules {
        let window = match self.mutant {
            Some(Mutant::WindowTooWide) => self.bounds.window + 2,
            _ => self.bounds.window,
        };
        let limits = Limits { writers: self.bounds.ledger_writers, window: self.bounds.window + 1 };
        Rules { limits, window, mutant: self.mutant }
    }

    fn wire_actions(&self, state: &State, wire: u8, message: Message, actions: &mut Vec<Action>) {
        let (used, bounds, rules) = (&state.used, &self.bounds, self.rules());
        let is_current = usize::from(wire) + 1 == state.wires.len();
        actions.push(Action::Lose(wire));
        if is_current && state.is_held_back(message) {
            return actions.push(Action::HeldBack(wire));
        }
        let verdict = state.log.verdict(message, rules);
        match verdict {
            Verdict::Decide if message.id > 0 => actions.extend([Action::Commit(wire), Action::Discard(wire)]),
            _ => actions.push(Action::Land(wire)),
        }
        if used.doubles < bounds.doubles {
            actions.push(Action::LandTwice(wire));
        }
        if is_current && used.retryable < bounds.retryable {
            actions.push(Action::RejectForNow(wire));
        }
        if is_current && used.finals < bounds.finals && message.id > 0 {
            actions.push(Action::RejectForGood(wire));
        }
        match self.mutant {
            Some(Mutant::TimeoutIsRejection) if is_current => actions.push(Action::TimeOut(wire)),
            Some(Mutant::UndecodableAnyOrder) if verdict == Verdict::OutOfOrder && message.id > 0 => {
                actions.push(Action::Undecodable(wire));
            }
            _ => {}
        }
    }

    fn gateway_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let (client, log) = (&state.client, &state.log);
        if usize::from(client.place) < log.marks.len() {
            actions.push(Action::Follow);
            if self.mutant == Some(Mutant::SilentGap) {
                actions.push(Action::Miss);
            }
        }
        if state.used.tracks < self.bounds.tracks {
            // R12: a gateway that is behind the client's version does not answer the Track until it
            // has caught up.
            let places = (0..=log.marks.len()).filter(|place| log.version_at(*place) >= client.version);
            for place in places.map(|place| place as u8) {
                actions.push(Action::Track(place));
                if self.mutant == Some(Mutant::ResolvedOlderThanVersion) {
                    actions.extend((0..place).map(|older| Action::TrackMixed(place, older)));
                }
            }
        }
    }

    fn step(&self, state: &mut State, action: Action) {
        let rules = self.rules();
        match action {
            Action::Submit => state.client.submit(),
            Action::Cancel(id) => {
                state.client.cancel(id, rules);
                state.used.cancels += 1;
            }
            Action::Resend => {
                state.resend(rules);
                state.used.resends += 1;
            }
            Action::Reconnect => {
                state.new_wire();
                state.used.reconnects += 1;
                if self.mutant == Some(Mutant::ResentOnReconnectOnly) {
                    state.resend(rules);
                }
            }
            Action::Commit(wire) | Action::Land(wire) => state.land(wire, true, rules),
            Action::Discard(wire) => state.land(wire, false, rules),
            Action::Lose(wire) => {
                state.pop(wire);
            }
            Action::LandTwice(wire) => {
                // The other copy waits on an old connection, so it lands later or never. The client
                // gets no answer to it.
                let message = state.wires[usize::from(wire)][0];
                state.land(wire, true, rules);
                state.wires.insert(0, vec![message]);
                state.used.doubles += 1;
            }
            Action::RejectForNow(wire) => {
                let message = state.pop(wire);
                if self.mutant == Some(Mutant::HoldAtIngest) && state.held == 0 {
                    state.held = message.seq;
                }
                state.client.rejected(message, false, rules);
                state.used.retryable += 1;
            }
            Action::RejectForGood(wire) => {
                let message = state.pop(wire);
                state.client.rejected(message, true, rules);
                state.used.finals += 1;
            }
            Action::HeldBack(wire) => {
                let message = state.pop(wire);
                state.client.rejected(message, false, rules);
            }
            Action::TimeOut(wire) => {
                let message = state.wires[usize::from(wire)][0];
                state.land(wire, true, rules);
                state.client.rejected(message, false, rules);
            }
            Action::Undecodable(wire) => {
                let message = state.pop(wire);
                state.decide_unasked(message, rules);
            }
            Action::Other(other) => {
                state.log.take_other(self.bounds.others[usize::from(other)], rules);
                state.used.others += 1;
            }
            Action::Follow => state.follow(rules),
            Action::Miss => state.client.place += 1,
            Action::Track(place) => {
                state.track(place, place, rules);
                state.used.tracks += 1;
            }
            Action::TrackMixed(place, older) => {
                state.track(place, older, rules);
                state.used.tracks += 1;
            }
            Action::RestoreDecider => state.log.ledger.restored(self.mutant),
        }
        state.end_turn(rules);
    }
}

impl Model for Writing {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.bounds.commands)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.fault.is_some() {
            return;
        }
        let (used, bounds, client) = (&state.used, &self.bounds, &state.client);
        if client.submitted < bounds.commands {
            actions.push(Action::Submit);
        }
        if used.cancels < bounds.cancels {
            actions.extend((1..=client.submitted).filter(|id| client.can_cancel(*id)).map(Action::Cancel));
        }
        if used.resends < bounds.resends
            && client.has_sendable(self.rules())
            && self.mutant != Some(Mutant::ResentOnReconnectOnly)
        {
            actions.push(Action::Resend);
        }
        if used.reconnects < bounds.reconnects && !client.is_at_rest() {
            actions.push(Action::Reconnect);
        }
        for (wire, messages) in state.wires.iter().enumerate() {
            if let Some(message) = messages.first() {
                self.wire_actions(state, wire as u8, *message, actions);
            }
        }
        if usize::from(used.others) < bounds.others.len() {
            actions.push(Action::Other(used.others));
        }
        if self.mutant == Some(Mutant::OrderNotInRef) {
            actions.push(Action::RestoreDecider);
        }
        self.gateway_actions(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.step(&mut state, action);
        truth::examine(&mut state, self.rules());
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        truth::properties(&self.bounds)
    }
}

impl Writing {
    /// True for the first violation of the exploration. Only the first is reported.
    fn is_first(&self) -> bool {
        self.first.claim()
    }
}

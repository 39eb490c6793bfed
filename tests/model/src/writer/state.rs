//! The whole state (client, connections, log), and how one step changes it.

use super::SESSION;
use super::client::Client;
use super::fault::Fault;
use super::ledger::{self, Writer};
use super::log::{Fate, Log, Message};
use super::mutant::Mutant;
use super::rules::Rules;

/// The whole state of the model. The fields `fault` and `seen` follow from the other fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub client: Client,
    /// The messages in flight on each connection, in order. The last connection is the client's
    /// current one. The client has given up the others, but their messages may still land.
    pub wires: Vec<Vec<Message>>,
    pub log: Log,
    /// For [`Mutant::HoldAtIngest`]: the `seq` of the rejected command for which ingest waits; 0 if
    /// it waits for none.
    pub(super) held: u8,
    pub(super) used: Used,
    pub(super) fault: Option<Fault>,
    pub(super) seen: u8,
}

/// How often each bounded event has happened in this state's trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Used {
    pub(super) cancels: u8,
    pub(super) resends: u8,
    pub(super) reconnects: u8,
    pub(super) doubles: u8,
    pub(super) retryable: u8,
    pub(super) finals: u8,
    pub(super) others: u8,
    pub(super) tracks: u8,
}

/// The limit on the steps in which all messages in flight must arrive if no failure happens.
/// Arrival needs far fewer steps, unless messages circle for ever.
const STEPS_MAX: usize = 100;

impl State {
    pub(super) fn new(commands: u8) -> Self {
        Self {
            client: Client::new(SESSION, commands),
            wires: vec![Vec::new()],
            log: Log::default(),
            held: 0,
            used: Used::default(),
            fault: None,
            seen: 0,
        }
    }

    pub(super) fn pop(&mut self, wire: u8) -> Message {
        self.wires[usize::from(wire)].remove(0)
    }

    pub(super) fn new_wire(&mut self) {
        self.held = 0;
        self.wires.push(Vec::new());
    }

    /// Ends a step: the client records outcomes and sends new messages. Old connections without
    /// messages are removed.
    pub(super) fn end_turn(&mut self, rules: Rules) {
        self.client.conclude();
        let messages = self.client.pump(rules);
        if let Some(wire) = self.wires.last_mut() {
            wire.extend(messages);
        }
        let current = self.wires.pop().unwrap_or_default();
        self.wires.retain(|wire| !wire.is_empty());
        self.wires.push(current);
    }

    pub(super) fn resend(&mut self, rules: Rules) {
        let messages = self.client.resend(rules);
        if let Some(wire) = self.wires.last_mut() {
            wire.extend(messages);
        }
    }

    pub(super) fn is_held_back(&self, message: Message) -> bool {
        self.held > 0 && message.seq > self.held
    }

    /// The first message of the connection with index `wire` lands.
    pub(super) fn land(&mut self, wire: u8, is_committed: bool, rules: Rules) {
        let is_current = usize::from(wire) + 1 == self.wires.len();
        let message = self.pop(wire);
        if message.seq == self.held {
            self.held = 0;
        }
        if is_current && rules.mutant == Some(Mutant::ReceiptedNotResent) {
            self.client.receipted(message);
        }
        let before = self.log.ledger.resolved(message.writer());
        let fate = self.log.take(message, is_committed, rules);
        let ledger::Resolved::Known { seq: newest, .. } = before else { return };
        match fate {
            Some(Fate::Committed | Fate::Discarded) => self.passed_over(message, newest),
            Some(Fate::OutOfOrder) if message.after <= newest => self.fault = Some(Fault::RefusedInVain),
            _ => {}
        }
    }

    /// For [`Mutant::UndecodableAnyOrder`]: discards a command without a check of its `after`.
    pub(super) fn decide_unasked(&mut self, message: Message, rules: Rules) {
        let ledger::Resolved::Known { seq: newest, .. } = self.log.ledger.resolved(message.writer()) else { return };
        self.log.note(message.writer(), message.seq, message.id, Fate::Discarded, rules);
        self.passed_over(message, newest);
    }

    /// Records a fault if a decision passes over a number that its writer has not skipped. The
    /// command with that number could never be decided any more.
    pub(super) fn passed_over(&mut self, message: Message, newest: u8) {
        let is_lost = |seq: u8| self.client.skipped >> seq & 1 == 0;
        if message.session == self.client.session && (newest + 1..message.seq).any(is_lost) {
            self.fault = Some(Fault::LostBehind);
        }
    }

    pub(super) fn follow(&mut self, rules: Rules) {
        let mark = self.log.marks[usize::from(self.client.place)];
        if self.client.follow(mark, rules) {
            self.new_wire();
        }
    }

    pub(super) fn track(&mut self, place: u8, resolved_at: u8, rules: Rules) {
        let ledger = self.log.ledger_at(resolved_at.into(), rules);
        let resolved = ledger.resolved(Writer { time: self.client.session, is_own: true });
        let version = self.log.version_at(place.into());
        if self.client.tracked(place, version, resolved, ledger.floor, rules) {
            self.new_wire();
        }
    }

    /// True if no message is in flight and the client has read the whole log.
    pub(super) fn is_quiet(&self) -> bool {
        self.wires.iter().all(Vec::is_empty) && usize::from(self.client.place) == self.log.marks.len()
    }

    /// True if every submitted command gets an outcome when no failure happens from now on. In some
    /// rounds the client also tracks the chunk again, in case resends alone do not help.
    pub(super) fn ends_well(&self, rules: Rules) -> bool {
        let mut state = self.clone();
        for round in 0..usize::from(state.client.submitted) * 4 + 8 {
            if state.client.is_at_rest() {
                return true;
            }
            if round % 3 == 2 {
                let end = state.log.marks.len() as u8;
                state.track(end, end, rules);
            }
            if rules.mutant != Some(Mutant::ResentOnReconnectOnly) {
                state.resend(rules);
            }
            state.end_turn(rules);
            let mut steps = 0;
            while !state.is_quiet() {
                steps += 1;
                if steps > STEPS_MAX {
                    return false;
                }
                if let Some(wire) = state.wires.iter().position(|wire| !wire.is_empty()) {
                    let message = state.wires[wire][0];
                    match state.is_held_back(message) {
                        true => {
                            state.pop(wire as u8);
                            state.client.rejected(message, false, rules);
                        }
                        false => state.land(wire as u8, true, rules),
                    }
                } else {
                    state.follow(rules);
                }
                state.end_turn(rules);
            }
        }
        state.client.is_at_rest()
    }
}

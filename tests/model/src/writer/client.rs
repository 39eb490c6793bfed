//! The client's half of R8: the behaviour of `client/core/src/outbox.rs` without clocks. Because
//! there is no clock, a resend may come at any time.

use super::ledger::{Resolved, Writer};
use super::log::{Fate, Mark, Message};
use super::mutant::Mutant;
use super::rules::Rules;

/// A fact about one number that the client has learned from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fact {
    Committed,
    /// The log decided the command and discarded it.
    Discarded,
    /// The command is not committed. The log may have no decision about it, because a later number
    /// was decided.
    Not,
    Unknown,
}

/// The outcome of a command, as its author gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Committed,
    Discarded,
    Rejected,
    Withdrawn,
    Unknown,
}

/// A command of the user that has no outcome yet, or a `Settle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct PendingCommand {
    /// The user's number of the command, from 1; 0 for a `Settle`.
    id: u8,
    /// The `seq` under which the command is sent; 0 if it was never sent in this session.
    seq: u8,
    sent: u8,
    rejected: u8,
    is_cancelled: bool,
    is_refused: bool,
    /// True if ingest has acknowledged the command. Only [`Mutant::ReceiptedNotResent`] reads this
    /// field.
    is_receipted: bool,
    fact: Option<Fact>,
}

/// A client, with its commands to one chunk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    pub session: u8,
    next_seq: u8,
    resolved: u8,
    /// The highest own `seq` that the stream has shown as decided since the last `Tracked`.
    stream_seq: u8,
    pending: Vec<PendingCommand>,
    /// One bit for each `seq` of this session: whether the client skips it, because its command was
    /// cancelled or rejected.
    pub skipped: u16,
    /// The outcome of each command, indexed by the user's number; the first entry is not used.
    pub outcomes: Vec<Option<Outcome>>,
    pub submitted: u8,
    /// The index of the next mark of the log that the stream brings.
    pub place: u8,
    /// The highest chunk version that the client has seen. R12 forbids that a lower one follows.
    pub version: u8,
}

impl PendingCommand {
    fn new(id: u8) -> Self {
        Self {
            id,
            seq: 0,
            sent: 0,
            rejected: 0,
            is_cancelled: false,
            is_refused: false,
            is_receipted: false,
            fact: None,
        }
    }

    fn is_skipped(&self) -> bool {
        self.is_cancelled || self.is_refused
    }

    fn is_open(&self) -> bool {
        self.seq > 0 && self.fact.is_none()
    }

    fn learn(&mut self, fact: Fact) {
        self.fact = self.fact.or(Some(fact));
    }

    fn outcome(&self) -> Option<Outcome> {
        let skipped = match (self.is_refused, self.is_cancelled) {
            (true, _) => Some(Outcome::Rejected),
            (false, true) => Some(Outcome::Withdrawn),
            (false, false) => None,
        };
        match self.fact {
            Some(Fact::Committed) => Some(Outcome::Committed),
            Some(Fact::Discarded) => Some(Outcome::Discarded),
            Some(Fact::Not) => Some(skipped.unwrap_or(Outcome::Discarded)),
            Some(Fact::Unknown) => Some(Outcome::Unknown),
            // Ingest rejected all transmissions of the command, so none is in the log and none will
            // follow.
            None if self.seq > 0 && self.sent == self.rejected => skipped,
            None => None,
        }
    }
}

impl Client {
    pub fn new(session: u8, commands: u8) -> Self {
        Self {
            session,
            next_seq: 1,
            resolved: 0,
            stream_seq: 0,
            pending: Vec::new(),
            skipped: 0,
            outcomes: vec![None; usize::from(commands) + 1],
            submitted: 0,
            place: 0,
            version: 0,
        }
    }

    pub fn writer(&self) -> Writer {
        Writer { time: self.session, is_own: true }
    }

    /// True if every command of the user has an outcome.
    pub fn is_at_rest(&self) -> bool {
        self.pending.is_empty()
    }

    // ---- the user ----

    pub fn submit(&mut self) {
        self.submitted += 1;
        self.pending.push(PendingCommand::new(self.submitted));
    }

    pub fn can_cancel(&self, id: u8) -> bool {
        self.pending.iter().any(|command| command.id == id && !command.is_cancelled)
    }

    pub fn cancel(&mut self, id: u8, rules: Rules) {
        let Some(at) = self.pending.iter().position(|command| command.id == id) else { return };
        let command = &mut self.pending[at];
        command.is_cancelled = true;
        self.skipped |= 1 << command.seq;
        if rules.mutant == Some(Mutant::ReuseNumber) && command.seq > 0 && command.seq + 1 == self.next_seq {
            self.next_seq = command.seq;
        }
        if command.seq == 0 || rules.mutant == Some(Mutant::WithdrawnAtOnce) {
            self.outcomes[usize::from(id)] = Some(Outcome::Withdrawn);
            self.pending.remove(at);
        }
    }

    // ---- ingest ----

    pub fn receipted(&mut self, message: Message) {
        if message.session == self.session {
            self.pending
                .iter_mut()
                .filter(|command| command.seq == message.seq)
                .for_each(|command| command.is_receipted = true);
        }
    }

    /// Handles ingest's rejection of a transmission, which is then not in the log. After a final
    /// rejection, ingest would reject every other transmission of the command too.
    pub fn rejected(&mut self, message: Message, is_final: bool, rules: Rules) {
        let is_it = |command: &&mut PendingCommand| command.seq == message.seq && command.fact.is_none();
        if message.session != self.session {
            return;
        }
        let Some(command) = self.pending.iter_mut().find(is_it) else { return };
        command.rejected += 1;
        // A `Settle` is retried, because the client may regain its access.
        if is_final && command.id > 0 {
            command.is_refused = true;
            self.skipped |= 1 << command.seq;
            if rules.mutant == Some(Mutant::RejectedResendIsFinal) {
                command.rejected = command.sent;
            }
        }
    }

    // ---- the gateway ----

    /// Handles the next mark of the stream, which comes in a frame of its own. Returns true if the
    /// client begins a new session.
    pub fn follow(&mut self, mark: Mark, rules: Rules) -> bool {
        self.place += 1;
        self.version = self.version.max(mark.version);
        if mark.writer != self.writer() {
            return false;
        }
        let fact = match mark.fate {
            Fate::Committed => Fact::Committed,
            Fate::Discarded => Fact::Discarded,
            Fate::OutOfOrder => return false,
            Fate::Expired { floor } => return self.expire(floor, rules),
        };
        self.stream_seq = self.stream_seq.max(mark.seq);
        self.resolved = self.resolved.max(mark.seq);
        self.pending.iter_mut().filter(|command| command.seq == mark.seq).for_each(|command| command.learn(fact));
        let passed = |command: &&mut PendingCommand| command.seq > 0 && command.seq <= mark.seq;
        self.pending.iter_mut().filter(passed).for_each(|command| command.learn(Fact::Not));
        false
    }

    /// Handles a mark that says that the ledger has evicted this writer for ever. So no command
    /// without a decision is committed. Commands that are not skipped get numbers of a new session.
    /// Returns true, because a new session begins.
    fn expire(&mut self, floor: u8, rules: Rules) -> bool {
        for command in self.pending.iter_mut().filter(|command| command.is_open()) {
            match command.is_skipped() || command.id == 0 {
                true => command.fact = Some(Fact::Not),
                false => *command = PendingCommand::new(command.id),
            }
        }
        self.conclude();
        self.session = match rules.mutant {
            Some(Mutant::SessionBelowFloor) => floor,
            _ => self.session.max(floor) + 1,
        };
        (self.next_seq, self.resolved, self.stream_seq, self.skipped) = (1, 0, 0, 0);
        true
    }

    /// Handles a `Tracked`, which says what was resolved at the gateway's position. The stream
    /// brings all later marks. Returns true if the client begins a new session.
    pub fn tracked(&mut self, place: u8, version: u8, resolved: Resolved, floor: u8, rules: Rules) -> bool {
        self.place = place;
        self.version = self.version.max(version);
        self.stream_seq = 0;
        let Resolved::Known { seq: newest, .. } = resolved else {
            if rules.mutant == Some(Mutant::ResubmitOnTrackedExpired)
                && self.pending.iter().any(PendingCommand::is_open)
            {
                return self.expire(floor, rules);
            }
            self.pending
                .iter_mut()
                .filter(|command| command.is_open())
                .for_each(|command| command.learn(Fact::Unknown));
            return false;
        };
        self.resolved = self.resolved.max(newest);
        for command in self.pending.iter_mut().filter(|command| command.is_open() && command.seq <= newest) {
            command.learn(match resolved.is_committed(command.seq, rules.limits) {
                Some(true) => Fact::Committed,
                Some(false) => Fact::Not,
                None => Fact::Unknown,
            });
        }
        false
    }

    /// Removes the commands that have an outcome from `pending`, and records their outcomes.
    pub fn conclude(&mut self) {
        let Self { pending, outcomes, .. } = self;
        pending.retain(|command| match command.outcome() {
            None => true,
            Some(outcome) => {
                if command.id > 0 {
                    outcomes[usize::from(command.id)] = Some(outcome);
                }
                false
            }
        });
    }

    // ---- sending ----

    pub fn has_sendable(&self, rules: Rules) -> bool {
        self.pending.iter().any(|command| self.is_sendable(command, rules))
    }

    fn is_sendable(&self, command: &PendingCommand, rules: Rules) -> bool {
        let is_done = command.is_receipted && rules.mutant == Some(Mutant::ReceiptedNotResent);
        command.is_open() && !command.is_skipped() && command.seq > self.resolved && !is_done
    }

    /// Resends all unresolved commands, oldest first, and computes `after` anew for each. Returns
    /// the messages.
    pub fn resend(&mut self, rules: Rules) -> Vec<Message> {
        let mut after = self.resolved;
        let mut messages = Vec::new();
        for at in 0..self.pending.len() {
            let command = self.pending[at];
            if !command.is_open() || command.is_skipped() || command.seq <= self.resolved {
                continue;
            }
            if self.is_sendable(&command, rules) {
                self.pending[at].sent += 1;
                messages.push(Message { session: self.session, seq: command.seq, after, id: command.id });
            }
            after = command.seq;
        }
        messages
    }

    /// Sends new commands while the window has room. Then sends a `Settle` if a skipped number is
    /// open and no later command resolves it. Returns the messages.
    pub fn pump(&mut self, rules: Rules) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(at) = self.pending.iter().position(|command| command.seq == 0)
            && self.has_room(rules.window)
        {
            messages.push(self.send_new(at));
        }
        let settle_window = match rules.mutant {
            Some(Mutant::SettleInWindow) => rules.window,
            _ => rules.window + 1,
        };
        if self.needs_settle() && self.has_room(settle_window) {
            let at = self.pending.iter().position(|command| command.seq == 0).unwrap_or(self.pending.len());
            self.pending.insert(at, PendingCommand::new(0));
            messages.push(self.send_new(at));
        }
        messages
    }

    /// True if one more number may be sent: `newest sent − oldest unresolved < window` must hold
    /// afterwards.
    fn has_room(&self, window: u8) -> bool {
        self.pending.iter().find(|command| command.is_open()).is_none_or(|oldest| self.next_seq - oldest.seq < window)
    }

    fn needs_settle(&self) -> bool {
        let open = || self.pending.iter().filter(|command| command.is_open());
        let skipped = open()
            .filter(|command| command.is_skipped() && command.seq > self.resolved)
            .map(|command| command.seq)
            .max();
        let sent = open().filter(|command| !command.is_skipped()).map(|command| command.seq).max();
        skipped.is_some() && sent < skipped
    }

    fn send_new(&mut self, at: usize) -> Message {
        let previous = self
            .pending
            .iter()
            .filter(|command| command.is_open() && !command.is_skipped())
            .map(|command| command.seq)
            .max();
        let after = previous.unwrap_or_default().max(self.resolved);
        let command = &mut self.pending[at];
        command.seq = self.next_seq;
        command.sent = 1;
        self.next_seq += 1;
        Message { session: self.session, seq: command.seq, after, id: command.id }
    }
}

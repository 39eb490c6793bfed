//! The log of one chunk. In this model `commands` and `updates` are one log.
//!
//! A command is decided when it lands. No reader can see the difference, for two reasons. Decisions
//! follow from the order of the log alone, and a reader may be behind by any number of records.

use super::ledger::{Ledger, Verdict, Writer};
use super::rules::Rules;

/// One transmission of a command. A command may have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    pub session: u8,
    pub seq: u8,
    pub after: u8,
    /// The user's number of the command; 0 for a `Settle`. The decider does not use it.
    pub id: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    Committed,
    Discarded,
    OutOfOrder,
    Expired { floor: u8 },
}

/// A mark: the log's record of what happened to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    pub writer: Writer,
    pub seq: u8,
    pub id: u8,
    pub fate: Fate,
    /// The version of the chunk after this mark.
    pub version: u8,
}

/// The log: all marks so far, and the ledger of the decider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Log {
    pub marks: Vec<Mark>,
    pub ledger: Ledger,
}

impl Message {
    pub fn writer(self) -> Writer {
        Writer { time: self.session, is_own: true }
    }
}

impl Log {
    pub fn version(&self) -> u8 {
        self.marks.last().map_or(0, |mark| mark.version)
    }

    pub fn verdict(&self, message: Message, rules: Rules) -> Verdict {
        self.ledger.verdict(message.writer(), message.seq, message.after, rules.mutant)
    }

    /// A command of the client lands. If the ledger lets the command be decided, `is_committed`
    /// says whether the chunk's model commits it. Returns what happened to the command, or `None`
    /// if it is a resend.
    pub fn take(&mut self, message: Message, is_committed: bool, rules: Rules) -> Option<Fate> {
        let fate = match self.verdict(message, rules) {
            Verdict::Resend => return None,
            Verdict::OutOfOrder => Fate::OutOfOrder,
            Verdict::Expired { floor_ms } => Fate::Expired { floor: floor_ms as u8 },
            Verdict::Decide if is_committed && message.id > 0 => Fate::Committed,
            Verdict::Decide => Fate::Discarded,
        };
        self.note(message.writer(), message.seq, message.id, fate, rules);
        Some(fate)
    }

    /// The only command of another writer lands. If the ledger lets it be decided, it is committed.
    pub fn take_other(&mut self, time: u8, rules: Rules) {
        let writer = Writer { time, is_own: false };
        let fate = match self.ledger.verdict(writer, 1, 0, rules.mutant) {
            Verdict::Decide => Fate::Committed,
            Verdict::Expired { floor_ms } => Fate::Expired { floor: floor_ms as u8 },
            Verdict::Resend | Verdict::OutOfOrder => return,
        };
        self.note(writer, 1, 0, fate, rules);
    }

    pub fn note(&mut self, writer: Writer, seq: u8, id: u8, fate: Fate, rules: Rules) {
        let version = self.version() + u8::from(fate == Fate::Committed);
        let mark = Mark { writer, seq, id, fate, version };
        mark.fold(&mut self.ledger, rules);
        self.marks.push(mark);
    }

    /// The ledger that a reader has after the first `place` marks. It is folded from the marks
    /// alone.
    pub fn ledger_at(&self, place: usize, rules: Rules) -> Ledger {
        let mut ledger = Ledger::default();
        self.marks[..place].iter().for_each(|mark| mark.fold(&mut ledger, rules));
        ledger
    }

    pub fn version_at(&self, place: usize) -> u8 {
        self.marks[..place].last().map_or(0, |mark| mark.version)
    }
}

impl Mark {
    fn fold(&self, ledger: &mut Ledger, rules: Rules) {
        if matches!(self.fate, Fate::Committed | Fate::Discarded) {
            ledger.resolve(self.writer, self.seq, self.fate == Fate::Committed, rules.limits, rules.mutant);
        }
    }
}

//! The rule of the ledger, implemented a second time. This ledger is small enough to be part of
//! millions of states, and has limits that a model can reach. `tests/same_ledger.rs` compares it
//! with `driftless_chunk::ledger::Ledger` on all short histories.

use super::mutant::Mutant;
pub use driftless_chunk::ledger::Verdict;
use driftless_schemas::{Seq, WriterId};

/// A writer: the time of its session, and whether the session belongs to the modelled client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Writer {
    pub time: u8,
    pub is_own: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Entry {
    writer: Writer,
    seq: u8,
    /// One bit for each number: bit i says whether the number `seq - i` was committed.
    committed: u8,
}

/// The ledger's knowledge of a writer's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resolved {
    Known { seq: u8, committed: u8 },
    Expired,
}

/// The limits of the ledger. The product's ledger holds 1,024 writers and 64 numbers for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub writers: u8,
    pub window: u8,
}

/// The ledger of the chunk. Its first entry is the writer whose newest decision is oldest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ledger {
    pub floor: u8,
    entries: Vec<Entry>,
}

impl Writer {
    /// A writer id for the product's ledger, with this session time.
    #[must_use]
    pub fn id(self) -> WriterId {
        let mut bytes = [0; 16];
        bytes[5] = self.time;
        bytes[15] = u8::from(self.is_own);
        WriterId(bytes)
    }
}

impl Ledger {
    #[must_use]
    pub fn verdict(&self, writer: Writer, seq: u8, after: u8, mutant: Option<Mutant>) -> Verdict {
        let newest = match self.resolved(writer) {
            Resolved::Expired => return Verdict::Expired { floor_ms: self.floor.into() },
            Resolved::Known { seq, .. } => seq,
        };
        if seq <= newest {
            Verdict::Resend
        } else if after > newest || (mutant == Some(Mutant::AfterEquals) && after != newest) {
            Verdict::OutOfOrder
        } else {
            Verdict::Decide
        }
    }

    #[must_use]
    pub fn resolved(&self, writer: Writer) -> Resolved {
        match self.entries.iter().find(|entry| entry.writer == writer) {
            Some(entry) => Resolved::Known { seq: entry.seq, committed: entry.committed },
            None if writer.time > self.floor => Resolved::Known { seq: 0, committed: 0 },
            None => Resolved::Expired,
        }
    }

    pub fn resolve(&mut self, writer: Writer, seq: u8, is_committed: bool, limits: Limits, mutant: Option<Mutant>) {
        let known = self.entries.iter().position(|entry| entry.writer == writer).map(|at| self.entries.remove(at));
        if known.is_none() {
            self.evict_down_to(limits.writers - 1, mutant);
        }
        let mut entry = known.unwrap_or(Entry { writer, seq, committed: 0 });
        let distance = seq - entry.seq;
        entry.committed = if distance < limits.window { entry.committed << distance } else { 0 };
        entry.committed = (entry.committed | u8::from(is_committed)) & ((1u16 << limits.window) - 1) as u8;
        entry.seq = seq;
        self.entries.push(entry);
    }

    fn evict_down_to(&mut self, count: u8, mutant: Option<Mutant>) {
        while self.entries.len() > usize::from(count) {
            let time = self.entries.remove(0).writer.time;
            self.floor = match mutant {
                Some(Mutant::EvictWithoutFloor) => self.floor,
                Some(Mutant::FloorWithoutMax) => time,
                _ => self.floor.max(time),
            };
        }
    }

    /// The ledger after it was stored in a ref and restored from it.
    pub fn restored(&mut self, mutant: Option<Mutant>) {
        if mutant == Some(Mutant::OrderNotInRef) {
            self.entries.sort_unstable_by_key(|entry| entry.writer);
        }
    }
}

impl Resolved {
    /// True if the number `asked` was committed; `None` if the ledger does not remember this
    /// number.
    #[must_use]
    pub fn is_committed(self, asked: u8, limits: Limits) -> Option<bool> {
        let Self::Known { seq, committed } = self else { return None };
        let distance = seq.checked_sub(asked)?;
        (distance < limits.window && asked > 0).then(|| committed >> distance & 1 == 1)
    }

    /// Converts the answer to the product's type.
    #[must_use]
    pub fn product(self) -> driftless_chunk::ledger::Resolved {
        use driftless_chunk::ledger::Resolved as Product;
        match self {
            Self::Expired => Product::Expired,
            Self::Known { seq, committed } => Product::Known { seq: Seq(seq.into()), committed_bits: committed.into() },
        }
    }
}

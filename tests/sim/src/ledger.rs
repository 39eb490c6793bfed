//! R8 written down once more, as plainly as can be: the oracle's ledger. It shares no code with `driftless_chunk::ledger`.

use driftless_schemas::WriterId;
use driftless_schemas::proto;

/// What is known of a writer.
#[derive(Clone, Copy, Debug)]
struct Known {
    writer: WriterId,
    seq: u64,
    bits: u64,
    offset: i64,
}

/// What the numbers of a command say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// It is next.
    Next,
    /// It was resolved before.
    Resend,
    /// An earlier one is missing.
    OutOfOrder,
    /// The writer is forgotten; the floor.
    Expired(u64),
}

/// Writers, the least recently decided first.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    floor: u64,
    known: Vec<Known>,
    /// Writers that had to go.
    pub evictions: usize,
}

impl Ledger {
    /// What becomes of a command.
    #[must_use]
    pub fn judge(&self, writer: WriterId, seq: u64, after: u64) -> Numbers {
        let newest = match self.known.iter().find(|known| known.writer == writer) {
            Some(known) => known.seq,
            None if writer.time_ms() > self.floor => 0,
            None => return Numbers::Expired(self.floor),
        };
        if seq <= newest {
            Numbers::Resend
        } else if newest < after {
            Numbers::OutOfOrder
        } else {
            Numbers::Next
        }
    }

    /// A command was decided.
    pub fn decide(&mut self, writer: WriterId, seq: u64, is_committed: bool, offset: i64, writers_max: usize) {
        let mut known = match self.known.iter().position(|known| known.writer == writer) {
            Some(at) => self.known.remove(at),
            None => {
                while self.known.len() >= writers_max {
                    let gone = self.known.remove(0);
                    self.floor = self.floor.max(gone.writer.time_ms());
                    self.evictions += 1;
                }
                Known { writer, seq: 0, bits: 0, offset }
            }
        };
        for _ in 0..(seq - known.seq).min(64) {
            known.bits <<= 1;
        }
        known.bits |= u64::from(is_committed);
        known.seq = seq;
        known.offset = offset;
        self.known.push(known);
    }

    /// As it must stand in a ref.
    #[must_use]
    pub fn to_proto(&self) -> proto::Ledger {
        let entry = |known: &Known| proto::LedgerEntry {
            writer: known.writer.to_bytes(),
            seq: known.seq,
            committed_bits: known.bits,
            last_offset: known.offset,
        };
        proto::Ledger { floor_ms: self.floor, entries: self.known.iter().map(entry).collect() }
    }
}

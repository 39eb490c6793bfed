//! The oracle's ledger: R8 written again, as simply as possible. This module shares no code with
//! `driftless_chunk::ledger`.

use driftless_schemas::WriterId;
use driftless_schemas::proto;

/// The ledger's entry for one writer.
#[derive(Clone, Copy, Debug)]
struct Known {
    writer: WriterId,
    seq: u64,
    bits: u64,
    offset: i64,
}

/// The verdict of R8 on a command, from its `seq` and `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// The command is the writer's next one, so the owner must decide it.
    Next,
    /// The command is a resend: its `seq` is resolved already, so it needs no decision.
    Resend,
    /// `after` names an earlier command that is not resolved, so this command must be refused.
    OutOfOrder,
    /// The ledger has evicted the writer. The value is the ledger's floor: a new session must have
    /// a time above it.
    Expired(u64),
}

/// The ledger of a chunk. Its writers are sorted by their newest decision, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    floor: u64,
    known: Vec<Known>,
    /// The number of evicted writers.
    pub evictions: usize,
}

impl Ledger {
    /// Returns the verdict on a command with this `seq` and `after`.
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

    /// Records the decision of a command, and evicts the oldest writer if there are more than
    /// `writers_max`.
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

    /// Forgets the offsets of a topic that is not used any more. Negative offsets keep the order.
    pub fn forget_offsets(&mut self) {
        for (known, before) in self.known.iter_mut().rev().zip(1..) {
            known.offset = -before;
        }
    }

    /// The ledger as a protobuf message, in exactly the form that a ref of this state must contain.
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

//! The ledger: per chunk and recent writer, the newest resolved number, and whether each of the 64
//! newest numbers was committed.
//!
//! The ledger keeps R8. With L the newest resolved number of the writer (0 at first), a command is
//! decided iff `after ≤ L < seq`; `seq ≤ L` is a resend; `after > L` is out of order. The ledger
//! holds at most [`limits::LEDGER_WRITERS_MAX`] writers. Evicting the least recently decided writer
//! raises the floor to its session time, and an unknown writer that is not younger than the floor
//! is expired. No clock is involved, so every copy of the ledger agrees.

use crate::mutant::{self, Mutant};
use driftless_schemas::stored::{StoredLedger, StoredWriter};
use driftless_schemas::{Offset, Seq, WriterId, format, limits, proto};
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;

/// A writer's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    seq: Seq,
    committed_bits: u64,
    last_offset: Offset,
}

/// The verdict of R8 on a command, from its numbers alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The command is next: decide it.
    Decide,
    /// The number is already resolved: no effect.
    Resend,
    /// An earlier command has not arrived: no effect, and the author is told.
    OutOfOrder,
    /// The ledger does not know the writer, and its session time is not above the floor.
    Expired {
        /// Milliseconds since the Unix epoch.
        floor_ms: u64,
    },
}

/// The ledger's answer to a writer about its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// Numbers up to `seq` are resolved, and bit i says whether `seq - i` was committed. All zero
    /// means that no number is resolved yet.
    Known {
        /// The newest resolved number.
        seq: Seq,
        /// Bit i is number `seq - i`.
        committed_bits: u64,
    },
    /// The ledger does not know the writer, and its session time is not above the floor.
    Expired,
}

/// The ledger of one chunk.
///
/// The order of `writers` is never visible: all output is in the order of `by_offset`.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    floor_ms: u64,
    writers: HashMap<WriterId, Entry, BuildHasherDefault<WriterHasher>>,
    by_offset: BTreeMap<Offset, WriterId>,
}

/// Writer ids end in 10 bytes of BLAKE3 and need no further hashing.
#[derive(Clone, Copy, Debug, Default)]
struct WriterHasher(u64);

impl std::hash::Hasher for WriterHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        if let Some(tail) = bytes.last_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*tail);
        }
    }
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The floor: the session time of an unknown writer must be above it.
    #[must_use]
    pub fn floor_ms(&self) -> u64 {
        self.floor_ms
    }

    /// The number of known writers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writers.len()
    }

    /// Whether no writer is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writers.is_empty()
    }

    /// Applies R8 to the numbers of a command.
    #[must_use]
    pub fn verdict(&self, writer: WriterId, seq: Seq, after: Seq) -> Verdict {
        let newest = match self.resolved(writer) {
            Resolved::Expired => return Verdict::Expired { floor_ms: self.floor_ms },
            Resolved::Known { seq, .. } => seq,
        };
        if seq <= newest {
            Verdict::Resend
        } else if (after > newest && !Mutant::IgnoreAfter.is_on())
            || (after < newest && Mutant::AfterMustBeNewest.is_on())
        {
            Verdict::OutOfOrder
        } else {
            Verdict::Decide
        }
    }

    /// The answer to a writer about its numbers.
    #[must_use]
    pub fn resolved(&self, writer: WriterId) -> Resolved {
        match self.writers.get(&writer) {
            Some(entry) => Resolved::Known { seq: entry.seq, committed_bits: entry.committed_bits },
            None if writer.time_ms() > self.floor_ms => Resolved::Known { seq: Seq(0), committed_bits: 0 },
            None => Resolved::Expired,
        }
    }

    /// Records a decision: `seq` becomes the writer's newest resolved number, and the numbers
    /// between the previous one and `seq` count as skipped. `offset` is the command's offset in
    /// `commands`; offsets must rise from call to call.
    pub fn resolve(&mut self, writer: WriterId, seq: Seq, is_committed: bool, offset: Offset) {
        let entry = match self.writers.get_mut(&writer) {
            Some(entry) => {
                self.by_offset.remove(&entry.last_offset);
                let distance = seq.0.saturating_sub(entry.seq.0);
                entry.committed_bits =
                    if distance < limits::LEDGER_WINDOW { entry.committed_bits << distance } else { 0 };
                entry.seq = seq;
                entry.last_offset = offset;
                entry
            }
            None => {
                self.evict_down_to(mutant::ledger_writers_max() - 1);
                self.writers.entry(writer).or_insert(Entry { seq, committed_bits: 0, last_offset: offset })
            }
        };
        entry.committed_bits |= u64::from(is_committed);
        self.by_offset.insert(offset, writer);
    }

    fn evict_down_to(&mut self, count: usize) {
        while self.writers.len() > count {
            let Some((_, writer)) = self.by_offset.pop_first() else { return };
            self.writers.remove(&writer);
            if Mutant::LowestFloor.is_on() {
                self.floor_ms = writer.time_ms();
            } else if !Mutant::EvictWithoutFloor.is_on() {
                self.floor_ms = self.floor_ms.max(writer.time_ms());
            }
        }
    }

    /// The ledger as a ref carries it: the least recently decided writer first.
    #[must_use]
    pub fn to_stored(&self) -> StoredLedger {
        let entry = |(offset, writer): (&Offset, &WriterId)| {
            let entry = self.writers.get(writer)?;
            Some(StoredWriter {
                writer: *writer,
                seq: entry.seq,
                committed_bits: entry.committed_bits,
                last_offset: *offset,
            })
        };
        StoredLedger { floor_ms: self.floor_ms, entries: self.by_offset.iter().filter_map(entry).collect() }
    }

    /// The message of [`Ledger::to_stored`].
    #[must_use]
    pub fn to_proto(&self) -> proto::Ledger {
        self.to_stored().to_proto()
    }

    /// The ledger that a ref carries.
    ///
    /// # Errors
    /// [`format::Error::Field`] if a writer or an offset occurs twice, or if there are more writers
    /// than [`limits::LEDGER_WRITERS_MAX`].
    pub fn from_stored(ledger: &StoredLedger) -> Result<Self, format::Error> {
        let refuse = |problem: String| format::field("Ledger", "entries", problem);
        if ledger.entries.len() > limits::LEDGER_WRITERS_MAX {
            return Err(refuse(format!("{} writers", ledger.entries.len())));
        }
        let mut read = Self { floor_ms: ledger.floor_ms, ..Self::default() };
        for e in &ledger.entries {
            let (writer, offset) = (e.writer, e.last_offset);
            let entry = Entry { seq: e.seq, committed_bits: e.committed_bits, last_offset: offset };
            let known = read.writers.insert(writer, entry).is_some();
            if read.by_offset.insert(offset, writer).is_some() || known {
                return Err(refuse(format!("writer {writer} or offset {offset} stands there twice")));
            }
        }
        Ok(read)
    }
}

impl PartialEq for Ledger {
    fn eq(&self, other: &Self) -> bool {
        self.to_stored() == other.to_stored()
    }
}

impl Resolved {
    /// Whether a number was committed. `None` means "not resolved yet" or "beyond the window".
    #[must_use]
    pub fn is_committed(self, asked: Seq) -> Option<bool> {
        let Self::Known { seq, committed_bits } = self else { return None };
        let distance = seq.0.checked_sub(asked.0)?;
        (distance < limits::LEDGER_WINDOW && asked.0 > 0).then(|| committed_bits >> distance & 1 == 1)
    }
}

#[cfg(test)]
mod tests;

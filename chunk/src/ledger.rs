//! The ledger of a chunk. For each recent writer it holds the writer's newest resolved number, and
//! whether each of the 64 newest numbers was committed.
//!
//! The ledger keeps R8. Let L be the newest resolved number of the writer (0 at first). A command
//! is decided iff `after ≤ L < seq`. With `seq ≤ L` it is a resend, and otherwise, with `after >
//! L`, it is out of order. The ledger holds at most [`limits::LEDGER_WRITERS_MAX`] writers. For a
//! further writer it evicts the writer whose last decision is the oldest. An eviction raises the
//! *floor* to the evicted writer's session time. A writer without an entry is expired if its
//! session time is not above the floor, because it may have been evicted. No clock is involved, so
//! all copies of the ledger are equal.

use crate::mutant::{self, Mutant};
use driftless_schemas::stored::{StoredLedger, StoredWriter};
use driftless_schemas::{Offset, Seq, WriterId, format, limits, proto};
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;

/// The ledger's entry of one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    seq: Seq,
    committed_bits: u64,
    last_offset: Offset,
}

/// The verdict of R8 on a command. It depends only on the writer's numbers, not on the command
/// itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The command is the writer's next one, so the owner must decide it.
    Decide,
    /// The command's number is already resolved, so the command has no effect.
    Resend,
    /// An earlier command has not arrived, so this command has no effect. The author gets an
    /// out-of-order outcome and sends both again.
    OutOfOrder,
    /// The ledger has no entry of the writer, and the writer's session time is not above the floor.
    Expired {
        /// The floor, in milliseconds since the Unix epoch.
        floor_ms: u64,
    },
}

/// The resolved numbers of one writer, as the ledger knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// All numbers up to `seq` are resolved. Both fields are 0 if no number is resolved yet.
    Known {
        /// The newest resolved number.
        seq: Seq,
        /// Bit i is 1 if number `seq - i` was committed.
        committed_bits: u64,
    },
    /// The ledger has no entry of the writer, and the writer's session time is not above the floor.
    Expired,
}

/// The ledger of one chunk.
///
/// The order of `writers` has no influence on results, because all output is in the order of
/// `by_offset`.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    floor_ms: u64,
    writers: HashMap<WriterId, Entry, BuildHasherDefault<WriterHasher>>,
    by_offset: BTreeMap<Offset, WriterId>,
}

/// The hasher of `writers`. Writer ids end in 10 bytes of BLAKE3, so the hasher takes their bytes
/// as the hash.
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

    /// The floor, in milliseconds since the Unix epoch. The session time of a writer without an
    /// entry must be above the floor.
    #[must_use]
    pub fn floor_ms(&self) -> u64 {
        self.floor_ms
    }

    /// The number of writers with an entry.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writers.len()
    }

    /// Whether no writer has an entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writers.is_empty()
    }

    /// Applies R8 to the numbers of a command, without changing the ledger.
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

    /// The resolved numbers of a writer.
    #[must_use]
    pub fn resolved(&self, writer: WriterId) -> Resolved {
        match self.writers.get(&writer) {
            Some(entry) => Resolved::Known { seq: entry.seq, committed_bits: entry.committed_bits },
            None if writer.time_ms() > self.floor_ms => Resolved::Known { seq: Seq(0), committed_bits: 0 },
            None => Resolved::Expired,
        }
    }

    /// Records a decision: `seq` becomes the writer's newest resolved number, and the numbers
    /// between the previously newest one and `seq` count as skipped, and so as not committed.
    /// `offset` is the command's offset in `commands`; offsets must rise from call to call.
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

    /// Converts the ledger to the form that a ref contains. The writer whose last decision is the
    /// oldest comes first.
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

    /// Converts the ledger to the protobuf message that a ref contains.
    #[must_use]
    pub fn to_proto(&self) -> proto::Ledger {
        self.to_stored().to_proto()
    }

    /// Makes the ledger from the form that a ref contains.
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
    /// Whether a number was committed. `None` if the number is not resolved yet, is older than the
    /// 64 newest numbers, or belongs to an expired writer.
    #[must_use]
    pub fn is_committed(self, asked: Seq) -> Option<bool> {
        let Self::Known { seq, committed_bits } = self else { return None };
        let distance = seq.0.checked_sub(asked.0)?;
        (distance < limits::LEDGER_WINDOW && asked.0 > 0).then(|| committed_bits >> distance & 1 == 1)
    }
}

#[cfg(test)]
mod tests;

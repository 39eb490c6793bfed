//! The contents of the object store's index as checked Rust types: refs, ledgers and checkpoints.
//!
//! The protobuf messages of `store.proto` allow values that no owner writes: a hash of 31 bytes, a
//! writer of 3, a ref without a location. A reader parses each message once, when it reads the
//! bytes from the index or from a record of `updates`. All later code works with the types of this
//! module. Parsing is total, and an error names the field and its value. `to_proto` is the inverse
//! of `from_proto`.

use crate::format::{self, Error};
use crate::{Epoch, Hash, HistoryId, Offset, Print, Seq, Version, WorldId, WriterId, proto};
use bytes::Bytes;

/// A reference to a stored state of a chunk. It says which object holds the state, and which
/// commands the state contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRef {
    /// The number of commands that were committed to the chunk up to this state.
    pub version: Version,
    /// BLAKE3 of the canonical encoding.
    pub hash: Hash,
    /// The object that holds the encoding.
    pub location: Location,
    /// Every command of the chunk at or below this offset of `commands` is decided, and the state
    /// contains its decision.
    pub through_offset: Offset,
    /// The revision of the model that wrote the encoding.
    pub model_revision: u32,
    /// Length of the uncompressed canonical encoding, in bytes.
    pub bytes: u64,
    /// The ledger as it was when the command at `through_offset` was decided. `None` for the older
    /// refs of an index entry.
    pub ledger: Option<StoredLedger>,
}

/// The object that holds the encoding of a stored state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In an object of its own, which is named by the hash (see [`crate::storage::snapshot`]).
    Object,
    /// In a part of an object that holds many snapshots. Readers understand it; no version of
    /// Driftless writes it yet.
    Pack {
        /// Key of the object.
        key: String,
        /// Where the part begins within the object, in bytes.
        offset: u64,
        /// Length of the part in bytes.
        len: u64,
    },
}

/// A chunk's ledger in the form that a ref contains (R8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredLedger {
    /// The floor, in milliseconds since 1970. A writer without an entry is expired unless its
    /// session began later than this.
    pub floor_ms: u64,
    /// One entry per writer. The writer whose last decision is the oldest comes first.
    pub entries: Vec<StoredWriter>,
}

/// The entry of one writer in a stored ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredWriter {
    /// The writer.
    pub writer: WriterId,
    /// The newest resolved number.
    pub seq: Seq,
    /// Bit i is 1 if number `seq - i` was committed.
    pub committed_bits: u64,
    /// The offset in `commands` of the writer's last decided command.
    pub last_offset: Offset,
}

/// The index's value under a chunk id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The newest stored state.
    pub newest: StoredRef,
    /// Older stored states, newest first. Their refs have no ledgers.
    pub older: Vec<StoredRef>,
}

/// The index's value under `!checkpoint`. All fields are 0 if no owner has claimed the partition
/// yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The epoch of the newest owner.
    pub epoch: Epoch,
    /// Every command below this offset of `commands` is decided, and Kafka has acknowledged its
    /// decision.
    pub commands_next: Offset,
    /// Every valid decision that no stored state contains is at or above this offset of `updates`.
    pub updates_low: Offset,
    /// The current epoch (R4) after all records below `updates_low`.
    pub updates_low_epoch: Epoch,
    /// The last valid n (R4) of the records below `updates_low`.
    pub updates_low_n: u64,
    /// The history of the partition just below `updates_low`.
    pub history: HistoryId,
    /// The world that the index belongs to; `None` in a world of format 1.
    pub world: Option<WorldId>,
    /// The print of the record of `commands` just below `commands_next`, if it is known.
    pub commands_print: Option<Print>,
    /// The owner's newest record of `updates` that counts is just below this offset, so a shorter
    /// log has lost its end. 0 if it is not known; otherwise not below `updates_low`.
    pub updates_end: Offset,
    /// The print of the record of `updates` just below `updates_end`, if it is known.
    pub updates_print: Option<Print>,
    /// True if the index has forgotten the offsets of an older topic of `commands`, and the log
    /// does not say so yet. The next fence then begins `history`, with `commands_anew`.
    pub commands_anew: bool,
}

impl StoredRef {
    /// Parses a ref.
    ///
    /// # Errors
    /// [`Error::Field`] if the hash does not have 32 bytes, if there is no location, or if the
    /// ledger cannot be parsed.
    pub fn from_proto(stored: proto::Ref) -> Result<Self, Error> {
        let hash = Hash::from_slice(&stored.hash)
            .ok_or_else(|| format::field("Ref", "hash", format!("{} bytes instead of 32", stored.hash.len())))?;
        Ok(Self {
            version: Version(stored.version),
            hash,
            location: Location::from_proto(stored.location)?,
            through_offset: Offset(stored.through_offset),
            model_revision: stored.model_revision,
            bytes: stored.bytes,
            ledger: stored.ledger.as_ref().map(StoredLedger::from_proto).transpose()?,
        })
    }

    /// Makes the protobuf message from which [`StoredRef::from_proto`] parses this ref.
    #[must_use]
    pub fn to_proto(&self) -> proto::Ref {
        proto::Ref {
            version: self.version.0,
            hash: self.hash.to_bytes(),
            location: Some(self.location.to_proto()),
            through_offset: self.through_offset.0,
            model_revision: self.model_revision,
            bytes: self.bytes,
            ledger: self.ledger.as_ref().map(StoredLedger::to_proto),
        }
    }
}

impl Location {
    fn from_proto(location: Option<proto::r#ref::Location>) -> Result<Self, Error> {
        match location {
            Some(proto::r#ref::Location::Object(proto::StoredObject {})) => Ok(Self::Object),
            Some(proto::r#ref::Location::Pack(proto::PackedObject { key, offset, len })) => {
                Ok(Self::Pack { key, offset, len })
            }
            None => Err(format::field("Ref", "location", "it has none that this version knows; upgrade this process")),
        }
    }

    fn to_proto(&self) -> proto::r#ref::Location {
        match self {
            Self::Object => proto::r#ref::Location::Object(proto::StoredObject {}),
            Self::Pack { key, offset, len } => {
                proto::r#ref::Location::Pack(proto::PackedObject { key: key.clone(), offset: *offset, len: *len })
            }
        }
    }
}

impl StoredLedger {
    /// Parses a ledger.
    ///
    /// # Errors
    /// [`Error::Field`] if a writer id does not have 16 bytes.
    pub fn from_proto(ledger: &proto::Ledger) -> Result<Self, Error> {
        let entries = ledger.entries.iter().map(StoredWriter::from_proto).collect::<Result<_, _>>()?;
        Ok(Self { floor_ms: ledger.floor_ms, entries })
    }

    /// Makes the protobuf message from which [`StoredLedger::from_proto`] parses this ledger.
    #[must_use]
    pub fn to_proto(&self) -> proto::Ledger {
        let entries = self.entries.iter().map(|entry| entry.to_proto()).collect();
        proto::Ledger { floor_ms: self.floor_ms, entries }
    }
}

impl StoredWriter {
    fn from_proto(entry: &proto::LedgerEntry) -> Result<Self, Error> {
        let writer = WriterId::from_slice(&entry.writer)
            .ok_or_else(|| format::field("Ledger", "entries", format!("a writer of {} bytes", entry.writer.len())))?;
        Ok(Self {
            writer,
            seq: Seq(entry.seq),
            committed_bits: entry.committed_bits,
            last_offset: Offset(entry.last_offset),
        })
    }

    fn to_proto(self) -> proto::LedgerEntry {
        proto::LedgerEntry {
            writer: self.writer.to_bytes(),
            seq: self.seq.0,
            committed_bits: self.committed_bits,
            last_offset: self.last_offset.0,
        }
    }
}

impl IndexEntry {
    /// Parses an entry.
    ///
    /// # Errors
    /// [`Error::Field`] if the entry names no newest state, or if a ref cannot be parsed.
    pub fn from_proto(entry: proto::IndexEntry) -> Result<Self, Error> {
        let newest = entry.newest.ok_or_else(|| format::field("IndexEntry", "newest", "it names no state"))?;
        Ok(Self {
            newest: StoredRef::from_proto(newest)?,
            older: entry.older.into_iter().map(StoredRef::from_proto).collect::<Result<_, _>>()?,
        })
    }

    /// The entry for another topic of `commands`: no command there is decided, and no older state
    /// leads to the newest.
    #[must_use]
    pub fn without_offsets(mut self) -> Self {
        self.newest.through_offset = Offset::NONE;
        if let Some(ledger) = &mut self.newest.ledger {
            // Negative offsets, which rise in the order of the entries.
            for (writer, before) in ledger.entries.iter_mut().rev().zip(1..) {
                writer.last_offset = Offset(-before);
            }
        }
        self.older.clear();
        self
    }

    /// Makes the protobuf message from which [`IndexEntry::from_proto`] parses this entry.
    #[must_use]
    pub fn to_proto(&self) -> proto::IndexEntry {
        proto::IndexEntry {
            newest: Some(self.newest.to_proto()),
            older: self.older.iter().map(StoredRef::to_proto).collect(),
        }
    }
}

impl Checkpoint {
    /// Parses a checkpoint.
    ///
    /// # Errors
    /// [`Error::Field`] for values that no owner writes. They must be an error and not count as
    /// zero, because an owner that begins from zero would decide commands again (R2).
    pub fn from_proto(found: proto::Checkpoint) -> Result<Self, Error> {
        let refuse = |field, problem: String| Err(format::field("Checkpoint", field, problem));
        if found.epoch == 0 {
            return refuse("epoch", "0, but the first owner has epoch 1".into());
        }
        for (field, offset) in [("commands_next", found.commands_next), ("updates_low", found.updates_low)] {
            if offset < 0 {
                return refuse(field, format!("{offset}, but offsets count from 0"));
            }
        }
        if found.updates_end != 0 && found.updates_end < found.updates_low {
            return refuse("updates_end", format!("{} is below updates_low {}", found.updates_end, found.updates_low));
        }
        if found.updates_low_epoch > found.epoch {
            let problem = format!("{} is above the owner's epoch {}", found.updates_low_epoch, found.epoch);
            return refuse("updates_low_epoch", problem);
        }
        if found.updates_low_epoch == 0 && found.updates_low_n > 0 {
            return refuse("updates_low_n", format!("{}, but epoch 0 has no records", found.updates_low_n));
        }
        Ok(Self {
            epoch: Epoch(found.epoch),
            commands_next: Offset(found.commands_next),
            updates_low: Offset(found.updates_low),
            updates_low_epoch: Epoch(found.updates_low_epoch),
            updates_low_n: found.updates_low_n,
            history: history(&found.history)?,
            world: optional(&found.world_id, "world_id", WorldId::from_slice)?,
            commands_print: optional(&found.commands_print, "commands_print", print)?,
            updates_end: Offset(found.updates_end),
            updates_print: optional(&found.updates_print, "updates_print", print)?,
            commands_anew: found.commands_anew,
        })
    }

    /// Makes the protobuf message from which [`Checkpoint::from_proto`] parses this checkpoint.
    #[must_use]
    pub fn to_proto(&self) -> proto::Checkpoint {
        proto::Checkpoint {
            epoch: self.epoch.0,
            commands_next: self.commands_next.0,
            updates_low: self.updates_low.0,
            updates_low_epoch: self.updates_low_epoch.0,
            updates_low_n: self.updates_low_n,
            history: self.history.to_field(),
            world_id: self.world.map(WorldId::to_bytes).unwrap_or_default(),
            commands_print: print_field(self.commands_print),
            updates_end: self.updates_end.0,
            updates_print: print_field(self.updates_print),
            commands_anew: self.commands_anew,
        }
    }
}

fn history(field: &[u8]) -> Result<HistoryId, Error> {
    HistoryId::from_field(field).ok_or_else(|| bad_length("history", field))
}

/// Reads a field of the checkpoint that is empty or has a fixed length.
fn optional<T>(field: &[u8], name: &'static str, read: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>, Error> {
    match field {
        [] => Ok(None),
        field => read(field).map(Some).ok_or_else(|| bad_length(name, field)),
    }
}

fn print(field: &[u8]) -> Option<Print> {
    field.try_into().ok().map(Print)
}

fn print_field(print: Option<Print>) -> Bytes {
    print.map(|print| Bytes::copy_from_slice(&print.0)).unwrap_or_default()
}

fn bad_length(name: &'static str, field: &[u8]) -> Error {
    format::field("Checkpoint", name, format!("{:02x?}", field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> proto::Ref {
        let ledger = StoredLedger {
            floor_ms: 7,
            entries: vec![StoredWriter {
                writer: WriterId([1; 16]),
                seq: Seq(3),
                committed_bits: 5,
                last_offset: Offset(9),
            }],
        };
        let stored = StoredRef {
            version: Version(2),
            hash: Hash::of(b"content"),
            location: Location::Object,
            through_offset: Offset(9),
            model_revision: 1,
            bytes: 7,
            ledger: Some(ledger),
        };
        stored.to_proto()
    }

    #[test]
    fn a_parsed_entry_is_written_as_it_was_read() {
        let pack = proto::PackedObject { key: "packs/1".into(), offset: 3, len: 4 };
        let older = proto::Ref { location: Some(proto::r#ref::Location::Pack(pack)), ledger: None, ..good() };
        let entry = proto::IndexEntry { newest: Some(good()), older: vec![older] };
        assert_eq!(IndexEntry::from_proto(entry.clone()).unwrap().to_proto(), entry);
    }

    #[test]
    fn an_entry_for_another_topic_keeps_the_order_of_its_writers() {
        let writer = |n: u8, last_offset| StoredWriter {
            writer: WriterId([n; 16]),
            seq: Seq(3),
            committed_bits: 5,
            last_offset: Offset(last_offset),
        };
        let mut newest = StoredRef::from_proto(good()).unwrap();
        newest.ledger = Some(StoredLedger { floor_ms: 7, entries: vec![writer(1, 4), writer(2, 7), writer(3, 9)] });
        let older = vec![StoredRef { ledger: None, ..newest.clone() }];
        let moved = IndexEntry { newest, older }.without_offsets();
        assert_eq!((moved.newest.through_offset, moved.older.len()), (Offset::NONE, 0));
        assert_eq!(moved.newest.ledger.unwrap().entries, [writer(1, -3), writer(2, -2), writer(3, -1)]);
    }

    #[test]
    fn r7_a_ref_that_names_nothing_is_refused_with_its_field() {
        let short_writer = proto::LedgerEntry { writer: Bytes::from_static(&[1; 3]), ..Default::default() };
        let ledger = proto::Ledger { floor_ms: 0, entries: vec![short_writer] };
        for (bad, said) in [
            (proto::Ref { hash: Bytes::from_static(&[7; 31]), ..good() }, "Ref.hash is not valid: 31 bytes"),
            (proto::Ref { hash: Bytes::new(), ..good() }, "Ref.hash is not valid: 0 bytes"),
            (proto::Ref { location: None, ..good() }, "upgrade this process"),
            (proto::Ref { ledger: Some(ledger), ..good() }, "a writer of 3 bytes"),
        ] {
            let error = StoredRef::from_proto(bad).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        let nameless = proto::IndexEntry { newest: None, older: vec![good()] };
        assert!(IndexEntry::from_proto(nameless).is_err());
    }

    #[test]
    fn r2_a_checkpoint_that_no_owner_writes_is_refused_with_its_field() {
        let of_format_1 = proto::Checkpoint {
            epoch: 2,
            commands_next: 9,
            updates_low: 8,
            updates_low_epoch: 1,
            updates_low_n: 7,
            ..proto::Checkpoint::default()
        };
        let good = proto::Checkpoint {
            history: Bytes::from_static(&[3; 16]),
            world_id: Bytes::from_static(&[4; 16]),
            commands_print: Bytes::from_static(&[5; 8]),
            updates_end: 9,
            updates_print: Bytes::from_static(&[6; 8]),
            commands_anew: true,
            ..of_format_1.clone()
        };
        for good in [&of_format_1, &good] {
            assert_eq!(Checkpoint::from_proto(good.clone()).unwrap().to_proto(), *good);
        }
        for (bad, field) in [
            (proto::Checkpoint { epoch: 0, ..good.clone() }, "epoch"),
            (proto::Checkpoint { commands_next: -1, ..good.clone() }, "commands_next"),
            (proto::Checkpoint { updates_low: -9, ..good.clone() }, "updates_low"),
            (proto::Checkpoint { updates_end: -9, ..good.clone() }, "updates_end"),
            (proto::Checkpoint { updates_end: good.updates_low - 1, ..good.clone() }, "updates_end"),
            (proto::Checkpoint { updates_low_epoch: 3, ..good.clone() }, "updates_low_epoch"),
            (proto::Checkpoint { updates_low_epoch: 0, ..good.clone() }, "updates_low_n"),
            (proto::Checkpoint { history: Bytes::from_static(&[0; 16]), ..good.clone() }, "history"),
            (proto::Checkpoint { world_id: Bytes::from_static(&[4; 5]), ..good.clone() }, "world_id"),
            (proto::Checkpoint { commands_print: Bytes::from_static(&[5; 9]), ..good.clone() }, "commands_print"),
            (proto::Checkpoint { updates_print: Bytes::from_static(&[5; 7]), ..good.clone() }, "updates_print"),
        ] {
            let error = Checkpoint::from_proto(bad).unwrap_err();
            assert!(matches!(&error, Error::Field { field: found, .. } if *found == field), "{error}");
        }
    }
}

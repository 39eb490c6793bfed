//! The model's log `updates`, and R4 applied to it.
//!
//! The rule itself is the product's code: [`judge`] calls `driftless_chunk::position::Position`,
//! unless a mutant breaks the rule.

use super::mutant::Mutant;
use driftless_chunk::position::{Position, Validity};
use driftless_schemas::{Epoch, Offset, proto};

/// The limit on the chunks in a state.
pub const CHUNKS: usize = 2;
/// The limit on the commands in a state.
pub const COMMANDS: usize = 4;

/// Marks a position whose epoch is unknown. Only [`Mutant::LowWithoutEpoch`] makes such positions;
/// its reader accepts the epoch of the first record that it reads.
pub const UNKNOWN_EPOCH: u8 = u8::MAX;

/// The decision about one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// The command's offset in `commands`.
    pub command: u8,
    pub is_committed: bool,
    /// The chunk's version after the decision, as counted by the owner that decided.
    pub version: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// A fence, with the number of the owner that appended it.
    Fence(u8),
    Decided(Decision),
    /// A `SnapshotStored` record: the chunk, and its newest ref.
    Stored(u8, Content),
}

/// A record of `updates`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    pub epoch: u8,
    pub n: u8,
    pub body: Body,
}

/// A position in `updates`: the product's `Position`, small enough for millions of states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LogPosition {
    pub offset: u8,
    pub epoch: u8,
    pub n: u8,
}

/// The state of a chunk, as one bit for each command: which commands are committed, and which are
/// decided. These bits represent the content, the version and the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Content {
    pub committed: u8,
    pub decided: u8,
    /// True if a decision was folded although an earlier version was missing, or if the state
    /// differs from a ref in the log.
    pub is_broken: bool,
}

impl Content {
    /// The offset behind the last command that the content contains, which is a ref's
    /// `through_offset` plus 1.
    pub fn through(self) -> u8 {
        (u8::BITS - self.decided.leading_zeros()) as u8
    }

    pub fn version(self) -> u8 {
        self.committed.count_ones() as u8
    }

    /// The content without the command at offset `through` and without all later commands.
    pub fn below(self, through: u8) -> Self {
        let mask = (1u16 << through) as u8;
        let mask = mask.wrapping_sub(1);
        Self { committed: self.committed & mask, decided: self.decided & mask, ..self }
    }

    /// Folds a decision as `LiveChunk::fold` does, which skips a decision that the content already
    /// contains. Returns false if the decision was skipped.
    pub fn fold(&mut self, decision: Decision, mutant: Option<Mutant>) -> bool {
        let is_old = match mutant {
            Some(Mutant::ResumeByVersion) => decision.version <= self.version(),
            _ => decision.command < self.through(),
        };
        if is_old {
            return false;
        }
        self.decided |= 1 << decision.command;
        if decision.is_committed {
            self.is_broken |= decision.version != self.version() + 1;
            self.committed |= 1 << decision.command;
        }
        true
    }
}

impl LogPosition {
    fn of(position: Position) -> Self {
        Self { offset: position.offset.0 as u8, epoch: position.epoch.0 as u8, n: position.n as u8 }
    }

    fn position(self) -> Position {
        Position {
            offset: Offset(self.offset.into()),
            epoch: Epoch(self.epoch.into()),
            n: self.n.into(),
            ..Position::START
        }
    }
}

impl Record {
    /// Converts the record to the product's type, with only the fields that R4 needs.
    fn to_proto(self) -> proto::UpdatesRecord {
        use proto::updates_record::Body as Proto;
        let body = match self.body {
            Body::Fence(_) => Proto::Fence(proto::Fence::default()),
            Body::Decided(_) => Proto::Decisions(proto::Decisions::default()),
            Body::Stored(..) => Proto::SnapshotStored(proto::SnapshotStored::default()),
        };
        proto::UpdatesRecord { epoch: self.epoch.into(), n: self.n.into(), body: Some(body) }
    }
}

/// Judges by R4 the record at this position, and moves the position behind the record.
pub fn judge(position: &mut LogPosition, record: &Record, mutant: Option<Mutant>) -> Validity {
    let is_fence = matches!(record.body, Body::Fence(_));
    if position.epoch == UNKNOWN_EPOCH {
        (position.epoch, position.n) = match is_fence {
            true => (record.epoch - 1, 0),
            false => (record.epoch, record.n - 1),
        };
    }
    match mutant {
        Some(Mutant::NoNumbers) if !is_fence => {
            position.offset += 1;
            match record.epoch == position.epoch {
                true => Validity::Valid,
                false => Validity::Invalid,
            }
        }
        // Without fences, the first record of a higher epoch makes its epoch the current one.
        Some(Mutant::NoFence) if record.epoch > position.epoch && record.n == 1 => {
            *position = LogPosition { offset: position.offset + 1, epoch: record.epoch, n: 1 };
            Validity::Valid
        }
        _ => {
            let mut real = position.position();
            let validity = real.judge(real.offset, &record.to_proto());
            *position = LogPosition::of(real);
            validity
        }
    }
}

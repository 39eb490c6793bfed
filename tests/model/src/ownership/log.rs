//! The model's log `updates`, and R4 applied to it.
//!
//! The rule itself is the product's code: [`judge`] calls `driftless_chunk::position::Position`,
//! unless a mutant breaks the rule.

use super::mutant::Mutant;
use driftless_chunk::position::{Position, Validity};
use driftless_schemas::{Epoch, Offset, proto};

/// The number of chunks in a state.
pub const CHUNKS: usize = 2;
/// The largest number of commands in a state.
pub const COMMANDS: usize = 4;

/// The unknown epoch of a position under [`Mutant::LowWithoutEpoch`]: the reader believes the epoch
/// of the first record.
pub const UNKNOWN_EPOCH: u8 = u8::MAX;

/// The decision about one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// The command's offset in `commands`.
    pub command: u8,
    pub is_committed: bool,
    /// The chunk's version after the decision, as its owner counts.
    pub version: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    Fence,
    Decided(Decision),
    /// `SnapshotStored`: the chunk's newest ref.
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

/// A chunk's state, with one bit for each command: which are committed and which are decided. These
/// bits stand for the content, the version and the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Content {
    pub committed: u8,
    pub decided: u8,
    /// True if a decision was folded over a hole in the versions, or if the state differs from a
    /// ref in the log.
    pub is_broken: bool,
}

impl Content {
    /// The end of the commands that the content contains: a ref's `through_offset`, plus 1.
    pub fn through(self) -> u8 {
        (u8::BITS - self.decided.leading_zeros()) as u8
    }

    pub fn version(self) -> u8 {
        self.committed.count_ones() as u8
    }

    /// The content before the command at offset `through` and all later ones.
    pub fn below(self, through: u8) -> Self {
        let mask = (1u16 << through) as u8;
        let mask = mask.wrapping_sub(1);
        Self { committed: self.committed & mask, decided: self.decided & mask, ..self }
    }

    /// Folds a decision as `LiveChunk::fold` does: a decision that the content contains already is
    /// skipped. Returns false if it was skipped.
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
        Position { offset: Offset(self.offset.into()), epoch: Epoch(self.epoch.into()), n: self.n.into() }
    }
}

impl Record {
    /// The record as the product's type, with the fields that R4 needs.
    fn to_proto(self) -> proto::UpdatesRecord {
        use proto::updates_record::Body as Proto;
        let body = match self.body {
            Body::Fence => Proto::Fence(proto::Fence::default()),
            Body::Decided(_) => Proto::Decisions(proto::Decisions::default()),
            Body::Stored(..) => Proto::SnapshotStored(proto::SnapshotStored::default()),
        };
        proto::UpdatesRecord { epoch: self.epoch.into(), n: self.n.into(), body: Some(body) }
    }
}

/// Judges the record at the position by R4, and moves the position behind the record.
pub fn judge(position: &mut LogPosition, record: &Record, mutant: Option<Mutant>) -> Validity {
    let is_fence = matches!(record.body, Body::Fence);
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
        // Without fences, the first record of a higher epoch takes over.
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

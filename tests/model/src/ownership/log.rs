//! The log `updates` as the model has it, and R4 over it.
//!
//! The rule itself is the product's: [`judge`] asks `driftless_chunk::position::Position`, unless a mutant breaks it.

use super::mutant::Mutant;
use driftless_chunk::position::{Position, Validity};
use driftless_schemas::{Epoch, Offset, proto};

/// Chunks that a state has room for.
pub const CHUNKS: usize = 2;
/// Commands that a state has room for.
pub const COMMANDS: usize = 4;

/// The epoch of a place that [`Mutant::LowWithoutEpoch`] does not know: it takes the first record's word for it.
pub const UNKNOWN_EPOCH: u8 = u8::MAX;

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// Its offset in `commands`.
    pub command: u8,
    pub is_committed: bool,
    /// The chunk's version after it, as the owner counts.
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

/// A place in `updates`: the product's `Position`, small enough for millions of states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    pub offset: u8,
    pub epoch: u8,
    pub n: u8,
}

/// A chunk: what was committed and what was decided, a bit for each command. It stands for content, version and ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Content {
    pub committed: u8,
    pub decided: u8,
    /// It was folded with a hole in its versions, or differs from what the log says.
    pub is_broken: bool,
}

impl Content {
    /// Every command of the chunk below this is decided and contained: the ref's `through_offset`, plus 1.
    pub fn through(self) -> u8 {
        (u8::BITS - self.decided.leading_zeros()) as u8
    }

    pub fn version(self) -> u8 {
        self.committed.count_ones() as u8
    }

    /// What it was before the command at `through` and all later ones.
    pub fn below(self, through: u8) -> Self {
        let mask = (1u16 << through) as u8;
        let mask = mask.wrapping_sub(1);
        Self { committed: self.committed & mask, decided: self.decided & mask, ..self }
    }

    /// Folds a decision, as `LiveChunk::fold` does: what it contains already is skipped. Gives whether it was news.
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

impl Place {
    fn of(position: Position) -> Self {
        Self { offset: position.offset.0 as u8, epoch: position.epoch.0 as u8, n: position.n as u8 }
    }

    fn position(self) -> Position {
        Position { offset: Offset(self.offset.into()), epoch: Epoch(self.epoch.into()), n: self.n.into() }
    }
}

impl Record {
    /// As much of it as R4 looks at.
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

/// R4: judges the record at the place and moves behind it.
pub fn judge(place: &mut Place, record: &Record, mutant: Option<Mutant>) -> Validity {
    let is_fence = matches!(record.body, Body::Fence);
    if place.epoch == UNKNOWN_EPOCH {
        (place.epoch, place.n) = match is_fence {
            true => (record.epoch - 1, 0),
            false => (record.epoch, record.n - 1),
        };
    }
    match mutant {
        Some(Mutant::NoNumbers) if !is_fence => {
            place.offset += 1;
            match record.epoch == place.epoch {
                true => Validity::Valid,
                false => Validity::Invalid,
            }
        }
        // Without fences a higher epoch speaks for itself.
        Some(Mutant::NoFence) if record.epoch > place.epoch && record.n == 1 => {
            *place = Place { offset: place.offset + 1, epoch: record.epoch, n: 1 };
            Validity::Valid
        }
        _ => {
            let mut position = place.position();
            let validity = position.judge(position.offset, &record.to_proto());
            *place = Place::of(position);
            validity
        }
    }
}

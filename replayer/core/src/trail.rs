//! The records that an ownership appends to `updates`: their numbers, their acknowledgements, and
//! the positions from which a later reader may begin (R4, R6).
//!
//! A producer may write the records that are in flight a second time (docs/decisions/0012), and
//! then acknowledges each record at the offset of its second copy. R4 counts the first copies only.
//! The first copies of later records may have offsets below the acknowledged one, and a reader that
//! began behind the acknowledged offset would miss them. So a reader may begin behind an offset
//! only if no later record can have a lower one.
//!
//! Two facts show when this is so. If a record is given to the producer after an acknowledgement,
//! each copy of it has a higher offset than the acknowledged one. And no record is between two
//! neighbouring offsets. So when a record is acknowledged at an offset that does not follow the
//! previous record's directly, no offset is trusted for now. Trust returns when every record that
//! was in flight at that moment is acknowledged, and each of them has the offset directly behind
//! the previous one.

use crate::messages::End;
use crate::progress::BatchPart;
use bytes::Bytes;
use driftless_chunk::mutant::Mutant;
use driftless_chunk::position::Position;
use driftless_schemas::proto::{UpdatesRecord, updates_record::Body};
use driftless_schemas::{Epoch, Offset};
use prost::Message;
use std::collections::VecDeque;

/// The number of the fence, the first record of an ownership (R4).
pub(crate) const FENCE: u64 = 0;
/// The number of the record after the fence.
pub(crate) const FIRST_AFTER_FENCE: u64 = FENCE + 1;

/// The records that one ownership has appended.
pub(crate) struct RecordTrail {
    epoch: Epoch,
    next_n: u64,
    /// The number of the newest acknowledged record.
    acked_n: u64,
    /// The offset of the newest acknowledged record, if the log has reported it.
    acked_at: Option<Offset>,
    /// Offsets of records with a number below this one are not trusted as positions.
    trusted_n: u64,
    /// The highest position that is trusted, as [`RecordTrail::known`] returns it.
    known: Position,
    in_flight: VecDeque<InFlight>,
}

/// A record that is not acknowledged yet.
struct InFlight {
    n: u64,
    commands: Vec<BatchPart>,
}

impl RecordTrail {
    /// A trail without records; recovery begins to read at `start`.
    pub fn new(epoch: Epoch, start: Position) -> Self {
        Self { epoch, next_n: 0, acked_n: 0, acked_at: None, trusted_n: 0, known: start, in_flight: VecDeque::new() }
    }

    /// Gives the next number to a record, and encodes it. `commands` are done when the record is
    /// acknowledged.
    pub fn append(&mut self, body: Body, commands: Vec<BatchPart>) -> (u64, Bytes) {
        let n = self.next_n;
        self.next_n += 1;
        self.in_flight.push_back(InFlight { n, commands });
        let record = UpdatesRecord { epoch: self.epoch.0, n, body: Some(body) };
        (n, record.encode_to_vec().into())
    }

    /// Notes that recovery has read the own fence back, as the last record below `position`.
    pub fn anchor(&mut self, position: Position) {
        self.known = position;
        self.acked_at = Some(Offset(position.offset.0 - 1));
    }

    /// Notes that the log has acknowledged record `n`. Returns the commands that are done now.
    ///
    /// # Errors
    /// [`End::AppendFailed`] if an older record is not acknowledged yet. The acknowledged records
    /// must have no gap (R6).
    pub fn acknowledge(&mut self, n: u64, offset: Option<Offset>) -> Result<Vec<BatchPart>, End> {
        let Some(oldest) = self.in_flight.pop_front() else { return Ok(Vec::new()) };
        if oldest.n != n {
            let reason = format!("record {n} was acknowledged before it");
            return Err(End::AppendFailed { n: oldest.n, reason });
        }
        self.acked_n = n;
        // The fence's offset is known already, because recovery has read the fence.
        if n != FENCE {
            let is_neighbour = offset.is_some() && offset == self.acked_at.map(Offset::next);
            if !is_neighbour && !Mutant::TrustEveryOffset.is_on() {
                self.trusted_n = self.next_n - 1;
            }
            self.acked_at = offset;
            if let Some(offset) = offset
                && n >= self.trusted_n
            {
                self.known = Position { offset: offset.next(), epoch: self.epoch, n };
            }
        }
        Ok(oldest.commands)
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The highest position that this owner can vouch for: each later record of its own has a
    /// higher offset.
    pub fn known(&self) -> Position {
        self.known
    }

    /// How many records were appended.
    pub fn len(&self) -> u64 {
        self.next_n
    }

    /// The number of the newest record. The fence is always there.
    pub fn newest_n(&self) -> u64 {
        self.next_n.saturating_sub(1)
    }

    /// True if record `n` is acknowledged.
    pub fn is_acknowledged(&self, n: u64) -> bool {
        n <= self.acked_n
    }

    /// True if each record with a number below `n` is acknowledged.
    pub fn is_acknowledged_below(&self, n: u64) -> bool {
        self.in_flight.front().is_none_or(|oldest| oldest.n >= n)
    }

    /// True if no record is in flight.
    pub fn is_acknowledged_to_the_end(&self) -> bool {
        self.in_flight.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftless_schemas::proto::Fence;

    fn trail(records: u64) -> RecordTrail {
        let mut trail = RecordTrail::new(Epoch(3), Position::START);
        for _ in 0..records {
            trail.append(Body::Fence(Fence::default()), Vec::new());
        }
        trail.anchor(Position { offset: Offset(10), epoch: Epoch(3), n: 0 });
        trail
    }

    #[test]
    fn r6_an_acknowledgement_out_of_order_ends_the_ownership() {
        let mut trail = trail(3);
        assert!(trail.acknowledge(0, None).is_ok());
        assert!(matches!(trail.acknowledge(2, Some(Offset(11))), Err(End::AppendFailed { n: 1, .. })));
    }

    #[test]
    fn r4_the_offset_of_a_second_copy_is_no_position_until_neighbours_follow() {
        let mut trail = trail(4);
        trail.acknowledge(0, None).unwrap();
        // The first copies of records 1 and 2 have the offsets 10 and 11, the second copies 12 and
        // 13. Record 1 is acknowledged at offset 12. A reader that began at 13 and took n = 1 as
        // the last valid one would be wrong: the last valid record below 13 is record 2.
        trail.acknowledge(1, Some(Offset(12))).unwrap();
        assert_eq!(trail.known().n, 0);
        trail.acknowledge(2, Some(Offset(13))).unwrap();
        assert_eq!(trail.known().n, 0, "record 3 was in flight as well");
        trail.acknowledge(3, Some(Offset(14))).unwrap();
        assert_eq!(trail.known(), Position { offset: Offset(15), epoch: Epoch(3), n: 3 });
    }
}

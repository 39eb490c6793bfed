//! The records that an ownership appends to `updates`: their numbers, their acknowledgements, and
//! which of them count (R4, R6).
//!
//! An acknowledged record is in the log, but it counts only if no valid fence of another owner
//! stands before it, and if no other record has taken its number. So the trail keeps a position up
//! to which everything in the log is known. A record that is acknowledged at exactly that position,
//! under the next number, counts, because nothing stands between. This is the usual case.
//!
//! Any other acknowledgement leaves a gap: its offset is higher, or unknown. Another process may
//! have written there, or the producer may have written its own records a second time
//! (docs/decisions/0012). Then the owner reads the log from the position on and judges each record
//! by R4 (docs/decisions/0016). Until then no ref, no checkpoint and no bound uses the records
//! behind the gap.

use crate::messages::End;
use crate::progress::BatchPart;
use bytes::Bytes;
use driftless_chunk::mutant::Mutant;
use driftless_chunk::position::{Position, Validity};
use driftless_schemas::proto::{UpdatesRecord, updates_record::Body};
use driftless_schemas::{Epoch, Offset, Print};
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
    /// Everything below this position is judged, and its last valid record is this owner's own.
    known: Position,
    /// The position behind the newest of this owner's records that count. A checkpoint names no
    /// higher position, although foreign records up to the known one may follow: only an owner's
    /// record tells one log from another, because other programs may write the same bytes to both.
    bound: Position,
    /// The value of the record just below `bound`, if this ownership has seen it.
    newest_own: Option<Bytes>,
    /// Records that are not acknowledged, oldest first.
    in_flight: VecDeque<Appended>,
    /// Acknowledged records of which it is not known that they count, oldest first, each with the
    /// offset that the log has reported.
    uncertain: VecDeque<(Appended, Option<Offset>)>,
}

/// A record that this owner has appended.
struct Appended {
    n: u64,
    /// The record's bytes, which a record that is read back must equal.
    value: Bytes,
    commands: Vec<BatchPart>,
}

/// The origin of a record that the owner has read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadBack {
    /// A record of this owner. A second copy counts as one too.
    Own,
    /// A record of another process. It does not count.
    Foreign,
}

impl RecordTrail {
    /// A trail without records; recovery begins to read at `start`.
    pub fn new(epoch: Epoch, start: Position) -> Self {
        Self {
            epoch,
            next_n: 0,
            known: start,
            bound: start,
            newest_own: None,
            in_flight: VecDeque::new(),
            uncertain: VecDeque::new(),
        }
    }

    /// Gives the next number to a record, and encodes it. `commands` are done when the record
    /// counts.
    pub fn append(&mut self, body: Body, commands: Vec<BatchPart>) -> (u64, Bytes) {
        let n = self.next_n;
        self.next_n += 1;
        let value: Bytes = UpdatesRecord { epoch: self.epoch.0, n, body: Some(body) }.encode_to_vec().into();
        self.in_flight.push_back(Appended { n, value: value.clone(), commands });
        (n, value)
    }

    /// Notes that recovery has read the own fence back, as the last record below `position`.
    pub fn anchor(&mut self, position: Position, fence: Bytes) {
        self.known = position;
        self.counts(fence);
    }

    /// Notes that the record just below the known position is this owner's, and counts.
    fn counts(&mut self, value: Bytes) {
        self.bound = self.known;
        self.newest_own = Some(value);
    }

    /// Notes that the log has acknowledged record `n`. [`RecordTrail::settle`] then takes it, if it
    /// is certain to count.
    ///
    /// # Errors
    /// [`End::AppendFailed`] if an older record is not acknowledged yet: the acknowledged records
    /// must have no gap (R6).
    pub fn acknowledge(&mut self, n: u64, offset: Option<Offset>) -> Result<(), End> {
        let Some(oldest) = self.in_flight.pop_front() else { return Ok(()) };
        if oldest.n != n {
            let reason = format!("record {n} was acknowledged before it");
            return Err(End::AppendFailed { n: oldest.n, reason });
        }
        // The fence counts as soon as recovery has read it.
        if n != FENCE {
            self.uncertain.push_back((oldest, offset));
        }
        Ok(())
    }

    /// Judges a record that was read back, if it stands at the known position or above.
    ///
    /// # Errors
    /// [`End::Replaced`] if the record is the valid fence of another owner. [`End::NotCounted`] if
    /// another process has written a valid record under this owner's epoch.
    pub fn read_back(&mut self, offset: Offset, value: &Bytes, record: &UpdatesRecord) -> Result<ReadBack, End> {
        if offset < self.known.offset {
            return Ok(ReadBack::Own);
        }
        let n = record.n;
        let validity = self.known.judge(offset, record);
        match validity {
            Validity::Fence if Mutant::OverlookFence.is_on() => Ok(ReadBack::Foreign),
            Validity::Fence => Err(End::Replaced { epoch: Epoch(record.epoch) }),
            Validity::Valid if self.own(n).is_some_and(|own| own.value == *value) => {
                self.counts(value.clone());
                Ok(ReadBack::Own)
            }
            Validity::Valid => {
                let reason = format!("another process has written epoch {} and n = {n} at offset {offset}", self.epoch);
                Err(End::NotCounted { n, reason })
            }
            // Each record of this owner up to the known position has been compared with the record
            // that counts. What follows under an earlier number is a second copy.
            Validity::Invalid if record.epoch == self.epoch.0 && n <= self.known.n => Ok(ReadBack::Own),
            Validity::Invalid => Ok(ReadBack::Foreign),
        }
    }

    /// Takes the records that are certain to count now. Returns the commands that are done.
    ///
    /// # Errors
    /// [`End::NotCounted`] if the log has acknowledged a record at an offset below the known
    /// position, where the record does not count.
    pub fn settle(&mut self) -> Result<Vec<BatchPart>, End> {
        let mut done = Vec::new();
        while let Some((Appended { n, value, .. }, offset)) = self.uncertain.front() {
            let (n, known) = (*n, self.known);
            if n > known.n {
                let is_next = n == known.n + 1 && *offset == Some(known.offset);
                match *offset {
                    Some(offset) if is_next || Mutant::TrustEveryOffset.is_on() => {
                        let value = value.clone();
                        self.known = Position { offset: offset.next(), epoch: self.epoch, n, ..known };
                        self.counts(value);
                    }
                    Some(offset) if offset < known.offset => {
                        let reason = format!(
                            "the log acknowledged it at offset {offset}, but the records below offset {} end with n = {}. The topic was made anew or cut, or another process has written to it",
                            known.offset, known.n
                        );
                        return Err(End::NotCounted { n, reason });
                    }
                    _ => break,
                }
            }
            done.extend(self.uncertain.pop_front().into_iter().flat_map(|(appended, _)| appended.commands));
        }
        Ok(done)
    }

    fn own(&self, n: u64) -> Option<&Appended> {
        let acknowledged = self.uncertain.iter().map(|(appended, _)| appended);
        acknowledged.chain(&self.in_flight).find(|appended| appended.n == n)
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The position up to which everything in the log is known. Each later valid record of this
    /// owner has a higher offset, unless another owner has fenced this one.
    pub fn known(&self) -> Position {
        self.known
    }

    /// The position behind the newest of this owner's records that count. A checkpoint names no
    /// higher one.
    pub fn bound(&self) -> Position {
        self.bound
    }

    /// The print of the record just below [`RecordTrail::bound`]. `None` before recovery has read
    /// the fence.
    pub fn bound_print(&self) -> Option<Print> {
        self.newest_own.as_deref().map(Print::of)
    }

    /// True if a record is acknowledged, and the owner must read the log back to learn whether it
    /// counts.
    pub fn is_uncertain(&self) -> bool {
        !self.uncertain.is_empty()
    }

    /// How many records were appended.
    pub fn len(&self) -> u64 {
        self.next_n
    }

    /// The number of the newest record. The fence is always there.
    pub fn newest_n(&self) -> u64 {
        self.next_n.saturating_sub(1)
    }

    /// True if each record with a number below `n` is acknowledged and counts.
    pub fn counts_below(&self, n: u64) -> bool {
        let is_acknowledged = self.in_flight.front().is_none_or(|oldest| oldest.n >= n);
        let is_certain = self.uncertain.front().is_none_or(|(oldest, _)| oldest.n >= n);
        is_acknowledged && is_certain
    }

    /// True if no record is in flight.
    pub fn is_acknowledged_to_the_end(&self) -> bool {
        self.in_flight.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftless_schemas::proto::{Decisions, Fence};

    const EPOCH: Epoch = Epoch(3);

    /// A trail whose fence stands at offset 9, with `records` more records in flight. Returns their
    /// bytes, by number.
    fn trail(records: u64) -> (RecordTrail, Vec<Bytes>) {
        let mut trail = RecordTrail::new(EPOCH, Position::START);
        let mut values = vec![trail.append(Body::Fence(Fence::default()), Vec::new()).1];
        values.extend((0..records).map(|_| trail.append(Body::Decisions(Decisions::default()), Vec::new()).1));
        trail.anchor(at(10, 0), Bytes::new());
        acknowledge(&mut trail, 0, None).unwrap();
        (trail, values)
    }

    /// Acknowledges a record, and takes the records that are certain to count then.
    fn acknowledge(trail: &mut RecordTrail, n: u64, offset: Option<Offset>) -> Result<Vec<BatchPart>, End> {
        trail.acknowledge(n, offset)?;
        trail.settle()
    }

    fn at(offset: i64, n: u64) -> Position {
        Position { offset: Offset(offset), epoch: EPOCH, n, ..Position::START }
    }

    fn read(trail: &mut RecordTrail, offset: i64, value: &Bytes) -> Result<ReadBack, End> {
        let record = UpdatesRecord::decode(value.clone()).unwrap();
        trail.read_back(Offset(offset), value, &record)
    }

    fn encoded(epoch: u64, n: u64, body: Body) -> Bytes {
        UpdatesRecord { epoch, n, body: Some(body) }.encode_to_vec().into()
    }

    #[test]
    fn r6_an_acknowledgement_out_of_order_ends_the_ownership() {
        let (mut trail, _) = trail(2);
        assert!(matches!(acknowledge(&mut trail, 2, Some(Offset(11))), Err(End::AppendFailed { n: 1, .. })));
    }

    #[test]
    fn r4_a_record_at_the_known_position_counts_without_being_read() {
        let (mut trail, _) = trail(2);
        acknowledge(&mut trail, 1, Some(Offset(10))).unwrap();
        assert_eq!((trail.known(), trail.counts_below(2), trail.counts_below(3)), (at(11, 1), true, false));
        assert!(!trail.is_uncertain());
    }

    /// The next owner recognises the log by the record just below the position. Another program may
    /// write the same bytes to another log as well.
    #[test]
    fn r4_no_bound_follows_a_foreign_record() {
        let (mut trail, values) = trail(2);
        acknowledge(&mut trail, 1, Some(Offset(10))).unwrap();
        let print = trail.bound_print();
        assert_eq!(print, Some(Print::of(&values[1])));
        for (offset, epoch) in [(11, 50), (12, 2)] {
            let foreign = encoded(epoch, 1, Body::Decisions(Decisions::default()));
            assert_eq!(read(&mut trail, offset, &foreign).unwrap(), ReadBack::Foreign);
            assert_eq!((trail.known(), trail.bound(), trail.bound_print()), (at(offset + 1, 1), at(11, 1), print));
        }
        assert_eq!(read(&mut trail, 13, &values[2]).unwrap(), ReadBack::Own);
        assert_eq!((trail.bound(), trail.bound_print()), (at(14, 2), Some(Print::of(&values[2]))));
    }

    #[test]
    fn r4_a_record_behind_a_gap_counts_once_the_gap_is_read() {
        let (mut trail, values) = trail(3);
        // The first copies of records 1 and 2 have the offsets 10 and 11, the second copies 12 and
        // 13. Record 1 is acknowledged at offset 12. A reader that began at 13 and took n = 1 as
        // the last valid one would be wrong: the last valid record below 13 is record 2.
        acknowledge(&mut trail, 1, Some(Offset(12))).unwrap();
        assert_eq!((trail.known(), trail.is_uncertain(), trail.counts_below(2)), (at(10, 0), true, false));
        for (offset, n) in [(10, 1), (11, 2), (12, 1)] {
            assert_eq!(read(&mut trail, offset, &values[n]).unwrap(), ReadBack::Own);
        }
        trail.settle().unwrap();
        assert_eq!((trail.known(), trail.is_uncertain()), (at(13, 2), false));
        // Record 2 is acknowledged now, at its second copy. It counts already.
        acknowledge(&mut trail, 2, Some(Offset(13))).unwrap();
        assert!(trail.counts_below(3) && !trail.is_uncertain());
    }

    #[test]
    fn r4_an_acknowledgement_without_an_offset_makes_nothing_certain() {
        let (mut trail, values) = trail(2);
        acknowledge(&mut trail, 1, None).unwrap();
        acknowledge(&mut trail, 2, Some(Offset(11))).unwrap();
        assert_eq!((trail.known(), trail.counts_below(2)), (at(10, 0), false));
        read(&mut trail, 10, &values[1]).unwrap();
        trail.settle().unwrap();
        assert_eq!((trail.known(), trail.counts_below(3)), (at(12, 2), true), "record 2 is the neighbour of record 1");
    }

    #[test]
    fn r4_a_newer_fence_in_a_gap_ends_the_ownership() {
        let (mut trail, values) = trail(1);
        acknowledge(&mut trail, 1, Some(Offset(12))).unwrap();
        let older = encoded(2, 7, Body::Decisions(Decisions::default()));
        assert_eq!(read(&mut trail, 10, &older).unwrap(), ReadBack::Foreign);
        let newer = encoded(4, 0, Body::Fence(Fence { owner: "other".into(), ..Fence::default() }));
        assert_eq!(read(&mut trail, 11, &newer).unwrap_err(), End::Replaced { epoch: Epoch(4) });
        assert!(!trail.counts_below(2));
        assert_eq!(read(&mut trail, 12, &values[1]).unwrap(), ReadBack::Foreign);
        assert!(matches!(trail.settle(), Err(End::NotCounted { n: 1, .. })), "it stands behind the fence");
    }

    #[test]
    fn r4_a_forged_record_under_the_own_epoch_ends_the_ownership() {
        let (mut trail, _) = trail(1);
        acknowledge(&mut trail, 1, Some(Offset(11))).unwrap();
        let forged =
            encoded(3, 1, Body::Decisions(Decisions { chunk_id: "canvas/0/0".into(), ..Decisions::default() }));
        let Err(End::NotCounted { n: 1, reason }) = read(&mut trail, 10, &forged) else { panic!("it took the number") };
        assert!(reason.contains("offset 10"), "{reason}");
    }

    #[test]
    fn r4_an_offset_below_the_known_position_means_another_log() {
        let (mut trail, _) = trail(1);
        let Err(End::NotCounted { n: 1, reason }) = acknowledge(&mut trail, 1, Some(Offset(0))) else {
            panic!("offset 0 was another record")
        };
        assert!(reason.contains("offset 0") && reason.contains("offset 10"), "{reason}");
    }
}

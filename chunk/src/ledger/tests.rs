//! Attacks on R8: verdicts, the window of 64 numbers, eviction, and the ledger's encoding in a ref.

use super::*;
use driftless_schemas::Hash;
use proptest::prelude::*;

/// A writer whose session began at `time_ms`.
fn writer(time_ms: u64, number: u64) -> WriterId {
    let Hash(tail) = Hash::of(&number.to_le_bytes());
    let mut id = [0; 16];
    id[..6].copy_from_slice(&time_ms.to_be_bytes()[2..]);
    id[6..].copy_from_slice(&tail[..10]);
    WriterId(id)
}

const ANN: WriterId = WriterId([7; 16]);

fn known(seq: u64, committed_bits: u64) -> Resolved {
    Resolved::Known { seq: Seq(seq), committed_bits }
}

#[test]
fn r8_a_command_is_decided_iff_after_is_resolved_and_seq_is_not() {
    let mut ledger = Ledger::new();
    ledger.resolve(ANN, Seq(5), true, Offset(0));
    for (seq, after, verdict) in [
        (6, 5, Verdict::Decide),
        (6, 0, Verdict::Decide),
        (9, 3, Verdict::Decide),
        (9, 6, Verdict::OutOfOrder),
        (u64::MAX, u64::MAX - 1, Verdict::OutOfOrder),
        (u64::MAX, 5, Verdict::Decide),
        (5, 4, Verdict::Resend),
        (3, 0, Verdict::Resend),
        (1, 0, Verdict::Resend),
        // A client never sends such numbers, but they must do no harm.
        (5, 9, Verdict::Resend),
        (7, 7, Verdict::OutOfOrder),
        (0, 0, Verdict::Resend),
    ] {
        assert_eq!(ledger.verdict(ANN, Seq(seq), Seq(after)), verdict, "seq {seq} after {after}");
    }
}

#[test]
fn r8_a_new_writer_starts_at_zero() {
    let ledger = Ledger::new();
    assert_eq!(ledger.resolved(ANN), known(0, 0));
    assert_eq!(ledger.verdict(ANN, Seq(1), Seq(0)), Verdict::Decide);
    assert_eq!(ledger.verdict(ANN, Seq(4), Seq(0)), Verdict::Decide, "the numbers before it were withdrawn");
    assert_eq!(ledger.verdict(ANN, Seq(2), Seq(1)), Verdict::OutOfOrder);
}

#[test]
fn r8_skipped_numbers_read_as_not_committed() {
    let mut ledger = Ledger::new();
    ledger.resolve(ANN, Seq(2), true, Offset(10));
    ledger.resolve(ANN, Seq(3), false, Offset(11));
    ledger.resolve(ANN, Seq(6), true, Offset(12));
    assert_eq!(ledger.resolved(ANN), known(6, 0b01_0001));
    let committed: Vec<_> = (0..=7).map(|seq| ledger.resolved(ANN).is_committed(Seq(seq))).collect();
    let (yes, no) = (Some(true), Some(false));
    assert_eq!(committed, [None, no, yes, no, no, no, yes, None]);
}

#[test]
fn r8_the_window_holds_exactly_64_numbers() {
    let mut ledger = Ledger::new();
    ledger.resolve(ANN, Seq(1), true, Offset(1));
    ledger.resolve(ANN, Seq(64), false, Offset(2));
    assert_eq!(ledger.resolved(ANN), known(64, 1 << 63));
    assert_eq!(ledger.resolved(ANN).is_committed(Seq(1)), Some(true));
    ledger.resolve(ANN, Seq(65), true, Offset(3));
    assert_eq!(ledger.resolved(ANN), known(65, 1));
    assert_eq!(ledger.resolved(ANN).is_committed(Seq(1)), None, "beyond the window nothing is claimed");
    assert_eq!(ledger.resolved(ANN).is_committed(Seq(2)), Some(false));
    ledger.resolve(ANN, Seq(65 + 63), true, Offset(4));
    assert_eq!(ledger.resolved(ANN), known(128, 1 << 63 | 1));
    ledger.resolve(ANN, Seq(128 + 64), false, Offset(5));
    assert_eq!(ledger.resolved(ANN), known(192, 0));
    ledger.resolve(ANN, Seq(u64::MAX), true, Offset(6));
    assert_eq!(ledger.resolved(ANN), known(u64::MAX, 1));
    assert_eq!(Resolved::Expired.is_committed(Seq(1)), None);
}

#[test]
fn r8_the_least_recently_decided_writer_is_evicted_and_raises_the_floor() {
    let mut ledger = Ledger::new();
    let max = limits::LEDGER_WRITERS_MAX as u64;
    // Each later writer has an older session. So the order of eviction (by last decision) is the
    // opposite of the order by session age, and the test can tell the two apart.
    let of = |i: u64| writer(10_000 - i, 1);
    for i in 0..max {
        ledger.resolve(of(i), Seq(1), true, Offset(i as i64));
    }
    assert_eq!((ledger.len(), ledger.floor_ms()), (limits::LEDGER_WRITERS_MAX, 0));
    // A second command of the first writer is decided. The second writer is now the least recently
    // decided one and is evicted first; its session is the second youngest, and its time becomes
    // the floor.
    ledger.resolve(of(0), Seq(2), false, Offset(5_000));
    assert_eq!((ledger.len(), ledger.floor_ms()), (limits::LEDGER_WRITERS_MAX, 0));
    ledger.resolve(writer(20_000, 2), Seq(1), true, Offset(5_001));
    assert_eq!((ledger.len(), ledger.floor_ms()), (limits::LEDGER_WRITERS_MAX, 9_999));
    assert_eq!(ledger.resolved(of(1)), Resolved::Expired);
    assert_eq!(ledger.resolved(of(0)), known(2, 0b10));
    assert_eq!(ledger.resolved(of(2)), known(1, 1), "a known writer below the floor stays known");
    // Evicting an older session does not lower the floor.
    ledger.resolve(writer(20_001, 2), Seq(1), true, Offset(5_002));
    assert_eq!(ledger.floor_ms(), 9_999);
    assert_eq!(ledger.resolved(of(2)), Resolved::Expired);
}

#[test]
fn r8_an_evicted_writer_is_never_decided_again() {
    let mut ledger = Ledger::new();
    ledger.resolve(writer(100, 1), Seq(1), true, Offset(0));
    for i in 0..limits::LEDGER_WRITERS_MAX as u64 {
        ledger.resolve(writer(50, 1_000 + i), Seq(1), true, Offset(1 + i as i64));
    }
    assert_eq!(ledger.floor_ms(), 100);
    let expired = Verdict::Expired { floor_ms: 100 };
    for (time_ms, tail, verdict) in [
        (100, 1, expired),
        (100, 2, expired),
        (99, 3, expired),
        (0, 4, expired),
        (101, 5, Verdict::Decide),
        ((1 << 48) - 1, 6, Verdict::Decide),
    ] {
        assert_eq!(ledger.verdict(writer(time_ms, tail), Seq(1), Seq(0)), verdict, "{time_ms}");
    }
    assert_eq!(ledger.verdict(writer(101, 5), Seq(2), Seq(1)), Verdict::OutOfOrder, "young, but not in order");
}

#[test]
fn a_session_time_of_zero_is_expired_from_the_start() {
    // The floor starts at 0 and must be exceeded.
    assert_eq!(Ledger::new().verdict(writer(0, 9), Seq(1), Seq(0)), Verdict::Expired { floor_ms: 0 });
}

#[test]
fn r5_a_ledger_in_a_ref_is_sorted_by_offset_and_exact() {
    let mut ledger = Ledger::new();
    ledger.resolve(writer(30, 1), Seq(4), true, Offset(7));
    ledger.resolve(writer(20, 2), Seq(1), false, Offset(8));
    ledger.resolve(writer(30, 1), Seq(6), true, Offset(9));
    let stored = ledger.to_stored();
    let entry = |writer: WriterId, seq, committed_bits, last_offset| StoredWriter {
        writer,
        seq: Seq(seq),
        committed_bits,
        last_offset: Offset(last_offset),
    };
    let entries = vec![entry(writer(20, 2), 1, 0, 8), entry(writer(30, 1), 6, 0b101, 9)];
    assert_eq!(stored, StoredLedger { floor_ms: 0, entries });
    assert_eq!(Ledger::from_stored(&stored), Ok(ledger));
}

#[test]
fn a_bad_ledger_is_refused() {
    let entry =
        |writer, last_offset| StoredWriter { writer, seq: Seq(1), committed_bits: 1, last_offset: Offset(last_offset) };
    let many = (0..1025).map(|i| entry(writer(7, i as u64), i)).collect();
    let (one, two) = (WriterId([1; 16]), WriterId([2; 16]));
    for (entries, problem) in [
        (vec![entry(one, 1), entry(one, 2)], "twice"),
        (vec![entry(one, 1), entry(two, 1)], "twice"),
        (many, "1025 writers"),
    ] {
        let error = Ledger::from_stored(&StoredLedger { floor_ms: 0, entries }).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

/// A list of decisions, each as the writer, the distance from the writer's previous number, and
/// whether the number is committed.
fn marks() -> impl Strategy<Value = Vec<(u64, u64, bool)>> {
    let step = prop_oneof![6 => Just(1u64), 2 => 2..5u64, 1 => 60..70u64];
    prop::collection::vec((0..6u64, step, any::<bool>()), 0..200)
}

/// A plain model of the ledger, which remembers all numbers of all writers for ever.
#[derive(Default)]
struct Oracle(BTreeMap<u64, BTreeMap<u64, bool>>);

impl Oracle {
    fn newest(&self, writer: u64) -> u64 {
        self.0.get(&writer).and_then(|seqs| seqs.last_key_value()).map_or(0, |(seq, _)| *seq)
    }
}

proptest! {
    #[test]
    fn r8_the_bits_answer_for_every_number_in_the_window(marks in marks()) {
        let (mut ledger, mut oracle) = (Ledger::new(), Oracle::default());
        for (offset, (who, step, is_committed)) in marks.into_iter().enumerate() {
            let id = writer(5, who);
            let newest = oracle.newest(who);
            let seq = newest + step;
            prop_assert_eq!(ledger.verdict(id, Seq(seq), Seq(newest)), Verdict::Decide);
            ledger.resolve(id, Seq(seq), is_committed, Offset(offset as i64));
            oracle.0.entry(who).or_default().insert(seq, is_committed);
        }
        for who in 0..6 {
            let newest = oracle.newest(who);
            let resolved = ledger.resolved(writer(5, who));
            for seq in 1..newest + 3 {
                let expected = (seq <= newest && newest - seq < 64)
                    .then(|| oracle.0[&who].get(&seq).copied().unwrap_or(false));
                prop_assert_eq!(resolved.is_committed(Seq(seq)), expected, "{} of {}", seq, newest);
            }
        }
    }

    #[test]
    fn r5_ref_and_later_marks_rebuild_the_ledger_exactly(
        marks in marks(), cut in 0usize..200, full in prop_oneof![Just(0u64), 1020..1026u64]
    ) {
        let mut ledger = Ledger::new();
        let mut offset = 0;
        let mut next = |ledger: &mut Ledger, id: WriterId, step: u64, is_committed: bool| {
            let Resolved::Known { seq, .. } = ledger.resolved(id) else { return };
            offset += 1 + i64::try_from(step % 3).unwrap();
            ledger.resolve(id, Seq(seq.0 + step), is_committed, Offset(offset));
        };
        // Enough other writers that the writers below evict each other.
        for i in 0..full {
            next(&mut ledger, writer(1_000 + i, 9 + i), 1, true);
        }
        let id = |who: u64| writer(1_000 + 700 * who, 3 + who);
        let mut rebuilt = None;
        for (i, (who, step, is_committed)) in marks.into_iter().enumerate() {
            if i == cut {
                rebuilt = Some((i, Ledger::from_stored(&ledger.to_stored()).unwrap(), offset_of(&ledger)));
                prop_assert_eq!(&rebuilt.as_ref().unwrap().1, &ledger);
            }
            let before = offset_of(&ledger);
            next(&mut ledger, id(who), step, is_committed);
            // Apply the decision to the rebuilt ledger too, as a gateway or a new owner does when
            // it reads the mark from `updates`.
            if let Some((_, rebuilt, _)) = &mut rebuilt
                && offset_of(&ledger) > before
            {
                let Resolved::Known { seq, .. } = ledger.resolved(id(who)) else { unreachable!() };
                rebuilt.resolve(id(who), seq, is_committed, Offset(offset_of(&ledger)));
            }
        }
        if let Some((_, rebuilt, _)) = rebuilt {
            prop_assert_eq!(&rebuilt, &ledger);
            prop_assert_eq!(rebuilt.len(), ledger.len());
            prop_assert!(rebuilt.len() <= limits::LEDGER_WRITERS_MAX);
            for who in 0..6 {
                prop_assert_eq!(rebuilt.resolved(id(who)), ledger.resolved(id(who)));
            }
        }
    }
}

fn offset_of(ledger: &Ledger) -> i64 {
    ledger.by_offset.last_key_value().map_or(-1, |(offset, _)| offset.0)
}

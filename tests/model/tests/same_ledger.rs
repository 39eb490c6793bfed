//! The model's ledger agrees with the product's ledger on all short histories.
//!
//! The product's ledger holds 1,024 writers. The test fills it with 1,022 other writers that are
//! evicted last. So two places are left, as many as the model's ledger has.

use driftless_chunk::ledger::{Ledger as Product, Resolved, Verdict};
use driftless_model_tests::writer::ledger::{Ledger, Limits, Writer};
use driftless_model_tests::writer::mutant::Mutant;
use driftless_schemas::{Offset, Seq, WriterId, limits};

const LIMITS: Limits = Limits { writers: 2, window: 8 };
const SEQ_MAX: u8 = 7;
/// The writers of the histories: two sessions with the same time, an older session that can be
/// evicted after a newer one, and a session so new that no eviction raises the floor above it.
const WRITERS: [Writer; 4] = [
    Writer { time: 5, is_own: true },
    Writer { time: 3, is_own: false },
    Writer { time: 5, is_own: false },
    Writer { time: 12, is_own: false },
];

/// The steps that a writer may take. Each is an increase of the writer's number, and whether that
/// command is committed.
type Moves<'a> = &'a [(u8, bool)];

#[derive(Clone)]
struct Pair {
    product: Product,
    model: Ledger,
    mutant: Option<Mutant>,
    offset: i64,
}

impl Pair {
    fn new(mutant: Option<Mutant>) -> Self {
        let mut product = Product::new();
        for other in 0..limits::LEDGER_WRITERS_MAX - usize::from(LIMITS.writers) {
            let mut id = [0xff; 16];
            id[8..].copy_from_slice(&(other as u64).to_be_bytes());
            product.resolve(WriterId(id), Seq(1), true, Offset(1_000_000 + other as i64));
        }
        Self { product, model: Ledger::default(), mutant, offset: 0 }
    }

    fn verdicts(&self, writer: Writer, seq: u8, after: u8) -> [Verdict; 2] {
        let product = self.product.verdict(writer.id(), Seq(seq.into()), Seq(after.into()));
        [self.model.verdict(writer, seq, after, self.mutant), product]
    }

    /// True if both ledgers give the same answer to every question.
    fn agree(&self) -> bool {
        u64::from(self.model.floor) == self.product.floor_ms()
            && WRITERS.iter().all(|&writer| {
                let (model, product) = (self.model.resolved(writer), self.product.resolved(writer.id()));
                let numbers = || 0..=SEQ_MAX;
                let is_same = |[model, product]: [Verdict; 2]| model == product;
                model.product() == product
                    && numbers().all(|seq| model.is_committed(seq, LIMITS) == product.is_committed(Seq(seq.into())))
                    && numbers().all(|seq| numbers().all(|after| is_same(self.verdicts(writer, seq, after))))
            })
    }

    /// Extends the history by each step that the product's ledger allows a writer. Returns the
    /// number of histories, or `None` if the two ledgers differ after one of them.
    fn explore(&self, moves: Moves<'_>, steps: u8) -> Option<usize> {
        if !self.agree() {
            return None;
        }
        let mut histories = 1;
        for writer in WRITERS.into_iter().filter(|_| steps > 0) {
            let Resolved::Known { seq: Seq(newest), .. } = self.product.resolved(writer.id()) else { continue };
            for (distance, is_committed) in moves {
                let seq = newest as u8 + distance;
                let mut next = self.clone();
                next.offset += 1;
                next.product.resolve(writer.id(), Seq(seq.into()), *is_committed, Offset(next.offset));
                next.model.resolve(writer, seq, *is_committed, LIMITS, self.mutant);
                histories += next.explore(moves, steps - 1)?;
            }
        }
        Some(histories)
    }
}

/// Explores short histories with all kinds of steps, and longer ones with a single kind.
fn histories(mutant: Option<Mutant>) -> Option<usize> {
    let pair = Pair::new(mutant);
    Some(pair.explore(&[(1, true), (1, false), (2, true)], 2)? + pair.explore(&[(1, true)], 5)?)
}

#[test]
fn r8_the_models_ledger_agrees_with_the_products() {
    let histories = histories(None).expect("the model's ledger differs from the product's");
    assert!(histories > 500, "{histories} histories");
}

#[test]
fn a_broken_ledger_would_be_noticed() {
    for mutant in [Mutant::EvictWithoutFloor, Mutant::FloorWithoutMax, Mutant::AfterEquals] {
        assert_eq!(histories(Some(mutant)), None, "{mutant:?}");
    }
}

//! The model's ledger is the product's, on all short histories.
//!
//! The product holds 1,024 writers: 1,022 others who wrote last leave it two places, which is what the model has.

use driftless_chunk::ledger::{Ledger as Product, Verdict};
use driftless_model_tests::writer::ledger::{Ledger, Limits, Writer};
use driftless_schemas::{Offset, Seq, WriterId, limits};

const LIMITS: Limits = Limits { writers: 2, window: 8 };
const SEQ_MAX: u8 = 7;
/// Session times in neither order, one of them twice.
const WRITERS: [Writer; 4] = [
    Writer { time: 5, is_own: true },
    Writer { time: 9, is_own: false },
    Writer { time: 3, is_own: false },
    Writer { time: 5, is_own: false },
];

#[derive(Clone)]
struct Pair {
    product: Product,
    model: Ledger,
    offset: i64,
    histories: usize,
}

impl Pair {
    fn new() -> Self {
        let mut product = Product::new();
        for other in 0..limits::LEDGER_WRITERS_MAX - usize::from(LIMITS.writers) {
            let mut id = [0xff; 16];
            id[8..].copy_from_slice(&(other as u64).to_be_bytes());
            product.resolve(WriterId(id), Seq(1), true, Offset(1_000_000 + other as i64));
        }
        Self { product, model: Ledger::default(), offset: 0, histories: 0 }
    }

    fn verdict(&self, writer: Writer, seq: u8, after: u8) -> Verdict {
        let verdict = self.product.verdict(writer.id(), Seq(seq.into()), Seq(after.into()));
        assert_eq!(self.model.verdict(writer, seq, after, None), verdict, "{writer:?} {seq} after {after}");
        verdict
    }

    fn compare(&self) {
        assert_eq!(u64::from(self.model.floor), self.product.floor_ms());
        for writer in WRITERS {
            let (model, product) = (self.model.resolved(writer), self.product.resolved(writer.id()));
            assert_eq!(model.product(), product, "{writer:?}");
            for seq in 0..=SEQ_MAX {
                let asked = Seq(seq.into());
                assert_eq!(model.is_committed(seq, LIMITS), product.is_committed(asked), "{writer:?} {seq}");
                for after in 0..=SEQ_MAX {
                    self.verdict(writer, seq, after);
                }
            }
        }
    }

    /// Lets each writer go on, by one number or two, committed or not, if the rule lets it.
    fn explore(&mut self, steps: u8) {
        self.histories += 1;
        self.compare();
        if steps == 0 {
            return;
        }
        for writer in WRITERS {
            let newest = match self.product.resolved(writer.id()) {
                driftless_chunk::ledger::Resolved::Known { seq: Seq(seq), .. } => seq as u8,
                driftless_chunk::ledger::Resolved::Expired => continue,
            };
            for (distance, is_committed) in [(1, true), (1, false), (2, true)] {
                let seq = newest + distance;
                if self.verdict(writer, seq, newest) != Verdict::Decide {
                    continue;
                }
                let mut next = self.clone();
                next.offset += 1;
                next.product.resolve(writer.id(), Seq(seq.into()), is_committed, Offset(next.offset));
                next.model.resolve(writer, seq, is_committed, LIMITS, None);
                next.histories = 0;
                next.explore(steps - 1);
                self.histories += next.histories;
            }
        }
    }
}

#[test]
fn r8_the_models_ledger_is_the_products() {
    let mut pair = Pair::new();
    pair.explore(3);
    assert!(pair.histories > 800, "{} histories", pair.histories);
}

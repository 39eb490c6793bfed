//! The ownership protocol (R2 to R6) and the writer's rule (R8) as two small state machines, each
//! explored exhaustively.
//!
//! [`ownership`] and [`writer`] hold the models, and [`configurations`] their bounds. [`mutants`]
//! holds rules that are broken one at a time, each of which must be caught. [`report`] presents the
//! results. `cargo xtask model` runs everything; the tests run the small bounds and every mutant.
//!
//! R4 is not written again: the models call the product's own code (`driftless_chunk::position`).
//! The ledger's rule is written again, and a test compares it with the product's ledger on all
//! short histories. All other rules exist only as models. The simulator (`tests/sim`) and the tests
//! of the cores show that the code behaves as these models do.
//!
//! The models leave out garbage collection, an unclean leader election, a log that loses
//! acknowledged records, drift and healing, the events that a gateway sends to its sockets, and
//! time. `docs/decisions/0005-models.md` states the consequences.
//!
//! Every rule change that broke an earlier version of the design is a mutant here. Four behaviours
//! are narrower in these models than in the tests that attack them elsewhere:
//! * `after == L`: this client computes `after` anew for each transmission, so it does not hang.
//!   The mutant is caught because a command is refused although everything before it is resolved.
//! * A refused `Settle`: ingest never refuses it for good here. The tests of `client/core` cover
//!   its end as *unknown*.
//! * The appends of one owner: they land in order or not at all. The simulator covers a record that
//!   overtakes another. A hole before a later record is modelled
//!   ([`ownership::mutant::Mutant::NoNumbers`]).
//! * A client that knows of a hole in its stream (`Lagging`): `Tracked` follows at once here.
//!   `client/core` and the simulator show that the client concludes nothing in between.

pub mod ownership;
pub mod writer;
pub mod explore;
pub mod configurations;
pub mod mutants;
pub mod report;

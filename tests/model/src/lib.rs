//! The ownership protocol (R2 to R6) and the writer's rule (R8) as two small state machines, explored to the end.
//!
//! [`ownership`] and [`writer`] hold the models, [`configurations`] their bounds, [`mutants`] the rules broken one at a
//! time, each of which must be caught, and [`report`] says what was found. `cargo xtask model` runs it all; the tests run
//! the small bounds and every mutant. R4 is the product's own code (`driftless_chunk::position`); the ledger's rule is
//! written once more and compared with the product's on all short histories. Everything else is a model: that the code
//! does the same is for the simulator (`tests/sim`) and the tests of the cores to show.
//!
//! Not modelled: garbage collection, an unclean leader election, a log that loses what it acknowledged, drift and healing,
//! what a gateway sends to its sockets, time. `docs/decisions/0005-models.md` says what follows.
//!
//! All that broke earlier versions of the rules is a mutant here. Narrower than where it is attacked elsewhere are
//! * `after == L`: this client computes `after` anew at every sending, and so does not hang; the mutant is caught because a
//!   command is refused although everything before it is resolved;
//! * a `Settle` that is refused: here never for good, so that its end as *unknown* is for the tests of `client/core`;
//! * appends of one owner: they land in their order or not at all, so that a record which overtakes another is for the
//!   simulator. A hole in front of a later record is here ([`ownership::mutant::Mutant::NoNumbers`]);
//! * a client whose stream has a hole and who knows it (`Lagging`): here `Tracked` follows at once; that nothing is concluded
//!   in between is for `client/core` and the simulator.

pub mod ownership;
pub mod writer;
pub mod explore;
pub mod configurations;
pub mod mutants;
pub mod report;

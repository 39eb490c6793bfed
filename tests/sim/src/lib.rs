//! The simulator: the real cores of ingest, replayer, gateway and client over a fake log, a fake
//! store and a fake network, all driven by one seed.
//!
//! * [`sim`]: a run with its steps, faults, and rest.
//! * `replayer`, `ingest`, `gateway`, `peer`: shells around the real cores. Slow operations wait
//!   here until the run lets them end.
//! * [`log`], [`store`], `link`: the connections between the cores. `tests/contract` checks that
//!   the first two behave like the real ones.
//! * [`oracle`], `ledger`: the rules that must hold after every step, checked from outside.
//! * [`faults`]: the kinds of faults, and how often each occurs.
//! * [`seeds`]: many runs in parallel.
//! * [`mutants`]: deliberate bugs, each of which an oracle must find.

#![forbid(unsafe_code)]

pub mod mutants;
pub mod seeds;
pub mod sim;

mod gateway;
mod ingest;
mod peer;
mod replayer;

mod link;
pub mod log;
pub mod store;

pub mod faults;
mod ledger;
pub mod oracle;
mod rng;
mod setting;
pub mod trace;
pub mod violation;

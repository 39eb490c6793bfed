//! The simulator: the real cores of ingest, replayer, gateway and client over a fake log, a fake store and a fake network,
//! all driven by one seed.
//!
//! * [`sim`]: a run: steps, faults, rest.
//! * `replayer`, `ingest`, `gateway`, `peer`: the shells around the real cores; what takes time waits here.
//! * [`log`], [`store`], `link`: what the cores are connected by; `tests/contract` keeps the first two honest.
//! * [`oracle`], `ledger`: what must hold after every step, judged from outside.
//! * [`faults`]: what goes wrong, and how often.
//! * [`seeds`]: many runs, side by side.
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

//! Test scenes: for each core, an in-memory environment that drives the core and checks everything
//! that it does.
//!
//! The integration tests of the cores and of the Rust SDK use these modules, and so do the fuzz
//! targets (`tests/fuzz`). A scene also contains the oracle, which checks the core's behaviour. An
//! assertion of the oracle names the rule (R2, R6, …) that the core broke. Scenes do no I/O and
//! read no clock.

#![forbid(unsafe_code)]

pub mod client;
pub mod gateway;
pub mod replayer;

//! End to end: real processes of the `driftless` program, real sockets, a real Apache Kafka and a
//! real S3 server.
//!
//! A test starts a [`stack`]. The Rust SDK or a [`raw`] client talks to it through [`proxy`]s,
//! which break connections at a chosen message. The test kills and restarts [`process`]es. At the
//! end it reads the log: [`history`] reads all of `updates` by the protocol's rules, and so knows
//! every decision and the resulting bytes. [`scenarios`] run on every kind of stack.
//!
//! If `DRIFTLESS_TEST_QUICK=1` is set, tests that need Kafka print that they were left out, and
//! pass.

#![forbid(unsafe_code)]

pub mod edits;
pub mod history;
pub mod people;
pub mod process;
pub mod proxy;
pub mod python;
pub mod raw;
pub mod scenarios;
pub mod small_disk;
pub mod stack;
pub mod wait;

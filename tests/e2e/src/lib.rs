//! End to end: real processes of the `driftless` program, real sockets, a real Apache Kafka and a
//! real S3 server.
//!
//! A test starts a [`stack`], and lets the Rust SDK or a [`raw`] client talk to it through
//! [`proxy`]s that break connections at a chosen message. It kills and restarts [`process`]es. At
//! the end it looks into the log: [`history`] reads all of `updates` by the rules and knows every
//! decision and the resulting bytes. [`scenarios`] hold for every stack.
//!
//! Tests that need Kafka print that they were left out if `DRIFTLESS_TEST_QUICK=1` is set.

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

//! End to end: real processes of the `driftless` program, real sockets, a real Apache Kafka and a real S3 server.
//!
//! A test starts a [`stack`], lets the Rust SDK or a [`raw`] client talk to it through [`proxy`]s that break connections at a
//! chosen message, kills and restarts [`process`]es, and at the end asks the log itself: [`history`] reads all of `updates`
//! by the rules and says what was decided, how often, and to which bytes. [`scenarios`] are stories that hold for every
//! stack.
//!
//! With `DRIFTLESS_TEST_QUICK=1` what needs Kafka says that it was left out.

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

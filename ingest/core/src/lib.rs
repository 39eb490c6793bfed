//! Ingest without I/O: the checks of a command, and the behaviour of one socket
//! (docs/design.md#ingest, docs/design.md#wire-protocol).
//!
//! This crate is pure (R11). Bytes, time, randomness and verified tokens are arguments; the outputs
//! say what to send, to append to the log, or to close. The core decides nothing about content: it
//! asks the model only whether a command has the right shape. The shell in `driftless-ingest` moves
//! the bytes.
//!
//! * [`admission`]: the checks of one command, in order, the same over websocket and HTTP.
//! * [`rejection`]: a rejection's code, whether to send the command again, and what to change.
//! * [`rate`]: how much one user may submit, over all sockets of a process.
//! * `wakes`: which chunks have had commands lately, and so are cheap to write to.
//! * [`numbers`]: finds a number that a socket uses for two commands.
//! * [`connection`]: one socket from Hello to its end. `driftless-runtime-core` has the part that
//!   ingest shares with the gateway.

#![forbid(unsafe_code)]

pub mod admission;
pub mod connection;
pub mod numbers;
pub mod policy;
pub mod rate;
pub mod rejection;
mod wakes;

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod scene;

pub use admission::{Admission, Admitted, Body, Submission};
pub use connection::{Connection, Input, Outputs, Produce};
pub use policy::Policy;
pub use rejection::Rejection;

//! Ingest without I/O: what a client may submit, and how one socket behaves (DESIGN.md sections 8 and 9).
//!
//! Everything here is pure (R11): bytes, time, chance and checked tokens are arguments; what is to be sent, produced or
//! closed comes back. It decides nothing about content: it asks the model for a command's shape only. The shell in
//! `driftless-ingest` moves the bytes.
//!
//! * [`admission`]: one command's checks, in order, for websocket and HTTP alike.
//! * [`rejection`]: a no, with its name, whether to come again, and the way out.
//! * [`rate`]: how much one user may submit, over all sockets of a process.
//! * [`numbers`]: the memory that finds a number used twice.
//! * [`connection`]: a socket's whole life; what it shares with the gateway is `driftless-runtime-core`'s.

#![forbid(unsafe_code)]

pub mod admission;
pub mod connection;
pub mod numbers;
pub mod policy;
pub mod rate;
pub mod rejection;

#[cfg(test)]
mod connection_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod scene;

pub use admission::{Admission, Admitted, Body, Submission};
pub use connection::{Connection, Input, Outputs, Produce};
pub use policy::Policy;
pub use rejection::Rejection;

//! Ingest: receives commands over websockets and HTTP, checks them, and appends them to the log
//! (docs/design.md#ingest).
//!
//! Ingest is stateless: any number of processes may run side by side, and a client may reconnect to
//! any of them. `driftless-ingest-core` decides what a client may submit and how a socket behaves;
//! this crate moves bytes. An answer never runs ahead of the log: a receipt is sent once the log
//! has acknowledged the command.
//!
//! [`Ingest::routes`] can be mounted beside other services on one port; [`run`] serves on its own.
//!
//! * `service`: starts all parts; `settings`, `error`, `context`: what the parts share.
//! * `producer`: hands records to the log and routes the acknowledgements.
//! * `sockets`: websockets; `http`: the same over HTTP; `openapi` describes both.

#![forbid(unsafe_code)]

mod service;
mod settings;
mod error;
mod context;
mod producer;
mod sockets;
mod http;
mod openapi;
pub mod metrics;

pub use driftless_ingest_core::Policy;
pub use error::Error;
pub use service::{Ingest, run, run_on};
pub use settings::Settings;

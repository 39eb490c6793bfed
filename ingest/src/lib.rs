//! Ingest: receives commands over websockets and HTTP, checks them, and appends them to the log
//! (docs/design.md#ingest).
//!
//! Ingest is stateless: any number of processes may run side by side, and a client may reconnect to
//! any of them. `driftless-ingest-core` decides what a client may submit and how a socket behaves;
//! this crate moves bytes. A client gets the receipt for a command only after the log has
//! acknowledged the command's record.
//!
//! [`Ingest::routes`] can be mounted beside those of other services on one port.
//!
//! * `service`: starts ingest. `settings`, `error`, `context`: types that all modules share.
//! * `producer`: hands records to the log and routes the acknowledgements.
//! * `sockets`: commands over websockets. `http`: commands over HTTP. `openapi` describes both.

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
pub use service::Ingest;
pub use settings::Settings;

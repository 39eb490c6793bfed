//! Ingest: takes commands over websockets and HTTP, checks them, and puts them into the log (DESIGN.md section 8).
//!
//! It is stateless: any number of processes may run side by side, and a client may come back to another one. What may be
//! submitted and how a socket behaves is `driftless-ingest-core`'s business; here bytes are moved. An answer never
//! runs ahead of the log: a receipt is sent when the log has acknowledged.
//!
//! [`Ingest::routes`] can be mounted beside other services on one port; [`run`] serves on its own.

#![forbid(unsafe_code)]

mod settings;
mod start;
mod handover;
mod socket;
mod http;
mod openapi;
mod results;
mod submission;
pub mod metrics;

pub use driftless_ingest_core::Policy;
pub use settings::Settings;
pub use start::{Error, Ingest, run, run_on};

use driftless_auth::Verifier;
use driftless_ingest_core::Admission;
use driftless_ingest_core::rate::Rates;
use driftless_runtime::clock::Clock;
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime::telemetry::LogThrottle;
use std::sync::Arc;

/// What all sockets and requests of a process share.
pub(crate) struct Shared {
    admission: Arc<Admission>,
    rates: Arc<Rates>,
    clock: Clock,
    verifier: Verifier,
    handover: handover::Handover,
    settings: Settings,
    metrics: metrics::Metrics,
    /// What is wrong with the log is met by all who wait for it.
    refused: LogThrottle,
    unacknowledged: LogThrottle,
    shutdown: Shutdown,
}

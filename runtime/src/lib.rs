//! What every service stands on: the clock, files that change while it runs, logs and metrics, an orderly shutdown.
//!
//! The log, the object store, tokens and the sockets are crates of their own beside this one: `driftless-log`,
//! `driftless-store`, `driftless-auth`, `driftless-web`. None of them knows a service.

pub mod clock;
pub mod files;
pub mod metrics;
pub mod settings;
pub mod shutdown;
pub mod telemetry;

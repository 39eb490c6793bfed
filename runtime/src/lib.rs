//! Foundations that all services use: the clock, file descriptors, files that may change while a
//! service runs, memory, logs and metrics, graceful shutdown.
//!
//! The log, the object store, tokens, and sockets are separate crates beside this one:
//! `driftless-log`, `driftless-store`, `driftless-auth`, `driftless-web`. None of these crates
//! depends on a service.

pub mod clock;
pub mod descriptors;
pub mod files;
pub mod memory;
pub mod metrics;
pub mod settings;
pub mod shutdown;
pub mod telemetry;

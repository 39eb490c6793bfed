//! The gateway: websockets, server-sent events and HTTP around one [`driftless_gateway_core::Hub`].
//!
//! A gateway decides nothing (R5): it reads decisions from `updates`, keeps replicas, and sends
//! snapshots and updates to its clients. This crate is the shell around the core.
//!
//! * `service`: starts all parts. The parts share `settings`, `error` and `context`.
//! * `follower`: opens partitions, reads `updates` and loads stored states.
//! * `hub`: the one task that owns the core's hub, and the shards that write to websockets.
//! * `sockets`: reads from websockets.
//! * `http`, `content`, `events`: the HTTP API and the server-sent events, which `openapi`
//!   documents.
//! * `auditor`: writes `Audit` records, which ask an owner to check a chunk. A gateway writes
//!   nothing else to the log.

#![forbid(unsafe_code)]

mod service;
mod settings;
mod error;
mod context;
mod follower;
mod hub;
mod socket_state;
mod sockets;
mod turns;
mod http;
mod content;
mod events;
mod openapi;
mod auditor;
mod metrics;

pub use driftless_gateway_core::{Settings as CoreSettings, Standings};
pub use error::Error;
pub use service::Gateway;
pub use settings::Settings;

//! The gateway: websockets, server-sent events and HTTP around one [`driftless_gateway_core::Hub`].
//!
//! A gateway decides nothing (R5): it reads decisions from `updates`, keeps replicas, and sends
//! snapshots and updates to its clients. This crate is the shell around the core.
//!
//! * `service`: starts all parts; `settings`, `error`, `context`: what the parts share.
//! * `follower`: reads `updates` and loads stored states.
//! * `hub`: the one task that owns the core's hub, and the shards that write to websockets.
//! * `sockets`: reads from websockets.
//! * `http`, `content`, `events`: questions over HTTP and server-sent events; `openapi` lists them.
//! * `auditor`: asks an owner to check a chunk, which is all that a gateway writes to the log.

#![forbid(unsafe_code)]

mod service;
mod settings;
mod error;
mod context;
mod follower;
mod hub;
mod socket_state;
mod sockets;
mod http;
mod content;
mod events;
mod openapi;
mod auditor;
mod metrics;

pub use driftless_gateway_core::Settings as CoreSettings;
pub use error::Error;
pub use service::Gateway;
pub use settings::Settings;

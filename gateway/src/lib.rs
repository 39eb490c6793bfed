//! The gateway: websockets, server-sent events and HTTP around one [`driftless_gateway_core::Hub`].
//!
//! This is the shell: [`follower`] reads `updates` and loads stored states, [`connection`] carries a websocket's bytes,
//! [`events`] the server-sent events, [`http`] answers questions, and [`openapi`] says which. All of them talk to the one task that owns the hub
//! ([`hub`]). It decides nothing (R5); all that it writes to the log are requests to check a chunk ([`auditor`]).

#![forbid(unsafe_code)]

mod auditor;
mod connection;
mod content;
mod events;
mod follower;
mod http;
mod hub;
mod socket_state;
mod metrics;
mod openapi;
mod service;
mod shard;

pub use driftless_gateway_core::Settings as CoreSettings;
pub use service::{Error, Gateway, Settings};

//! HTTP, TLS and websockets of the services, and their OpenAPI document.
//!
//! This crate moves bytes and depends on no service. `driftless-runtime-core` implements the
//! sessions on a websocket.

pub mod http;

pub mod batch;
mod metrics;
pub mod settings;
pub mod socket;
pub mod stream;
pub mod tls;

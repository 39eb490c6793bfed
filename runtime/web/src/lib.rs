//! HTTP, TLS and websockets of the services, the proxies in front of them, and their OpenAPI
//! document.
//!
//! This crate moves bytes and depends on no service. `driftless-runtime-core` implements the
//! sessions on a websocket.

pub mod http;

pub mod batch;
mod metrics;
pub mod proxy;
pub mod settings;
pub mod socket;
pub mod stream;
pub mod tls;

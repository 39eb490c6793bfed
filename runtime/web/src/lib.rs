//! HTTP, TLS and websockets of the services, and their OpenAPI document.
//!
//! This crate moves bytes and knows no service. Sessions on a websocket are the business of `driftless-runtime-core`.

pub mod http;

pub mod batch;
mod metrics;
pub mod settings;
pub mod socket;
pub mod stream;
pub mod tls;

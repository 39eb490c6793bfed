//! What ingest and gateway share of a socket's life, without I/O: Hello, tokens, sessions, pings, and frames taken apart.
//!
//! [`Session`] takes a message's bytes, answers what concerns the session itself, and hands on the requests that are the
//! service's own. Time, chance and checked tokens are arguments (R11).

#![forbid(unsafe_code)]

mod session;
pub use session::{Close, Identity, Outputs, Session};
mod hello;
pub use hello::{Environment, Greeter, announced};
pub mod admission;
pub mod ids;
pub mod places;
pub mod rate;
pub mod requests;
pub mod text;

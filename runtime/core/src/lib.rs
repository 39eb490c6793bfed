//! The part of a websocket's life that ingest and gateway share, without I/O: Hello, tokens,
//! sessions, pings, and frames taken apart.
//!
//! [`Session`] takes a message's bytes, answers the requests that concern the session itself, and
//! passes the service's own requests on. Time, randomness and verified tokens are arguments (R11).

#![forbid(unsafe_code)]

mod session;
pub use session::Session;
mod hello;
pub use hello::{Greeter, Identity, announced};
mod environment;
pub use environment::{Environment, TokenRefused};
mod outputs;
pub use outputs::{Close, Outputs};
pub mod admission;
pub mod ids;
pub mod places;
pub mod rate;
pub mod requests;
pub mod text;

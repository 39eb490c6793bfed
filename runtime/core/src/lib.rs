//! The part of a websocket's behaviour that ingest and gateway share, without I/O: Hello, tokens,
//! sessions, pings, and the decoding of frames.
//!
//! [`Session`] decodes a message, answers the requests that concern the session itself, and passes
//! all other requests to the service. Time, randomness and verified tokens are arguments (R11).

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
pub mod defences;
pub mod ids;
pub mod memory;
pub mod pings;
pub mod places;
pub mod pool;
pub mod rate;
pub mod requests;
pub mod text;

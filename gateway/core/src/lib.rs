//! What a gateway does, without I/O: follow `updates`, keep replicas of tracked chunks, tell every tracker.
//!
//! [`Hub`] takes [`Input`]s (records, requests of sockets, loaded states, time) and gives [`Output`]s (bytes for sockets,
//! states to load). It keeps R4, R9, R10 and R12 of DESIGN.md; section 7 tells the story. Who a socket is, was settled
//! before it comes here: Hello, tokens and pings are the session's business, not the hub's.

#![forbid(unsafe_code)]

pub mod connection;
mod hub;
pub use hub::Hub;
mod messages;
pub use messages::{Ask, Input, LoadError, Loaded, Output, newer_ref};
mod answer;
pub use answer::{Answer, Status};
mod chunk;
mod ring;
mod reread;
pub use reread::Reread;
mod settings;
mod socket;
pub use settings::Settings;
pub use socket::{Frames, Joined, SocketId};

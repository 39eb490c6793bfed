//! The core of a gateway, without I/O. It takes the records of the topic `updates`, keeps replicas
//! of tracked chunks, and produces the updates for the sockets that track them
//! (docs/design.md#gateway).
//!
//! * [`Hub`]: all chunks and sockets. It takes [`Input`]s (records, requests of sockets, loaded
//!   states, time) and gives [`Output`]s (bytes for sockets, states to load). It keeps R4, R9, R10
//!   and R12.
//! * [`connection`]: the protocol of one websocket. It handles Hello, tokens, pings and the user's
//!   request rate, and passes all other requests to the hub.

#![forbid(unsafe_code)]

pub mod connection;
mod hub;
pub use hub::Hub;
mod partitions;
pub use partitions::{Fault, Opened, Standing, Standings};
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

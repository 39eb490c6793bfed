//! The client's core: replicas of the tracked chunks, the user's pending commands on top of them,
//! and the rules by which every command ends with exactly one outcome.
//!
//! The one idea: `view = confirmed replica + own pending commands`. The core decides the pending
//! commands again, in order, at every change. The core keeps the client's half of R8 (numbers,
//! resends, outcomes), R9 (a gap is always reported and filled), R10 (hashes are compared) and R12
//! (a healthy replica is never replaced by an older one of the same history).
//!
//! The core does no I/O and reads no clock (R11). A shell feeds [`ClientCore`] with the user's
//! calls, messages and time, and sends the messages that the core produces. The same code runs
//! under tokio (`driftless-client`) and in browsers (`client/wasm`).
//!
//! * [`client`]: the client as a whole, with its inputs, its outputs and its session.
//! * [`event`]: the events that a user receives.
//! * `chunk`: one tracked chunk, with its replica, its view, and the protocol with the gateway.
//! * `outbox`: the pending commands of one chunk. It keeps the writer's side of R8.
//! * `history`: what the client keeps, and what not, when a chunk has another history.

#![forbid(unsafe_code)]

pub mod client;
mod chunk;
mod connection;
pub mod event;
mod families;
mod history;
mod outbox;
mod pending;
mod resend_timer;
pub mod settings;
mod undo;
mod view;

pub use client::ClientCore;
pub use event::{ChunkStatus, CommandId, Event, Number, Outcome, ReconnectReason, Socket, SubmitError};
pub use settings::{Host, Settings};

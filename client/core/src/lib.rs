//! The client's core: replicas of the tracked chunks, the user's own commands on top of them, and the rules by which
//! every command ends with exactly one outcome.
//!
//! The one idea: `view = confirmed replica + own pending commands, decided again in order at every change`. It keeps the
//! client's half of R8 (numbers, resends, outcomes), R9 (a gap is never papered over), R10 (hashes are compared) and R12
//! (a healthy replica is never replaced by an older one). It does no I/O and reads no clock (R11): a shell feeds
//! [`ClientCore`] with what sockets, users and time bring, and carries away what it wants sent. The same code runs under
//! tokio (`driftless-client`) and in the browser.
//!
//! * [`client`]: the whole client: inputs, outputs, the session.
//! * [`event`]: what a user is told.
//! * `chunk`: one tracked chunk: replica, gateway protocol, view.
//! * `outbox`: one chunk's own commands: R8 from the writer's side.

#![forbid(unsafe_code)]

pub mod client;
mod chunk;
mod connection;
pub mod event;
mod families;
mod outbox;
mod pending;
mod resend_timer;
pub mod settings;
mod undo;
mod view;

pub use client::ClientCore;
pub use event::{ChunkStatus, CommandId, Event, Number, Outcome, ReconnectReason, Socket, SubmitError};
pub use settings::{Host, Settings};

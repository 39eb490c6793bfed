//! The scene of the gateway's core: a log that real deciders write (owners, replaced owners, lost
//! records), a store, a hub at any position of the log, and clients that check every event.
//!
//! The oracle is the state that the valid part of the log folds to.

pub mod run;

mod client;
mod log;
mod shell;
mod world;

pub use client::{Client, ClientChunk, refresh, track, untrack};
pub use log::{Fate, Log, Owner, Snapshot, write};
pub use shell::{Gateway, PutOff, settings};
pub use world::{P, drifting, id, world, writer};

//! The scene of the gateway's core. It has a log, a store, a hub that has read the log up to any
//! position, and clients that check every event. Owners write the log by the real rules of
//! deciding; some are replaced owners, and some records get lost.
//!
//! The oracle is the content of each chunk that results from folding the log's valid records.

pub mod run;

mod client;
mod log;
mod shell;
mod world;

pub use client::{Client, ClientChunk, refresh, track, untrack};
pub use log::{Fate, Log, Owner, Snapshot, write};
pub use shell::{Gateway, PutOff, settings};
pub use world::{P, drifting, id, world, writer};

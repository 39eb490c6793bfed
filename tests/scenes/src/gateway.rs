//! A log that is written by real deciders (owners, replaced owners, losses), a store, a hub at any place of the log, and
//! clients that check what they get. The valid part of the log, folded, is the oracle.

pub mod run;

mod client;
mod log;
mod shell;
mod world;

pub use client::{Client, Held, refresh, track, untrack};
pub use log::{Fate, Log, Owner, Snapshot, write};
pub use shell::{Gateway, PutOff, settings};
pub use world::{P, drifting, id, world, writer};

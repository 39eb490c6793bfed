//! What one owner of one partition does, without I/O: recover, decide, publish, snapshot, checkpoint.
//!
//! [`PartitionCore`] takes [`Input`]s (records, acknowledgements, loaded states, time) and gives [`Output`]s (records to
//! append, objects to store, states to load). It keeps R2–R6 and R8 of DESIGN.md; section 6 tells the story. The shell
//! in `driftless-replayer` moves bytes and turns errors into inputs; the simulator drives the same code.

#![forbid(unsafe_code)]

mod partition;
pub use partition::PartitionCore;
mod messages;
pub use messages::{End, Input, LoadError, OlderError, Output, Stats, Stored};
mod commands;
mod outbox;
mod progress;
mod settings;
mod slots;
pub use settings::Settings;
mod working;
pub use working::{Call, Work, Working};

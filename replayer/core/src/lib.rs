//! The owner of one partition, without I/O: it recovers, decides, publishes, takes snapshots and
//! writes checkpoints.
//!
//! [`PartitionCore`] takes [`Input`]s (records, acknowledgements, loaded states, time) and gives
//! [`Output`]s (records to append, objects to store, states to load). The core keeps rules R2–R6
//! and R8; docs/design.md#ownership explains the steps of an ownership. The shell in
//! `driftless-replayer` moves bytes and turns errors into inputs; the simulator drives the same
//! code.

#![forbid(unsafe_code)]

mod partition;
pub use partition::PartitionCore;
mod messages;
pub use messages::{
    AcceptedLoss, End, Input, LoadError, Milestone, OlderError, OutOfRange, Output, Stats, Stored, Stream,
};
mod settings;
pub use settings::Settings;
mod commands;
mod outbox;
mod trail;
mod progress;
mod dead_letters;
mod checkpoints;
mod chunks;
mod slots;
mod resident;
mod refs;
mod recovered;
mod model_faults;
mod guard;
mod working;
pub use working::{Call, Work, Working};

//! The replayer: owns partitions, decides their commands, publishes the decisions, stores
//! snapshots.
//!
//! This crate is the shell around [`driftless_replayer_core`]. The shell moves bytes between the
//! log, the object store, the index and the cores, and turns errors into inputs of the cores. Each
//! [`ownership`] is one task. All ownerships share one reader ([`feed`]) and one gapless producer
//! ([`publisher`]), so that the decisions of one turn travel in few requests.

#![forbid(unsafe_code)]

mod settings;
pub use settings::Settings;
mod error;
pub use error::Error;
mod service;
pub use service::Replayer;
mod assignments;
mod standing;
mod ownership;
mod whole_log;
mod mending;
pub use mending::{ChunkLoss, Compared, Finding, Mended, Mending, Rebuilt, State};
mod context;
mod report;
mod feed;
mod skew;
mod publisher;
mod dead_letters;
mod watchdog;
pub use watchdog::WhenStuck;
mod beginning;
mod metrics;

pub use driftless_replayer_core::Settings as CoreSettings;

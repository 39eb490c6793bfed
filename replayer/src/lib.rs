//! The replayer: owns partitions, decides their commands, publishes the decisions, stores snapshots.
//!
//! This is the shell around [`driftless_replayer_core`]: it moves bytes between the log, the object store, the index
//! and the cores, and turns errors into inputs. Each ownership is one task ([`ownership`]); all of them share one reader
//! ([`feed`]) and one gapless producer ([`publisher`]), so that the decisions of a turn travel in few requests.

#![forbid(unsafe_code)]

mod beginning;
mod feed;
mod metrics;
mod ownership;
mod publisher;
mod service;
mod watchdog;

pub use driftless_replayer_core::Settings as CoreSettings;
pub use service::{Error, Replayer, Settings};
pub use watchdog::WhenStuck;

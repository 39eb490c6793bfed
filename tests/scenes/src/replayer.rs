//! The scene of the replayer's core: one partition with a log, an index and an object store in
//! memory, and owners. The test decides when each message of an owner is delivered, and can lose
//! messages. Owners that were replaced stay active.
//!
//! The oracles check every step. A reference decides each command once, in the order of offsets.
//! Each valid record in `updates` must contain exactly the reference's next decisions; separate
//! code judges which records are valid (R4). At each write to the index, the oracles compare the
//! index with the log (R6), and restore every chunk from both (R5).

pub mod actions;

mod owner;
mod reference;
mod scene;
mod world;

pub use owner::Owner;
pub use scene::Scene;
pub use world::{PARTITION, Wish, chunk, command, outputs, record, settings, world};

//! The scene of the replayer's core: one partition with a log, an index and an object store in
//! memory, and owners whose messages can each be held back, lost or delivered late. Replaced owners
//! stay active.
//!
//! The oracles check every step. A reference decides each command once, in the order of offsets. A
//! valid record in `updates` (R4, judged by separate code) must hold exactly the reference's next
//! decisions. Each write to the index is compared with the log of that moment (R6), and every chunk
//! is restored from it (R5).

pub mod actions;

mod owner;
mod reference;
mod scene;
mod world;

pub use owner::Owner;
pub use scene::Scene;
pub use world::{PARTITION, Wish, command, record, settings, world};

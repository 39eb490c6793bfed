//! One partition as a laboratory: a log, an index and an object store of plain collections, and owners whose every
//! message can be held back, lost or delivered late. Former owners stay on as zombies.
//!
//! The oracles stand beside the workload. A reference decides every command once, in the order of offsets; whatever
//! lands in `updates` and counts (R4, judged by code of its own) must be exactly what the reference decided, next in
//! line. Whatever is written into the index is compared with the log of that moment (R6), and restored from (R5).

pub mod actions;

mod owner;
mod reference;
mod scene;
mod world;

pub use owner::Owner;
pub use scene::Scene;
pub use world::{PARTITION, Wish, command, record, settings, world};

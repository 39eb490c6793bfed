//! The claims of the contract, in one module for each area.

pub mod appends;
pub mod groups;
pub mod index;
pub mod reads;
pub mod snapshots;
pub mod damage;
pub mod store;
pub mod topics;

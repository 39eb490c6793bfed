//! The claims.

pub mod appends;
pub mod groups;
pub mod index;
pub mod reads;
pub mod snapshots;
pub mod spoilt;
pub mod store;
pub mod topics;

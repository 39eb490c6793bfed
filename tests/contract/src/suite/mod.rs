//! The claims.

pub mod appends;
pub mod groups;
pub mod reads;
pub mod topics;

//! Code that the two in-process logs, `memory` and `sqlite`, share: the newest records of each
//! partition in memory ([`tails`]), the reader ([`reader`]), and groups whose members live in one
//! process ([`groups`]).

pub(super) mod groups;
pub(super) mod reader;
pub(super) mod tails;

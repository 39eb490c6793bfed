//! Code that the two in-process logs, `memory` and `sqlite`, share: the newest records of each
//! partition in memory ([`tails`]), the reader ([`reader`]), and consumer groups whose members all
//! run in one process ([`groups`]).

pub(super) mod groups;
pub(super) mod reader;
pub(super) mod tails;

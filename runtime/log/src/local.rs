//! What the two logs of one process, `memory` and `sqlite`, share: the newest records of every partition in memory
//! with the readers that wait for more ([`tails`]), the reader itself ([`reader`]), and groups whose members live
//! in one process ([`groups`]).

pub(super) mod groups;
pub(super) mod reader;
pub(super) mod tails;

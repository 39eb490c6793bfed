//! The bits of `Hello.features`: what a client understands beyond version 1 of the protocol.
//!
//! A server ignores bits that it does not know.

/// A chunk can change its history. The client compares `Tracked.history` with the history of its
/// replica, and `Welcome.world_id` with the world that it knows. Without this bit, the gateway
/// closes the socket when a chunk that the client tracks changes its history
/// ([`crate::close::HISTORY`]).
pub const HISTORIES: u32 = 1;

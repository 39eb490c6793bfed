//! A chunk: its content, the commands that change it, and the outcome of each command.
//!
//! This crate is pure (R11): time, chance and bytes are arguments, and it does no I/O. The same
//! code decides in the replayer, folds in gateways and clients, and runs in the browser.
//!
//! * [`model`]: the trait of the rules for a chunk's content. The models [`grid`] and [`map`] come
//!   with Driftless.
//! * [`json`]: reading JSON member by member.
//! * [`replica`]: a content with its version and hash (R3, R10).
//! * [`ledger`]: per writer, the resolved numbers (R8).
//! * [`live`]: replica and ledger of a chunk together. Decides commands, and folds decisions (R2,
//!   R5).
//! * [`position`]: which records of `updates` count (R4).
//! * [`recognition`]: by which records a log is recognised.
//! * [`sorted`]: a sorted map, which holds the entries of the model `map` and the chunks of a
//!   client.
//! * [`world`]: a world spec together with its models.
//! * [`mutant`]: deliberate bugs for the simulator, absent without the feature `mutants`.

#![forbid(unsafe_code)]

pub mod grid;
pub mod json;
pub mod ledger;
pub mod live;
pub mod map;
pub mod model;
mod builtin;
pub mod mutant;
pub mod position;
pub mod recognition;
pub mod replica;
pub mod sorted;
pub mod world;

//! A chunk: its content, the commands that change it, and the outcome of each command.
//!
//! This crate is pure (R11): time, chance and bytes are arguments, and it does no I/O. The same
//! code decides in the replayer, folds in gateways and clients, and runs in the browser.
//!
//! * [`model`]: the rules of a content. [`grid`] and [`map`] come with Driftless.
//! * [`json`]: reading JSON member by member.
//! * [`replica`]: a content at a version with its hash (R3, R10).
//! * [`ledger`]: per writer, the resolved numbers (R8).
//! * [`live`]: replica and ledger together; decides commands and folds decisions (R2, R5).
//! * [`position`]: which records of `updates` count (R4).
//! * [`sorted`]: the container of `map`'s entries and of clients' chunks.
//! * [`world`]: a world spec with its models.
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
pub mod replica;
pub mod sorted;
pub mod world;

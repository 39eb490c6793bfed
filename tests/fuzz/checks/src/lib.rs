//! The checks of the fuzz targets: one module for each target, with a function `check(data)` that
//! panics if a property does not hold.
//!
//! The libFuzzer targets in `tests/fuzz/fuzz_targets` only call these functions. This has two
//! advantages: every input that the fuzzer found becomes an ordinary test (`tests/regressions.rs`),
//! and `cargo xtask test` builds, lints and runs this code.
//!
//! [`reader::Reader`] turns bytes into values. The checks use it instead of a derive macro, so that
//! an input can be written by hand and golden messages serve as seeds. A check depends on its input
//! alone, and not on a clock or on chance.
//!
//! * `decode`: all data that comes from outside: protobuf, ids, TOML, JSON, canonical encodings,
//!   zstd.
//! * `grid`, `map`: the models as state machines: decide, fold, store, load.
//! * `session`, `ingest`: sockets of untrusted clients.
//! * `gateway`, `replayer`, `client`: the cores, with peers that keep the rules and the oracles of
//!   `tests/scenes`, and with peers that break the rules.

pub mod reader;
pub mod memory;
pub mod seeds;

pub mod decode;

mod machine;
pub mod grid;
pub mod map;

mod untrusted;
pub mod session;
pub mod ingest;

pub mod gateway;
pub mod replayer;
pub mod client;

/// The check of one target. It panics if a property does not hold for the input.
pub type Check = fn(&[u8]);

/// Every target: its name and its check.
pub const TARGETS: [(&str, Check); 8] = [
    ("client", client::check),
    ("decode", decode::check),
    ("gateway", gateway::check),
    ("grid", grid::check),
    ("ingest", ingest::check),
    ("map", map::check),
    ("replayer", replayer::check),
    ("session", session::check),
];

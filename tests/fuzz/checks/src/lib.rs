//! What the fuzz targets check: one module a target, each with `check(data)`, which panics where a claim does not hold.
//!
//! The libFuzzer targets in `tests/fuzz/fuzz_targets` call these and do nothing else, so that whatever the fuzzer found is an
//! ordinary test from then on (`tests/regressions.rs`), and so that this code is built, linted and run by `cargo xtask test`.
//! Bytes become values through [`reader::Reader`], and not through a derive: an input can then be written down by hand, and
//! the golden messages can be seeds. Bytes are all there is: no clock, no chance.
//!
//! * `decode`: everything that is read from outside: protobuf, ids, TOML, JSON, canonical encodings, zstd.
//! * `grid`, `map`: the models as state machines: decide, fold, store, load.
//! * `session`, `ingest`: sockets of strangers.
//! * `gateway`, `replayer`, `client`: the cores, with peers that keep the rules (and the oracles of their own tests), and
//!   with peers that do not.

pub mod reader;
pub mod memory;
pub mod seeds;

pub mod decode;

mod machine;
pub mod grid;
pub mod map;

mod desk;
pub mod session;
pub mod ingest;

pub mod gateway;
pub mod replayer;
pub mod client;

/// Checks one input.
pub type Check = fn(&[u8]);

/// Every target by its name.
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

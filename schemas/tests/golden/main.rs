//! Golden bytes of format 1: every record, index value, frame and built-in command, in both
//! directions.
//!
//! `schemas/golden/1/<name>.hex` holds one message as hex text, in one line; the test builds the
//! same message in code, encodes it, decodes the file, and compares. `DRIFTLESS_BLESS=1 cargo test
//! -p driftless-schemas --test golden` writes the files that are missing, and never changes a file.
//! If the bytes of a message change, the format has changed, and needs a new folder.
//!
//! The names come from `match` expressions without a wildcard. So a new variant does not compile
//! until it has a name here.

// R11 forbids I/O in the crate itself; this test may read files.
#![allow(clippy::disallowed_methods)]

mod log;
mod model;
mod store;
mod wire;

use bytes::Bytes;
use driftless_schemas::format;
use prost::Message;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::PathBuf;

/// One golden message: its name, its bytes, and a comparison with the expected message.
struct Golden {
    name: String,
    encoded: Vec<u8>,
    /// Decodes the bytes, and panics if the result is not the expected message.
    compare: Box<dyn Fn(Bytes)>,
}

fn golden<M: Message + Default + PartialEq + Debug + 'static>(name: impl Into<String>, message: M) -> Golden {
    let name = name.into();
    let encoded = message.encode_to_vec();
    let of = name.clone();
    let compare = Box::new(move |bytes| match format::decode_known::<M>("golden", bytes) {
        Ok(decoded) => assert_eq!(decoded, message, "{of}"),
        Err(e) => panic!("{of}: {e}"),
    });
    Golden { name, encoded, compare }
}

fn all() -> Vec<Golden> {
    [log::goldens(), store::goldens(), wire::goldens(), model::goldens()].into_iter().flatten().collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/1")
}

#[test]
fn every_format_keeps_its_bytes_for_ever() {
    let is_blessing = std::env::var("DRIFTLESS_BLESS").is_ok_and(|value| value == "1");
    let goldens = all();
    for golden in &goldens {
        let path = folder().join(format!("{}.hex", golden.name));
        if is_blessing && !path.exists() {
            std::fs::create_dir_all(folder()).unwrap();
            std::fs::write(&path, hex::encode(&golden.encoded) + "\n").unwrap();
        }
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("{}: {e}; DRIFTLESS_BLESS=1 writes what is missing", golden.name));
        assert_eq!(text, hex::encode(&golden.encoded) + "\n", "{}: these bytes are promised", golden.name);
        (golden.compare)(hex::decode(text.trim_end()).unwrap().into());
    }
    // No file is forgotten, and no two messages share a name.
    let names: BTreeSet<String> = goldens.iter().map(|golden| format!("{}.hex", golden.name)).collect();
    assert_eq!(names.len(), goldens.len());
    let files: BTreeSet<String> =
        std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, names);
}

/// A writer id: 16 bytes that begin with a session time of 2025.
fn writer() -> Bytes {
    Bytes::from(hex::decode("0198c0ffee007abc8def001122334455").unwrap())
}

/// A hash: 32 bytes that begin with `first` and are not all equal.
fn hash(first: u8) -> Bytes {
    (0..32).map(|i| first.wrapping_add(i)).collect()
}

/// The id of a world.
fn world_id() -> Bytes {
    Bytes::from_static(b"world id of 16 b")
}

/// The id of a partition's history: 16 bytes that begin with a time of 2025.
fn history() -> Bytes {
    Bytes::from(hex::decode("0198c0ffee007abc8def00112233445f").unwrap())
}

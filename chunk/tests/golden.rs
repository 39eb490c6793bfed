//! Golden canonical encodings of `grid` and `map`, format 1. All replicas compare hashes of these
//! bytes, so they never change.
//!
//! `chunk/golden/1/<name>.hex` holds one encoding as hex text, in one line. `DRIFTLESS_BLESS=1`
//! writes missing files and never changes a file: if the encoding of a content changes, it belongs
//! to a different model, and needs a new folder and a new family.

// R11 forbids I/O in the crate itself; this test may read files.
#![allow(clippy::disallowed_methods)]

use driftless_chunk::model::{AnyModel, Models};
use driftless_schemas::{ChunkId, Hash};
use serde_json::{Value, json};
use std::path::PathBuf;

/// The golden encodings, each as its name, model, parameters, commands, and the hash of the
/// resulting content.
fn goldens() -> Vec<(&'static str, &'static str, Value, Value, &'static str)> {
    vec![
        (
            "grid.initial",
            "grid",
            json!({"size": [2, 2], "palette": 2}),
            json!([]),
            "ec1e8f75b892d9272e50b02ee8f22bfcbdae5d34019b4618f107bfbfdda0470e",
        ),
        (
            "grid.cells",
            "grid",
            json!({"size": [4, 3, 2], "palette": 65536}),
            json!([
                {"fill": {"x": 1, "y": 1, "z": 0, "width": 2, "height": 2, "depth": 2, "value": 258}},
                {"set": [
                    {"x": 0, "y": 0, "value": 65535},
                    {"x": 3, "y": 2, "z": 1, "value": 1, "guard": 0},
                    {"x": 1, "y": 1, "value": 7, "guard": 258},
                ]},
            ]),
            "2096d6680a07967d26848ab2b4ed598d48fcc836d1b0a62b52c73a6a8d020014",
        ),
        (
            "map.initial",
            "map",
            json!({}),
            json!([]),
            "3effe2cbdb2c95721817044220befb2f73770464aaf6d29ef1122b396067f3dd",
        ),
        (
            "map.entries",
            "map",
            json!({}),
            json!([
                {"put": {"key": "é", "text": "last: keys are sorted by their bytes"}},
                {"put": {"key": "b", "value": "AP8=", "guard": "absent"}},
                {"put": {"key": "a", "text": "old"}},
                {"put": {"key": "a", "text": "new", "guard": Hash::of(b"old").to_string()}},
                {"put": {"key": "ab", "text": ""}},
                {"put": {"key": "gone", "text": "x"}},
                {"delete": {"key": "gone"}},
            ]),
            "ae1234ae74ec1729154426ee4008192aba5a0b44bc4d4ff80e465b0d26532a7d",
        ),
    ]
}

fn content(model: &dyn AnyModel, commands: &Value) -> Vec<u8> {
    let chunk: ChunkId = "golden/0/0".parse().unwrap();
    let mut content = model.initial(&chunk);
    for json in commands.as_array().unwrap() {
        let command = model.command_from_json(json).unwrap();
        model.fold(&mut content, &command).unwrap();
    }
    model.encode(&content).into_owned()
}

#[test]
fn r10_a_content_keeps_its_bytes_and_its_hash_for_ever() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/1");
    let is_blessing = std::env::var("DRIFTLESS_BLESS").is_ok_and(|value| value == "1");
    for (name, model, parameters, commands, hash) in goldens() {
        let models = Models::builtin();
        let (_, make) = models.get(model).unwrap();
        let model = make(parameters.as_object().unwrap()).unwrap();
        let bytes = content(&*model, &commands);
        let path = folder.join(format!("{name}.hex"));
        if is_blessing && !path.exists() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, hex::encode(&bytes) + "\n").unwrap();
        }
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("{name}: {e}; DRIFTLESS_BLESS=1 writes what is missing"));
        assert_eq!(text, hex::encode(&bytes) + "\n", "{name}: these bytes are promised");
        let read = model.decode(&hex::decode(text.trim_end()).unwrap()).unwrap();
        assert_eq!(*model.encode(&read), bytes, "{name}");
        assert_eq!(Hash::of(&bytes).to_string(), hash, "{name}");
    }
}

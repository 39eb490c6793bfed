//! Makes the fuzzer's seeds: golden messages and short scripts. No seed files are stored, because
//! the repository has the golden bytes already.

use crate::decode::KINDS;
use std::fs;
use std::path::{Path, PathBuf};

/// The number of random scripts for each target that reads a script.
const SCRIPTS: u64 = 24;
/// The environment variable that names the folder to which a target writes its seeds.
const FOLDER: &str = "DRIFTLESS_FUZZ_SEEDS";

/// Seeds for the kinds of data that have no golden file: the kind and a text.
const TEXTS: [(&str, &str); 13] = [
    ("chunk_id", "canvas/0/-1"),
    ("chunk_id", "a/-2147483648/2147483647/5"),
    ("hash", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"),
    ("session", "0198c0ffee007abc8def001122334455"),
    ("writer", "0198c0ffee007abc8def001122334455"),
    ("unanswered", "12"),
    ("unanswered", "canvas/0/-1"),
    ("access", r#"{"read": ["canvas/"], "write": ["canvas/0/"], "roles": ["r"]}"#),
    ("json_command", r#"{"set": [{"x": 1, "y": 2, "z": 0, "value": 3, "guard": 0}]}"#),
    ("json_command", r#"{"fill": {"x": 0, "y": 0, "width": 2, "height": 2, "depth": 1, "value": 1}}"#),
    ("json_command", r#"{"put": {"key": "a", "text": "b", "guard": "absent"}}"#),
    ("json_command", r#"{"put": {"key": "a", "value": "/w=="}}"#),
    ("json_command", r#"{"delete": {"key": "a"}}"#),
];

const WORLD: &str = "name = \"town\"\npartitions = 4\nupdates_retention_hours = 99\n[[family]]\nname = \"canvas\"\nmodel = \"grid\"\n\
    coordinates = 2\nbounds = 10\nregion = 2\n[family.parameters]\nsize = [4, 4]\npalette = 4\ncolors = [\"#000000\", \"#ff0000\", \
    \"#00ff00\", \"#0000ff\"]\n[[family]]\nname = \"things\"\nmodel = \"map\"\nbounds = 0\n[family.parameters]\nentries_max = 3\n";

/// Makes the seeds of a target: a name and the bytes of each.
pub fn of(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut seeds = match target {
        "decode" => decode(),
        // The leading bytes make the script draw a frame: see `untrusted::frame`.
        "session" => frames("client_frame", &[2, 0]),
        "ingest" => frames("client_frame", &[0, 0, 0]),
        // The leading bytes make the script draw a message on the gateway's socket: see
        // `client::World::step`.
        "client" => frames("server_frame", &[0, 0, 9]),
        "grid" => frames("grid_command", &[0, 0, 7]),
        _ => vec![],
    };
    if target != "decode" {
        seeds.extend((0..SCRIPTS).map(|i| (format!("script-{i}"), script(i, 16 << (i % 8)))));
    }
    seeds
}

/// Writes the target's seeds and exits, if the variable [`FOLDER`] names a folder. Each target's
/// program calls this first.
pub fn write_if_asked(target: &str) {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let written = fs::create_dir_all(&folder)
        .and_then(|()| of(target).iter().try_for_each(|(name, bytes)| fs::write(folder.join(name), bytes)));
    if let Err(e) = written {
        eprintln!("error: cannot write seeds to {}: {e}", folder.display());
        std::process::exit(1);
    }
    std::process::exit(0);
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.."))
}

/// All golden messages: file name and bytes.
fn goldens() -> Vec<(String, Vec<u8>)> {
    let folder = root().join("schemas/golden/1");
    let mut all: Vec<(String, Vec<u8>)> = fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|file| {
            let path = file.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            (path.file_stem().unwrap().to_string_lossy().into_owned(), hex::decode(text.trim_end()).unwrap())
        })
        .collect();
    all.sort();
    all
}

fn decode() -> Vec<(String, Vec<u8>)> {
    let mut seeds = vec![];
    let mut add = |kind: &str, name: &str, bytes: &[u8]| {
        let number = KINDS.iter().position(|(known, _)| *known == kind).unwrap_or_else(|| panic!("no kind {kind}"));
        let seed = std::iter::once(number as u8).chain(bytes.iter().copied()).collect();
        seeds.push((format!("{kind}-{name}"), seed));
    };
    for (name, bytes) in goldens() {
        let kind = name.split('.').next().unwrap_or_default();
        add(kind, &name, &bytes);
        if kind == "client_frame" {
            add("requests", &name, &bytes);
        }
    }
    for (i, (kind, text)) in TEXTS.iter().enumerate() {
        add(kind, &i.to_string(), text.as_bytes());
    }
    add("world_toml", "town", WORLD.as_bytes());
    let spec = driftless_schemas::world::WorldSpec::dev();
    let stored = driftless_schemas::world::StoredWorld { revision: 1, spec, id: None };
    add("world_json", "dev", serde_json::to_string(&stored).unwrap().as_bytes());
    let mut grid = b"DLG1\x04\0\x03\0\x02\0\0\0".to_vec();
    grid.extend_from_slice(&[0; 48]);
    add("grid_content", "empty", &grid);
    for (name, content) in [("empty", &b"DLM1\0\0\0\0"[..]), ("one", b"DLM1\x01\0\0\0\x01\0a\x01\0\0\0b")] {
        add("map_content", name, content);
        add("zstd", name, &zstd::bulk::compress(content, 1).unwrap());
    }
    let bomb = vec![0; 3 << 20];
    add("zstd", "too-long", &zstd::bulk::compress(&bomb, 19).unwrap());
    seeds
}

/// Makes a script for each golden message of a kind: the bytes `lead`, the message's length, and
/// the message.
fn frames(kind: &str, lead: &[u8]) -> Vec<(String, Vec<u8>)> {
    let all = goldens().into_iter().filter(|(name, _)| name.split('.').next() == Some(kind));
    all.map(|(name, bytes)| {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes();
        (name, [lead, &length, &bytes].concat())
    })
    .collect()
}

/// Pseudo-random bytes (splitmix64) of a seed.
pub fn script(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

//! Checks that docs/security.md is true: its table has exactly the threats that this crate attacks,
//! the tests and files that it names exist, and its statement about hash functions holds in the
//! sources.

use driftless_attack::rows::ROWS;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Adds all Rust files below a folder to `found`.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && name != "node_modules" && !name.starts_with('.') {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// The rows of the table of threats in the document, each as a list of cells.
fn table() -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let threats =
        text.split("\n## ").find(|section| section.starts_with("Threats")).expect("a section with the threats");
    let rows = threats.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// The texts in backticks within a cell.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_document_has_the_rows_that_are_attacked() {
    let written: Vec<String> = table().iter().map(|cells| cells[0].trim_matches('`').to_owned()).collect();
    let attacked: Vec<&str> = ROWS.iter().map(|row| row.id).collect();
    assert_eq!(written, attacked);
    assert_eq!(BTreeSet::from_iter(&attacked).len(), attacked.len(), "an id is used twice");
    for (cells, row) in table().iter().zip(ROWS) {
        assert_eq!(cells.len(), 4, "{cells:?}: id, threat, defence, attack");
        for test in row.tests {
            assert!(cells[3].contains(test), "{}: the document does not name {test}", row.id);
        }
    }
}

#[test]
fn the_document_names_tests_and_files_that_there_are() {
    let root = root();
    let mut files = Vec::new();
    sources(&root, &mut files);
    let text: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let mut missing = Vec::new();
    for row in ROWS {
        for test in row.tests.iter().filter(|test| !text.contains(&format!("fn {test}("))) {
            missing.push(format!("{}: there is no test {test}", row.id));
        }
    }
    for cells in table() {
        for name in quoted(&cells[3]).into_iter().filter(|name| name.matches('_').count() >= 3) {
            if !text.contains(&format!("fn {name}(")) {
                missing.push(format!("{}: there is no test {name}", cells[0]));
            }
        }
        for name in quoted(&cells[2]).into_iter().filter(|name| name.ends_with(".rs")) {
            if !root.join(name).is_file() {
                missing.push(format!("{}: there is no file {name}", cells[0]));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// A hash function without a secret may be used only for keys that no outsider chooses. An example
/// is `SocketId`: the gateway assigns these numbers itself, from a counter.
#[test]
fn fast_hashes_are_for_keys_that_the_server_chose() {
    let allowed = ["FxHashMap<SocketId", "FxHashSet<SocketId>"];
    // `LEDGER_WRITERS_MAX` bounds this table, and the row `hash-flood` attacks it.
    let own_hashers = ["chunk/src/ledger.rs"];
    let root = root();
    let mut seen = 0;
    for folder in ["schemas", "chunk", "runtime", "ingest", "replayer", "gateway", "client", "cli"] {
        let mut files = Vec::new();
        sources(&root.join(folder), &mut files);
        for path in files {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            for (line, text) in text.lines().enumerate() {
                for word in ["FxHashMap<", "FxHashSet<", "FxHasher", "FxBuildHasher", "AHash", "BuildHasherDefault<"] {
                    if text.contains(word) {
                        seen += 1;
                        let is_known =
                            allowed.iter().any(|known| text.contains(known)) || own_hashers.contains(&name.as_str());
                        assert!(is_known, "{name}:{}: who chooses these keys? {text}", line + 1);
                    }
                }
            }
        }
    }
    assert!(seen >= 3, "it looked in the wrong place");
}

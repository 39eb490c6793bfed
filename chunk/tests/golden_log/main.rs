//! The golden log: `chunk/golden/1/updates.log` must fold to `chunk/golden/1/expected.json`, for
//! ever (R4, R5, R10).
//!
//! The log has four epochs, records before the first fence, a zombie's late records and fences, a
//! hole with records behind it, a doubled record, discards of every kind, out-of-order and expired
//! commands, a ledger that overflows, and notices of snapshots, for chunks of `grid` and `map`.
//! `DRIFTLESS_BLESS=1` writes the two files if they are missing, and never changes them: if readers
//! must read the log differently, the format has changed, and needs a new folder.

// R11 forbids I/O in the crate itself; this test may read files.
#![allow(clippy::disallowed_methods)]

mod generate;
mod reader;

use driftless_chunk::ledger::Resolved;
use driftless_chunk::live::LiveChunk;
use driftless_chunk::model::Models;
use driftless_chunk::world::World;
use driftless_schemas::proto::{self, UpdatesRecord, mark::Outcome, updates_record::Body};
use driftless_schemas::stored::StoredRef;
use driftless_schemas::{ChunkId, Hash, WriterId};
use prost::Message;
use reader::{Reader, from_file, to_file};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Once;

fn spec() -> Value {
    json!({
        "name": "golden", "partitions": 1,
        "family": [
            {"name": "canvas", "model": "grid", "coordinates": 2, "bounds": 9,
                "parameters": {"size": [8, 8], "palette": 16}},
            {"name": "blocks", "model": "grid", "coordinates": 3, "bounds": 9,
                "parameters": {"size": [7, 7, 2], "palette": 16}},
            {"name": "things", "model": "map", "coordinates": 2, "bounds": 9,
                "parameters": {"entries_max": 6, "value_bytes_max": 64, "bytes_max": 120}},
        ],
    })
}

fn world(spec: &Value) -> World {
    World::new("expected.json", serde_json::from_value(spec.clone()).unwrap(), &Models::builtin()).unwrap()
}

/// Reads the two files: the encoded records, and the summary that folding them must give.
fn files() -> (Vec<Vec<u8>>, Value) {
    static BLESSED: Once = Once::new();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/1");
    let (log, expected) = (folder.join("updates.log"), folder.join("expected.json"));
    BLESSED.call_once(|| {
        if std::env::var("DRIFTLESS_BLESS").is_ok_and(|value| value == "1") && !log.exists() && !expected.exists() {
            let records = generate::generate(&world(&spec()));
            let summary = serde_json::to_string_pretty(&summary(&spec(), &records)).unwrap();
            std::fs::write(&log, to_file(&records)).unwrap();
            std::fs::write(&expected, summary + "\n").unwrap();
        }
    });
    let hint = "DRIFTLESS_BLESS=1 makes both files where both are missing";
    let records = from_file(&std::fs::read(&log).unwrap_or_else(|e| panic!("{}: {e}; {hint}", log.display())));
    let expected = std::fs::read(&expected).unwrap_or_else(|e| panic!("{}: {e}; {hint}", expected.display()));
    (records, serde_json::from_slice(&expected).unwrap())
}

/// Folds the whole log, and summarises the resulting state for the comparison.
fn summary(spec: &Value, records: &[Vec<u8>]) -> Value {
    let world = world(spec);
    let mut reader = Reader::new(&world);
    records.iter().for_each(|record| reader.read(record));
    let (position, judged) = (reader.position, reader.judged);
    let chunks: Map<String, Value> =
        reader.chunks.iter_mut().map(|(id, live)| (id.to_string(), chunk_summary(live))).collect();
    json!({
        "world": spec,
        "records": {"fences": judged.fences, "valid": judged.valid, "invalid": judged.invalid},
        "position": {"offset": position.offset, "epoch": position.epoch, "n": position.n},
        "chunks": chunks,
    })
}

fn chunk_summary(live: &mut LiveChunk) -> Value {
    let asked = (0..4).map(generate::user).chain([0, 1, 2, 3, 1025].map(generate::passer_by));
    let resolved = |writer: WriterId| match live.ledger.resolved(writer) {
        Resolved::Expired => json!("expired"),
        Resolved::Known { seq, committed_bits } => {
            json!({"seq": seq, "committed_bits": format!("{committed_bits:016x}")})
        }
    };
    let writers: Map<String, Value> = asked.map(|writer| (writer.to_string(), resolved(writer))).collect();
    json!({
        "version": live.replica.version(),
        "hash": live.replica.hash(),
        "through_offset": live.through_offset,
        "floor_ms": live.ledger.floor_ms(),
        "ledger_writers": live.ledger.len(),
        // The hash of the ledger as a ref encodes it.
        "ledger_hash": Hash::of(&live.ledger.to_proto().encode_to_vec()),
        "writers": writers,
    })
}

#[test]
fn r5_the_golden_log_folds_to_the_same_state_for_ever() {
    let (records, expected) = files();
    let found = summary(&expected["world"], &records);
    assert_eq!(found, expected, "found:\n{found:#}");
}

#[test]
fn r5_every_ref_in_the_golden_log_leads_to_the_same_state() {
    let (records, expected) = files();
    let world = world(&expected["world"]);
    let mut whole = Reader::new(&world);
    records.iter().for_each(|record| whole.read(record));
    assert!(whole.stored.len() >= 4);
    for stored in &whole.stored {
        let id: ChunkId = stored.notice.chunk_id.parse().unwrap();
        let model = world.place(&id).unwrap().family.model.clone();
        let at = StoredRef::from_proto(stored.notice.r#ref.clone().unwrap()).unwrap();
        let live = LiveChunk::restore(model, &at, &stored.encoding).unwrap();
        // Reading may start anywhere before the ref. Here it starts at the log's beginning, so that
        // the ref already contains many of the records.
        let mut reader = Reader::new(&world);
        *reader.chunk(&id) = live;
        for record in &records {
            let record: UpdatesRecord = UpdatesRecord::decode(&record[..]).unwrap();
            let offset = reader.position.offset;
            let is_valid = reader.position.judge(offset, &record) == driftless_chunk::position::Validity::Valid;
            if let (true, Some(Body::Decisions(decisions))) = (is_valid, &record.body)
                && decisions.chunk_id == stored.notice.chunk_id
            {
                let updates = driftless_chunk::live::read_updates(decisions).unwrap();
                reader.chunk(&id).fold(decisions, updates.as_ref()).unwrap();
            }
        }
        let end = chunk_summary(reader.chunk(&id));
        assert_eq!(end, expected["chunks"][id.as_str()], "{id} from version {}", at.version);
    }
}

#[test]
fn the_golden_log_has_every_kind_of_record() {
    let (records, expected) = files();
    let world = world(&expected["world"]);
    let mut reader = Reader::new(&world);
    let mut seen = BTreeSet::new();
    for record in &records {
        let before = reader.judged;
        reader.read(record);
        let record = UpdatesRecord::decode(&record[..]).unwrap();
        let is_valid = if reader.judged.invalid == before.invalid { "valid" } else { "invalid" };
        match record.body.unwrap() {
            Body::Fence(_) => _ = seen.insert(format!("{is_valid} fence of {}", record.epoch)),
            Body::SnapshotStored(_) => _ = seen.insert(format!("{is_valid} snapshot stored")),
            Body::Decisions(decisions) => {
                _ = seen.insert(format!("{is_valid} decisions of {}", record.epoch));
                let has_commits = !decisions.updates.is_empty();
                _ = seen.insert(format!("decisions with commits: {has_commits}"));
                if is_valid == "valid" {
                    seen.extend(decisions.marks.into_iter().map(|mark| kind(mark.outcome.unwrap())));
                }
            }
        }
    }
    for expected in [
        "invalid decisions of 1",
        "valid fence of 1",
        "valid decisions of 1",
        "valid fence of 3",
        "valid decisions of 3",
        "invalid decisions of 3",
        "invalid fence of 1",
        "invalid fence of 2",
        "invalid fence of 9",
        "valid fence of 4",
        "valid decisions of 4",
        "valid snapshot stored",
        "invalid snapshot stored",
        "decisions with commits: true",
        "decisions with commits: false",
        "committed",
        "DISCARD_REASON_CONFLICT",
        "DISCARD_REASON_FULL",
        "DISCARD_REASON_INVALID",
        "DISCARD_REASON_UNDECODABLE",
        "DISCARD_REASON_SETTLED",
        "out of order",
        "session expired",
    ] {
        assert!(seen.contains(expected), "no {expected} in {seen:#?}");
    }
    assert_eq!(reader.chunks.len(), 5);
}

fn kind(outcome: Outcome) -> String {
    match outcome {
        Outcome::Committed(_) => "committed".into(),
        Outcome::Discarded(d) => proto::DiscardReason::as_str_name(&d.reason()).into(),
        Outcome::OutOfOrder(_) => "out of order".into(),
        Outcome::SessionExpired(_) => "session expired".into(),
    }
}

#[test]
fn r11_the_generator_gives_one_log_twice() {
    let world = world(&spec());
    assert_eq!(generate::generate(&world), generate::generate(&world));
}

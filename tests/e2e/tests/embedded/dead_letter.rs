//! R9, as operators see it: records that were put aside can be listed, shown, and replayed by the
//! rules of R8.

use bytes::Bytes;
use driftless_chunk::model::Models;
use driftless_chunk::world::World;
use driftless_client::Outcome;
use driftless_e2e_tests::edits::{chunk, put, set, set_if, value_of};
use driftless_e2e_tests::history::{History, read_all};
use driftless_e2e_tests::people::now_ms;
use driftless_e2e_tests::process::{Ended, Env, arguments, run};
use driftless_e2e_tests::stack::{Dev, Stack as _, small_world, world_file};
use driftless_e2e_tests::wait::soon;
use driftless_log::sqlite::SqliteLog;
use driftless_log::{Ack, Append, Delivery, Headers, Log as _};
use driftless_schemas::proto::{Command, CommandRecord, command, command_record};
use driftless_schemas::world::{StoredWorld, WorldSpec};
use driftless_schemas::{Offset, Partition, SessionId};
use driftless_testbed::RunDir;
use prost::Message as _;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Makes a record of `commands` as ingest would have written it.
fn record(chunk: &str, user: &str, command: Vec<u8>) -> Bytes {
    let command = Command {
        writer: SessionId::new(now_ms().cast_unsigned(), [7; 10]).writer(user).to_bytes(),
        author: user.into(),
        seq: 1,
        after: 0,
        received_at_ms: now_ms(),
        roles: Vec::new(),
        body: Some(command::Body::Command(command.into())),
    };
    let body = Some(command_record::Body::Command(command));
    CommandRecord { chunk_id: chunk.into(), body }.encode_to_vec().into()
}

/// Appends records to a log that no process has open, and returns their offsets.
async fn append(db: &Path, topic: &Arc<str>, partition: Partition, records: Vec<(Bytes, Headers)>) -> Vec<Offset> {
    let log = tokio::task::block_in_place(|| SqliteLog::open(db)).unwrap();
    let (to, mut acks) = tokio::sync::mpsc::unbounded_channel();
    let sink = Arc::new(move |batch: Vec<Ack>| batch.into_iter().for_each(|ack| to.send(ack.result).unwrap()));
    let producer = log.producer(Delivery::Bounded(Duration::from_secs(60)), sink).unwrap();
    let mut offsets = Vec::new();
    for (value, headers) in records {
        let append = Append { topic: Arc::clone(topic), partition, key: Bytes::new(), value, headers, token: 0 };
        assert!(producer.append(vec![append]).is_empty());
        offsets.push(soon("an acknowledgement", acks.recv()).await.unwrap().unwrap().unwrap());
    }
    offsets
}

fn lines(ended: &Ended) -> Vec<Value> {
    ended.output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r8_what_was_put_aside_is_replayed_once_and_by_its_numbers() {
    let folder = RunDir::new("world").unwrap();
    let whole = small_world("letters");
    let spec = WorldSpec { families: vec![whole.families[0].clone()], ..whole.clone() };
    let file = world_file(folder.path(), &spec).display().to_string();
    let mut dev = Dev::with(&["--world", &file]).await;
    let (data, topics, id) = (dev.data().display().to_string(), spec.topics(), chunk("canvas/0/0"));
    let db = dev.data().join("log.db");
    let partition = dev.entrance().world.place(&id).unwrap().partition;
    let letters = async |flags: &[&str]| {
        let all = [&["dead-letter"][..], flags, &["--data", &data]].concat();
        run(&arguments(&all), &Env::new()).await
    };
    let edit = async |dev: &Dev, command: Vec<u8>| {
        let (_ann, replica) = dev.entrance().follower("ann", &chunk("canvas/0/0")).await;
        let outcome = soon("a commit", replica.submit(command).unwrap()).await;
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
    };
    edit(&dev, set(0, 1)).await;
    let locked = letters(&["list"]).await;
    assert!(!locked.status.success() && locked.error.contains("end that first"), "{locked:?}");
    dev.stop().await;

    let garbage = Bytes::from_static(b"\xff\xff\xffgarbage that nobody can read");
    let (bobs, carols) =
        (record("things/0/0", "bob", put("door", "open")), record("canvas/0/0", "carol", set_if(5, 9, 8)));
    let poison = [&garbage, &bobs, &carols].map(|value| (value.clone(), Headers::new())).to_vec();
    let offsets = append(&db, &topics.commands, partition, poison).await;
    dev.start().await;
    // This edit is behind all of these records in the same partition.
    edit(&dev, set(0, 2)).await;
    dev.stop().await;
    // The letter below copies Carol's record, whose guard failed. No built-in model panics, so the
    // test writes the letter of a failing model by hand.
    let header = |name: &str, value: String| (name.to_owned(), Bytes::from(value));
    let headers = vec![
        header("reason", "the model failed on it".into()),
        header("topic", topics.commands.to_string()),
        header("partition", partition.to_string()),
        header("offset", offsets[2].to_string()),
    ];
    append(&db, &topics.dead_letter, Partition(0), vec![(carols.clone(), headers)]).await;

    let listed = letters(&["list", "--json"]).await;
    let all = lines(&listed);
    assert_eq!(all.len(), 3, "{listed:?}");
    for (line, (offset, says)) in all.iter().zip(offsets.iter().zip(["CommandRecord", "things", "the model failed"])) {
        let reason = line["reason"].as_str().unwrap();
        assert!(reason.contains(says), "{line}");
        assert_eq!(
            (line["source_offset"].as_i64(), line["partition"].as_i64()),
            (Some(offset.0), Some(partition.0.into()))
        );
    }
    let text = letters(&["list"]).await;
    assert!(text.status.success() && text.output.lines().count() == 3, "{text:?}");
    let shown = async |offset: &str| lines(&letters(&["show", offset, "--json"]).await).remove(0);
    let first = shown("0").await;
    let hex: String = garbage.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&first["hex"], &first["record"]), (&Value::from(hex), &Value::Null), "{first}");
    assert!(first["replay"].as_str().unwrap().starts_with("refused"), "{first}");
    let second = shown("1").await;
    assert!(second["replay"].as_str().unwrap().contains("no family is called \"things\""), "{second}");
    assert_eq!(second["record"]["command"]["author"], "bob");
    let third = shown("2").await;
    assert_eq!(third["replay"], "as a new command", "{third}");
    assert!(third["decided"].as_str().unwrap().starts_with("discarded (conflict)"), "{third}");
    let cell = serde_json::json!([{"x": 5, "y": 0, "z": 0, "value": 9, "guard": 8}]);
    assert_eq!(third["record"]["command"]["command"]["set"], cell, "{third}");
    assert!(!letters(&["show", "3"]).await.status.success());

    // Bob's record cannot be replayed before the world has its family.
    let named = letters(&["replay", "0", "1"]).await;
    assert!(!named.status.success() && named.error.contains("2 of 2 records cannot be replayed"), "{named:?}");
    dev.start().await;
    edit(&dev, set(5, 8)).await;
    dev.stop().await;
    std::fs::write(&file, toml::to_string_pretty(&whole).unwrap()).unwrap();
    let world_json = dev.data().join("store/world.json");
    let old: StoredWorld = serde_json::from_str(&std::fs::read_to_string(&world_json).unwrap()).unwrap();
    let stored = serde_json::to_string(&StoredWorld { revision: 2, spec: whole.clone(), ..old }).unwrap();
    std::fs::write(world_json, stored).unwrap();
    let world = World::new("the test's world", whole, &Models::builtin()).unwrap();
    let count = async || {
        let log = tokio::task::block_in_place(|| SqliteLog::open(&db)).unwrap();
        let mut count = 0;
        for partition in world.partitions() {
            count += read_all(&log, &topics.commands, partition).await.len();
        }
        count
    };
    let before = count().await;
    let planned = letters(&["replay", "--all", "--dry-run", "--json"]).await;
    assert_eq!((planned.status.success(), count().await), (true, before), "{planned:?}");
    for _ in 0..2 {
        let replayed = letters(&["replay", "--all", "--json", "--operator", "olga"]).await;
        let ways: Vec<Value> = lines(&replayed).iter().map(|line| line["replayed"].clone()).collect();
        assert_eq!(ways, [Value::Null, "as it is".into(), "as a new command".into()], "{replayed:?}");
        // The original record was in the wrong partition.
        assert_eq!(lines(&replayed)[1]["partition"], world.place(&chunk("things/0/0")).unwrap().partition.0);
    }
    assert_eq!(count().await, before + 4);

    dev.start().await;
    edit(&dev, set(0, 3)).await;
    let (_reader, things) = dev.entrance().follower("reader", &chunk("things/0/0")).await;
    dev.entrance().converge(1, &[&things]).await;
    dev.stop().await;
    let log = tokio::task::block_in_place(|| SqliteLog::open(&db)).unwrap();
    let history = History::read(&log, &world).await;
    assert_eq!(history.commits(&chunk("things/0/0"), "bob"), [put("door", "open")], "once, under its own number");
    let values: Vec<u32> = history.commits(&id, "carol").iter().map(|effect| value_of(effect)).collect();
    let decisions = history.of(&id, "carol");
    assert_eq!((values, decisions.len()), (vec![9], 2), "discarded, and then committed once: {decisions:?}");
    assert_ne!(decisions[0].writer, decisions[1].writer);
    let commands = read_all(&log, &topics.commands, partition).await;
    let headers = &commands.iter().rfind(|record| !record.headers.is_empty()).unwrap().headers;
    assert_eq!(headers[1], header("replayed-by", "olga".into()));
}

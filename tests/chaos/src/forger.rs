//! A program that is no service of the world, and that appends to its topics all the same.
//!
//! None of its records of `updates` may change the world: R4 makes readers ignore them, or they
//! make the owner claim again. Two kinds are left out, because no owner can pass them by design: a
//! fence with an absurd epoch, and bytes in `updates` that are no record. `commands` has no such
//! limit: ingest writes there for many users, and the owner skips what it cannot read (R9).

use anyhow::{Context, Result};
use bytes::Bytes;
use driftless_chunk::position::Position;
use driftless_chunk::world::World;
use driftless_client::ChunkId;
use driftless_e2e_tests::edits;
use driftless_e2e_tests::history::read_all;
use driftless_e2e_tests::stack::kafka_log;
use driftless_schemas::proto::{
    Command, CommandRecord, Committed, Decisions, Fence, Mark, UpdatesRecord, command, command_record, mark,
    updates_record,
};
use driftless_schemas::{Partition, format};
use prost::Message as _;
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde::Serialize;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The name of the file with a line for each forged record, for the checker.
pub const FORGED: &str = "forged.jsonl";
/// The author of forged commands. No painter has this name.
pub const GHOST: &str = "ghost";
/// The owner text of forged fences begins with this name. No replayer has it.
pub const STRANGER: &str = "forger";

const APPENDED_WITHIN: Duration = Duration::from_secs(30);
/// The offset of `commands` that a forged mark names. No topic is so long.
const FAR_OFFSET: i64 = 1 << 40;
/// The epoch of a forged record that no fence precedes.
const FAR_EPOCH: u64 = 1 << 60;

/// A line about a forged record.
#[derive(Serialize)]
struct Forged<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    what: &'static str,
}

/// Makes the file of forged records if it is not there, and returns its path.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn create(dir: &Path) -> Result<PathBuf> {
    let path = dir.join(FORGED);
    let made = File::options().create(true).append(true).open(&path);
    made.with_context(|| format!("cannot write {}", path.display())).map(|_| path)
}

/// Appends one record of each kind to the partition of a chunk, and a line for each to the file
/// [`FORGED`] in `dir`. Returns the number of records.
///
/// # Errors
/// If the log does not take a record, or the file cannot be written.
pub(crate) async fn forge(brokers: &str, world: &World, chunk: &ChunkId, dir: &Path) -> Result<usize> {
    let place = world.place(chunk)?;
    let position = position(brokers, world, place.partition).await?;
    let updates = [
        ("a mark of an impossible offset under a stale epoch", decisions(chunk, position.epoch.0 - 1)),
        ("decisions of an epoch that no fence began", decisions(chunk, FAR_EPOCH)),
        ("a fence with the next epoch", fence(position.epoch.0 + 1)),
    ];
    let commands = [
        ("bytes that are no command", b"\xff\xff rubbish".to_vec()),
        ("a command to a chunk outside of the world", command("nowhere/0/0", 1)),
        ("a command of a writer that does not exist", command(chunk.as_str(), 1)),
        ("a command of that writer that is out of order", command(chunk.as_str(), 9)),
    ];
    let topics = world.topics();
    let updates = updates.map(|(what, record)| (&*topics.updates, what, record.encode_to_vec()));
    let commands = commands.map(|(what, record)| (&*topics.commands, what, record));
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", brokers).set("acks", "all").create()?;
    let mut file = File::options().append(true).open(create(dir)?)?;
    let mut count = 0;
    for (topic, what, value) in updates.into_iter().chain(commands) {
        let key = place.key.as_bytes();
        let record = FutureRecord::to(topic).partition(place.partition.0).key(key).payload(&value);
        let sent = producer.send(record, APPENDED_WITHIN).await;
        let sent = sent.map_err(|(e, _)| e).with_context(|| format!("cannot forge {what}"))?;
        let line = Forged { topic, partition: sent.partition, offset: sent.offset, what };
        writeln!(file, "{}", serde_json::to_string(&line)?)?;
        count += 1;
    }
    Ok(count)
}

/// The position at the end of a partition of `updates` (R4).
async fn position(brokers: &str, world: &World, partition: Partition) -> Result<Position> {
    let mut position = Position::START;
    for record in read_all(&kafka_log(brokers), &world.topics().updates, partition).await {
        let update: UpdatesRecord = format::decode_known("UpdatesRecord", record.value)?;
        position.judge(record.offset, &update);
    }
    Ok(position)
}

fn fence(epoch: u64) -> UpdatesRecord {
    let owner = format!("{STRANGER}/{:016x}", rand::random::<u64>());
    UpdatesRecord { epoch, n: 0, body: Some(updates_record::Body::Fence(Fence { owner, ..Fence::default() })) }
}

fn decisions(chunk: &ChunkId, epoch: u64) -> UpdatesRecord {
    let mark = Mark {
        source_offset: FAR_OFFSET,
        author: GHOST.to_owned(),
        writer: writer(),
        seq: 1,
        outcome: Some(mark::Outcome::Committed(Committed {})),
        ..Mark::default()
    };
    let body = Decisions { chunk_id: chunk.to_string(), updates: Bytes::new(), marks: vec![mark] };
    UpdatesRecord { epoch, n: 1, body: Some(updates_record::Body::Decisions(body)) }
}

/// A command by a writer that no server has made. Numbers above 1 are out of order.
fn command(chunk: &str, seq: u64) -> Vec<u8> {
    let command = match chunk.starts_with("things/") {
        true => edits::put("forged", GHOST),
        false => edits::set(0, 255),
    };
    let body = Command {
        writer: writer(),
        author: GHOST.to_owned(),
        seq,
        after: seq - 1,
        received_at_ms: 1,
        body: Some(command::Body::Command(command.into())),
        roles: Vec::new(),
    };
    CommandRecord { chunk_id: chunk.to_owned(), body: Some(command_record::Body::Command(body)) }.encode_to_vec()
}

/// A writer id with a session time far in the past, and random bytes.
fn writer() -> Bytes {
    let mut id = vec![0, 0, 0, 0, 0, 1];
    id.extend(rand::random::<[u8; 10]>());
    id.into()
}

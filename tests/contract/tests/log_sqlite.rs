//! The log contract against SQLite. This file also holds the claims that only the embedded log
//! makes.

use async_trait::async_trait;
use driftless_contract_tests::harness::{Acks, bounded, number, numbered, read, record, soon, spec, topic, write};
use driftless_contract_tests::{FullLog, Subject};
use driftless_log::sqlite::{SqliteLog, SqliteSettings};
use driftless_log::{Delivery, Error, Log, QueueLimits, TopicSpec};
use driftless_schemas::{Offset, Partition};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

struct Sqlite {
    folder: tempfile::TempDir,
    log: SqliteLog,
}

impl Sqlite {
    fn new() -> Self {
        Self::with(SqliteSettings::default())
    }

    fn with(settings: SqliteSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = SqliteLog::open_with(&folder.path().join("log.db"), settings).expect("a new log can be opened");
        Self { folder, log }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("log.db")
    }
}

#[async_trait]
impl Subject for Sqlite {
    fn log(&self) -> Arc<dyn Log> {
        Arc::new(self.log.clone())
    }

    async fn truncate_before(&self, topic: &str, partition: Partition, before: Offset) {
        self.log.truncate_before(topic, partition, before).await.expect("the topic exists");
    }
}

impl FullLog for Sqlite {
    fn log_with_queue(&self, queue: QueueLimits) -> Arc<dyn Log> {
        Arc::new(self.log.clone().with_queue(queue))
    }

    fn too_large_bytes(&self) -> usize {
        300 << 10
    }
}

driftless_contract_tests::log_contract!(Sqlite::new());

#[tokio::test]
async fn reopening_finds_every_acknowledged_record() {
    let subject = Sqlite::new();
    let topic = topic(&subject, 3).await;
    for partition in 0..3 {
        write(&subject.log, numbered(&topic, partition, 0..100)).await;
    }
    subject.log.truncate_before(&topic, Partition(1), Offset(40)).await.unwrap();
    subject.log.truncate_before(&topic, Partition(2), Offset(100)).await.unwrap();
    let (path, Sqlite { folder, log }) = (subject.path(), subject);
    drop(log);

    let log = SqliteLog::open(&path).expect("it can be opened again");
    assert_eq!(log.partitions(&topic).await.unwrap(), Some(3));
    for (partition, low) in [(0, 0), (1, 40), (2, 100)] {
        let watermarks = log.watermarks(&topic, Partition(partition)).await.unwrap();
        assert_eq!(watermarks, (Offset(low), Offset(100)));
    }
    let mut reader = log.reader().unwrap();
    reader.assign(&topic, Partition(0), Offset(0));
    reader.assign(&topic, Partition(1), Offset(40));
    reader.assign(&topic, Partition(2), Offset(100));
    assert_eq!(read(&mut *reader, 160).await.len(), 160);
    write(&log, numbered(&topic, 2, 100..101)).await;
    assert_eq!(read(&mut *reader, 1).await[0].1.offset, Offset(100));
    drop(folder);
}

#[tokio::test]
async fn the_tables_can_be_read_while_the_log_is_open() {
    let subject = Sqlite::new();
    let topic = topic(&subject, 2).await;
    let mut full = record(&topic, 1, 0, "value");
    full.headers = vec![("traceparent".into(), "00-ab".into())];
    write(&subject.log, vec![full]).await;
    let other = rusqlite::Connection::open(subject.path()).unwrap();
    let row: (String, i64, i64, String, String, String) = other
        .query_row(
            "SELECT topic, partition, offset, CAST(key AS TEXT), CAST(value AS TEXT), headers FROM records \
             WHERE datetime(timestamp_ms / 1000, 'unixepoch') > '2020'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?)),
        )
        .unwrap();
    let expected = (topic.to_string(), 1, 0, "key".into(), "value".into(), r#"[["traceparent","00-ab"]]"#.into());
    assert_eq!(row, expected);
    let partitions: i64 = other.query_row("SELECT partitions FROM topics", [], |row| row.get(0)).unwrap();
    assert_eq!(partitions, 2);
}

fn refused(path: &Path, because: &str) {
    match SqliteLog::open(path) {
        Err(Error::Unavailable { at, reason }) => {
            assert_eq!(at, path.display().to_string(), "the error names the path");
            assert!(reason.contains(because), "{because:?} is not in {reason:?}");
        }
        Err(other) => panic!("{} is unavailable for another reason: {other:?}", path.display()),
        Ok(_) => panic!("{} was opened", path.display()),
    }
}

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_is_gone() {
    let Sqlite { folder, log } = Sqlite::new();
    let path = folder.path().join("log.db");
    refused(&path, &format!("process {} has it open", std::process::id()));
    // The log stays open as long as some handle, producer or reader of it exists.
    let reader = log.reader().unwrap();
    drop(log);
    refused(&path, "has it open");
    drop(reader);
    SqliteLog::open(&path).expect("no process has the log open any more");
}

#[tokio::test]
async fn a_file_that_is_no_log_or_is_damaged_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.db");
    std::fs::write(&text, "this is no database, however long one looks at it".repeat(100)).unwrap();
    refused(&text, "not a database");

    let foreign = folder.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    refused(&foreign, "another program's database");

    let damaged = folder.path().join("damaged.db");
    let log = SqliteLog::open(&damaged).unwrap();
    log.create_topic(&spec("t", 1)).await.unwrap();
    write(&log, numbered(&"t".into(), 0, 0..1_000)).await;
    drop(log);
    let mut bytes = std::fs::read(&damaged).unwrap();
    let length = bytes.len();
    bytes[100..length].fill(0xa5);
    std::fs::write(&damaged, bytes).unwrap();
    refused(&damaged, "if it is damaged, move it away");

    refused(&folder.path().join("no/such/folder/log.db"), "cannot lock");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_deletes_old_records_and_keeps_new_ones() {
    let subject = Sqlite::with(SqliteSettings { retention_every: Duration::from_millis(20), ..Default::default() });
    let log = subject.log.clone();
    let short = TopicSpec { retention_ms: Some(1), ..spec("short", 1) };
    log.create_topic(&short).await.unwrap();
    log.create_topic(&spec("long", 1)).await.unwrap();
    write(&log, numbered(&"short".into(), 0, 0..10_000)).await;
    write(&log, numbered(&"long".into(), 0, 0..10)).await;
    // Retention first moves the start of the log and then deletes the rows. So a reader may find a
    // higher start, but never a hole.
    let other = rusqlite::Connection::open(subject.path()).unwrap();
    let left = |topic: &str| -> i64 {
        other.query_row("SELECT count(*) FROM records WHERE topic = ?1", [topic], |row| row.get(0)).unwrap()
    };
    soon("retention", async {
        while log.watermarks("short", Partition(0)).await.unwrap() != (Offset(10_000), Offset(10_000))
            || left("short") > 0
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(log.watermarks("long", Partition(0)).await.unwrap(), (Offset(0), Offset(10)));
    assert_eq!(left("long"), 10);
}

const CHILD: &str = "DRIFTLESS_CONTRACT_CHILD_LOG";

/// The process that the next test starts and kills. It appends records, and prints each
/// acknowledgement. Without the variable `CHILD` this test does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_appends_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let log = SqliteLog::open(Path::new(&path)).unwrap();
    log.create_topic(&spec("t", 2)).await.unwrap();
    let (producer, acks) = Acks::producer(&log, Delivery::Gapless);
    let topic: Arc<str> = "t".into();
    let mut next = 0;
    loop {
        let (_, high) = log.watermarks("t", Partition(1)).await.unwrap();
        assert!(high.0 <= i64::try_from(next).unwrap());
        assert!(producer.append(numbered(&topic, 1, next..next + 20)).is_empty());
        next += 20;
        for (token, result) in acks.take(20).await {
            println!("acked {token} {}", result.unwrap().unwrap());
        }
    }
}

#[tokio::test]
async fn a_killed_process_loses_no_acknowledged_record() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let path = folder.path().join(format!("log-{round}.db"));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_appends_until_it_is_killed", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut acked = Vec::new();
        let mut note = |line: String| {
            let mut words = line.strip_prefix("acked ").into_iter().flat_map(str::split_whitespace);
            let word = |word: Option<&str>| word.and_then(|word| word.parse::<u64>().ok());
            if let (Some(token), Some(offset)) = (word(words.next()), word(words.next())) {
                acked.push((token, offset));
            }
            acked.len()
        };
        while note(lines.next().expect("the child keeps printing")) < 300 * (round + 1) {}
        refused(&path, &format!("process {}", child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        // Acknowledgements that the child printed just before it was killed count too.
        lines.for_each(|line| {
            note(line);
        });

        let log = SqliteLog::open(&path).expect("the lock died with the process");
        let (low, high) = log.watermarks("t", Partition(1)).await.unwrap();
        assert_eq!(low, Offset(0));
        let mut reader = log.reader().unwrap();
        reader.assign("t", Partition(1), Offset(0));
        let records = read(&mut *reader, usize::try_from(high.0).unwrap()).await;
        for (n, (_, record)) in (0..).zip(&records) {
            assert_eq!((record.offset, number(record)), (Offset(n), n as u64), "offsets are dense, values intact");
        }
        for (token, offset) in acked {
            assert_eq!(token, offset, "the child numbers its records from 0, as their offsets");
            assert!((offset as usize) < records.len(), "record {token} was acknowledged and is lost");
        }
    }
}

#[tokio::test]
async fn closing_waits_for_appended_records() {
    let Sqlite { folder, log } = Sqlite::new();
    let path = folder.path().join("log.db");
    log.create_topic(&spec("t", 1)).await.unwrap();
    let (producer, acks) = Acks::producer(&log, bounded());
    assert!(producer.append(numbered(&"t".into(), 0, 0..5_000)).is_empty());
    drop((producer, log));
    let acked = acks.take(5_000).await;
    assert!(acked.iter().all(|(_, result)| result.is_ok()));
    let log = SqliteLog::open(&path).unwrap();
    assert_eq!(log.watermarks("t", Partition(0)).await.unwrap().1, Offset(5_000));
}

//! The thread that writes the embedded log's file: it commits appends in groups, creates topics,
//! and applies retention.
//!
//! All appends that were queued during one commit go into the next one. A slow disk therefore makes
//! larger batches, and no append waits for a timer. Offsets are assigned inside the transaction and
//! become visible with its commit; a failed transaction leaves no record.

use super::super::local::tails::{Tail, Topic, Topics};
use super::super::outbox::{Outbox, Settled, append_bytes};
use super::super::{Append, AppendError, Error, Record, TopicSpec};
use super::{SqliteSettings, schema};
use driftless_runtime::clock::unix_now;
use driftless_schemas::time::UnixMs;
use driftless_schemas::{Offset, Partition};
use rusqlite::{Connection, params};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The limits on the records and bytes of one transaction, and so on the time until its records are
/// acknowledged.
const COMMIT_RECORDS_MAX: usize = 8_192;
const COMMIT_BYTES_MAX: usize = 16 << 20;
/// The limit on the records of a partition that retention deletes in one transaction, so that
/// appends do not wait long for retention.
const RETENTION_RECORDS_MAX: i64 = 4_096;

/// A job for the writer.
pub(super) enum Job {
    Append { outbox: Arc<Outbox>, batch: Vec<Append> },
    CreateTopic { spec: TopicSpec, reply: oneshot::Sender<Result<(), Error>> },
    Truncate { topic: Arc<str>, partition: Partition, before: i64, reply: oneshot::Sender<Result<(), Error>> },
}

/// The jobs that wait for the writer.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<QueuedJobs>,
    filled: Condvar,
}

#[derive(Default)]
struct QueuedJobs {
    jobs: Vec<Job>,
    is_closed: bool,
}

impl Queue {
    pub(super) fn push(&self, job: Job) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.jobs.push(job);
        if state.jobs.len() == 1 {
            self.filled.notify_one();
        }
    }

    /// Closes the queue. The writer finishes the queued jobs and ends.
    pub(super) fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        self.filled.notify_one();
    }

    /// Takes all queued jobs. An empty list means that `timeout` has passed; `None` means that the
    /// queue is closed and empty.
    fn take(&self, timeout: Duration) -> Option<Vec<Job>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut state, _) = self
            .filled
            .wait_timeout_while(state, timeout, |state| state.jobs.is_empty() && !state.is_closed)
            .unwrap_or_else(PoisonError::into_inner);
        if state.jobs.is_empty() && state.is_closed {
            return None;
        }
        Some(std::mem::take(&mut state.jobs))
    }
}

pub(super) struct Writer {
    connection: Connection,
    topics: Arc<Topics>,
    at: String,
    tail_bytes_max: usize,
    retention_every: Duration,
    retention_due: Instant,
    newest_timestamp: UnixMs,
    /// The reason why the log accepts no more appends. Set when a failed commit may have left
    /// records on the disk.
    broken: Option<String>,
}

/// The records that one transaction adds to one partition.
struct PartitionAppends {
    topic: Arc<str>,
    partition: Partition,
    tail: Arc<Tail>,
    /// The offset of the first record.
    base: i64,
    records: Vec<Record>,
}

impl Writer {
    pub(super) fn new(connection: Connection, topics: Arc<Topics>, settings: &SqliteSettings, path: &Path) -> Self {
        connection.set_prepared_statement_cache_capacity(16);
        Self {
            connection,
            topics,
            at: path.display().to_string(),
            tail_bytes_max: settings.tail_bytes_max,
            retention_every: settings.retention_every,
            retention_due: Instant::now() + settings.retention_every,
            newest_timestamp: UnixMs::default(),
            broken: None,
        }
    }

    pub(super) fn run(mut self, queue: &Queue) {
        while let Some(jobs) = queue.take(self.retention_due.saturating_duration_since(Instant::now())) {
            let mut appends: Vec<(Arc<Outbox>, Vec<Append>)> = Vec::new();
            let (mut records, mut bytes) = (0, 0);
            for job in jobs {
                match job {
                    Job::Append { outbox, batch } => {
                        records += batch.len();
                        bytes += batch.iter().map(append_bytes).sum::<usize>();
                        appends.push((outbox, batch));
                        if records >= COMMIT_RECORDS_MAX || bytes >= COMMIT_BYTES_MAX {
                            self.append(std::mem::take(&mut appends));
                            (records, bytes) = (0, 0);
                        }
                    }
                    Job::CreateTopic { spec, reply } => {
                        self.append(std::mem::take(&mut appends));
                        // The send fails if the caller no longer waits, which does not matter.
                        let _ = reply.send(self.create_topic(&spec));
                    }
                    Job::Truncate { topic, partition, before, reply } => {
                        self.append(std::mem::take(&mut appends));
                        let _ = reply.send(self.truncate(&topic, partition, before));
                    }
                }
            }
            self.append(appends);
            if Instant::now() >= self.retention_due {
                self.apply_retention();
            }
        }
    }

    /// Commits appends in one transaction, extends the tails, and acknowledges the records.
    fn append(&mut self, appends: Vec<(Arc<Outbox>, Vec<Append>)>) {
        if appends.is_empty() {
            return;
        }
        let mut settled: Vec<(Arc<Outbox>, Vec<Settled>)> = Vec::with_capacity(appends.len());
        let mut touched: Vec<PartitionAppends> = Vec::new();
        let mut indexes: HashMap<(Arc<str>, Partition), usize> = HashMap::new();
        self.newest_timestamp = self.newest_timestamp.max(unix_now());
        for (outbox, batch) in appends {
            let acks = batch.into_iter().map(|append| {
                let (token, bytes) = (append.token, append_bytes(&append));
                let result = self.stage(&outbox, append, bytes, &mut touched, &mut indexes);
                if let Err(error) = &result {
                    outbox.record_failure(error);
                }
                Settled::new(token, bytes, result.map(Some))
            });
            let acks = acks.collect();
            settled.push((outbox, acks));
        }
        match self.commit(&touched) {
            Ok(()) => touched.into_iter().for_each(|touched| touched.tail.extend(touched.records)),
            Err(reason) => {
                tracing::error!(path = %self.at, reason, "the embedded log cannot commit; the producers get the error");
                for settled in settled.iter_mut().flat_map(|(_, settled)| settled) {
                    if settled.ack.result.is_ok() {
                        settled.ack.result = Err(AppendError::Unknown(reason.clone()));
                    }
                }
            }
        }
        for (outbox, settled) in settled {
            outbox.settle(settled);
        }
    }

    /// Assigns a record its offset in the transaction.
    fn stage(
        &self,
        outbox: &Outbox,
        append: Append,
        bytes: usize,
        touched: &mut Vec<PartitionAppends>,
        indexes: &mut HashMap<(Arc<str>, Partition), usize>,
    ) -> Result<Offset, AppendError> {
        if let Some(ended) = outbox.ended() {
            return Err(ended);
        }
        if let Some(reason) = &self.broken {
            return Err(AppendError::Unknown(reason.clone()));
        }
        let tail = self.topics.accepts(&append.topic, append.partition, bytes)?;
        let index = *indexes.entry((Arc::clone(&append.topic), append.partition)).or_insert_with(|| {
            touched.push(PartitionAppends {
                topic: append.topic,
                partition: append.partition,
                base: tail.watermarks().1,
                tail,
                records: Vec::new(),
            });
            touched.len() - 1
        });
        let touched = &mut touched[index];
        // A transaction holds a few thousand records, so the conversion cannot fail.
        let offset = Offset(touched.base + i64::try_from(touched.records.len()).unwrap_or(i64::MAX));
        touched.records.push(Record {
            offset,
            timestamp: self.newest_timestamp,
            key: append.key,
            value: append.value,
            headers: append.headers,
        });
        Ok(offset)
    }

    fn commit(&mut self, touched: &[PartitionAppends]) -> Result<(), String> {
        if touched.is_empty() {
            return Ok(());
        }
        let connection = &self.connection;
        let insert = || -> rusqlite::Result<()> {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            let mut insert = connection.prepare_cached(schema::INSERT)?;
            // Written partition by partition, because rows that are neighbours in the table share
            // pages.
            for touched in touched {
                for record in &touched.records {
                    insert.execute(params![
                        &*touched.topic,
                        touched.partition.0,
                        record.offset.0,
                        record.timestamp.0,
                        (!record.key.is_empty()).then_some(&*record.key),
                        &*record.value,
                        schema::headers_to_text(&record.headers),
                    ])?;
                }
            }
            connection.execute_batch("COMMIT")
        };
        insert().map_err(|error| {
            let reason = format!("{}: {error}", self.at);
            // The rollback fails if the failed statement has rolled back already.
            let _ = self.connection.execute_batch("ROLLBACK");
            let is_gone = self.connection.is_autocommit()
                && touched.iter().all(|touched| {
                    schema::bounds(&self.connection, &touched.topic, touched.partition.0)
                        .is_ok_and(|(_, high)| high == touched.base)
                });
            if !is_gone {
                self.broken = Some(format!("{reason}; the log refuses further appends until it is reopened"));
            }
            reason
        })
    }

    fn create_topic(&mut self, spec: &TopicSpec) -> Result<(), Error> {
        let existing = self.topics.get(&spec.name).map(|topic| topic.partitions());
        if spec.is_satisfied_by(existing)? {
            return Ok(());
        }
        self.connection
            .execute(
                "INSERT INTO topics VALUES (?1, ?2, ?3, ?4)",
                params![
                    spec.name,
                    spec.partitions,
                    spec.retention_ms,
                    i64::try_from(spec.record_bytes_max).unwrap_or(i64::MAX)
                ],
            )
            .map_err(|error| self.unavailable(&error))?;
        let tails = (0..spec.partitions).map(|_| Arc::new(Tail::new(0, 0, self.tail_bytes_max)));
        self.topics.insert(Topic {
            name: spec.name.as_str().into(),
            record_bytes_max: spec.record_bytes_max,
            retention_ms: spec.retention_ms,
            tails: tails.collect(),
        });
        Ok(())
    }

    fn truncate(&mut self, topic: &str, partition: Partition, before: i64) -> Result<(), Error> {
        let Some(tail) = self.topics.tail(topic, partition) else {
            return Err(Error::NoSuchTopic { topic: topic.to_owned() });
        };
        let (low, high) = tail.watermarks();
        let before = before.clamp(low, high);
        // The tail is truncated before the table. A reader may then see the start too late by some
        // records, but never a hole.
        tail.truncate_before(before);
        let delete = || -> rusqlite::Result<()> {
            let transaction = self.connection.unchecked_transaction()?;
            transaction
                .prepare_cached("DELETE FROM records WHERE topic = ?1 AND partition = ?2 AND offset < ?3")?
                .execute(params![topic, partition.0, before])?;
            transaction.prepare_cached("INSERT OR REPLACE INTO starts VALUES (?1, ?2, ?3)")?.execute(params![
                topic,
                partition.0,
                before
            ])?;
            transaction.commit()
        };
        delete().map_err(|error| self.unavailable(&error))
    }

    /// Deletes a batch of records past their retention. Runs again immediately while more records
    /// are due.
    fn apply_retention(&mut self) {
        let mut is_more = false;
        for topic in self.topics.all() {
            let Some(retention_ms) = topic.retention_ms else { continue };
            let oldest = unix_now().plus_ms(retention_ms.saturating_neg());
            for (partition, tail) in (0..).zip(&topic.tails) {
                let (low, high) = tail.watermarks();
                if low == high {
                    continue;
                }
                let until = high.min(low + RETENTION_RECORDS_MAX);
                match self.first_since(&topic.name, partition, low, until, oldest) {
                    Ok(keep_from) if keep_from > low => {
                        is_more |= keep_from == until && until < high;
                        if let Err(error) = self.truncate(&topic.name, Partition(partition), keep_from) {
                            tracing::warn!(topic = %topic.name, partition, %error, "retention failed and is retried");
                        }
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(topic = %topic.name, partition, %error, "retention failed and is retried");
                    }
                }
            }
        }
        self.retention_due = Instant::now() + if is_more { Duration::ZERO } else { self.retention_every };
    }

    /// Returns the offset of the first record in `low..until` that is not older than `oldest`, or
    /// `until` if all are older.
    fn first_since(&self, topic: &str, partition: i32, low: i64, until: i64, oldest: UnixMs) -> rusqlite::Result<i64> {
        let mut select = self.connection.prepare_cached(
            "SELECT min(offset) FROM records WHERE topic = ?1 AND partition = ?2 AND offset >= ?3 AND offset < ?4 \
             AND timestamp_ms >= ?5",
        )?;
        let found: Option<i64> = select.query_row(params![topic, partition, low, until, oldest.0], |row| row.get(0))?;
        Ok(found.unwrap_or(until))
    }

    fn unavailable(&self, error: &rusqlite::Error) -> Error {
        Error::Unavailable { at: self.at.clone(), reason: error.to_string() }
    }
}

//! The traits through which all services use the log, in Kafka's own terms
//! (docs/design.md#the-log-seam).
//!
//! The traits contain all that a service needs from its log: append with acknowledged offsets, read
//! partitions from an offset with immediate wake-up, watermarks, and group membership. All of these
//! work in batches, so the traits cost nothing on the hot path. One contract suite
//! (`tests/contract`) makes sure that the three implementations behave alike: [`kafka`] for
//! production, [`sqlite`] as the embedded default of `driftless dev`, and [`memory`] for tests.
//!
//! This crate knows nothing of chunks, commands or decisions. It does not retry a failed append;
//! only Kafka's idempotent producer retries on its own (R6: a failed delivery ends an ownership).

pub mod kafka;
pub mod memory;
pub mod sqlite;

mod local;
mod outbox;

pub use outbox::QueueLimits;

use async_trait::async_trait;
use bytes::Bytes;
use driftless_schemas::time::UnixMs;
use driftless_schemas::{Offset, Partition};
use std::sync::Arc;
use std::time::Duration;

/// An estimate of the memory that a record takes beside its bytes.
const RECORD_OVERHEAD_BYTES: usize = 128;

/// Record headers, in order: (name, value).
pub type Headers = Vec<(String, Bytes)>;

/// A record as read from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The record's offset in its partition.
    pub offset: Offset,
    /// The wall time of the append, as the log recorded it.
    pub timestamp: UnixMs,
    /// The partition key; empty if the record has none.
    pub key: Bytes,
    /// The payload.
    pub value: Bytes,
    /// The headers.
    pub headers: Headers,
}

impl Record {
    /// The memory that the record takes, with an estimate of the overhead beside its bytes.
    fn memory_bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        self.key.len() + self.value.len() + headers + RECORD_OVERHEAD_BYTES
    }
}

/// A record to append. The caller computes the partition (R1).
#[derive(Clone, Debug)]
pub struct Append {
    /// Topic name.
    pub topic: Arc<str>,
    /// Partition of the topic.
    pub partition: Partition,
    /// The partition key.
    pub key: Bytes,
    /// The payload.
    pub value: Bytes,
    /// The headers.
    pub headers: Headers,
    /// An identifier of the caller's choice, returned in the [`Ack`].
    pub token: u64,
}

/// The result of one [`Append`]. Acks of one partition arrive in the order of the appends.
#[derive(Debug)]
pub struct Ack {
    /// The append's token.
    pub token: u64,
    /// The offset of the record, or of a copy of the record: after a broken connection a producer
    /// may write records again, in order (docs/decisions/0012-records-that-stand-twice.md).
    /// `Ok(None)` means that the log acknowledged the record without an offset; librdkafka does
    /// that for a duplicate.
    pub result: Result<Option<Offset>, AppendError>,
}

/// The reason why an append was not acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The record may be in the log, or may still arrive there, for example after a time-out, a
    /// lost connection or a purge. A service must never report this as a rejection
    /// (docs/design.md#ingest).
    #[error("not acknowledged, may be in the log: {0}")]
    Unknown(String),
    /// The record is not in the log and never will be. The same append would fail again (too large,
    /// no such topic).
    #[error("refused by the log: {0}")]
    Refused(String),
}

/// Receives acknowledgements in batches. The log calls the sink from its own threads: a sink must
/// be quick and must not block.
pub type AckSink = Arc<dyn Fn(Vec<Ack>) + Send + Sync>;

/// The behaviour of a producer while the log does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Give up on a record after this time (ingest: `message.timeout.ms`).
    Bounded(Duration),
    /// Never give up, and never leave a gap. The acknowledged records of a partition are an
    /// unbroken prefix of the appends, as the replayer needs (docs/design.md#ownership). A record
    /// may be in the log twice; readers count only the first copy (R4). The first failure ends the
    /// producer: all later appends fail too.
    Gapless,
}

/// Writes records. Dropping a producer does not wait: each record in flight is still acknowledged,
/// or reported as [`AppendError::Unknown`]. Callers that need the outcome call `flush` first.
#[async_trait]
pub trait Producer: Send + Sync {
    /// Enqueues a batch in order. Returns the records that do not fit into the queue, in order.
    /// These were not sent; the caller must wait and append them again (backpressure).
    #[must_use = "the returned records were not sent"]
    fn append(&self, batch: Vec<Append>) -> Vec<Append>;
    /// The number of appended records without an acknowledgement.
    fn in_flight(&self) -> usize;
    /// Waits until no record is in flight. Returns false if `timeout` passes first.
    async fn flush(&self, timeout: Duration) -> bool;
    /// Gives up all records in flight: each is acknowledged with [`AppendError::Unknown`],
    /// immediately even if the log does not answer. Later appends fail the same way.
    fn abandon(&self);
}

/// The records that one call of [`Reader::next`] returns for one partition.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Topic name.
    pub topic: Arc<str>,
    /// Partition of the topic.
    pub partition: Partition,
    /// The records in offset order; never empty.
    pub records: Vec<Record>,
}

/// Reads partitions from given offsets. Dropping a reader stops it.
#[async_trait]
pub trait Reader: Send {
    /// Starts or restarts reading a partition at `from`. At the end of the log (`high`) the reader
    /// waits for the next record. An offset outside `low..=high`, or a missing partition, is an
    /// error that [`Reader::next`] reports.
    fn assign(&mut self, topic: &str, partition: Partition, from: Offset);
    /// Stops reading a partition. No batch of that partition is returned after this call.
    fn unassign(&mut self, topic: &str, partition: Partition);
    /// Stops fetching a partition until [`Reader::resume`]. Records that were fetched before may
    /// still be returned once.
    fn pause(&mut self, topic: &str, partition: Partition);
    /// Continues a paused partition where it stopped.
    fn resume(&mut self, topic: &str, partition: Partition);
    /// Waits for records and returns all that are ready, one batch per partition. Cancel-safe. An
    /// error names one partition and unassigns it; the others continue at the next call.
    async fn next(&mut self) -> Result<Vec<Batch>, ReadError>;
}

/// The reason why reading a partition stopped.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The log does not hold the requested offset. Either retention was shorter than the downtime
    /// of the reader, or the offset belongs to another generation of the world.
    #[error("{topic}[{partition}] holds offsets {low}..{high}, but {wanted} is wanted")]
    OutOfRange {
        /// Topic name.
        topic: Arc<str>,
        /// Partition of the topic.
        partition: Partition,
        /// The requested offset.
        wanted: Offset,
        /// The offset of the first record that the log holds.
        low: Offset,
        /// The offset of the next append.
        high: Offset,
    },
    /// The partition cannot be read: it does not exist, or the reader itself has failed. A failed
    /// reader does not recover, so the caller must create a new one.
    #[error("cannot read {topic}[{partition}]: {reason}")]
    Broken {
        /// Topic name.
        topic: Arc<str>,
        /// Partition of the topic.
        partition: Partition,
        /// The log's error.
        reason: String,
    },
}

/// A change of the partitions that a group member owns.
#[derive(Debug)]
pub enum MembershipEvent {
    /// The member now owns these partitions.
    Assigned(Vec<Partition>),
    /// The partitions move to another member once `done` is sent or dropped. No other member gets
    /// them before that.
    Revoked {
        /// The partitions.
        partitions: Vec<Partition>,
        /// Send on (or drop) this when work on the partitions has ended.
        done: tokio::sync::oneshot::Sender<()>,
    },
    /// Another member may own these partitions already: stop work on them at once.
    Lost(Vec<Partition>),
    /// The group has given these partitions to no member, for some seconds now. An empty list: all
    /// partitions have an owner again.
    Unowned(Vec<Partition>),
}

/// A membership in a group. Dropping it leaves the group.
pub struct Membership {
    /// The changes, in order. If the channel closes, the membership has ended without the caller's
    /// doing, and the service must join again.
    pub events: tokio::sync::mpsc::UnboundedReceiver<MembershipEvent>,
    /// Keeps the membership alive; opaque to callers.
    pub guard: Box<dyn std::any::Any + Send + Sync>,
}

impl Membership {
    /// Leaves the group and waits until other members can get this member's partitions, but at most
    /// for `within`. A process that exits earlier keeps its partitions until the session time-out.
    pub async fn leave(self, within: std::time::Duration) {
        let Self { mut events, guard } = self;
        drop(guard);
        // Dropping a `Revoked` event drops its `done`, which releases the partitions.
        let left = async { while events.recv().await.is_some() {} };
        if tokio::time::timeout(within, left).await.is_err() {
            tracing::warn!("leaving the group timed out; its partitions stay assigned until the session time-out");
        }
    }
}

/// The state that a topic should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Topic name.
    pub name: String,
    /// Number of partitions, fixed for a generation (R1).
    pub partitions: i32,
    /// How long records are kept, milliseconds; `None` keeps them for ever.
    pub retention_ms: Option<i64>,
    /// The largest record in bytes (`max.message.bytes`).
    pub record_bytes_max: usize,
}

impl TopicSpec {
    /// Compares an existing topic's number of partitions with this spec. `Ok(false)` means that the
    /// topic does not exist and can be created.
    fn is_satisfied_by(&self, existing: Option<i32>) -> Result<bool, Error> {
        if self.partitions < 1 {
            let problem = format!("topic {} must have at least 1 partition, not {}", self.name, self.partitions);
            return Err(Error::Settings(problem));
        }
        match existing {
            None => Ok(false),
            Some(found) if found == self.partitions => Ok(true),
            Some(found) => Err(Error::PartitionCount { topic: self.name.clone(), found, wanted: self.partitions }),
        }
    }
}

/// An error about topics, settings or connections.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log cannot be reached, or does not answer.
    #[error("the log at {at} does not answer: {reason}")]
    Unavailable {
        /// The brokers or the path.
        at: String,
        /// The failed request and its error.
        reason: String,
    },
    /// The topic exists with another number of partitions.
    #[error(
        "topic {topic} has {found} partitions, but the world has {wanted}. Commands would go to the wrong partitions: \
         correct `partitions` in world.toml, or start a new generation of the world with `driftless init`"
    )]
    PartitionCount {
        /// Topic name.
        topic: String,
        /// The number of partitions in the log.
        found: i32,
        /// The number of partitions in the world spec.
        wanted: i32,
    },
    /// A topic of the world does not exist: this is another world's log, or `driftless init` did
    /// not run.
    #[error(
        "there is no topic {topic} in {log}; create the topics of this world with `driftless init`, or check that \
         this is the world's log"
    )]
    NoTopic {
        /// Topic name.
        topic: String,
        /// The log that was asked.
        log: String,
    },
    /// The topic or partition does not exist.
    #[error("topic {topic} does not exist")]
    NoSuchTopic {
        /// Topic name.
        topic: String,
    },
    /// A setting is not usable.
    #[error("{0}")]
    Settings(String),
}

/// Checks that a topic exists and has `partitions` partitions. A world's number of partitions never
/// changes within a generation (R1).
///
/// # Errors
/// [`Error::NoTopic`], [`Error::PartitionCount`], [`Error::Unavailable`].
pub async fn check_topic(log: &dyn Log, topic: &str, partitions: i32) -> Result<(), Error> {
    match log.partitions(topic).await? {
        Some(found) if found == partitions => Ok(()),
        Some(found) => Err(Error::PartitionCount { topic: topic.to_owned(), found, wanted: partitions }),
        None => Err(Error::NoTopic { topic: topic.to_owned(), log: log.describe() }),
    }
}

/// A log: topics of partitions of records.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Returns the log's name for messages: `kafka 127.0.0.1:9092`, `sqlite /path/log.db`,
    /// `memory`.
    fn describe(&self) -> String;
    /// Returns the number of partitions of a topic; `None` if the topic does not exist.
    async fn partitions(&self, topic: &str) -> Result<Option<i32>, Error>;
    /// Creates a topic, or succeeds if it exists with the same number of partitions.
    ///
    /// # Errors
    /// [`Error::PartitionCount`] if the topic exists with another number of partitions,
    /// [`Error::Unavailable`].
    async fn create_topic(&self, spec: &TopicSpec) -> Result<(), Error>;
    /// Returns (low, high): the offset of the first record that the log holds, and the offset of
    /// the next append.
    async fn watermarks(&self, topic: &str, partition: Partition) -> Result<(Offset, Offset), Error>;
    /// Creates a producer.
    fn producer(&self, delivery: Delivery, acks: AckSink) -> Result<Arc<dyn Producer>, Error>;
    /// Creates a reader without any assigned partition.
    fn reader(&self) -> Result<Box<dyn Reader>, Error>;
    /// Joins a group that shares the partitions of `topic` among its members. `member` is the
    /// static member's name.
    fn join(&self, group: &str, topic: &str, member: &str) -> Result<Membership, Error>;
}

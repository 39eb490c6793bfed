//! The seam above the log (DESIGN.md section 14), in Kafka's own terms.
//!
//! Everything that a service asks of its log stands here: append with acknowledged offsets, read partitions from an
//! offset in batches and wake up at once, watermarks, and group membership. It works in batches, so that it costs
//! nothing on the hot path. Three implementations are kept equal by one contract suite (`tests/contract`):
//! [`kafka`] is the real one, [`sqlite`] the embedded default of `driftless dev`, [`memory`] is for tests.
//!
//! What it does not do: it knows nothing of chunks, commands or decisions, and it never retries an append by itself
//! beyond what Kafka's idempotent producer does (R6: a failed delivery ends an ownership).

pub mod kafka;
pub mod memory;
pub mod sqlite;

mod local;
mod outbox;

pub use outbox::QueueLimits;

use async_trait::async_trait;
use bytes::Bytes;
use driftless_schemas::{Offset, Partition};
use std::sync::Arc;
use std::time::Duration;

/// Record headers, in order: (name, value).
pub type Headers = Vec<(String, Bytes)>;

/// One record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: Offset,
    /// When it was appended, milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The partition key; empty where none was given.
    pub key: Bytes,
    /// The payload.
    pub value: Bytes,
    /// The headers.
    pub headers: Headers,
}

/// One record to append. The caller computes the partition (R1).
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
    /// Given back in the [`Ack`]; its meaning is the caller's.
    pub token: u64,
}

/// What became of one [`Append`]. Acks of one partition arrive in the order of the appends.
#[derive(Debug)]
pub struct Ack {
    /// The append's token.
    pub token: u64,
    /// Where the record, or a copy of it, stands: a producer whose connection broke may write what it has written already once
    /// more, in order (decision 0012). `Ok(None)`: acknowledged, but at an offset that the log does not know (librdkafka
    /// reports a duplicate so).
    pub result: Result<Option<Offset>, AppendError>,
}

/// Why an append was not acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The record may or may not be in the log, now or later: time-out, connection loss, purge. Never a rejection (section 8).
    #[error("not acknowledged, may be in the log: {0}")]
    Unknown(String),
    /// The record is certainly not in the log and never will be; sending the same again fails again (too large, no such topic).
    #[error("refused by the log: {0}")]
    Refused(String),
}

/// Takes acknowledgements, in batches. It is called from the log's own threads: it must be quick and must not block.
pub type AckSink = Arc<dyn Fn(Vec<Ack>) + Send + Sync>;

/// How a producer behaves when the log does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Give up on a record after this time (ingest: `message.timeout.ms`).
    Bounded(Duration),
    /// Never give up by time, never leave a gap: of each partition, what is acknowledged is an unbroken prefix (the
    /// replayer's producer, section 6), of which some may stand in the log twice (R4 counts the first). The first failure
    /// ends the producer: everything after it fails too.
    Gapless,
}

/// Writes records. Dropping it does not wait: what is in flight then ends as acknowledged or as
/// [`AppendError::Unknown`], so flush before, where it matters.
#[async_trait]
pub trait Producer: Send + Sync {
    /// Hands over a batch in order. What does not fit into the queue comes back, in order, and was not sent: back-pressure.
    #[must_use = "what comes back was not sent"]
    fn append(&self, batch: Vec<Append>) -> Vec<Append>;
    /// Records handed over and not yet acknowledged.
    fn in_flight(&self) -> usize;
    /// Waits until nothing is in flight. False if `timeout` came first.
    async fn flush(&self, timeout: Duration) -> bool;
    /// Gives up: what is in flight is acknowledged with [`AppendError::Unknown`], at once where the log does not answer.
    /// Later appends fail so too.
    fn abandon(&self);
}

/// What a poll brought for one partition.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Topic name.
    pub topic: Arc<str>,
    /// Partition of the topic.
    pub partition: Partition,
    /// In offset order, never empty.
    pub records: Vec<Record>,
}

/// Reads partitions from given offsets. Dropping it ends it.
#[async_trait]
pub trait Reader: Send {
    /// Starts (or restarts) reading a partition at `from`. At the end (`high`) it waits for the next record; an offset
    /// outside of low..=high is an error, and so is a partition that is not there, both reported by [`Reader::next`].
    fn assign(&mut self, topic: &str, partition: Partition, from: Offset);
    /// Stops reading it. No batch of it is returned after this call.
    fn unassign(&mut self, topic: &str, partition: Partition);
    /// Stops fetching it for now; batches that are on their way may still come once.
    fn pause(&mut self, topic: &str, partition: Partition);
    /// Goes on after [`Reader::pause`] where it stopped.
    fn resume(&mut self, topic: &str, partition: Partition);
    /// Waits for what comes next: all that has gathered, a batch per partition. Cancel-safe. An error names one
    /// partition, which is unassigned by it; the others go on at the next call.
    async fn next(&mut self) -> Result<Vec<Batch>, ReadError>;
}

/// Why reading a partition stopped.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The wanted offset is outside of what the log holds: retention was shorter than downtime, or another generation.
    #[error("{topic}[{partition}] holds offsets {low}..{high}, but {wanted} is wanted")]
    OutOfRange {
        /// Topic name.
        topic: Arc<str>,
        /// Partition of the topic.
        partition: Partition,
        /// The offset that was asked for.
        wanted: Offset,
        /// The log's start.
        low: Offset,
        /// The log's end (the next record's offset).
        high: Offset,
    },
    /// The reader is broken and will not recover; make a new one.
    #[error("cannot read {topic}[{partition}]: {reason}")]
    Broken {
        /// Topic name.
        topic: Arc<str>,
        /// Partition of the topic.
        partition: Partition,
        /// What the log said.
        reason: String,
    },
}

/// A change in what a member of a group is to work on.
#[derive(Debug)]
pub enum MembershipEvent {
    /// These partitions are now this member's.
    Assigned(Vec<Partition>),
    /// These partitions go to another member once `done` is called or dropped; until then nobody else gets them.
    Revoked {
        /// The partitions.
        partitions: Vec<Partition>,
        /// Call (or drop) it when the work on them has ended.
        done: tokio::sync::oneshot::Sender<()>,
    },
    /// These partitions may be another member's already: stop at once.
    Lost(Vec<Partition>),
}

/// A membership in a group; dropping it leaves the group.
pub struct Membership {
    /// The changes, in order. Closed when the membership has ended by itself.
    pub events: tokio::sync::mpsc::UnboundedReceiver<MembershipEvent>,
    /// Keeps the membership alive; the implementation's.
    pub guard: Box<dyn std::any::Any + Send + Sync>,
}

impl Membership {
    /// Leaves the group, and waits until the others can have its partitions, but not longer than `within`: a process that
    /// ended before would be missed only after the session time-out.
    pub async fn leave(self, within: std::time::Duration) {
        let Self { mut events, guard } = self;
        drop(guard);
        // What is revoked in leaving counts as let go of when its event is dropped.
        let left = async { while events.recv().await.is_some() {} };
        if tokio::time::timeout(within, left).await.is_err() {
            tracing::warn!("the group did not hear in time that this member leaves");
        }
    }
}

/// A topic as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Topic name.
    pub name: String,
    /// Number of partitions, frozen for a generation (R1).
    pub partitions: i32,
    /// How long records are kept, milliseconds; `None` keeps them for ever.
    pub retention_ms: Option<i64>,
    /// The largest record in bytes (`max.message.bytes`).
    pub record_bytes_max: usize,
}

/// What can go wrong around topics and connections.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log cannot be reached, or does not answer.
    #[error("the log at {at} does not answer: {reason}")]
    Unavailable {
        /// Brokers or path.
        at: String,
        /// What was tried and what came back.
        reason: String,
    },
    /// The topic exists with another number of partitions.
    #[error(
        "topic {topic} has {found} partitions, but the world has {wanted}. Commands would go where nobody expects them: \
         correct `partitions` in world.toml, or start a new generation of the world"
    )]
    PartitionCount {
        /// Topic name.
        topic: String,
        /// As it is.
        found: i32,
        /// As it should be.
        wanted: i32,
    },
    /// The topic or partition is not there.
    #[error("topic {topic} does not exist")]
    NoSuchTopic {
        /// Topic name.
        topic: String,
    },
    /// A setting is not usable.
    #[error("{0}")]
    Settings(String),
}

/// A log: topics of partitions of records.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// `kafka 127.0.0.1:9092`, `sqlite /path/log.db`, `memory`: for messages.
    fn describe(&self) -> String;
    /// How many partitions a topic has; `None` where there is no such topic.
    async fn partitions(&self, topic: &str) -> Result<Option<i32>, Error>;
    /// Creates a topic, or finds that it exists with the same number of partitions.
    ///
    /// # Errors
    /// [`Error::PartitionCount`] where it exists with another number, [`Error::Unavailable`].
    async fn create_topic(&self, spec: &TopicSpec) -> Result<(), Error>;
    /// (low, high): the offset of the first record that is kept, and that of the next one to be appended.
    async fn watermarks(&self, topic: &str, partition: Partition) -> Result<(Offset, Offset), Error>;
    /// A new producer of its own.
    fn producer(&self, delivery: Delivery, acks: AckSink) -> Result<Arc<dyn Producer>, Error>;
    /// A new reader with nothing assigned.
    fn reader(&self) -> Result<Box<dyn Reader>, Error>;
    /// Joins a group that shares the partitions of `topic` among its members. `member` is the static member's name.
    fn join(&self, group: &str, topic: &str, member: &str) -> Result<Membership, Error>;
}

//! The log on Kafka, or on any broker that speaks its protocol, through librdkafka.
//!
//! Each client has an operating-system thread of its own that talks to librdkafka and passes
//! records on in batches, so no tokio thread blocks. A broker outage is not reported as an error,
//! because librdkafka reconnects by itself; its log lines go to `tracing` under the target
//! `librdkafka`. `StreamConsumer` and `split_partition_queue` are not used, because together they
//! can stall a partition (rust-rdkafka issue 665).

mod admin;
mod channel;
mod client;
mod fetch;
mod membership;
mod producer;
mod reader;
mod record;

use super::outbox::QueueLimits;
use super::{AckSink, Delivery, Error, Log, Membership, Producer, Reader, TopicSpec};
use async_trait::async_trait;
use driftless_schemas::{Offset, Partition};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The largest record of Driftless's topics, in bytes.
const RECORD_BYTES_MAX: u32 = driftless_schemas::limits::RECORD_BYTES_MAX as u32;

/// The default limit on the records that a reader has fetched and not passed on, bytes.
const FETCHED_BYTES_MAX: usize = 16 << 20;

/// The settings of a log on Kafka.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSettings {
    /// The bootstrap brokers: `host:port`, separated by commas. librdkafka discovers the other
    /// brokers through these.
    pub brokers: String,
    /// The client id in the brokers' logs and quotas.
    pub client_id: String,
    /// More librdkafka properties for all clients: `security.protocol`, `client.rack`, …
    pub properties: BTreeMap<String, String>,
    /// More librdkafka properties for consumers: fetch sizes, `fetch.wait.max.ms`, …
    pub consumer_properties: BTreeMap<String, String>,
    /// More librdkafka properties for producers: `compression.type`, `batch.size`, …
    pub producer_properties: BTreeMap<String, String>,
    /// The limit on produce requests in flight to one broker, 1 to 5. With 1, records collect into
    /// a batch while the previous batch is in flight. That costs the broker less work under load,
    /// and has the same latency without load.
    pub producer_in_flight: u32,
    /// How long a producer waits for more records before it sends a batch, milliseconds. 0 sends
    /// each batch at once.
    pub producer_linger_ms: u32,
    /// Limits on the records that a producer holds in memory.
    #[serde(skip)]
    pub queue: QueueLimits,
    /// The limit on the records that each reader has fetched and not passed on, bytes.
    #[serde(skip)]
    pub fetched_bytes_max: usize,
    /// The largest record, and the largest batch of records, that a producer sends, in bytes. New
    /// topics are created to accept that size.
    pub message_bytes_max: u32,
    /// How long to wait for an answer about topics and offsets, milliseconds.
    pub request_timeout_ms: u64,
    /// A group member without a heartbeat for this long loses its partitions, milliseconds.
    pub session_timeout_ms: u32,
    /// How long a member may take to release a revoked partition before it counts as lost,
    /// milliseconds.
    pub hand_over_max_ms: u32,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            client_id: "driftless".to_owned(),
            properties: BTreeMap::new(),
            consumer_properties: BTreeMap::new(),
            producer_properties: BTreeMap::new(),
            producer_in_flight: 5,
            producer_linger_ms: 0,
            queue: QueueLimits::default(),
            fetched_bytes_max: FETCHED_BYTES_MAX,
            message_bytes_max: RECORD_BYTES_MAX,
            request_timeout_ms: 10_000,
            session_timeout_ms: 6_000,
            hand_over_max_ms: 60_000,
        }
    }
}

/// A log on Kafka. Clones are handles to the same log.
#[derive(Clone)]
pub struct KafkaLog {
    settings: Arc<KafkaSettings>,
    admin: Arc<admin::Admin>,
}

impl KafkaLog {
    /// Checks the settings without contacting brokers; [`Log::partitions`] shows whether they
    /// answer.
    ///
    /// # Errors
    /// [`Error::Settings`] if a property is unknown to librdkafka, or is one that Driftless sets
    /// itself.
    pub fn new(settings: KafkaSettings) -> Result<Self, Error> {
        let settings = Arc::new(settings);
        let admin = Arc::new(admin::Admin::new(&settings)?);
        // Building a configuration here reports a wrong property at startup instead of at the first
        // producer.
        client::producer_config(&settings, Delivery::Gapless)?
            .create_native_config()
            .map_err(|error| client::settings_error(&error))?;
        Ok(Self { settings, admin })
    }

    /// Returns the cluster's id. Two addresses with the same id belong to the same cluster.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if no broker answers.
    pub async fn cluster_id(&self) -> Result<String, Error> {
        self.admin.cluster_id().await
    }

    /// Returns a handle whose producers use these limits on the records that they hold.
    #[must_use]
    pub fn with_queue(mut self, queue: QueueLimits) -> Self {
        Arc::make_mut(&mut self.settings).queue = queue;
        self
    }

    /// Deletes all records below `offset` (Kafka's `DeleteRecords`).
    ///
    /// # Errors
    /// [`Error::NoSuchTopic`], [`Error::Unavailable`].
    pub async fn truncate_before(&self, topic: &str, partition: Partition, offset: Offset) -> Result<(), Error> {
        self.admin.truncate_before(topic, partition, offset).await
    }
}

#[async_trait]
impl Log for KafkaLog {
    fn describe(&self) -> String {
        format!("kafka {}", self.settings.brokers)
    }

    async fn partitions(&self, topic: &str) -> Result<Option<i32>, Error> {
        self.admin.partitions(topic).await
    }

    async fn create_topic(&self, spec: &TopicSpec) -> Result<(), Error> {
        self.admin.create_topic(spec).await
    }

    async fn watermarks(&self, topic: &str, partition: Partition) -> Result<(Offset, Offset), Error> {
        self.admin.watermarks(topic, partition).await
    }

    fn producer(&self, delivery: Delivery, acks: AckSink) -> Result<Arc<dyn Producer>, Error> {
        Ok(Arc::new(producer::KafkaProducer::new(&self.settings, delivery, acks)?))
    }

    fn reader(&self) -> Result<Box<dyn Reader>, Error> {
        Ok(Box::new(reader::KafkaReader::new(&self.settings)?))
    }

    fn join(&self, group: &str, topic: &str, member: &str) -> Result<Membership, Error> {
        membership::join(&self.settings, group, topic, member)
    }
}

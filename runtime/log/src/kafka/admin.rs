//! Creates and checks topics, and queries watermarks, through librdkafka.
//!
//! librdkafka's metadata calls block, so they run on tokio's blocking threads.

use super::super::{Error, TopicSpec};
use super::KafkaSettings;
use super::client::{self, Context};
use driftless_schemas::{Offset, Partition};
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Room for the overhead that Kafka adds to a batch.
const BATCH_OVERHEAD_BYTES: usize = 64 << 10;

/// The pause before the next query for a partition's leader.
const LEADER_RETRY: Duration = Duration::from_millis(50);
/// How long a missing topic is queried again before it is reported. A broker that has just
/// restarted or was stalled may not know its topics for a moment.
const MISSING_PATIENCE: Duration = Duration::from_secs(2);

/// How long one client waits for the result of a change. A client whose first metadata response
/// lists no broker never looks for the controller again. (A single broker that was stalled for a
/// moment answers like that.) Each retry therefore uses a new client.
const CHANGE_TRY: Duration = Duration::from_secs(2);

pub(super) struct Admin {
    settings: Arc<KafkaSettings>,
    consumer: QueryClient,
}

/// A client for metadata queries, one at a time.
type QueryClient = Arc<Mutex<BaseConsumer<Context>>>;

impl Admin {
    pub(super) fn new(settings: &Arc<KafkaSettings>) -> Result<Self, Error> {
        // A consumer without a subscription is a plain client, and consumers never create a topic
        // by asking for it.
        let config = client::consumer_config(settings)?;
        let consumer = BaseConsumer::from_config_and_context(&config, Context::default())
            .map_err(|error| client::settings_error(&error))?;
        Ok(Self { settings: Arc::clone(settings), consumer: Arc::new(Mutex::new(consumer)) })
    }

    pub(super) async fn cluster_id(&self) -> Result<String, Error> {
        let timeout = self.timeout();
        self.query(move |consumer| consumer.client().fetch_cluster_id(timeout)).await?.ok_or_else(|| {
            Error::Unavailable {
                at: self.settings.brokers.clone(),
                reason: "no broker returned the cluster id; check that the brokers run, and that their advertised addresses \
                     can be reached from here"
                    .to_owned(),
            }
        })
    }

    pub(super) async fn partitions(&self, topic: &str) -> Result<Option<i32>, Error> {
        let (topic, timeout) = (topic.to_owned(), self.timeout());
        self.query(move |consumer| count(consumer, &topic, timeout)).await?.map_err(|error| self.unavailable(&error))
    }

    pub(super) async fn watermarks(&self, topic: &str, partition: Partition) -> Result<(Offset, Offset), Error> {
        let started = Instant::now();
        let mut missing_since = None;
        loop {
            let (error, patience) = match self.watermarks_now(topic, partition).await {
                Ok(watermarks) => return Ok(watermarks),
                Err(failed) => failed,
            };
            let is_missing = matches!(error, Error::NoSuchTopic { .. });
            let since = if is_missing { *missing_since.get_or_insert_with(Instant::now) } else { started };
            if since.elapsed() >= patience {
                return Err(error);
            }
            tokio::time::sleep(LEADER_RETRY).await;
        }
    }

    /// Queries the watermarks once. An error comes with the time for which the caller should retry,
    /// because the error may be transient for that long.
    async fn watermarks_now(&self, topic: &str, partition: Partition) -> Result<(Offset, Offset), (Error, Duration)> {
        let at_once = |error| (error, Duration::ZERO);
        let missing = || (Error::NoSuchTopic { topic: topic.to_owned() }, MISSING_PATIENCE);
        if self.partitions(topic).await.map_err(at_once)?.is_none_or(|count| !(0..count).contains(&partition.0)) {
            return Err(missing());
        }
        let (name, timeout) = (topic.to_owned(), self.timeout());
        match self
            .query(move |consumer| consumer.fetch_watermarks(&name, partition.0, timeout))
            .await
            .map_err(at_once)?
        {
            Ok((low, high)) => Ok((Offset(low), Offset(high))),
            Err(error) if is_missing(&error) => Err(missing()),
            // The topic is new, or the partition is changing its leader; the brokers will know
            // soon.
            Err(error) if is_between_leaders(&error) => Err((self.unavailable(&error), self.timeout())),
            Err(error) => Err(at_once(self.unavailable(&error))),
        }
    }

    pub(super) async fn create_topic(&self, spec: &TopicSpec) -> Result<(), Error> {
        let largest = usize::try_from(self.settings.message_bytes_max).unwrap_or(usize::MAX);
        if spec.record_bytes_max > largest {
            return Err(Error::Settings(format!(
                "topic {} must accept records of {} bytes, but message_bytes_max is {largest}; raise message_bytes_max",
                spec.name, spec.record_bytes_max
            )));
        }
        if spec.is_satisfied_by(self.partitions(&spec.name).await?)? {
            return Ok(());
        }
        let retention_ms = spec.retention_ms.unwrap_or(-1).to_string();
        // A producer's batch may be as large as its largest message.
        let batch_bytes_max = (largest + BATCH_OVERHEAD_BYTES).to_string();
        let topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(-1))
            .set("cleanup.policy", "delete")
            .set("retention.ms", &retention_ms)
            .set("max.message.bytes", &batch_bytes_max);
        let deadline = Instant::now() + self.timeout();
        loop {
            let create = |admin: &AdminClient<_>, options: &_| admin.create_topics([&topic], options);
            let results = self.change(deadline, create).await?;
            match results.into_iter().find_map(Result::err) {
                // Another instance created the topic first; the check below treats it like an
                // existing one.
                None | Some((_, RDKafkaErrorCode::TopicAlreadyExists)) => break,
                // The controller does not count a broker that is starting or whose heartbeat is
                // late, so there may be too few brokers for a moment.
                Some((_, RDKafkaErrorCode::InvalidReplicationFactor)) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Some((_, code)) => {
                    let at = self.settings.brokers.clone();
                    let reason = format!(
                        "cannot create topic {}: {code}; create it by hand with {} partitions and \
                         max.message.bytes={batch_bytes_max}, or allow this user to create topics",
                        spec.name, spec.partitions
                    );
                    return Err(Error::Unavailable { at, reason });
                }
            }
        }
        self.until_known(spec).await
    }

    /// Waits until the brokers know the topic and the leaders of its partitions. The brokers learn
    /// of a new topic one after the other.
    async fn until_known(&self, spec: &TopicSpec) -> Result<(), Error> {
        let deadline = Instant::now() + self.timeout();
        loop {
            let (name, timeout) = (spec.name.clone(), self.timeout());
            let has_leaders = self.query(move |consumer| has_leaders(consumer, &name, timeout)).await?;
            let has_leaders = has_leaders.map_err(|error| self.unavailable(&error))?;
            if spec.is_satisfied_by(self.partitions(&spec.name).await?)? && has_leaders {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Error::Unavailable {
                    at: self.settings.brokers.clone(),
                    reason: format!(
                        "topic {} was created, but is unknown or without leaders after {} ms; check the \
                         controller's log, and that there are at least as many brokers as replicas",
                        spec.name, self.settings.request_timeout_ms
                    ),
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) async fn truncate_before(&self, topic: &str, partition: Partition, offset: Offset) -> Result<(), Error> {
        let mut list = TopicPartitionList::new();
        let invalid = |error: KafkaError| Error::Settings(format!("{offset} is not an offset: {error}"));
        list.add_partition_offset(topic, partition.0, rdkafka::Offset::Offset(offset.0)).map_err(invalid)?;
        let delete = |admin: &AdminClient<_>, options: &_| admin.delete_records(&list, options);
        let done = self.change(Instant::now() + self.timeout(), delete).await?;
        for element in done.elements() {
            match element.error() {
                Ok(()) => {}
                Err(error) if is_missing(&error) => return Err(Error::NoSuchTopic { topic: topic.to_owned() }),
                Err(error) => return Err(self.unavailable(&error)),
            }
        }
        Ok(())
    }

    /// Requests a change until a broker answers or the deadline has passed. A change may therefore
    /// be requested again after its response was lost.
    async fn change<T, F: Future<Output = Result<T, KafkaError>>>(
        &self,
        deadline: Instant,
        request: impl Fn(&AdminClient<Context>, &AdminOptions) -> F,
    ) -> Result<T, Error> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Some(CHANGE_TRY.min(left).max(Duration::from_millis(1)));
            let options = AdminOptions::new().request_timeout(timeout).operation_timeout(timeout);
            let admin = self.admin_client()?;
            match request(&admin, &options).await {
                Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut)) if left > CHANGE_TRY => {}
                answer => return answer.map_err(|error| self.unavailable(&error)),
            }
        }
    }

    fn admin_client(&self) -> Result<AdminClient<Context>, Error> {
        let config = client::consumer_config(&self.settings)?;
        AdminClient::from_config_and_context(&config, Context::default())
            .map_err(|error| client::settings_error(&error))
    }

    async fn query<T: Send + 'static>(
        &self,
        question: impl FnOnce(&BaseConsumer<Context>) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let consumer = Arc::clone(&self.consumer);
        let answer = tokio::task::spawn_blocking(move || {
            let consumer = consumer.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = question(&consumer);
            drain(&consumer);
            answer
        });
        answer.await.map_err(|error| Error::Unavailable {
            at: self.settings.brokers.clone(),
            reason: format!("the query task failed: {error}"),
        })
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.settings.request_timeout_ms)
    }

    fn unavailable(&self, error: &KafkaError) -> Error {
        Error::Unavailable {
            at: self.settings.brokers.clone(),
            reason: format!(
                "{error}; check that the brokers run, that their advertised addresses can be reached from here, \
                 and that security settings agree"
            ),
        }
    }
}

/// Serves the log lines that librdkafka has queued. No thread polls this client, so each query
/// calls this function.
fn drain(consumer: &BaseConsumer<Context>) {
    loop {
        let before = consumer.context().served();
        if consumer.poll(Duration::ZERO).is_none() && consumer.context().served() == before {
            return;
        }
    }
}

/// Returns the number of partitions of a topic; `None` if the topic does not exist.
pub(super) fn count(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    timeout: Duration,
) -> Result<Option<i32>, KafkaError> {
    let metadata = match consumer.fetch_metadata(Some(topic), timeout) {
        Ok(metadata) => metadata,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(topic) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Ok(None);
    };
    match topic.error() {
        None => Ok(i32::try_from(topic.partitions().len()).ok().filter(|count| *count > 0)),
        Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => Ok(None),
        // The partitions exist; their leaders are being elected.
        Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) => {
            Ok(i32::try_from(topic.partitions().len()).ok().filter(|count| *count > 0))
        }
        Some(error) => Err(KafkaError::MetadataFetch(error.into())),
    }
}

fn has_leaders(consumer: &BaseConsumer<Context>, topic: &str, timeout: Duration) -> Result<bool, KafkaError> {
    let metadata = match consumer.fetch_metadata(Some(topic), timeout) {
        Ok(metadata) => metadata,
        Err(error) if is_missing(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    Ok(found.is_some_and(|topic| topic.partitions().iter().all(|partition| partition.leader() >= 0)))
}

/// True if the partition has no leader at the moment, or its leader has changed.
fn is_between_leaders(error: &KafkaError) -> bool {
    let codes = [RDKafkaErrorCode::NotLeaderForPartition, RDKafkaErrorCode::LeaderNotAvailable];
    error.rdkafka_error_code().is_some_and(|code| codes.contains(&code))
}

/// True if the topic or partition does not exist.
pub(super) fn is_missing(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(is_missing_code)
}

pub(super) fn is_missing_code(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::InvalidTopic
    )
}

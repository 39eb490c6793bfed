//! The idempotent producer of librdkafka, with its delivery reports collected into batches.
//!
//! Two threads serve a producer. rdkafka's thread polls librdkafka and calls
//! [`DeliveryContext::delivery`] for each delivered record; that method puts the acknowledgement
//! into a channel. The second thread drains that channel and calls the sink once per batch.
//! Acknowledgements of one partition keep the order of the appends, including records that never
//! left this process.

use super::super::outbox::{Outbox, Settled, append_bytes};
use super::super::{AckSink, Append, AppendError, Delivery, Error, Producer};
use super::KafkaSettings;
use super::admin::is_missing_code;
use super::client::{self, Context};
use async_trait::async_trait;
use driftless_schemas::{Offset, Partition};
use rdkafka::Message;
use rdkafka::bindings::{rd_kafka_message_status, rd_kafka_msg_status_t};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// The limit on the acknowledgements in one call of the sink.
const ACKS_MAX: usize = 16_384;

pub(super) struct KafkaProducer {
    outbox: Arc<Outbox>,
    /// `None` only while the producer is being dropped.
    inner: Option<ThreadedProducer<DeliveryContext>>,
    settled: mpsc::Sender<Settled>,
    /// An append holds this lock, so that records reach librdkafka in the order of their numbers.
    sequences: Mutex<HashMap<(Arc<str>, Partition), PartitionSequence>>,
}

/// Numbers the records of one partition in the order of their appends.
struct PartitionSequence {
    next: u64,
    order: Arc<AckOrder>,
}

/// Releases the acknowledgements of one partition in order.
struct AckOrder {
    is_gapless: bool,
    state: Mutex<AckOrderState>,
}

#[derive(Default)]
struct AckOrderState {
    /// The number of the next acknowledgement to release.
    next: u64,
    /// Acknowledgements that arrived before those of earlier records.
    early: BTreeMap<u64, Settled>,
    /// True once an append of this partition has failed.
    is_broken: bool,
}

/// The data about a record in flight. librdkafka returns it with the delivery report.
pub(super) struct InFlight {
    token: u64,
    bytes: usize,
    number: u64,
    order: Arc<AckOrder>,
}

impl AckOrder {
    /// Adds the acknowledgement of record `number`, and sends all that are next in order.
    fn release(&self, number: u64, settled: Settled, to: &mpsc::Sender<Settled>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.early.insert(number, settled);
        while let Some(mut settled) = {
            let next = state.next;
            state.early.remove(&next)
        } {
            state.next += 1;
            if self.is_gapless && state.is_broken && settled.ack.result.is_ok() {
                // Acknowledged records must be an unbroken prefix. librdkafka guarantees
                // that already; this check makes sure of it.
                let reason = "acknowledged, but an earlier record was not".to_owned();
                settled.ack.result = Err(AppendError::Unknown(reason));
            }
            state.is_broken |= settled.ack.result.is_err();
            // The receiver lives as long as a sender does, so the send cannot fail.
            let _ = to.send(settled);
        }
    }
}

/// The client context that receives delivery reports.
pub(super) struct DeliveryContext {
    context: Context,
    settled: mpsc::Sender<Settled>,
}

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = Box<InFlight>;

    fn delivery(&self, report: &DeliveryResult<'_>, sent: Box<InFlight>) {
        let result = match report {
            // librdkafka reports a duplicate of an existing record without its offset.
            Ok(message) => Ok(Some(message.offset()).filter(|offset| *offset >= 0).map(Offset)),
            Err((error, message)) => Err(undelivered(error, is_certainly_not_in_log(message))),
        };
        sent.order.release(sent.number, Settled::new(sent.token, sent.bytes, result), &self.settled);
    }
}

/// Classifies a failed delivery. The error alone does not tell whether the record is in the log.
/// librdkafka may report a missing partition for a record that it sent earlier, when the
/// acknowledgement was lost with the connection and the broker has lost the partition since. Such a
/// record may be in the log.
fn undelivered(error: &KafkaError, is_certainly_not_in_log: bool) -> AppendError {
    if is_certainly_not_in_log { append_error(error) } else { AppendError::Unknown(error.to_string()) }
}

/// True if librdkafka never sent the record, or if each broker that received it has refused it.
/// rdkafka offers no safe accessor for this status.
fn is_certainly_not_in_log(message: &BorrowedMessage<'_>) -> bool {
    // SAFETY: the message of a delivery report is valid while it is borrowed, and librdkafka only
    // reads its status.
    let status = unsafe { rd_kafka_message_status(message.ptr()) };
    status == rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}

/// Classifies an error for a record that is not in the log. `Refused` means that the same append
/// would fail again.
fn append_error(error: &KafkaError) -> AppendError {
    match error.rdkafka_error_code() {
        Some(code) if code == RDKafkaErrorCode::MessageSizeTooLarge || is_missing_code(code) => {
            AppendError::Refused(error.to_string())
        }
        _ => AppendError::Unknown(error.to_string()),
    }
}

impl KafkaProducer {
    pub(super) fn new(settings: &KafkaSettings, delivery: Delivery, acks: AckSink) -> Result<Self, Error> {
        let config = client::producer_config(settings, delivery)?;
        let outbox = Arc::new(Outbox::new(settings.queue, delivery, acks));
        let (settled, waiting) = mpsc::channel();
        let context = DeliveryContext { context: Context::default(), settled: settled.clone() };
        let inner = ThreadedProducer::from_config_and_context(&config, context)
            .map_err(|error| client::settings_error(&error))?;
        let out = Arc::clone(&outbox);
        std::thread::Builder::new()
            .name("kafka-acks".into())
            .spawn(move || forward_acks(&waiting, &out))
            .map_err(|error| Error::Settings(format!("cannot start a thread: {error}")))?;
        Ok(Self { outbox, inner: Some(inner), settled, sequences: Mutex::default() })
    }

    fn send(&self, append: &Append, sent: InFlight) -> Result<(), (AppendError, Box<InFlight>)> {
        let sent = Box::new(sent);
        if let Some(ended) = self.outbox.ended() {
            return Err((ended, sent));
        }
        let Some(inner) = &self.inner else {
            return Err((AppendError::Unknown("the producer is closing".into()), sent));
        };
        if append.partition.0 < 0 {
            // librdkafka would choose any partition for a negative number.
            return Err((AppendError::Refused(format!("partition {} does not exist", append.partition)), sent));
        }
        let mut record =
            BaseRecord::with_opaque_to(&append.topic, sent).partition(append.partition.0).payload(&*append.value);
        if !append.key.is_empty() {
            record = record.key(&*append.key);
        }
        if !append.headers.is_empty() {
            let empty = OwnedHeaders::new_with_capacity(append.headers.len());
            record = record.headers(
                append
                    .headers
                    .iter()
                    .fold(empty, |headers, (key, value)| headers.insert(Header { key, value: Some(&value[..]) })),
            );
        }
        inner.send(record).map_err(|(error, record)| (append_error(&error), record.delivery_opaque))
    }
}

/// Drains the channel and calls the sink once per batch.
fn forward_acks(waiting: &mpsc::Receiver<Settled>, outbox: &Outbox) {
    while let Ok(first) = waiting.recv() {
        let more = waiting.try_iter().take(ACKS_MAX - 1);
        outbox.settle(std::iter::once(first).chain(more).collect());
    }
}

#[async_trait]
impl Producer for KafkaProducer {
    fn append(&self, mut batch: Vec<Append>) -> Vec<Append> {
        let rest = self.outbox.admit(&mut batch);
        let mut sequences = self.sequences.lock().unwrap_or_else(PoisonError::into_inner);
        for append in batch {
            let sequence =
                sequences.entry((Arc::clone(&append.topic), append.partition)).or_insert_with(|| PartitionSequence {
                    next: 0,
                    order: Arc::new(AckOrder { is_gapless: self.outbox.is_gapless(), state: Mutex::default() }),
                });
            let number = sequence.next;
            sequence.next += 1;
            let order = Arc::clone(&sequence.order);
            let sent = InFlight { token: append.token, bytes: append_bytes(&append), number, order };
            if let Err((error, sent)) = self.send(&append, sent) {
                self.outbox.record_failure(&error);
                let InFlight { token, bytes, number, order } = *sent;
                order.release(number, Settled::new(token, bytes, Err(error)), &self.settled);
            }
        }
        rest
    }

    fn in_flight(&self) -> usize {
        self.outbox.in_flight()
    }

    async fn flush(&self, timeout: Duration) -> bool {
        self.outbox.flush(timeout).await
    }

    /// Gives up the records in flight to a broker at once: an abandoned producer does not wait for
    /// the broker's answers.
    fn abandon(&self) {
        // The lock makes sure that no append is between its check of `ended` and its call of
        // librdkafka. Such a record would be enqueued after the purge.
        let _sequences = self.sequences.lock().unwrap_or_else(PoisonError::into_inner);
        self.outbox.end(|| "the producer was abandoned".to_owned());
        if let Some(inner) = &self.inner {
            inner.purge(PurgeConfig::default().queue().inflight().non_blocking());
        }
    }
}

impl Drop for KafkaProducer {
    fn drop(&mut self) {
        // Dropping the inner producer purges its queue, joins its thread and closes its
        // connections, so this happens on a separate thread.
        let inner = self.inner.take();
        let closing = std::thread::Builder::new().name("kafka-producer-close".into()).spawn(move || drop(inner));
        if let Err(error) = closing {
            tracing::warn!(%error, "cannot start a thread to close a producer; it was closed on the caller's thread");
        }
    }
}

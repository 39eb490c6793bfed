//! The producer: librdkafka's idempotent one, with its delivery reports gathered into batches.
//!
//! Two threads serve it. rdkafka's own polls librdkafka and calls [`DeliveryContext::delivery`] for every record; it only puts
//! the acknowledgement into a channel. The other takes what has gathered there to the sink in one call. Records of one
//! partition are acknowledged in the order of their appends, also those that never left this process.

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

/// What the sink gets at most in one call.
const ACKS_MAX: usize = 16_384;

pub(super) struct KafkaProducer {
    outbox: Arc<Outbox>,
    /// `None` only while it is being dropped.
    inner: Option<ThreadedProducer<DeliveryContext>>,
    settled: mpsc::Sender<Settled>,
    /// Held during an append, so that what is numbered first is handed to librdkafka first.
    sequences: Mutex<HashMap<(Arc<str>, Partition), PartitionSequence>>,
}

/// The records of one partition, numbered in the order of their appends.
struct PartitionSequence {
    next: u64,
    order: Arc<AckOrder>,
}

/// Lets acknowledgements of one partition pass in order.
struct AckOrder {
    is_gapless: bool,
    state: Mutex<AckOrderState>,
}

#[derive(Default)]
struct AckOrderState {
    next: u64,
    /// They came before their turn.
    early: BTreeMap<u64, Settled>,
    /// One has failed.
    is_broken: bool,
}

/// What comes back with a delivery report.
pub(super) struct InFlight {
    token: u64,
    bytes: usize,
    number: u64,
    order: Arc<AckOrder>,
}

impl AckOrder {
    fn release(&self, number: u64, settled: Settled, to: &mpsc::Sender<Settled>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.early.insert(number, settled);
        while let Some(mut settled) = {
            let next = state.next;
            state.early.remove(&next)
        } {
            state.next += 1;
            if self.is_gapless && state.is_broken && settled.ack.result.is_ok() {
                // What is acknowledged is an unbroken prefix. librdkafka promises as much; this makes sure.
                let reason = "acknowledged, but behind a record that was not".to_owned();
                settled.ack.result = Err(AppendError::Unknown(reason));
            }
            state.is_broken |= settled.ack.result.is_err();
            // The other end lives as long as there is a sender.
            let _ = to.send(settled);
        }
    }
}

/// The context that delivery reports come to.
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
            // A duplicate of what is in the log already is reported without its offset.
            Ok(message) => Ok(Some(message.offset()).filter(|offset| *offset >= 0).map(Offset)),
            Err((error, message)) => Err(undelivered(error, is_certainly_not_in_log(message))),
        };
        sent.order.release(sent.number, Settled::new(sent.token, sent.bytes, result), &self.settled);
    }
}

/// What a delivery report of a failure means. librdkafka may also say that there is no such partition of a record that went
/// out before and whose acknowledgement was lost with its connection, where the partition has left the broker since: such
/// a record may be in the log.
fn undelivered(error: &KafkaError, is_certainly_not_in_log: bool) -> AppendError {
    if is_certainly_not_in_log { append_error(error) } else { AppendError::Unknown(error.to_string()) }
}

/// It never went out, or every broker that it went to has refused it. rdkafka has no safe way to ask.
fn is_certainly_not_in_log(message: &BorrowedMessage<'_>) -> bool {
    // SAFETY: the message of a delivery report is alive for as long as it is borrowed, and librdkafka only reads its status.
    let status = unsafe { rd_kafka_message_status(message.ptr()) };
    status == rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}

/// What an error means for a record that is not in the log: will the same fail again?
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
            return Err((AppendError::Unknown("the producer is being closed".into()), sent));
        };
        if append.partition.0 < 0 {
            // To librdkafka, that asks for any partition.
            return Err((AppendError::Refused(format!("there is no partition {}", append.partition)), sent));
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

/// Takes what has gathered to the sink, in one call.
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

    /// Also what is on its way to a broker counts as lost at once: who abandons does not wait for an answer.
    fn abandon(&self) {
        // No append may stand between the look at `ended` and librdkafka's queue.
        let _sequences = self.sequences.lock().unwrap_or_else(PoisonError::into_inner);
        self.outbox.end(|| "the producer was abandoned".to_owned());
        if let Some(inner) = &self.inner {
            inner.purge(PurgeConfig::default().queue().inflight().non_blocking());
        }
    }
}

impl Drop for KafkaProducer {
    fn drop(&mut self) {
        // It purges, waits for its thread, and closes its connections: not on the thread of whoever drops us.
        let inner = self.inner.take();
        let closing = std::thread::Builder::new().name("kafka-producer-close".into()).spawn(move || drop(inner));
        if let Err(error) = closing {
            tracing::warn!(%error, "a producer was closed without a thread of its own");
        }
    }
}

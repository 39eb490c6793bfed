//! The code that all librdkafka clients share: their configuration, with the properties that
//! Driftless depends on, and the forwarding of their log lines to `tracing`.

use super::super::{Delivery, Error};
use super::{KafkaSettings, RECORD_BYTES_MAX};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Properties that the guarantees depend on (R6, docs/design.md#ownership). Users cannot set them.
const RESERVED_PROPERTIES: [&str; 16] = [
    "bootstrap.servers",
    "metadata.broker.list",
    "client.id",
    "acks",
    "request.required.acks",
    "enable.idempotence",
    "enable.gapless.guarantee",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "auto.offset.reset",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "partition.assignment.strategy",
    "group.id",
    "group.instance.id",
];

/// The largest answer of a broker to a fetch, bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

fn base(settings: &KafkaSettings, more: &BTreeMap<String, String>) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    config.set("bootstrap.servers", &settings.brokers);
    config.set("client.id", &settings.client_id);
    config.set("socket.nagle.disable", "true");
    config.set("socket.keepalive.enable", "true");
    // The default of 10 s would delay the reconnection to a restarted broker.
    config.set("reconnect.backoff.max.ms", "1000");
    // Brokers routinely close idle connections, so a closed connection is not worth a log line.
    config.set("log.connection.close", "false");
    // How long librdkafka waits for a topic that does not exist. `create_topic` waits until a new
    // topic is known.
    config.set("topic.metadata.propagation.max.ms", "5000");
    for (name, value) in settings.properties.iter().chain(more) {
        if RESERVED_PROPERTIES.contains(&name.as_str()) {
            return Err(Error::Settings(format!(
                "the Kafka property {name} cannot be set: Driftless sets it, because its guarantees depend on it"
            )));
        }
        config.set(name, value);
    }
    Ok(config)
}

/// The configuration of a consumer of any kind.
pub(super) fn consumer_config(settings: &KafkaSettings) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::new();
    config.set("fetch.queue.backoff.ms", "1");
    // The broker answers a fetch as soon as it has a record. Without a record it answers after this
    // time, and a newly assigned partition waits for that answer to the fetch in flight.
    config.set("fetch.wait.max.ms", "50");
    config.set("queued.max.messages.kbytes", (settings.fetched_bytes_max >> 10).max(1).to_string());
    // An answer of a broker counts against the limit above only when it is taken apart, so the
    // default size of 50 MiB would exceed that limit.
    let answer_max = settings.fetched_bytes_max.clamp(RECORD_BYTES_MAX as usize, ANSWER_BYTES_MAX);
    config.set("fetch.max.bytes", answer_max.to_string());
    let more = base(settings, &settings.consumer_properties)?;
    config.log_level = more.log_level;
    config.extend(entries(&more));
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("enable.partition.eof", "false");
    // A silent reset would lose decisions (docs/design.md#ownership).
    config.set("auto.offset.reset", "error");
    Ok(config)
}

/// The configuration of a producer.
pub(super) fn producer_config(settings: &KafkaSettings, delivery: Delivery) -> Result<ClientConfig, Error> {
    if !(1..=5).contains(&settings.producer_in_flight) {
        return Err(Error::Settings(format!(
            "producer_in_flight is {}; it must be 1 to 5 for an idempotent producer",
            settings.producer_in_flight
        )));
    }
    let mut config = ClientConfig::new();
    config.set("compression.type", "lz4");
    config.set("linger.ms", settings.producer_linger_ms.to_string());
    config.set("max.in.flight.requests.per.connection", settings.producer_in_flight.to_string());
    config.set("message.max.bytes", settings.message_bytes_max.to_string());
    // A batch must fit into the topic's limit, because the broker would refuse the whole batch.
    config.set("batch.size", settings.message_bytes_max.min(1_000_000).to_string());
    // No limits here, because the outbox limits the records that a producer holds.
    config.set("queue.buffering.max.messages", "0");
    config.set("queue.buffering.max.kbytes", i32::MAX.to_string());
    let more = base(settings, &settings.producer_properties)?;
    config.log_level = more.log_level;
    config.extend(entries(&more));
    config.set("acks", "all");
    config.set("enable.idempotence", "true");
    match delivery {
        Delivery::Bounded(timeout) => {
            config.set("message.timeout.ms", timeout.as_millis().max(1).to_string());
        }
        Delivery::Gapless => {
            config.set("enable.gapless.guarantee", "true");
            config.set("message.timeout.ms", "0");
        }
    }
    Ok(config)
}

/// Returns the entries of a configuration. Only the names come from `config_map`, because it hides
/// secret values; `get` returns them.
fn entries(config: &ClientConfig) -> Vec<(String, String)> {
    let names = config.config_map().into_keys();
    names.filter_map(|name| Some((name.to_owned(), config.get(name)?.to_owned()))).collect()
}

/// Turns the failure to create a client into an error about its settings.
pub(super) fn settings_error(error: &KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(_, reason, name, value) => {
            Error::Settings(format!("the Kafka property {name} = {value:?} is not usable: {reason}"))
        }
        other => Error::Settings(format!("cannot create a Kafka client: {other}")),
    }
}

/// The context of every client: forwards librdkafka's log lines to `tracing` and counts the
/// callbacks.
///
/// A poll of `rdkafka` with a zero time-out returns `None` both if its queue is empty and if it has
/// served a log line or an error. The count tells the two apart, so that a drain does not end
/// early.
#[derive(Clone, Default)]
pub(super) struct Context {
    served: Arc<AtomicU64>,
}

impl Context {
    /// The number of events that callbacks have served so far.
    pub(super) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    pub(super) fn count_served(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.count_served();
        match level {
            _ if is_expected(message) => tracing::debug!(target: "librdkafka", facility, "{message}"),
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::error!(target: "librdkafka", facility, "{message}")
            }
            RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn stats_raw(&self, _: &[u8]) {
        self.count_served();
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.count_served();
        // Losing a broker needs no action here; a lasting outage is reported by the operation that
        // fails.
        tracing::warn!(target: "librdkafka", %error, "{reason}");
    }
}

/// Returns true for warnings that librdkafka logs even at a healthy start, and that need no action.
fn is_expected(message: &str) -> bool {
    // Driftless needs this property (docs/design.md#ownership); librdkafka has called it
    // experimental since 2019.
    message.contains("enable.gapless.guarantee is experimental")
        // A broker that has just started is still loading its coordinators, and librdkafka retries
        // until they are loaded.
        || message.ends_with("Coordinator load in progress: retrying")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_healthy_start_logs_no_warning() {
        assert!(is_expected(
            "[thrd:app]: Configuration property enable.gapless.guarantee is experimental: When set to `true`, any error"
        ));
        assert!(is_expected(
            "[thrd:main]: Failed to acquire idempotence PID from broker 127.0.0.1:9092/1: Broker: Coordinator load in \
             progress: retrying"
        ));
        assert!(!is_expected(
            "[thrd:main]: Failed to acquire idempotence PID from broker 127.0.0.1:9092/1: Broker: Cluster authorization \
             failed: retrying"
        ));
    }
}

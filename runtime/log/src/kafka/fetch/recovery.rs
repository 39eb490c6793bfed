//! The recovery of a reader's thread after an error.
//!
//! rdkafka does not report which partition an error belongs to, so the thread queries the brokers
//! for each partition. A partition that cannot be read fails. If all can be read, all are assigned
//! again.

use super::super::super::ReadError;
use super::super::admin::{count, is_missing_code};
use super::super::channel::{Fetched, Outcome};
use super::{Fetcher, Position};
use driftless_schemas::{Offset, Partition};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to wait for the brokers to report a partition's watermarks.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before the next check if the brokers did not answer.
const CHECK_RETRY: Duration = Duration::from_millis(500);

impl Fetcher {
    /// Handles an error that a poll returned.
    pub(super) fn failed(&mut self, error: &KafkaError, failures: &mut Vec<Outcome>) {
        match error {
            KafkaError::MessageConsumptionFatal(code) => {
                let reason = format!("librdkafka stopped consuming: {code}");
                failures.extend(self.fail_all(&reason));
            }
            KafkaError::MessageConsumption(code)
                if is_missing_code(*code)
                    || matches!(
                        code,
                        RDKafkaErrorCode::AutoOffsetReset
                            | RDKafkaErrorCode::OffsetOutOfRange
                            | RDKafkaErrorCode::NoOffset
                            | RDKafkaErrorCode::TopicAuthorizationFailed
                    ) =>
            {
                // rdkafka does not say which partition the error belongs to.
                self.check_at = Some(Instant::now());
            }
            // A broker outage; librdkafka continues by itself.
            other => tracing::debug!(error = %other, "reading was interrupted; librdkafka continues by itself"),
        }
    }

    fn fail_all(&mut self, reason: &str) -> Vec<Outcome> {
        let positions = std::mem::take(&mut self.positions);
        let mut failures = Vec::new();
        for (topic, slots) in positions {
            for (partition, position) in (0..).map(Partition).zip(slots) {
                if let Some(position) = position {
                    let error = ReadError::Broken { topic: Arc::clone(&topic), partition, reason: reason.to_owned() };
                    failures.push(Outcome::Failed { error, generation: position.generation });
                }
            }
        }
        failures
    }

    /// Finds the partitions that an error may belong to. Fails the partitions that cannot be read.
    /// If all partitions can be read, restarts all of them.
    pub(super) fn check(&mut self, failures: &mut Vec<Outcome>) {
        self.check_at = None;
        let mut bad = Vec::new();
        let mut is_unsure = false;
        for (topic, slots) in &self.positions {
            let wanted = slots.iter().enumerate().filter_map(|(index, slot)| Some((index, slot.as_ref()?)));
            let wanted: Vec<(Partition, &Position)> = wanted
                .filter_map(|(index, position)| Some((Partition(i32::try_from(index).ok()?), position)))
                .collect();
            if wanted.is_empty() {
                continue;
            }
            let partitions = match count(&self.consumer, topic, QUERY_TIMEOUT) {
                Ok(partitions) => partitions.unwrap_or(0),
                Err(error) => {
                    tracing::warn!(%topic, %error, "cannot query the number of partitions; the query is retried");
                    is_unsure = true;
                    continue;
                }
            };
            for (partition, position) in wanted {
                let topic = Arc::clone(topic);
                if partition.0 >= partitions {
                    let reason = "the topic or partition does not exist".to_owned();
                    bad.push((ReadError::Broken { topic, partition, reason }, position.generation));
                    continue;
                }
                match self.consumer.fetch_watermarks(&topic, partition.0, QUERY_TIMEOUT) {
                    Ok((low, high)) if position.next < low || position.next > high => {
                        let (wanted, low, high) = (Offset(position.next), Offset(low), Offset(high));
                        let error = ReadError::OutOfRange { topic, partition, wanted, low, high };
                        bad.push((error, position.generation));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(%topic, %partition, %error, "cannot query the watermarks; the query is retried");
                        is_unsure = true;
                    }
                }
            }
        }
        if is_unsure {
            self.check_at = Some(Instant::now() + CHECK_RETRY);
        } else if bad.is_empty() {
            self.restart();
        }
        let mut gone = TopicPartitionList::new();
        for (error, generation) in bad {
            let (ReadError::OutOfRange { topic, partition, .. } | ReadError::Broken { topic, partition, .. }) = &error;
            gone.add_partition(topic, partition.0);
            let index = usize::try_from(partition.0).ok();
            if let Some(slot) = index.and_then(|index| self.positions.get_mut(topic)?.get_mut(index))
                && let Some(position) = slot.take()
                && !position.records.is_empty()
            {
                // The records that were read before the failure are delivered first.
                failures.push(Outcome::Fetched(Fetched { generation, records: position.records }));
            }
            failures.push(Outcome::Failed { error, generation });
        }
        self.unassign(&gone);
    }

    /// Restarts all partitions. librdkafka has stopped reading one of them, for a reason that no
    /// longer exists, and does not say which.
    fn restart(&mut self) {
        let mut all = TopicPartitionList::new();
        let (mut again, mut pauses) = (Vec::new(), Vec::new());
        for (topic, slots) in &self.positions {
            for (partition, position) in (0..).zip(slots) {
                if let Some(position) = position {
                    all.add_partition(topic, partition);
                    again.push((Arc::clone(topic), partition, position.next, position.generation));
                    pauses.push((Arc::clone(topic), partition));
                }
            }
        }
        self.unassign(&all);
        self.assign(again);
        self.pause(pauses);
    }
}

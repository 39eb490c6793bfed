//! Copies of commands to the topic `dead-letter` (R9), with one producer for all ownerships.

use crate::report::{Report, Reports};
use bytes::Bytes;
use driftless_log::{self as log, Ack, Append, Delivery, Headers, Log, Producer};
use driftless_replayer_core::Input;
use driftless_schemas::topics::Topics;
use driftless_schemas::{Offset, Partition};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the producer tries to deliver a copy.
const DELIVER_WITHIN: Duration = Duration::from_secs(30);
/// A copy that was not acknowledged is made again after this time.
const PAUSE: Duration = Duration::from_secs(1);

/// The copies that wait for the log's acknowledgement, by the token of their append. Each has the
/// channel that takes the result to the ownership that asked for the copy, and the id that its core
/// gave the copy.
type Waiting = Arc<Mutex<HashMap<u64, (Reports, u64)>>>;

/// The producer of copies, and the ownerships that wait for its acknowledgements.
pub(crate) struct DeadLetters {
    producer: Arc<dyn Producer>,
    waiting: Waiting,
    next_token: AtomicU64,
}

/// The copies of one ownership that are not acknowledged.
pub(crate) struct Copies {
    reports: Reports,
    partition: Partition,
    unacknowledged: HashMap<u64, Append>,
}

impl DeadLetters {
    /// # Errors
    /// If the log cannot make a producer.
    pub fn start(log: &dyn Log) -> Result<Self, log::Error> {
        let waiting = Waiting::default();
        let of_sink = Arc::clone(&waiting);
        let sink = Arc::new(move |acks: Vec<Ack>| {
            let mut waiting = lock(&of_sink);
            for ack in acks {
                if let Some((to, id)) = waiting.remove(&ack.token) {
                    // An ownership that has ended needs no report.
                    let _ = to.send(report(id, ack.result));
                }
            }
        });
        let producer = log.producer(Delivery::Bounded(DELIVER_WITHIN), sink)?;
        Ok(Self { producer, waiting, next_token: AtomicU64::new(0) })
    }

    fn send(&self, reports: &Reports, id: u64, mut append: Append) {
        append.token = self.next_token.fetch_add(1, Ordering::Relaxed);
        let token = append.token;
        lock(&self.waiting).insert(token, (reports.clone(), id));
        if !self.producer.append(vec![append]).is_empty() {
            lock(&self.waiting).remove(&token);
            let _ = reports.send(Report::DeadLetterFailed(id, "the producer's queue is full".into()));
        }
    }
}

impl Copies {
    pub fn new(reports: Reports, partition: Partition) -> Self {
        Self { reports, partition, unacknowledged: HashMap::new() }
    }

    /// Copies a record of `commands`, with the reason and its origin in the headers.
    pub fn copy(&mut self, to: &DeadLetters, topics: &Topics, id: u64, letter: (Offset, Bytes, String)) {
        let (offset, value, reason) = letter;
        tracing::warn!(partition = self.partition.0, offset = offset.0, "dead letter: {reason}");
        let append = Append {
            topic: Arc::clone(&topics.dead_letter),
            partition: Partition(0),
            key: Bytes::new(),
            value,
            headers: origin(topics, self.partition, offset, reason),
            token: 0,
        };
        self.unacknowledged.insert(id, append.clone());
        to.send(&self.reports, id, append);
    }

    /// Forgets the copy `id`, because it is acknowledged or refused for good.
    pub fn acknowledged(&mut self, id: u64) {
        self.unacknowledged.remove(&id);
    }

    /// Plans to make the copy `id` again after [`PAUSE`], because the log did not acknowledge it.
    pub fn failed(&self, id: u64, reason: &str) {
        tracing::warn!(partition = self.partition.0, "a copy to dead-letter is made again: {reason}");
        let reports = self.reports.clone();
        tokio::spawn(async move {
            tokio::time::sleep(PAUSE).await;
            let _ = reports.send(Report::DeadLetterDue(id));
        });
    }

    /// Makes the copy `id` again, unless it was acknowledged by now.
    pub fn copy_again(&self, to: &DeadLetters, id: u64) {
        if let Some(append) = self.unacknowledged.get(&id).cloned() {
            to.send(&self.reports, id, append);
        }
    }
}

fn origin(topics: &Topics, partition: Partition, offset: Offset, reason: String) -> Headers {
    let header = |name: &str, value: String| (name.to_owned(), Bytes::from(value));
    vec![
        header("reason", reason),
        header("topic", topics.commands.to_string()),
        header("partition", partition.to_string()),
        header("offset", offset.to_string()),
    ]
}

fn report(id: u64, result: Result<Option<Offset>, log::AppendError>) -> Report {
    match result {
        Ok(_) => Report::Input(Input::DeadLettered(id)),
        // The log refused this copy for good, so another attempt would fail too. The core is told
        // that the copy was acknowledged, because the partition would otherwise wait for it for
        // ever.
        Err(log::AppendError::Refused(reason)) => {
            tracing::error!("a dead letter is not copied, it stays in commands only: {reason}");
            Report::Input(Input::DeadLettered(id))
        }
        Err(log::AppendError::Unknown(reason)) => Report::DeadLetterFailed(id, reason),
    }
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, HashMap<u64, (Reports, u64)>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

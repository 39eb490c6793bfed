//! Handing records to the log, and bringing each acknowledgement to whom it belongs.
//!
//! One producer serves all sockets and requests. Each of them has a [`Mailbox`]; an append's token is the mailbox's number
//! and the owner's own token, so that an acknowledgement finds its way with one look-up per mailbox and batch.

use driftless_ingest_core::Produce;
use driftless_log::{self as log, Ack, Append, AppendError, Delivery, Log, Producer};
use driftless_schemas::Offset;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// Acknowledgements free room, but only after they were told: who waits for room looks again after this at the latest, and
/// then after twice as long each time, so that thousands of waiting sockets cost little while the log is away.
const ROOM_POLL_MS: std::ops::Range<u64> = 5..160;

/// The way into the log.
pub(crate) struct Handover {
    producer: Arc<dyn Producer>,
    topic: Arc<str>,
    post: Arc<PostOffice>,
}

#[derive(Default)]
struct PostOffice {
    boxes: RwLock<HashMap<u32, mpsc::UnboundedSender<Vec<Answer>>>>,
    next: AtomicU32,
    room: Notify,
}

/// What became of one record.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The owner's own token.
    pub token: u32,
    pub result: Result<Option<Offset>, AppendError>,
}

/// Where one owner's acknowledgements arrive. It holds at most what is in flight.
pub(crate) struct Mailbox {
    number: u32,
    answers: mpsc::UnboundedReceiver<Vec<Answer>>,
    post: Arc<PostOffice>,
}

impl Handover {
    pub(crate) fn new(log: &dyn Log, topic: Arc<str>, wait: Duration) -> Result<Self, log::Error> {
        let post = Arc::new(PostOffice::default());
        let sorter = Arc::clone(&post);
        let producer = log.producer(Delivery::Bounded(wait), Arc::new(move |acks| sorter.sort(acks)))?;
        Ok(Self { producer, topic, post })
    }

    pub(crate) fn mailbox(&self) -> Mailbox {
        let (sender, answers) = mpsc::unbounded_channel();
        let mut boxes = self.post.boxes.write().unwrap_or_else(PoisonError::into_inner);
        let number = loop {
            // After four thousand million sockets numbers come round; an old socket may still have one.
            let number = self.post.next.fetch_add(1, Ordering::Relaxed);
            if !boxes.contains_key(&number) {
                break number;
            }
        };
        boxes.insert(number, sender);
        Mailbox { number, answers, post: Arc::clone(&self.post) }
    }

    /// Hands records over in order. What there is no room for comes back.
    pub(crate) fn append(&self, owner: &Mailbox, records: Vec<Produce>) -> Vec<Produce> {
        let batch = records
            .into_iter()
            .map(|record| Append {
                topic: Arc::clone(&self.topic),
                partition: record.partition,
                key: record.key,
                value: record.record,
                headers: Vec::new(),
                token: u64::from(owner.number) << 32 | u64::from(record.token),
            })
            .collect();
        let rest = self.producer.append(batch);
        rest.into_iter()
            .map(|append| Produce {
                token: low_half(append.token),
                partition: append.partition,
                key: append.key,
                record: append.value,
            })
            .collect()
    }

    /// Waits until there may be room. `attempt` counts from 0.
    pub(crate) async fn room(&self, attempt: u32) {
        let poll_ms = (ROOM_POLL_MS.start << attempt.min(16)).min(ROOM_POLL_MS.end);
        // Either way the caller tries again.
        let _ = tokio::time::timeout(Duration::from_millis(poll_ms), self.post.room.notified()).await;
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.producer.in_flight()
    }
}

fn low_half(token: u64) -> u32 {
    (token & u64::from(u32::MAX)) as u32
}

impl PostOffice {
    /// Called from the log's own threads.
    fn sort(&self, acks: Vec<Ack>) {
        let mut sorted: BTreeMap<u32, Vec<Answer>> = BTreeMap::new();
        for ack in acks {
            let answer = Answer { token: low_half(ack.token), result: ack.result };
            sorted.entry((ack.token >> 32) as u32).or_default().push(answer);
        }
        let boxes = self.boxes.read().unwrap_or_else(PoisonError::into_inner);
        for (number, answers) in sorted {
            // Whose socket has gone does not need its receipts: it will ask again.
            if let Some(sender) = boxes.get(&number) {
                let _ = sender.send(answers);
            }
        }
        drop(boxes);
        self.room.notify_waiters();
    }
}

impl Mailbox {
    /// The next answers; waits for them.
    pub(crate) async fn next(&mut self) -> Vec<Answer> {
        // The sender lives in the post office for as long as this does.
        self.answers.recv().await.unwrap_or_default()
    }

    /// Answers that are there already.
    pub(crate) fn try_next(&mut self) -> Option<Vec<Answer>> {
        self.answers.try_recv().ok()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.post.boxes.write().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

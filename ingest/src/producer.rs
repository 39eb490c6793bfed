//! Hands records to the log, and routes each acknowledgement to the socket or request that sent the
//! record.
//!
//! One producer serves all sockets and requests. Each socket and each request has a [`Mailbox`].
//! The token of an append consists of the mailbox's number and the owner's own token for the
//! record. Routing therefore costs one look-up for each mailbox in a batch of acknowledgements.

use driftless_ingest_core::Produce;
use driftless_log::{self as log, Ack, Append, AppendError, Delivery, Log, Producer};
use driftless_schemas::Offset;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// The first and the longest interval at which a socket polls for room in the producer's queue. The
/// interval doubles with each poll, so that thousands of waiting sockets cost little while the log
/// does not answer. Notifications alone are not enough: the queue releases the room of a record
/// only after it has delivered the acknowledgement, so a notified socket may still find no room.
const ROOM_POLL_MS: std::ops::Range<u64> = 5..160;

/// Appends the records of all sockets and requests to `commands`.
pub(crate) struct CommandProducer {
    producer: Arc<dyn Producer>,
    topic: Arc<str>,
    mailboxes: Arc<Mailboxes>,
}

/// All open mailboxes, by their numbers.
#[derive(Default)]
struct Mailboxes {
    open: RwLock<HashMap<u32, mpsc::UnboundedSender<Vec<Answer>>>>,
    next: AtomicU32,
    /// Notified after each batch of acknowledgements: the producer's queue may have room then.
    room: Notify,
}

/// The outcome of one append.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The owner's own token of the record.
    pub token: u32,
    pub result: Result<Option<Offset>, AppendError>,
}

/// Receives the acknowledgements of one socket or request. A mailbox holds at most one answer for
/// each record in flight.
pub(crate) struct Mailbox {
    number: u32,
    answers: mpsc::UnboundedReceiver<Vec<Answer>>,
    mailboxes: Arc<Mailboxes>,
}

impl CommandProducer {
    pub(crate) fn new(log: &dyn Log, topic: Arc<str>, wait: Duration) -> Result<Self, log::Error> {
        let mailboxes = Arc::new(Mailboxes::default());
        let router = Arc::clone(&mailboxes);
        let producer = log.producer(Delivery::Bounded(wait), Arc::new(move |acks| router.route(acks)))?;
        Ok(Self { producer, topic, mailboxes })
    }

    pub(crate) fn open_mailbox(&self) -> Mailbox {
        let (sender, answers) = mpsc::unbounded_channel();
        let mut open = self.mailboxes.open.write().unwrap_or_else(PoisonError::into_inner);
        let number = loop {
            // The counter wraps after 2^32 sockets; an old socket may still have the number.
            let number = self.mailboxes.next.fetch_add(1, Ordering::Relaxed);
            if !open.contains_key(&number) {
                break number;
            }
        };
        open.insert(number, sender);
        Mailbox { number, answers, mailboxes: Arc::clone(&self.mailboxes) }
    }

    /// Appends records in order. Returns the records that the producer's queue has no room for.
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

    /// Waits until the producer's queue may have room. `attempt` counts the waits, from 0.
    pub(crate) async fn wait_for_room(&self, attempt: u32) {
        let poll_ms = (ROOM_POLL_MS.start << attempt.min(16)).min(ROOM_POLL_MS.end);
        // After a time-out the caller tries again too, so the result does not matter.
        let _ = tokio::time::timeout(Duration::from_millis(poll_ms), self.mailboxes.room.notified()).await;
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.producer.in_flight()
    }
}

fn low_half(token: u64) -> u32 {
    (token & u64::from(u32::MAX)) as u32
}

impl Mailboxes {
    /// Passes each acknowledgement to the mailbox of its record. The log calls this function from
    /// its own threads.
    fn route(&self, acks: Vec<Ack>) {
        let mut by_mailbox: BTreeMap<u32, Vec<Answer>> = BTreeMap::new();
        for ack in acks {
            let answer = Answer { token: low_half(ack.token), result: ack.result };
            by_mailbox.entry((ack.token >> 32) as u32).or_default().push(answer);
        }
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        for (number, answers) in by_mailbox {
            // If the socket has closed, the answers are dropped: the client resends all commands
            // without a receipt on its next socket.
            if let Some(sender) = open.get(&number) {
                let _ = sender.send(answers);
            }
        }
        drop(open);
        self.room.notify_waiters();
    }
}

impl Mailbox {
    /// Waits for the next answers and returns them.
    pub(crate) async fn next(&mut self) -> Vec<Answer> {
        // `mailboxes` keeps the sender until this mailbox is dropped, so `recv` never returns None.
        self.answers.recv().await.unwrap_or_default()
    }

    /// Returns the next answers without waiting; `None` if none have arrived.
    pub(crate) fn try_next(&mut self) -> Option<Vec<Answer>> {
        self.answers.try_recv().ok()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.mailboxes.open.write().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

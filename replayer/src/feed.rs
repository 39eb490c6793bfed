//! The one reader for all partitions of a process: the feed hands each batch to the ownership that
//! asked for the partition.
//!
//! A fetch of the one reader carries all partitions, and the broker answers once. Readers of single
//! partitions would each need a fetch (docs/decisions/0002).

use crate::skew::SkewWatch;
use bytes::Bytes;
use driftless_log::{Log, ReadError};
use driftless_runtime::clock::unix_now;
use driftless_schemas::{Offset, Partition};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Records in offset order, or the error after which no more records follow.
pub(crate) type Delivery = Result<Vec<(Offset, Bytes)>, ReadError>;

/// A handle with which an ownership asks the feed to read partitions.
#[derive(Clone)]
pub(crate) struct Feed {
    asks: UnboundedSender<Ask>,
}

enum Ask {
    Read { topic: Arc<str>, partition: Partition, from: Offset, subscriber: Subscriber },
    Pause(Arc<str>, Partition),
    Resume(Arc<str>, Partition),
}

struct Subscriber {
    to: UnboundedSender<Delivery>,
    /// True if the feed must pause after the next delivery, until [`Feed::resume`].
    is_ahead: bool,
}

impl Feed {
    /// Starts the feed's task, which ends when all handles are dropped.
    pub fn start(log: &dyn Log) -> Result<Self, driftless_log::Error> {
        let reader = log.reader()?;
        let (asks, asked) = unbounded_channel();
        tokio::spawn(run(reader, asked));
        Ok(Self { asks })
    }

    /// Reads a partition of a topic from offset `from` on. The feed stops reading it when the
    /// receiver is dropped.
    pub fn read(&self, topic: &Arc<str>, partition: Partition, from: Offset) -> UnboundedReceiver<Delivery> {
        self.ask(topic, partition, from, false)
    }

    /// Reads a partition that will be wanted soon: the feed pauses after the first delivery, until
    /// [`Feed::resume`].
    pub fn read_ahead(&self, topic: &Arc<str>, partition: Partition, from: Offset) -> UnboundedReceiver<Delivery> {
        self.ask(topic, partition, from, true)
    }

    fn ask(&self, topic: &Arc<str>, partition: Partition, from: Offset, is_ahead: bool) -> UnboundedReceiver<Delivery> {
        let (to, receiver) = unbounded_channel();
        let subscriber = Subscriber { to, is_ahead };
        // The feed's task lives as long as a handle does. If it is gone because of a panic, the
        // receiver ends without a delivery.
        let _ = self.asks.send(Ask::Read { topic: Arc::clone(topic), partition, from, subscriber });
        receiver
    }

    /// Stops fetching a partition until [`Feed::resume`]. Records that were fetched already are
    /// still delivered.
    pub fn pause(&self, topic: &Arc<str>, partition: Partition) {
        let _ = self.asks.send(Ask::Pause(Arc::clone(topic), partition));
    }

    /// Fetches again after a pause.
    pub fn resume(&self, topic: &Arc<str>, partition: Partition) {
        let _ = self.asks.send(Ask::Resume(Arc::clone(topic), partition));
    }
}

async fn run(mut reader: Box<dyn driftless_log::Reader>, mut asked: UnboundedReceiver<Ask>) {
    let mut subscribers: HashMap<(Arc<str>, Partition), Subscriber> = HashMap::new();
    let mut skew = SkewWatch::default();
    loop {
        tokio::select! {
            ask = asked.recv() => match ask {
                None => return,
                Some(Ask::Read { topic, partition, from, subscriber }) => {
                    reader.assign(&topic, partition, from);
                    subscribers.insert((topic, partition), subscriber);
                }
                Some(Ask::Pause(topic, partition)) => reader.pause(&topic, partition),
                Some(Ask::Resume(topic, partition)) => {
                    reader.resume(&topic, partition);
                    if let Some(subscriber) = subscribers.get_mut(&(topic, partition)) {
                        subscriber.is_ahead = false;
                    }
                }
            },
            read = reader.next(), if !subscribers.is_empty() => match read {
                Ok(batches) => for batch in batches {
                    if let Some(newest) = batch.records.last() {
                        skew.look(&batch.topic, batch.partition, newest.timestamp, unix_now());
                    }
                    let key = (batch.topic, batch.partition);
                    let records = batch.records.into_iter().map(|r| (r.offset, r.value)).collect();
                    let subscriber = subscribers.get(&key);
                    if subscriber.is_some_and(|subscriber| subscriber.is_ahead) {
                        reader.pause(&key.0, key.1);
                    }
                    let is_wanted = subscriber.is_some_and(|subscriber| subscriber.to.send(Ok(records)).is_ok());
                    if !is_wanted {
                        reader.unassign(&key.0, key.1);
                        subscribers.remove(&key);
                    }
                },
                Err(e) => {
                    let (ReadError::OutOfRange { topic, partition, .. } | ReadError::Broken { topic, partition, .. }) = &e;
                    if let Some(subscriber) = subscribers.remove(&(Arc::clone(topic), *partition)) {
                        // A subscriber that is gone needs no error.
                        let _ = subscriber.to.send(Err(e));
                    }
                }
            },
        }
    }
}

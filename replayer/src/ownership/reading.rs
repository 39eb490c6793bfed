//! The streams that an ownership reads: `updates` until recovery is over, then `commands`. If a
//! chunk is checked or rebuilt, or if the owner reads its own records back, `updates` is read at
//! the same time as `commands`.

use super::identity::{Compared, compare_delivery};
use crate::feed::{Delivery, Feed};
use bytes::Bytes;
use driftless_chunk::recognition::Known;
use driftless_log::ReadError;
use driftless_replayer_core::{Input, OutOfRange, Stream};
use driftless_schemas::stored::Checkpoint;
use driftless_schemas::topics::Topics;
use driftless_schemas::{Offset, Partition};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedReceiver;

type Deliveries = UnboundedReceiver<Delivery>;

/// Why an ownership cannot go on reading.
pub(super) enum Fault {
    /// The reader of this process failed.
    Read(ReadError),
    /// This topic is not the one that the index describes: how it differs, and at which offset.
    AnotherLog(Arc<str>, String, Offset),
}

/// The streams of one ownership.
pub(super) struct Reading {
    feed: Feed,
    topics: Topics,
    partition: Partition,
    /// The stream that `incoming` delivers: `updates` or `commands`.
    stream: Stream,
    incoming: Option<Deliveries>,
    /// The first delivery of `commands`, for a reading from the given offset on. It is fetched
    /// while `updates` is still being read.
    ahead: Option<(Offset, Deliveries)>,
    /// The record of `updates`, and that of `commands`, by which the log is recognised. The first
    /// delivery is compared with it.
    known: [Option<Known>; 2],
    /// The record of the main stream that its next delivery begins with.
    expected: Option<Known>,
    /// `updates`, read again for one chunk.
    history: Option<Deliveries>,
    /// `updates`, read back to learn whether the own records count.
    read_back: Option<Deliveries>,
    /// Records that were delivered and that the core has not taken yet.
    backlog: VecDeque<Vec<(Offset, Bytes)>>,
    is_paused: bool,
}

impl Reading {
    /// Begins to fetch the first commands, and nothing else. They then arrive in the same fetch as
    /// the first records of `updates`.
    pub fn new(feed: Feed, topics: Topics, partition: Partition, checkpoint: &Checkpoint) -> Self {
        let known = [Known::of_updates(checkpoint), Known::of_commands(checkpoint)];
        let commands_from = checkpoint.commands_next;
        let first = known[1].map_or(commands_from, |known| known.at());
        let ahead = feed.read_ahead(&topics.commands, partition, first);
        Self {
            feed,
            topics,
            partition,
            stream: Stream::Updates,
            incoming: None,
            ahead: Some((commands_from, ahead)),
            known,
            expected: None,
            history: None,
            read_back: None,
            backlog: VecDeque::new(),
            is_paused: false,
        }
    }

    /// The main stream that is being read: `updates` or `commands`.
    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// Reads `updates` from offset `from` on.
    pub fn read_updates(&mut self, from: Offset) {
        self.expected = self.known[0].take().filter(|known| known.from() == from);
        let first = self.expected.map_or(from, |known| known.at());
        self.incoming = Some(self.feed.read(&self.topics.updates, self.partition, first));
        self.stream = Stream::Updates;
    }

    /// Reads `commands` from offset `from` on. Records of `updates` in the backlog are dropped.
    pub fn read_commands(&mut self, from: Offset) {
        if self.stream == Stream::Updates {
            self.backlog.clear();
        }
        self.stream = Stream::Commands;
        self.is_paused = false;
        self.expected = None;
        // The old receiver is dropped, which ends its reading.
        self.incoming = Some(match self.ahead.take() {
            Some((at, receiver)) if at == from => {
                self.expected = self.known[1].take();
                self.feed.resume(&self.topics.commands, self.partition);
                receiver
            }
            _ => self.feed.read(&self.topics.commands, self.partition, from),
        });
    }

    /// Reads `updates` again from offset `from` on, beside the main stream.
    pub fn read_history(&mut self, from: Offset) {
        self.history = Some(self.feed.read(&self.topics.updates, self.partition, from));
    }

    pub fn end_history(&mut self) {
        self.history = None;
    }

    /// Reads `updates` back from offset `from` on, beside the main stream.
    pub fn read_back(&mut self, from: Offset) {
        self.read_back = Some(self.feed.read(&self.topics.updates, self.partition, from));
    }

    pub fn end_read_back(&mut self) {
        self.read_back = None;
    }

    /// Waits for the next delivery, and returns it with its stream. While nothing is being read,
    /// waits for ever.
    pub async fn next(&mut self) -> (Stream, Option<Delivery>) {
        tokio::select! {
            biased;
            delivery = receive(&mut self.history) => (Stream::History, delivery),
            delivery = receive(&mut self.read_back) => (Stream::ReadBack, delivery),
            delivery = receive(&mut self.incoming) => (self.stream, delivery),
        }
    }

    /// Returns a delivery of the main stream if one has arrived already.
    pub fn try_next(&mut self) -> Option<(Stream, Delivery)> {
        let delivery = self.incoming.as_mut()?.try_recv().ok()?;
        Some((self.stream, delivery))
    }

    /// Takes a delivery. Returns the input that the core must handle at once, if there is one.
    /// Records of the main stream go to the backlog instead.
    ///
    /// # Errors
    /// [`Fault`], if the reader failed or the log is another one. The ownership must end then.
    pub fn take(&mut self, stream: Stream, delivery: Option<Delivery>) -> Result<Option<Input>, Fault> {
        let expected = self.expected.take_if(|_| stream == self.stream);
        let delivery = match (expected, delivery) {
            (Some(known), Some(delivery)) => match compare_delivery(known, delivery) {
                Compared::Delivery(delivery) => Some(delivery),
                Compared::Deleted(from) => {
                    self.incoming = Some(self.feed.read(self.topic(), self.partition, from));
                    return Ok(None);
                }
                Compared::Differs(found, offset) => {
                    return Err(Fault::AnotherLog(Arc::clone(self.topic()), found, offset));
                }
            },
            (_, delivery) => delivery,
        };
        match delivery {
            Some(Ok(records)) if stream == Stream::History => Ok(Some(Input::History(records))),
            Some(Ok(records)) if stream == Stream::ReadBack => Ok(Some(Input::ReadBack(records))),
            Some(Ok(records)) => {
                self.backlog.push_back(records);
                Ok(None)
            }
            Some(Err(ReadError::OutOfRange { wanted, low, high, .. })) => {
                self.forget(stream);
                Ok(Some(Input::OutOfRange(OutOfRange { stream, wanted, low, high })))
            }
            Some(Err(e)) => {
                self.forget(stream);
                Err(Fault::Read(e))
            }
            None => {
                self.forget(stream);
                match stream {
                    // If the reader has ended, the main stream reports it.
                    Stream::History | Stream::ReadBack => Ok(None),
                    Stream::Updates | Stream::Commands => Err(Fault::Read(ReadError::Broken {
                        topic: Arc::clone(self.topic()),
                        partition: self.partition,
                        reason: "the reader of this process has ended".into(),
                    })),
                }
            }
        }
    }

    /// Takes all records from the backlog, in offset order.
    pub fn take_backlog(&mut self) -> Vec<(Offset, Bytes)> {
        let mut records = self.backlog.pop_front().unwrap_or_default();
        self.backlog.drain(..).for_each(|more| records.extend(more));
        records
    }

    /// Pauses fetching if the backlog has records. Called while the core wants no records.
    pub fn pause(&mut self) {
        if !self.backlog.is_empty() && !std::mem::replace(&mut self.is_paused, true) {
            self.feed.pause(self.topic(), self.partition);
        }
    }

    /// Fetches again after a pause.
    pub fn resume(&mut self) {
        if std::mem::take(&mut self.is_paused) {
            self.feed.resume(self.topic(), self.partition);
        }
    }

    fn topic(&self) -> &Arc<str> {
        match self.stream {
            Stream::Commands => &self.topics.commands,
            Stream::Updates | Stream::History | Stream::ReadBack => &self.topics.updates,
        }
    }

    fn forget(&mut self, stream: Stream) {
        match stream {
            Stream::History => self.history = None,
            Stream::ReadBack => self.read_back = None,
            Stream::Updates | Stream::Commands => self.incoming = None,
        }
    }
}

async fn receive(deliveries: &mut Option<Deliveries>) -> Option<Delivery> {
    match deliveries {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

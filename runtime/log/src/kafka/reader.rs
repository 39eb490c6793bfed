//! The async half of a reader. It sends commands to the thread in [`super::fetch`] and returns the
//! records that the thread has fetched.
//!
//! Each assignment has a generation. The async half drops records of an earlier generation. No
//! stale record is therefore returned after `assign` or `unassign` has returned, even if the thread
//! executes the command later.

use super::super::{Batch, Error, ReadError, Reader};
use super::KafkaSettings;
use super::channel::{Command, Fetched, Outcome, Shared};
use super::fetch::Fetcher;
use async_trait::async_trait;
use driftless_schemas::{Offset, Partition};
use std::sync::Arc;

pub(super) struct KafkaReader {
    shared: Arc<Shared>,
    assigned: Vec<Assigned>,
    next_generation: u64,
    /// Records that arrived while their partition was paused.
    paused: Vec<Fetched>,
    /// Outcomes that were taken from the thread and not returned yet. `next` returns only one error
    /// at a time, so the outcomes behind an error wait here.
    outcomes: std::collections::VecDeque<Outcome>,
}

struct Assigned {
    topic: Arc<str>,
    partition: Partition,
    generation: u64,
    is_paused: bool,
}

impl KafkaReader {
    pub(super) fn new(settings: &KafkaSettings) -> Result<Self, Error> {
        Ok(Self {
            shared: Fetcher::start(settings)?,
            assigned: Vec::new(),
            next_generation: 1,
            paused: Vec::new(),
            outcomes: std::collections::VecDeque::new(),
        })
    }

    fn assigned(&mut self, topic: &str, partition: Partition) -> Option<&mut Assigned> {
        self.assigned.iter_mut().find(|a| a.partition == partition && &*a.topic == topic)
    }

    fn set_paused(&mut self, topic: &str, partition: Partition, is_paused: bool) {
        if let Some(assigned) = self.assigned(topic, partition)
            && assigned.is_paused != is_paused
        {
            assigned.is_paused = is_paused;
            let (topic, generation) = (Arc::clone(&assigned.topic), assigned.generation);
            self.shared.command(Command::Pause { topic, partition, generation, is_paused });
        }
    }

    /// Returns the records that are ready, or an error, without waiting; `None` if nothing is
    /// ready.
    fn take(&mut self) -> Option<Result<Vec<Batch>, ReadError>> {
        self.outcomes.extend(self.shared.take());
        let mut batches: Vec<Batch> = Vec::new();
        let mut ready = std::mem::take(&mut self.paused);
        loop {
            for fetched in ready.drain(..) {
                self.collect(fetched, &mut batches);
            }
            match self.outcomes.pop_front() {
                Some(Outcome::Fetched(fetched)) => ready.push(fetched),
                Some(Outcome::Failed { error, generation }) => {
                    let (ReadError::OutOfRange { topic, partition, .. } | ReadError::Broken { topic, partition, .. }) =
                        &error;
                    let position = self.assigned.iter().position(|assigned| {
                        assigned.generation == generation
                            && assigned.partition == *partition
                            && assigned.topic == *topic
                    });
                    let Some(index) = position else { continue };
                    if !batches.is_empty() {
                        // The records that were read before the failure are returned first.
                        self.outcomes.push_front(Outcome::Failed { error, generation });
                        return Some(Ok(batches));
                    }
                    self.assigned.swap_remove(index);
                    self.paused.retain(|paused| paused.generation != generation);
                    return Some(Err(error));
                }
                None if batches.is_empty() => return None,
                None => return Some(Ok(batches)),
            }
        }
    }

    fn collect(&mut self, fetched: Fetched, batches: &mut Vec<Batch>) {
        let assigned = self.assigned.iter().find(|assigned| assigned.generation == fetched.generation);
        match assigned {
            None => {}
            Some(assigned) if assigned.is_paused => self.paused.push(fetched),
            Some(assigned) => {
                let same = |batch: &&mut Batch| {
                    batch.partition == assigned.partition && Arc::ptr_eq(&batch.topic, &assigned.topic)
                };
                match batches.iter_mut().find(same) {
                    Some(batch) => batch.records.extend(fetched.records),
                    None => batches.push(Batch {
                        topic: Arc::clone(&assigned.topic),
                        partition: assigned.partition,
                        records: fetched.records,
                    }),
                }
            }
        }
    }
}

#[async_trait]
impl Reader for KafkaReader {
    fn assign(&mut self, topic: &str, partition: Partition, from: Offset) {
        self.unassign(topic, partition);
        let generation = self.next_generation;
        self.next_generation += 1;
        let topic: Arc<str> = topic.into();
        self.assigned.push(Assigned { topic: Arc::clone(&topic), partition, generation, is_paused: false });
        self.shared.command(Command::Assign { topic, partition, from, generation });
    }

    fn unassign(&mut self, topic: &str, partition: Partition) {
        if let Some(index) = self.assigned.iter().position(|a| a.partition == partition && &*a.topic == topic) {
            let Assigned { topic, partition, generation, .. } = self.assigned.swap_remove(index);
            self.paused.retain(|paused| paused.generation != generation);
            self.shared.command(Command::Unassign { topic, partition, generation });
        }
    }

    fn pause(&mut self, topic: &str, partition: Partition) {
        self.set_paused(topic, partition, true);
    }

    fn resume(&mut self, topic: &str, partition: Partition) {
        self.set_paused(topic, partition, false);
    }

    async fn next(&mut self) -> Result<Vec<Batch>, ReadError> {
        // A reader that always finds records must not starve other tasks on this thread.
        tokio::task::coop::consume_budget().await;
        loop {
            if let Some(taken) = self.take() {
                return taken;
            }
            // A wake-up between the check and this wait is stored as a permit, so it is not lost.
            self.shared.ready.notified().await;
        }
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.shared.close();
    }
}

//! The thread of a reader. No other thread talks to the reader's librdkafka consumer.
//!
//! The thread sleeps until a command arrives or librdkafka reports a non-empty queue, and then
//! drains the queue. A new record therefore wakes the thread at once, an assignment does not wait
//! for a poll to time out, and an idle reader costs nothing. If the async half does not keep up,
//! the thread stops polling, and librdkafka stops fetching.

mod recovery;

use super::super::{Error, ReadError, Record};
use super::KafkaSettings;
use super::channel::{Command, Fetched, Outcome, Shared};
use super::client::{self, Context};
use super::record::record;
use driftless_schemas::Partition;
use rdkafka::Message as _;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::topic_partition_list::TopicPartitionList;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The limit on the bytes of records that one turn takes from librdkafka.
const POLL_BYTES_MAX: usize = 2 << 20;
/// How long the thread waits for the brokers to name the leaders of a topic's partitions before it
/// reads the topic. Without an answer in time, librdkafka finds the leaders itself, but more
/// slowly.
const LEADER_TIMEOUT: Duration = Duration::from_millis(500);

impl ConsumerContext for Context {}

pub(super) struct Fetcher {
    consumer: BaseConsumer<Context>,
    shared: Arc<Shared>,
    positions: HashMap<Arc<str>, Vec<Option<Position>>>,
    /// When to find out which partition an error belongs to. `None` if there is no such error.
    check_at: Option<Instant>,
}

/// The state of an assigned partition.
struct Position {
    /// The number of the assignment, by which stale records are detected.
    generation: u64,
    /// The offset of the next record.
    next: i64,
    is_paused: bool,
    records: Vec<Record>,
}

impl Fetcher {
    /// Starts the thread of a reader.
    pub(super) fn start(settings: &KafkaSettings) -> Result<Arc<Shared>, Error> {
        let mut config = client::consumer_config(settings)?;
        // librdkafka requires a group name, although the reader never joins a group.
        config.set("group.id", format!("{}-reader", settings.client_id));
        let mut consumer: BaseConsumer<Context> = BaseConsumer::from_config_and_context(&config, Context::default())
            .map_err(|error| client::settings_error(&error))?;
        let shared = Arc::new(Shared::default());
        let filled = Arc::clone(&shared);
        consumer.set_nonempty_callback(move || filled.filled());
        let fetcher = Self { consumer, shared: Arc::clone(&shared), positions: HashMap::new(), check_at: None };
        std::thread::Builder::new()
            .name("kafka-reader".into())
            .spawn(move || fetcher.run())
            .map_err(|error| Error::Settings(format!("cannot start a thread: {error}")))?;
        Ok(shared)
    }

    fn run(mut self) {
        while let Some(work) = self.shared.wait() {
            if !work.commands.is_empty() {
                self.execute(work.commands);
            }
            let mut failures = Vec::new();
            if work.may_poll {
                self.poll(&mut failures);
            }
            if self.check_at.is_some_and(|due| Instant::now() >= due) {
                self.check(&mut failures);
            }
            self.hand_over(failures);
        }
    }

    fn position(&mut self, topic: &str, partition: i32) -> Option<&mut Position> {
        self.positions.get_mut(topic)?.get_mut(usize::try_from(partition).ok()?)?.as_mut()
    }

    /// Executes a batch of commands with one librdkafka call per kind.
    fn execute(&mut self, commands: Vec<Command>) {
        let mut before: HashMap<(Arc<str>, i32), bool> = HashMap::new();
        let mut pauses = Vec::new();
        for command in commands {
            match command {
                Command::Assign { topic, partition, from, generation } => {
                    let Ok(index) = usize::try_from(partition.0) else {
                        self.fail(topic, partition, generation, "the partition does not exist".into());
                        continue;
                    };
                    let slots = self.positions.entry(Arc::clone(&topic)).or_default();
                    if slots.len() <= index {
                        slots.resize_with(index + 1, || None);
                    }
                    let position = Position { generation, next: from.0, is_paused: false, records: Vec::new() };
                    let old = slots[index].replace(position);
                    before.entry((topic, partition.0)).or_insert(old.is_some());
                }
                Command::Unassign { topic, partition, generation } => {
                    let slot = usize::try_from(partition.0)
                        .ok()
                        .and_then(|index| self.positions.get_mut(&topic)?.get_mut(index));
                    if let Some(slot) = slot
                        && slot.as_ref().is_some_and(|position| position.generation == generation)
                    {
                        *slot = None;
                        before.entry((topic, partition.0)).or_insert(true);
                    }
                }
                Command::Pause { topic, partition, generation, is_paused } => {
                    if let Some(position) = self.position(&topic, partition.0)
                        && position.generation == generation
                    {
                        position.is_paused = is_paused;
                        pauses.push((topic, partition.0));
                    }
                }
            }
        }
        let (mut gone, mut new) = (TopicPartitionList::new(), Vec::new());
        for ((topic, partition), was_assigned) in before {
            if was_assigned {
                gone.add_partition(&topic, partition);
            }
            if let Some(position) = self.position(&topic, partition) {
                new.push((Arc::clone(&topic), partition, position.next, position.generation));
                pauses.push((topic, partition));
            }
        }
        self.unassign(&gone);
        self.assign(new);
        self.pause(pauses);
    }

    fn unassign(&self, gone: &TopicPartitionList) {
        if gone.count() > 0
            && let Err(error) = self.consumer.incremental_unassign(gone)
        {
            // The call fails if a partition was not assigned. It then is unassigned, as requested.
            tracing::debug!(%error, "librdkafka failed to unassign partitions");
        }
    }

    fn assign(&mut self, new: Vec<(Arc<str>, i32, i64, u64)>) {
        let mut list = TopicPartitionList::new();
        let mut wrong = Vec::new();
        for (topic, partition, next, generation) in &new {
            // Negative offsets have special meanings in librdkafka.
            let offset = if *next < 0 { Err(()) } else { Ok(rdkafka::Offset::Offset(*next)) };
            let added = offset.and_then(|offset| list.add_partition_offset(topic, *partition, offset).map_err(|_| ()));
            if added.is_err() {
                wrong.push((Arc::clone(topic), *partition, *generation));
            }
        }
        for (topic, partition, generation) in wrong {
            let reason = "the offset is negative".to_owned();
            self.fail(topic, Partition(partition), generation, reason);
        }
        if list.count() == 0 {
            return;
        }
        self.request_leaders(&new);
        if let Err(error) = self.consumer.incremental_assign(&list) {
            for (topic, partition, _, generation) in new {
                self.fail(topic, Partition(partition), generation, error.to_string());
            }
        }
    }

    /// Requests the leaders of topics that were not read before. librdkafka looks up unknown
    /// leaders once a second only, so a takeover would wait that long for `updates` and again for
    /// `commands`.
    fn request_leaders(&self, new: &[(Arc<str>, i32, i64, u64)]) {
        let mut seen: Vec<&str> = Vec::new();
        for (topic, ..) in new {
            if seen.contains(&&**topic) {
                continue;
            }
            seen.push(topic);
            let is_new =
                |index: usize| new.iter().any(|(other, p, ..)| other == topic && usize::try_from(*p) == Ok(index));
            let mut slots = self.positions.get(topic).into_iter().flatten().enumerate();
            let was_read = slots.any(|(index, slot)| slot.is_some() && !is_new(index));
            if was_read {
                continue;
            }
            if let Err(error) = self.consumer.fetch_metadata(Some(topic), LEADER_TIMEOUT) {
                tracing::debug!(%topic, %error, "the brokers did not name the topic's leaders");
            }
        }
    }

    /// Pauses or resumes partitions according to their positions.
    fn pause(&mut self, partitions: Vec<(Arc<str>, i32)>) {
        let (mut pause, mut resume) = (TopicPartitionList::new(), TopicPartitionList::new());
        for (topic, partition) in partitions {
            match self.position(&topic, partition) {
                Some(position) if position.is_paused => pause.add_partition(&topic, partition),
                Some(_) => resume.add_partition(&topic, partition),
                None => continue,
            };
        }
        let calls = [(pause.count(), self.consumer.pause(&pause)), (resume.count(), self.consumer.resume(&resume))];
        for (count, result) in calls {
            if count > 0
                && let Err(error) = result
            {
                tracing::warn!(%error, "librdkafka failed to pause or resume partitions");
            }
        }
    }

    /// Drains librdkafka's queue, up to the limit of one turn.
    fn poll(&mut self, failures: &mut Vec<Outcome>) {
        let mut bytes = 0;
        while bytes < POLL_BYTES_MAX {
            let served = self.consumer.context().served();
            match self.consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    let slot = self
                        .positions
                        .get_mut(message.topic())
                        .and_then(|slots| slots.get_mut(usize::try_from(message.partition()).ok()?)?.as_mut());
                    // A record of an unassigned partition, or one below the position, belongs to an
                    // earlier assignment.
                    if let Some(position) = slot
                        && message.offset() >= position.next
                    {
                        let record = record(&message);
                        bytes += record.memory_bytes();
                        position.next = record.offset.0 + 1;
                        position.records.push(record);
                    }
                }
                Some(Err(error)) => {
                    self.failed(&error, failures);
                }
                // The poll served a log line or an error, so the queue may hold more.
                None if self.consumer.context().served() != served => {}
                None => return,
            }
        }
        // The queue may hold more, and librdkafka will not report that again.
        self.shared.filled();
    }

    fn fail(&mut self, topic: Arc<str>, partition: Partition, generation: u64, reason: String) {
        if let Some(slot) =
            usize::try_from(partition.0).ok().and_then(|index| self.positions.get_mut(&topic)?.get_mut(index))
        {
            *slot = None;
        }
        let error = ReadError::Broken { topic, partition, reason };
        self.shared.publish(vec![Outcome::Failed { error, generation }], 0);
    }

    /// Passes the fetched records and the failures to the async half, and wakes it.
    fn hand_over(&mut self, failures: Vec<Outcome>) {
        let mut outcomes = Vec::new();
        let mut bytes = 0;
        for position in self.positions.values_mut().flatten().flatten() {
            if !position.records.is_empty() {
                let records = std::mem::take(&mut position.records);
                bytes += records.iter().map(Record::memory_bytes).sum::<usize>();
                outcomes.push(Outcome::Fetched(Fetched { generation: position.generation, records }));
            }
        }
        outcomes.extend(failures);
        if !outcomes.is_empty() {
            self.shared.publish(outcomes, bytes);
        }
    }
}

//! Membership in a consumer group: a consumer that reads no records and only learns its assigned
//! partitions.
//!
//! Kafka's group protocol decides which member owns which partition. A separate reader with its own
//! offsets reads the records, so this consumer commits nothing and pauses its assignment.
//! Assignment is cooperative: a partition that moves is revoked first, and the next member gets it
//! only after the old owner has sent or dropped `done`. The member is static (`group.instance.id`):
//! a process that returns within the session time-out keeps its partitions, and one that leaves on
//! purpose (by dropping the membership) releases them at once. Kafka may then leave partitions
//! without an owner ([`unowned`]).

mod unowned;

use super::super::{Error, Membership, MembershipEvent};
use super::KafkaSettings;
use super::client::{self, Context};
use driftless_schemas::Partition;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::task::{self, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use unowned::{Step, Watch};

/// The longest interval between heartbeats. A member learns of a rebalance from the response to its
/// next heartbeat, so a planned hand-over waits up to this long.
const HEARTBEAT_MS_MAX: u32 = 100;
/// librdkafka checks whether a heartbeat is due only when its main thread wakes, and by itself that
/// happens once a second. The member's thread therefore wakes it at this interval. A consumer must
/// also poll now and then, or it leaves the group.
const WAKE_INTERVAL: Duration = Duration::from_millis(50);
/// The interval at which a member checks whether it must ask about the group.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// The interval at which a member that waits for `done` checks whether the group has dropped it.
const RECHECK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a leaving member stays open after its assignment is empty. librdkafka sends the leave
/// request a little later than that, and a static member that is closed earlier never leaves the
/// group.
const LEAVE_GRACE: Duration = Duration::from_millis(200);
/// The longest time that leaving may take. A member that takes longer is removed by the session
/// time-out.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

pub(super) fn join(settings: &KafkaSettings, group: &str, topic: &str, member: &str) -> Result<Membership, Error> {
    let mut config = client::consumer_config(settings)?;
    let hand_over_max = Duration::from_millis(settings.hand_over_max_ms.into());
    let poll_interval_ms = settings.hand_over_max_ms.max(settings.session_timeout_ms).saturating_add(30_000);
    config.set("group.id", group);
    config.set("group.instance.id", member);
    config.set("partition.assignment.strategy", "cooperative-sticky");
    config.set("session.timeout.ms", settings.session_timeout_ms.to_string());
    config.set("heartbeat.interval.ms", (settings.session_timeout_ms / 4).clamp(1, HEARTBEAT_MS_MAX).to_string());
    config.set("max.poll.interval.ms", poll_interval_ms.to_string());
    // The consumer never reads. If a fetch starts between assigning and pausing, these limits keep
    // it small.
    config.set("queued.min.messages", "1");
    config.set("fetch.message.max.bytes", "1");
    config.set("auto.offset.reset", "latest");

    let (events, receiver) = mpsc::unbounded_channel();
    let (group, topic) = (group.to_owned(), topic.to_owned());
    let context = MemberContext {
        context: Context::default(),
        events,
        owned: Mutex::default(),
        assigned: AtomicU64::default(),
        hand_over_max,
        name: format!("{member} in {group}"),
    };
    let mut consumer: BaseConsumer<MemberContext> =
        BaseConsumer::from_config_and_context(&config, context).map_err(|error| client::settings_error(&error))?;
    let signal = Arc::new(Signal::default());
    let filled = Arc::clone(&signal);
    consumer.set_nonempty_callback(move || filled.set(|state| state.is_filled = true));
    consumer.subscribe(&[&topic]).map_err(|error| client::settings_error(&error))?;
    let guard = MembershipGuard(Arc::clone(&signal));
    let consumer = Arc::new(consumer);
    let (watched, watching) = (Arc::downgrade(&consumer), Arc::clone(&signal));
    let named = (group, topic.clone());
    thread("kafka-group", move || watch(&watched, &watching, &named))?;
    thread("kafka-member", move || run(&consumer, &signal, &topic))?;
    Ok(Membership { events: receiver, guard: Box::new(guard) })
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let started = std::thread::Builder::new().name(name.into()).spawn(run);
    started.map(drop).map_err(|error| Error::Settings(format!("cannot start a thread: {error}")))
}

/// Wakes the member's thread.
#[derive(Default)]
struct Signal {
    state: Mutex<SignalState>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default)]
struct SignalState {
    /// True if librdkafka's queue may hold an event.
    is_filled: bool,
    /// True if the membership was dropped.
    is_closed: bool,
    /// True if the member must leave the group and join it again.
    must_join_again: bool,
}

impl Signal {
    /// Changes the state and wakes the thread. librdkafka calls this while it holds a lock on its
    /// queue, so this must not call librdkafka.
    fn set(&self, change: impl FnOnce(&mut SignalState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    fn wait(&self) -> SignalState {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_idle = |state: &mut SignalState| !state.is_filled && !state.is_closed && !state.must_join_again;
        let (mut state, _) =
            self.changed.wait_timeout_while(state, WAKE_INTERVAL, is_idle).unwrap_or_else(PoisonError::into_inner);
        let seen = *state;
        (state.is_filled, state.must_join_again) = (false, false);
        seen
    }
}

/// Makes the member leave the group when this is dropped.
struct MembershipGuard(Arc<Signal>);

impl Drop for MembershipGuard {
    fn drop(&mut self) {
        self.0.set(|state| state.is_closed = true);
    }
}

fn run(consumer: &BaseConsumer<MemberContext>, signal: &Signal, topic: &str) {
    let mut is_joined = true;
    loop {
        let seen = signal.wait();
        if seen.must_join_again && is_joined {
            consumer.unsubscribe();
            is_joined = false;
        }
        if let Err(code) = serve(consumer) {
            // Another process has joined under this member's name, or the group refuses this
            // member.
            tracing::warn!(member = consumer.context().name, %code, "the group membership has ended; the service must join again");
            consumer.context().end(consumer);
            return;
        }
        if seen.is_closed {
            break;
        }
        // Any call wakes librdkafka's main thread.
        let assignment = consumer.assignment();
        if !is_joined && assignment.is_ok_and(|assignment| assignment.count() == 0) {
            match consumer.subscribe(&[topic]) {
                Ok(()) => is_joined = true,
                Err(error) => tracing::warn!(member = consumer.context().name, %error, "cannot join the group again"),
            }
        }
    }
    // Unsubscribing leaves the group. A static member that is only closed would stay in it.
    consumer.unsubscribe();
    let mut deadline = Instant::now() + LEAVE_WITHIN;
    let mut is_empty = false;
    while serve(consumer).is_ok() && Instant::now() < deadline {
        if !is_empty && consumer.assignment().is_ok_and(|assignment| assignment.count() == 0) {
            is_empty = true;
            deadline = Instant::now() + LEAVE_GRACE;
        }
        signal.wait();
    }
}

/// Asks now and then whether the group has left partitions without an owner, until the membership
/// ends.
fn watch(consumer: &Weak<BaseConsumer<MemberContext>>, signal: &Signal, (group, topic): &(String, String)) {
    let mut watch = Watch::new(Instant::now());
    let mut assigned = 0;
    loop {
        std::thread::sleep(WATCH_INTERVAL);
        let Some(consumer) = consumer.upgrade() else { return };
        let context = consumer.context();
        let now = Instant::now();
        if std::mem::replace(&mut assigned, context.assigned.load(Ordering::Relaxed)) != assigned {
            watch.assigned(now);
        }
        if !watch.must_ask(now) {
            continue;
        }
        match unowned::ask(&consumer, group, topic) {
            Err(error) => {
                tracing::debug!(member = context.name, %error, "no broker says which partitions have no owner");
                watch.no_answer(Instant::now());
            }
            Ok(answer) => match watch.answer(answer, context.owned().len(), Instant::now()) {
                Step::Nothing => {}
                Step::Report(unowned) => {
                    if !unowned.is_empty() {
                        tracing::warn!(member = context.name, partitions = ?unowned, "the group has left partitions without an owner");
                    }
                    context.send(MembershipEvent::Unowned(unowned.into_iter().map(Partition).collect()));
                }
                Step::JoinAgain => {
                    tracing::warn!(
                        member = context.name,
                        "joining the group again, so that every partition gets an owner"
                    );
                    signal.set(|state| state.must_join_again = true);
                }
            },
        }
    }
}

/// Serves all queued events, including rebalances. An error ends the membership.
fn serve(consumer: &BaseConsumer<MemberContext>) -> Result<(), KafkaError> {
    loop {
        let served = consumer.context().context.served();
        match consumer.poll(Duration::ZERO) {
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error),
            Some(Err(error)) => {
                tracing::debug!(member = consumer.context().name, %error, "the group membership reported an error");
            }
            // A record that was fetched between assigning and pausing is dropped.
            Some(Ok(_)) => {}
            None if consumer.context().context.served() != served => {}
            None => return Ok(()),
        }
    }
}

struct MemberContext {
    context: Context,
    events: mpsc::UnboundedSender<MembershipEvent>,
    owned: Mutex<BTreeSet<i32>>,
    /// How often the group has given this member an assignment.
    assigned: AtomicU64,
    hand_over_max: Duration,
    name: String,
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.context.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        self.context.count_served();
        match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, list),
            _ => self.revoke(consumer, list),
        }
    }
}

impl MemberContext {
    fn owned(&self) -> std::sync::MutexGuard<'_, BTreeSet<i32>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) {
        tracing::info!(member = self.name, partitions = ?numbers(list), "partitions were assigned");
        self.assigned.fetch_add(1, Ordering::Relaxed);
        // An explicit end offset keeps librdkafka from asking for committed offsets, of which there
        // are none.
        let assigned = list
            .set_all_offsets(rdkafka::Offset::End)
            .and_then(|()| consumer.incremental_assign(list))
            .and_then(|()| consumer.pause(list));
        if let Err(error) = assigned {
            tracing::error!(member = self.name, %error, "librdkafka failed to apply an assignment");
        }
        let partitions = numbers(list);
        if !partitions.is_empty() {
            self.owned().extend(&partitions);
            self.send(MembershipEvent::Assigned(partitions.into_iter().map(Partition).collect()));
        }
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        // Partitions that were lost before are not handed over again.
        let owned = self.owned().clone();
        let partitions: Vec<i32> = numbers(list).into_iter().filter(|partition| owned.contains(partition)).collect();
        if !partitions.is_empty() {
            if consumer.assignment_lost() {
                self.send(MembershipEvent::Lost(partitions.iter().copied().map(Partition).collect()));
            } else {
                self.hand_over(consumer, &partitions);
            }
            self.owned().retain(|partition| !partitions.contains(partition));
        }
        if let Err(error) = consumer.incremental_unassign(list) {
            tracing::error!(member = self.name, %error, "librdkafka failed to release partitions");
        }
    }

    /// Reports the partitions as revoked and waits until the service has ended its work on them. If
    /// that takes too long, or the group has dropped this member meanwhile, reports the partitions
    /// as lost, because another member may own them already.
    fn hand_over(&self, consumer: &BaseConsumer<Self>, partitions: &[i32]) {
        let numbers = || partitions.iter().copied().map(Partition).collect::<Vec<_>>();
        let (done, wait) = oneshot::channel();
        if !self.send(MembershipEvent::Revoked { partitions: numbers(), done }) {
            return;
        }
        let deadline = Instant::now() + self.hand_over_max;
        let mut wait = pin!(wait);
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        // A dropped `done` counts as sent.
        while wait.as_mut().poll(&mut task::Context::from_waker(&waker)).is_pending() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || consumer.assignment_lost() {
                tracing::error!(
                    member = self.name,
                    ?partitions,
                    "work on revoked partitions did not end in time; they count as lost"
                );
                self.send(MembershipEvent::Lost(numbers()));
                return;
            }
            std::thread::park_timeout(left.min(RECHECK_INTERVAL));
        }
    }

    /// Ends the membership: reports all owned partitions as lost.
    fn end(&self, consumer: &BaseConsumer<Self>) {
        let lost: Vec<Partition> = std::mem::take(&mut *self.owned()).into_iter().map(Partition).collect();
        if !lost.is_empty() {
            self.send(MembershipEvent::Lost(lost));
        }
        consumer.unsubscribe();
    }

    /// Sends an event. Returns false if the receiver was dropped.
    fn send(&self, event: MembershipEvent) -> bool {
        self.events.send(event).is_ok()
    }
}

fn numbers(list: &TopicPartitionList) -> Vec<i32> {
    let mut numbers: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
    numbers.sort_unstable();
    numbers
}

/// A waker for a thread that polls a future and parks.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

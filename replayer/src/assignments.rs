//! The partitions that the group assigns to this process. An ownership begins for each assigned
//! partition. If it fails, another one begins after a pause, and the other partitions go on. It
//! ends in order when the group revokes the partition or the process shuts down.

use crate::context::Context;
use crate::error::{Error, REJOINS_MAX, REJOINS_WITHIN_MS, Unrecoverable};
use crate::metrics;
use crate::ownership::{self, Order, Outcome, Purpose};
use crate::standing::{self, Standing, Standings};
use driftless_log::{self as log, Log, MembershipEvent, ReadError};
use driftless_replayer_core::{End, OutOfRange, Stream};
use driftless_runtime::shutdown::Shutdown;
use driftless_schemas::Partition;
use driftless_store::index;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinSet};

/// An owner that was replaced waits as if its partition had failed this many times before it claims
/// the partition again. The pause is then 8 s, which is longer than a member's session time-out.
const FAILURES_OF_THE_REPLACED: u32 = 5;

/// The time limit for leaving the group.
const LEAVE_WITHIN: Duration = Duration::from_secs(6);

/// The partitions of this process, and their ownerships.
pub(crate) struct Assignments {
    context: Arc<Context>,
    standings: watch::Sender<Standings>,
    owned: HashMap<Partition, Owned>,
    tasks: JoinSet<(Partition, Outcome)>,
    drain_timeout: Duration,
    member: GroupMember,
}

/// A partition that the group has assigned to this process.
struct Owned {
    orders: watch::Sender<Order>,
    task: tokio::task::Id,
    /// Receivers that wait for the end of the ownership. They are notified when it ended because of
    /// an order.
    ended: Vec<oneshot::Sender<()>>,
    /// How often in a row an ownership of the partition has ended by itself. The pause before the
    /// next one grows with this number.
    failures: u32,
    /// True if the group has assigned the partition again while the ownership was still ending.
    is_wanted_again: bool,
}

/// This process as a member of the group. It joins, and joins again after the group has fenced it.
pub(crate) struct GroupMember {
    log: Arc<dyn Log>,
    group: String,
    topic: Arc<str>,
    name: String,
    rejoins: VecDeque<Instant>,
}

impl GroupMember {
    pub fn new(log: Arc<dyn Log>, group: String, topic: Arc<str>, name: String) -> Self {
        Self { log, group, topic, name, rejoins: VecDeque::new() }
    }

    pub fn join(&self) -> Result<log::Membership, log::Error> {
        self.log.join(&self.group, &self.topic, &self.name)
    }

    /// Joins once more after the group has fenced this member. Another process with the same name
    /// may be the cause, but so may a request of this process that took longer than the session
    /// time-out. Two processes that share a name fence each other in turn, until one of them has
    /// joined too often.
    async fn join_again(&mut self) -> Result<log::Membership, Error> {
        let now = Instant::now();
        let within = Duration::from_millis(REJOINS_WITHIN_MS);
        self.rejoins.retain(|at| now.duration_since(*at) < within);
        let count = self.rejoins.len();
        if count >= REJOINS_MAX {
            return Err(Error::Membership { member: self.name.clone() });
        }
        tracing::warn!(member = self.name, "the group has fenced this member; joining again");
        tokio::time::sleep(Duration::from_millis(250 << count)).await;
        self.rejoins.push_back(now);
        Ok(self.join()?)
    }
}

impl Assignments {
    pub fn new(
        context: Arc<Context>,
        standings: watch::Sender<Standings>,
        drain_timeout: Duration,
        member: GroupMember,
    ) -> Self {
        Self { context, standings, owned: HashMap::new(), tasks: JoinSet::new(), drain_timeout, member }
    }

    /// Owns the partitions that the group assigns, until the process shuts down or an error ends
    /// the replayer.
    pub async fn run(mut self, mut membership: log::Membership, shutdown: Shutdown) -> Result<(), Error> {
        let result = loop {
            tokio::select! {
                () = shutdown.wait() => break Ok(()),
                event = membership.events.recv() => match event {
                    Some(event) => self.take_event(event),
                    None => match self.rejoin().await {
                        Ok(again) => membership = again,
                        Err(e) => break Err(e),
                    }
                },
                Some(joined) = self.tasks.join_next() => {
                    if let Some((partition, outcome)) = self.ended(joined) {
                        self.take_end(partition, outcome);
                    }
                }
            }
        };
        if let Err(e) = &result {
            tracing::error!("the replayer ends for good: {e}");
        }
        self.drain_all().await;
        // Only now may another member take the partitions.
        membership.leave(LEAVE_WITHIN).await;
        result
    }

    async fn drain_all(&mut self) {
        for owned in self.owned.values() {
            owned.orders.send_replace(Order::Drain);
        }
        let drained = tokio::time::timeout(self.drain_timeout, async {
            while let Some(joined) = self.tasks.join_next().await {
                if let Some((partition, outcome)) = self.ended(joined) {
                    tracing::info!(partition = partition.0, "ended: {outcome}");
                }
            }
        });
        if drained.await.is_err() {
            tracing::warn!("the partitions did not end in time; the next owner recovers them from the log");
            self.tasks.abort_all();
        }
    }

    async fn rejoin(&mut self) -> Result<log::Membership, Error> {
        let owned: Vec<Partition> = self.owned.keys().copied().collect();
        self.take_event(MembershipEvent::Lost(owned));
        self.member.join_again().await
    }

    fn take_event(&mut self, event: MembershipEvent) {
        match event {
            MembershipEvent::Assigned(partitions) => {
                for partition in partitions {
                    match self.owned.get_mut(&partition) {
                        Some(ending) => ending.is_wanted_again = true,
                        None => self.begin(partition, 0),
                    }
                }
            }
            MembershipEvent::Revoked { partitions, done } => {
                let waits: Vec<_> = partitions.iter().filter_map(|p| self.end(*p, Order::Drain)).collect();
                tokio::spawn(async move {
                    for wait in waits {
                        let _ = wait.await;
                    }
                    let _ = done.send(());
                });
            }
            MembershipEvent::Lost(partitions) => {
                for partition in partitions {
                    tracing::warn!(partition = partition.0, "lost: another process may own it");
                    let _ = self.end(partition, Order::Stop);
                }
            }
            MembershipEvent::Unowned(partitions) => standing::unowned(&self.standings, partitions),
        }
    }

    fn begin(&mut self, partition: Partition, failures: u32) {
        self.begin_after(partition, failures, Duration::from_millis(250 << failures.min(6)));
    }

    /// Begins an ownership after `pause`, or at once if there was no failure before.
    fn begin_after(&mut self, partition: Partition, failures: u32, pause: Duration) {
        let (orders, ordered) = watch::channel(Order::Continue);
        let (is_running, mut running) = watch::channel(false);
        standing::begin(&self.standings, partition);
        let all = self.standings.clone();
        tokio::spawn(async move {
            // If the ownership ends first, the sender is gone, and nothing is noted.
            if running.wait_for(|is| *is).await.is_ok() {
                standing::set(&all, partition, Some(Standing::Deciding));
            }
        });
        let context = Arc::clone(&self.context);
        let task = self.tasks.spawn(async move {
            if failures > 0 {
                // The pause grows with each failure, because the store or the log may need time to
                // recover, or a newer owner may be the right one.
                let mut ordered = ordered.clone();
                let ended = ordered.wait_for(|order| *order != Order::Continue);
                if tokio::time::timeout(pause, ended).await.is_ok() {
                    return (partition, Outcome::Stopped);
                }
            }
            let purpose = Purpose::Decide { is_retry: failures > 0 };
            (partition, ownership::run(context, partition, purpose, ordered, is_running).await)
        });
        let owned = Owned { orders, task: task.id(), ended: Vec::new(), failures, is_wanted_again: false };
        self.owned.insert(partition, owned);
    }

    /// Gives an ownership the order to end. The receiver is notified when it is over. `None`: this
    /// process does not own the partition.
    fn end(&mut self, partition: Partition, order: Order) -> Option<oneshot::Receiver<()>> {
        let owned = self.owned.get_mut(&partition)?;
        let (ended, wait) = oneshot::channel();
        owned.ended.push(ended);
        owned.orders.send_replace(order);
        owned.is_wanted_again = false;
        Some(wait)
    }

    /// Returns the partition and the outcome of an ownership whose task has ended. A panic of the
    /// task is an outcome, too, so that it is logged and the partition is taken up again.
    fn ended(&self, joined: Result<(Partition, Outcome), JoinError>) -> Option<(Partition, Outcome)> {
        match joined {
            Ok(ended) => Some(ended),
            Err(e) => {
                let (partition, _) = self.owned.iter().find(|(_, owned)| owned.task == e.id())?;
                Some((*partition, Outcome::Panicked(e.to_string())))
            }
        }
    }

    /// Reacts to the end of an ownership. If the end was ordered, nothing follows. Otherwise
    /// another ownership begins after a pause. Only this partition is without an owner until then.
    fn take_end(&mut self, partition: Partition, outcome: Outcome) {
        let Some(owned) = self.owned.remove(&partition) else { return };
        let was_running = self.standings.borrow().is_deciding(partition);
        if *owned.orders.borrow() != Order::Continue {
            tracing::info!(partition = partition.0, "ended: {outcome}");
            standing::set(&self.standings, partition, None);
            for ended in owned.ended {
                let _ = ended.send(());
            }
            if owned.is_wanted_again {
                self.begin(partition, 0);
            }
            return;
        }
        metrics::ended(outcome.name());
        if let Some(reason) = self.needs_operator(partition, &outcome) {
            return self.wait_for_operator(partition, owned.failures + 1, reason);
        }
        let failures = match outcome {
            // The index is older than the log, or another owner was faster. The next claim goes
            // above the epoch of the valid owner. If that does not help, another owner keeps
            // claiming.
            Outcome::Core(End::FenceInvalid { .. } | End::HistoryTooOld { .. }) if owned.failures == 0 => 1,
            // Another owner has claimed the partition: two owners that claim in turn would fence
            // each other again and again. During the pause, the group can revoke the partition from
            // the wrong one.
            Outcome::Core(End::Replaced { .. } | End::FenceInvalid { .. } | End::Index { .. }) => {
                FAILURES_OF_THE_REPLACED.max(owned.failures + 1)
            }
            _ if was_running => 1,
            _ => owned.failures + 1,
        };
        match &outcome {
            // Records of this owner may stand in the log that no reader counts.
            Outcome::Core(End::Replaced { .. } | End::FenceInvalid { .. } | End::NotCounted { .. }) => {
                tracing::error!(partition = partition.0, "the ownership ended: {outcome}; taking it up again");
            }
            _ => tracing::warn!(partition = partition.0, "the ownership ended: {outcome}; taking it up again"),
        }
        standing::set(&self.standings, partition, Some(failed(outcome.to_string(), false)));
        self.begin(partition, failures);
    }

    /// Begins the next ownership of a partition that only an operator can mend. The pause grows to
    /// a minute, because each ownership appends a fence.
    fn wait_for_operator(&mut self, partition: Partition, failures: u32, reason: String) {
        let pause = Duration::from_secs(1 << failures.min(6));
        tracing::error!(partition = partition.0, "no owner decides: {reason}; trying again in {pause:?}");
        standing::set(&self.standings, partition, Some(failed(reason, true)));
        self.begin_after(partition, failures, pause);
    }

    /// The reason why an operator must act before an ownership of the partition can succeed; `None`
    /// if a later ownership may succeed by itself.
    fn needs_operator(&self, partition: Partition, outcome: &Outcome) -> Option<String> {
        match outcome {
            Outcome::Core(End::OutOfRange(range)) => Some(self.retention(partition, *range).to_string()),
            Outcome::Core(
                end @ (End::Unreadable { .. }
                | End::ImpossibleMark { .. }
                | End::AnotherWorld { .. }
                | End::IndexTooOld { .. }),
            ) => Some(end.to_string()),
            Outcome::Stranger(_) | Outcome::LossUnnamed => Some(outcome.to_string()),
            Outcome::Index(e @ (index::Error::EpochTooHigh(_) | index::Error::Damaged { .. })) => Some(e.to_string()),
            _ => None,
        }
    }

    /// The error for a partition whose log lacks records that an ownership needs, if no operator
    /// accepts the loss.
    fn retention(&self, partition: Partition, range: OutOfRange) -> Unrecoverable {
        let OutOfRange { stream, wanted, low, high } = range;
        let topics = self.context.world.topics();
        let topic = match stream {
            Stream::Commands => &topics.commands,
            Stream::Updates | Stream::History | Stream::ReadBack => &topics.updates,
        };
        let source = ReadError::OutOfRange { topic: Arc::clone(topic), partition, wanted, low, high };
        Unrecoverable { source }
    }
}

fn failed(reason: String, needs_operator: bool) -> Standing {
    Standing::Failed { reason, needs_operator }
}

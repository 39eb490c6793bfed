//! Claims about groups, which assign partitions to their members.

use crate::Subject;
use crate::harness::{soon, topic, unique};
use driftless_log::{Log, Membership, MembershipEvent};
use driftless_schemas::Partition;
use std::collections::BTreeSet;
use tokio::sync::oneshot;

/// A member of a group, with the partitions that it owns according to its events.
struct Member {
    membership: Membership,
    owned: BTreeSet<i32>,
    name: &'static str,
}

impl Member {
    fn join(log: &dyn Log, group: &str, topic: &str, name: &'static str) -> Self {
        let membership = log.join(group, topic, &format!("{group}.{name}")).expect("the group can be joined");
        Self { membership, owned: BTreeSet::new(), name }
    }

    /// Waits for one event and applies it. If the event revokes partitions, they are removed from
    /// `owned` and returned, with the channel by which the member reports that it is done.
    async fn turn(&mut self) -> Option<(BTreeSet<i32>, oneshot::Sender<()>)> {
        let event = self.membership.events.recv().await.expect("the membership does not end");
        self.take(event)
    }

    fn take(&mut self, event: MembershipEvent) -> Option<(BTreeSet<i32>, oneshot::Sender<()>)> {
        let numbers = |partitions: Vec<Partition>| partitions.into_iter().map(|p| p.0).collect::<BTreeSet<i32>>();
        match event {
            MembershipEvent::Assigned(partitions) => {
                for partition in numbers(partitions) {
                    assert!(self.owned.insert(partition), "{}: {partition} was assigned twice", self.name);
                }
                None
            }
            MembershipEvent::Revoked { partitions, done } => {
                let partitions = numbers(partitions);
                for partition in &partitions {
                    assert!(self.owned.remove(partition), "{}: {partition} was not owned", self.name);
                }
                Some((partitions, done))
            }
            MembershipEvent::Lost(partitions) => panic!("{} lost partitions unexpectedly: {partitions:?}", self.name),
            // On a busy machine a hand-over may take long enough to be reported.
            MembershipEvent::Unowned(_) => None,
        }
    }

    /// Asserts that no event of this member is queued. Before the call, the caller waits until the
    /// coordinator has done other work, for example formed another group. A wrong event would have
    /// been sent by then. This wait is necessary because no later event of this member could serve
    /// as a marker.
    fn assert_undisturbed(&mut self) {
        let mut queued = std::iter::from_fn(|| self.membership.events.try_recv().ok());
        if let Some(event) = queued.find(|event| !matches!(event, MembershipEvent::Unowned(_))) {
            panic!("{}: the membership should not change, but this event came: {event:?}", self.name);
        }
    }

    async fn until_owned(&mut self, count: usize) {
        let what = format!("{} gets {count} partitions", self.name);
        soon(&what, async {
            while self.owned.len() != count {
                if let Some((_, done)) = self.turn().await {
                    let _ = done.send(());
                }
            }
        })
        .await;
    }
}

pub async fn the_only_member_gets_every_partition(subject: &dyn Subject) {
    let log = subject.log();
    let topic = topic(subject, 7).await;
    let mut one = Member::join(&*log, &unique("group"), &topic, "one");
    one.until_owned(7).await;
    assert_eq!(one.owned, (0..7).collect());
    // A member of another group takes no partition from this one.
    let mut other = Member::join(&*log, &unique("group"), &topic, "one");
    other.until_owned(7).await;
    one.assert_undisturbed();
}

/// Waits until the coordinator has formed a new group. Tests use this as a measure of time that
/// does not depend on the speed of the machine.
async fn form_another_group(log: &dyn Log, topic: &str) {
    Member::join(log, &unique("group"), topic, "bystander").until_owned(4).await;
}

pub async fn members_share_without_overlap_and_leaving_gives_back(subject: &dyn Subject) {
    let log = subject.log();
    let (group, topic) = (unique("group"), topic(subject, 9).await);
    let mut one = Member::join(&*log, &group, &topic, "one");
    one.until_owned(9).await;
    let mut two = Member::join(&*log, &group, &topic, "two");
    // The two members never own the same partition, whichever of them gets its event first.
    soon("both members own their share", async {
        while one.owned.len() + two.owned.len() != 9 || two.owned.len() < 4 {
            let (is_one, revoked) = tokio::select! {
                revoked = one.turn() => (true, revoked),
                revoked = two.turn() => (false, revoked),
            };
            if let Some((partitions, done)) = revoked {
                let other = if is_one { &two.owned } else { &one.owned };
                assert!(other.is_disjoint(&partitions), "{partitions:?} were given away before they were released");
                let _ = done.send(());
            }
            assert!(one.owned.is_disjoint(&two.owned), "{:?} and {:?}", one.owned, two.owned);
        }
    })
    .await;
    assert!((4..=5).contains(&one.owned.len()), "not shared evenly: {:?} and {:?}", one.owned, two.owned);
    let kept = one.owned.clone();
    drop(two);
    one.until_owned(9).await;
    assert!(kept.is_subset(&one.owned), "of {kept:?} only {:?} are still owned", one.owned);
}

pub async fn a_revoked_partition_has_no_owner_until_done(subject: &dyn Subject) {
    let log = subject.log();
    let (group, topic) = (unique("group"), topic(subject, 4).await);
    let mut one = Member::join(&*log, &group, &topic, "one");
    one.until_owned(4).await;
    let mut two = Member::join(&*log, &group, &topic, "two");
    let (partitions, done) = soon("the first member's revocation", async {
        loop {
            if let Some(revoked) = one.turn().await {
                return revoked;
            }
        }
    })
    .await;
    assert_eq!(partitions.len(), 2);
    form_another_group(&*log, &topic).await;
    while let Ok(event) = two.membership.events.try_recv() {
        two.take(event);
        assert!(two.owned.is_empty(), "{:?} was given away before it was done", two.owned);
    }
    drop(done);
    two.until_owned(2).await;
    assert_eq!(two.owned, partitions, "the other member gets exactly the released partitions");
}

pub async fn a_member_that_joins_under_a_taken_name_replaces_the_older_one(subject: &dyn Subject) {
    let log = subject.log();
    let (group, topic) = (unique("group"), topic(subject, 4).await);
    let mut older = Member::join(&*log, &group, &topic, "one");
    older.until_owned(4).await;
    let mut newer = Member::join(&*log, &group, &topic, "one");
    newer.until_owned(4).await;
    let mut lost = BTreeSet::new();
    soon("the older membership ends", async {
        while let Some(event) = older.membership.events.recv().await {
            match event {
                MembershipEvent::Lost(partitions) => lost.extend(partitions.into_iter().map(|p| p.0)),
                MembershipEvent::Unowned(_) => {}
                other => panic!("only a loss was expected, this came: {other:?}"),
            }
        }
    })
    .await;
    assert_eq!(lost, (0..4).collect(), "the older member learns that all its partitions are lost");
    drop(older);
    form_another_group(&*log, &topic).await;
    newer.assert_undisturbed();
}

//! The partitions that a consumer group has given to none of its members.
//!
//! A static member that returns within its session time-out gets its old assignment back without a
//! rebalance (KIP-345). If it was killed in the middle of a cooperative hand-over, after it had
//! released partitions and before the rebalance that gives them to others, that rebalance never
//! comes. The partitions then have no owner, and no member is told. Each member therefore asks the
//! coordinator for all assignments, and the member with the fewest partitions leaves and joins
//! again, which makes the group rebalance.

use bytes::Buf;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The interval between two questions while the group may be changing.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long after an assignment the group may be changing.
const UNSETTLED: Duration = Duration::from_secs(20);
/// The interval between two questions at other times, and after a question without an answer. An
/// answer lists all groups of the cluster.
const SETTLED_INTERVAL: Duration = Duration::from_secs(30);
/// How long partitions have no owner before that is reported. A planned hand-over is shorter.
const REPORTED_AFTER: Duration = Duration::from_secs(2);
/// How long partitions have no owner before a member joins again, and then the pause before it does
/// so once more.
const JOINED_AGAIN_AFTER: Duration = Duration::from_secs(4);
/// The time limit for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The assignments of a group, as far as they matter here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assigned {
    /// The partitions that no member has.
    pub unowned: BTreeSet<i32>,
    /// The least number of partitions that a member has.
    pub fewest: usize,
}

/// Asks the group's coordinator which partitions of the topic have no owner. `None`: the group is
/// changing, or a member's assignment cannot be read.
pub(super) fn ask<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    group: &str,
    topic: &str,
) -> Result<Option<Assigned>, KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER_WITHIN)?;
    let known = metadata.topics().iter().find(|known| known.name() == topic);
    let all: BTreeSet<i32> = known.into_iter().flat_map(|known| known.partitions()).map(|p| p.id()).collect();
    let groups = consumer.fetch_group_list(Some(group), ANSWER_WITHIN)?;
    let Some(group) = groups.groups().iter().find(|found| found.name() == group && found.state() == "Stable") else {
        return Ok(None);
    };
    let owned: Option<Vec<_>> = group.members().iter().map(|m| partitions(m.assignment(), topic)).collect();
    Ok(owned.map(|owned| compare(all, &owned)))
}

fn compare(mut all: BTreeSet<i32>, owned: &[BTreeSet<i32>]) -> Assigned {
    all.retain(|partition| !owned.iter().any(|owned| owned.contains(partition)));
    Assigned { unowned: all, fewest: owned.iter().map(BTreeSet::len).min().unwrap_or(0) }
}

/// The partitions of a topic in a member's assignment: a version (2 bytes), a count (4 bytes) of
/// topics, and of each topic its name (2 bytes of length first), a count (4 bytes) and as many
/// partitions (4 bytes each), all in network byte order. `None` if the bytes are something else.
/// Source: `ConsumerProtocolAssignment.json` of Apache Kafka.
fn partitions(assignment: Option<&[u8]>, topic: &str) -> Option<BTreeSet<i32>> {
    let mut bytes = assignment.unwrap_or_default();
    let mut found = BTreeSet::new();
    if bytes.is_empty() {
        return Some(found);
    }
    bytes.try_get_i16().ok()?;
    for _ in 0..bytes.try_get_i32().ok()? {
        let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
        let (name, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        for _ in 0..bytes.try_get_i32().ok()? {
            let partition = bytes.try_get_i32().ok()?;
            if name == topic.as_bytes() {
                found.insert(partition);
            }
        }
    }
    Some(found)
}

/// The next step of a member because of partitions without an owner.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// Tell the service which partitions have no owner now.
    Report(BTreeSet<i32>),
    /// Leave the group and join it again.
    JoinAgain,
}

/// When to ask, and what follows from the answers.
pub(super) struct Watch {
    assigned_at: Instant,
    asked_at: Instant,
    was_answered: bool,
    /// Since when partitions have no owner, or since the member has joined again because of that.
    since: Option<Instant>,
    reported: BTreeSet<i32>,
}

impl Watch {
    pub fn new(now: Instant) -> Self {
        Self { assigned_at: now, asked_at: now, was_answered: true, since: None, reported: BTreeSet::new() }
    }

    /// Notes that the group has given an assignment to this member.
    pub fn assigned(&mut self, now: Instant) {
        self.assigned_at = now;
    }

    pub fn must_ask(&self, now: Instant) -> bool {
        let is_unsettled = self.since.is_some() || now.duration_since(self.assigned_at) < UNSETTLED;
        let interval = if is_unsettled && self.was_answered { INTERVAL } else { SETTLED_INTERVAL };
        now.duration_since(self.asked_at) >= interval
    }

    /// Takes an answer. `owned` is the number of partitions that this member has.
    pub fn answer(&mut self, assigned: Option<Assigned>, owned: usize, now: Instant) -> Step {
        (self.asked_at, self.was_answered) = (now, true);
        let Some(Assigned { unowned, fewest }) = assigned else { return Step::Nothing };
        if unowned.is_empty() {
            self.since = None;
            return self.report(unowned);
        }
        let unowned_for = now.duration_since(*self.since.get_or_insert(now));
        if unowned_for >= REPORTED_AFTER && unowned != self.reported {
            return self.report(unowned);
        }
        if unowned_for >= JOINED_AGAIN_AFTER && owned <= fewest {
            self.since = Some(now);
            return Step::JoinAgain;
        }
        Step::Nothing
    }

    /// Notes that no broker has answered.
    pub fn no_answer(&mut self, now: Instant) {
        (self.asked_at, self.was_answered) = (now, false);
    }

    fn report(&mut self, unowned: BTreeSet<i32>) -> Step {
        if unowned == self.reported {
            return Step::Nothing;
        }
        self.reported.clone_from(&unowned);
        Step::Report(unowned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(partitions: &[i32]) -> BTreeSet<i32> {
        partitions.iter().copied().collect()
    }

    #[test]
    fn an_assignment_is_read_and_everything_else_is_refused() {
        let bytes = b"\x00\x01\x00\x00\x00\x02\x00\x01t\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03\
                      \x00\x02tt\x00\x00\x00\x01\x00\x00\x00\x07\xff\xff\xff\xff";
        assert_eq!(partitions(Some(bytes), "t"), Some(set(&[0, 3])));
        assert_eq!(partitions(Some(bytes), "tt"), Some(set(&[7])));
        assert_eq!(partitions(None, "t"), Some(set(&[])), "a member without partitions");
        for length in 1..bytes.len() - 4 {
            assert_eq!(partitions(Some(&bytes[..length]), "t"), None, "{length} bytes");
        }
        assert_eq!(partitions(Some(b"\x00\x01\x00\x00\x00\x01\xff\xff"), "t"), None, "a negative length");
    }

    #[test]
    fn partitions_that_no_member_has_are_found() {
        let owned = [set(&[4, 5]), set(&[]), set(&[7])];
        assert_eq!(compare((4..8).collect(), &owned), Assigned { unowned: set(&[6]), fewest: 0 });
    }

    #[test]
    fn partitions_without_an_owner_are_reported_and_then_the_member_with_the_fewest_joins_again() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let answer = |unowned: &[i32]| Some(Assigned { unowned: set(unowned), fewest: 1 });
        let mut watch = Watch::new(begun);
        assert!(!watch.must_ask(begun) && watch.must_ask(at(1)));
        assert_eq!(watch.answer(answer(&[]), 1, at(1)), Step::Nothing);
        assert_eq!(watch.answer(answer(&[3]), 1, at(2)), Step::Nothing, "a planned hand-over");
        assert_eq!(watch.answer(None, 1, at(3)), Step::Nothing, "the group is changing");
        assert_eq!(watch.answer(answer(&[3]), 1, at(4)), Step::Report(set(&[3])));
        assert_eq!(watch.answer(answer(&[3]), 2, at(6)), Step::Nothing, "another member has fewer partitions");
        assert_eq!(watch.answer(answer(&[3]), 1, at(7)), Step::JoinAgain);
        assert_eq!(watch.answer(answer(&[3]), 1, at(8)), Step::Nothing, "it has just joined");
        assert_eq!(watch.answer(answer(&[3]), 1, at(11)), Step::JoinAgain);
        assert_eq!(watch.answer(answer(&[]), 1, at(12)), Step::Report(set(&[])));

        watch.answer(answer(&[]), 1, at(40));
        assert!(!watch.must_ask(at(69)) && watch.must_ask(at(70)), "a settled group is rarely asked");
        watch.assigned(at(70));
        watch.no_answer(at(71));
        assert!(!watch.must_ask(at(73)), "a broker that does not answer is asked less often");
    }
}

//! The standing of each partition that the group has assigned to a replayer: whether the replayer
//! decides for it. Readiness and a gauge are made of it.

use driftless_schemas::Partition;
use metrics::gauge;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use tokio::sync::watch;

/// The most partitions that a readiness answer describes. It counts the others.
const DESCRIBED_MAX: usize = 8;

/// Whether this process decides for an assigned partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// An ownership has begun and does not decide yet.
    Recovering,
    /// An ownership decides commands.
    Deciding,
    /// The last ownership has failed. Another one begins later.
    Failed {
        /// Why it has failed, and what to do.
        reason: String,
        /// True if no later ownership can succeed before an operator has acted.
        needs_operator: bool,
    },
}

impl Standing {
    /// The value of the gauge's label `state`.
    fn name(&self) -> &'static str {
        match self {
            Self::Recovering => "recovering",
            Self::Deciding => "deciding",
            Self::Failed { .. } => "failed",
        }
    }
}

/// The standing of each partition that is assigned to this process, and the partitions that the
/// group has assigned to no process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standings {
    assigned: BTreeMap<Partition, Standing>,
    unowned: Vec<Partition>,
}

/// Notes that an ownership of the partition begins. A failure stays known until an ownership
/// decides.
pub(crate) fn begin(all: &watch::Sender<Standings>, partition: Partition) {
    change(all, |standings| {
        standings.entry(partition).or_insert(Standing::Recovering);
    });
}

/// Notes the standing of a partition, or that it is not assigned any more.
pub(crate) fn set(all: &watch::Sender<Standings>, partition: Partition, standing: Option<Standing>) {
    change(all, |standings| match standing {
        Some(standing) => drop(standings.insert(partition, standing)),
        None => drop(standings.remove(&partition)),
    });
}

/// Notes the partitions that the group has assigned to no process.
pub(crate) fn unowned(all: &watch::Sender<Standings>, partitions: Vec<Partition>) {
    // A count of partitions is far below 2^53, where f64 is exact.
    gauge!("driftless_replayer_partitions_unowned").set(partitions.len() as f64);
    all.send_modify(|standings| standings.unowned = partitions);
}

fn change(all: &watch::Sender<Standings>, change: impl FnOnce(&mut BTreeMap<Partition, Standing>)) {
    all.send_modify(|standings| {
        change(&mut standings.assigned);
        for state in ["recovering", "deciding", "failed"] {
            let count = standings.assigned.values().filter(|standing| standing.name() == state).count();
            // A count of partitions is far below 2^53, where f64 is exact.
            gauge!("driftless_replayer_partitions", "state" => state).set(count as f64);
        }
    });
}

impl Standings {
    /// True if an ownership of the partition decides.
    pub fn is_deciding(&self, partition: Partition) -> bool {
        self.assigned.get(&partition) == Some(&Standing::Deciding)
    }

    /// True if at least `count` partitions are assigned and this process decides for all of them.
    pub fn are_all_deciding(&self, count: usize) -> bool {
        self.assigned.len() >= count && self.assigned.values().all(|standing| *standing == Standing::Deciding)
    }

    /// The first failure that only an operator can mend.
    pub fn needs_operator(&self) -> Option<&str> {
        self.assigned.values().find_map(|standing| match standing {
            Standing::Failed { reason, needs_operator: true } => Some(reason.as_str()),
            _ => None,
        })
    }

    /// Succeeds if this process decides for all partitions that are assigned to it, and the group
    /// has an owner for every partition.
    ///
    /// # Errors
    /// The partitions for which it does not decide, each with the reason, and the partitions for
    /// which no process decides.
    pub fn readiness(&self) -> Result<(), String> {
        let waiting = |(partition, standing): (&Partition, &Standing)| match standing {
            Standing::Deciding => None,
            Standing::Recovering => Some((*partition, "is being recovered".to_owned())),
            Standing::Failed { reason, .. } => Some((*partition, reason.clone())),
        };
        let waiting: Vec<_> = self.assigned.iter().filter_map(waiting).collect();
        let unowned =
            || self.unowned.iter().map(|p| p.0.to_string()).take(DESCRIBED_MAX).collect::<Vec<_>>().join(", ");
        if waiting.is_empty() {
            return match self.unowned.len() {
                0 => Ok(()),
                count => Err(format!(
                    "{count} partitions have no owner: the group has assigned {} to no replayer, and one of the replayers \
                     joins again to change that",
                    unowned()
                )),
            };
        }
        let mut said = format!("{} of {} partitions do not decide", waiting.len(), self.assigned.len());
        for (partition, reason) in waiting.iter().take(DESCRIBED_MAX) {
            let _ = write!(said, "; partition {partition}: {reason}");
        }
        if let Some(more) = waiting.len().checked_sub(DESCRIBED_MAX).filter(|more| *more > 0) {
            let _ = write!(said, "; and {more} more");
        }
        Err(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_the_partitions_that_do_not_decide() {
        let (all, now) = watch::channel(Standings::default());
        let readiness = || now.borrow().readiness();
        assert_eq!(readiness(), Ok(()), "nothing is assigned");
        (0..20).for_each(|p| begin(&all, Partition(p)));
        let said = readiness().unwrap_err();
        assert!(said.starts_with("20 of 20 partitions do not decide; partition 0: is being recovered"), "{said}");
        assert!(said.ends_with("; and 12 more"), "{said}");
        (0..20).for_each(|p| set(&all, Partition(p), Some(Standing::Deciding)));
        assert!(readiness().is_ok() && now.borrow().are_all_deciding(20));

        let failed = Standing::Failed { reason: "the log was cut".into(), needs_operator: true };
        set(&all, Partition(3), Some(failed));
        begin(&all, Partition(3));
        assert_eq!(readiness().unwrap_err(), "1 of 20 partitions do not decide; partition 3: the log was cut");
        assert_eq!(now.borrow().needs_operator(), Some("the log was cut"));
        set(&all, Partition(3), None);
        assert!(readiness().is_ok() && !now.borrow().are_all_deciding(20));

        unowned(&all, vec![Partition(3), Partition(7)]);
        let said = readiness().unwrap_err();
        assert!(said.starts_with("2 partitions have no owner: the group has assigned 3, 7 to no replayer"), "{said}");
        unowned(&all, vec![]);
        assert!(readiness().is_ok());
    }
}

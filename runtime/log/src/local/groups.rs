//! Consumer groups whose members all run in one process. Partitions are spread evenly, stay with
//! their owners where possible, and never have two owners at once.
//!
//! A partition that moves is first revoked; the next member gets it once the old owner has sent or
//! dropped `done`. Dropping a membership releases its partitions at once; a partition that is being
//! revoked is released once its `done` is sent or dropped. As with Kafka's static members, a member
//! that joins under a taken name replaces the older one: the older member loses all partitions and
//! its event channel closes.

use super::super::{Error, Membership, MembershipEvent};
use driftless_schemas::Partition;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// All groups of a log.
#[derive(Clone, Default)]
pub(crate) struct Groups {
    by_name: Arc<Mutex<HashMap<(String, String), Group>>>,
}

#[derive(Default)]
struct Group {
    /// The number of shared partitions, including those that are moving between two members.
    total: usize,
    members: Vec<Member>,
    /// Partitions without an owner, ready to be assigned.
    free: BTreeSet<i32>,
    next_id: u64,
}

struct Member {
    id: u64,
    name: String,
    owned: BTreeSet<i32>,
    events: mpsc::UnboundedSender<MembershipEvent>,
}

impl Groups {
    /// Joins `group`, which shares `partitions` partitions of `topic`.
    pub(crate) fn join(&self, group: &str, topic: &str, partitions: i32, member: &str) -> Result<Membership, Error> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| Error::Settings("a group can only be joined from within a tokio runtime".into()))?;
        let key = (group.to_owned(), topic.to_owned());
        let (events, receiver) = mpsc::unbounded_channel();
        let id = {
            let mut by_name = self.lock();
            let group = by_name.entry(key.clone()).or_insert_with(|| Group {
                total: usize::try_from(partitions).unwrap_or_default(),
                free: (0..partitions).collect(),
                ..Group::default()
            });
            if let Some(older) = group.members.iter().position(|other| other.name == member) {
                let older = group.members.remove(older);
                let lost = older.owned.iter().copied().map(Partition).collect::<Vec<_>>();
                group.free.extend(older.owned);
                if !lost.is_empty() {
                    // The send fails if the older member has dropped its receiver. That member has
                    // then stopped its work already.
                    let _ = older.events.send(MembershipEvent::Lost(lost));
                }
            }
            group.next_id += 1;
            let id = group.next_id;
            group.members.push(Member { id, name: member.to_owned(), owned: BTreeSet::new(), events });
            id
        };
        let guard = MembershipGuard { groups: self.clone(), key, id, runtime };
        self.balance(&guard.key, &guard.runtime);
        Ok(Membership { events: receiver, guard: Box::new(guard) })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Group>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Revokes the partitions that members have above their shares, and assigns the free
    /// partitions.
    fn balance(&self, key: &(String, String), runtime: &tokio::runtime::Handle) {
        let revoked = match self.lock().get_mut(key) {
            Some(group) => group.balance(),
            None => return,
        };
        for (partitions, done) in revoked {
            let (groups, key, again) = (self.clone(), key.clone(), runtime.clone());
            runtime.spawn(async move {
                // Dropping `done` counts as sending it.
                let _ = done.await;
                if let Some(group) = groups.lock().get_mut(&key) {
                    group.free.extend(partitions);
                }
                groups.balance(&key, &again);
            });
        }
    }
}

impl Group {
    fn balance(&mut self) -> Vec<(Vec<i32>, oneshot::Receiver<()>)> {
        if self.members.is_empty() {
            return Vec::new();
        }
        let (share, extra) = (self.total / self.members.len(), self.total % self.members.len());
        // If the partitions cannot be divided evenly, the members with the most partitions get one
        // more than the others, because then the fewest partitions move.
        let mut order: Vec<usize> = (0..self.members.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(self.members[index].owned.len()));

        let mut revoked = Vec::new();
        for (rank, &index) in order.iter().enumerate() {
            let quota = share + usize::from(rank < extra);
            let member = &mut self.members[index];
            let mut goes = Vec::new();
            while member.owned.len() > quota
                && let Some(partition) = member.owned.pop_last()
            {
                goes.push(partition);
            }
            if !goes.is_empty() {
                goes.reverse();
                let (done, wait) = oneshot::channel();
                let partitions = goes.iter().copied().map(Partition).collect();
                let _ = member.events.send(MembershipEvent::Revoked { partitions, done });
                revoked.push((goes, wait));
            }
        }
        for (rank, &index) in order.iter().enumerate() {
            let quota = share + usize::from(rank < extra);
            let member = &mut self.members[index];
            let mut comes = Vec::new();
            while member.owned.len() < quota
                && let Some(partition) = self.free.pop_first()
            {
                member.owned.insert(partition);
                comes.push(Partition(partition));
            }
            if !comes.is_empty() {
                let _ = member.events.send(MembershipEvent::Assigned(comes));
            }
        }
        revoked
    }
}

/// Removes the member from its group when dropped.
struct MembershipGuard {
    groups: Groups,
    key: (String, String),
    id: u64,
    runtime: tokio::runtime::Handle,
}

impl Drop for MembershipGuard {
    fn drop(&mut self) {
        if let Some(group) = self.groups.lock().get_mut(&self.key)
            && let Some(index) = group.members.iter().position(|member| member.id == self.id)
        {
            let member = group.members.remove(index);
            group.free.extend(member.owned);
        }
        self.groups.balance(&self.key, &self.runtime);
    }
}

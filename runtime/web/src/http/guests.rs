//! The connections that have not said yet for which user they are, so that a server whose places
//! are all taken can close one of them for a newcomer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// The unauthenticated connections of a server. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Guests(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    /// The connections of each address. The ids of newer connections are higher.
    of: BTreeMap<IpAddr, BTreeMap<u64, Arc<Notify>>>,
    /// The addresses by their numbers of connections.
    by_count: BTreeSet<(usize, IpAddr)>,
}

/// A connection in the list, until this is dropped.
#[derive(Debug)]
pub(super) struct Guest {
    guests: Guests,
    address: IpAddr,
    id: u64,
    leave: Arc<Notify>,
}

impl Guests {
    /// Adds a connection of this address.
    pub fn add(&self, address: IpAddr) -> Guest {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, leave) = (state.next_id, Arc::<Notify>::default());
        state.next_id += 1;
        state.change(address, |connections| drop(connections.insert(id, Arc::clone(&leave))));
        Guest { guests: self.clone(), address, id, leave }
    }

    /// Tells one connection to close: the newest of the address that has the most. Returns its
    /// address, or `None` if the list is empty.
    pub fn shed(&self) -> Option<IpAddr> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, address) = *state.by_count.last()?;
        state.change(address, |connections| {
            if let Some((_, leave)) = connections.pop_last() {
                leave.notify_one();
            }
        });
        Some(address)
    }
}

impl Guest {
    /// The signal that tells the connection to close.
    pub fn leave(&self) -> Arc<Notify> {
        Arc::clone(&self.leave)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut state = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.change(self.address, |connections| drop(connections.remove(&self.id)));
    }
}

impl State {
    /// Changes the connections of an address, and its place among the counts.
    fn change(&mut self, address: IpAddr, change: impl FnOnce(&mut BTreeMap<u64, Arc<Notify>>)) {
        let connections = self.of.entry(address).or_default();
        self.by_count.remove(&(connections.len(), address));
        change(connections);
        match connections.len() {
            0 => drop(self.of.remove(&address)),
            count => drop(self.by_count.insert((count, address))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn the_newest_connection_of_the_address_with_the_most_makes_room() {
        let (guests, ann, mallory) = (Guests::default(), IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        assert_eq!(guests.shed(), None);
        let honest = guests.add(ann);
        let flood: Vec<Guest> = (0..3).map(|_| guests.add(mallory)).collect();
        let newest = guests.add(ann);
        let is_told = |guest: &Guest| guest.leave().notified().now_or_never().is_some();
        assert_eq!(guests.shed(), Some(mallory));
        assert_eq!(flood.iter().map(is_told).collect::<Vec<_>>(), [false, false, true]);
        drop(newest);
        assert_eq!((guests.shed(), guests.shed()), (Some(mallory), Some(mallory)));
        assert!(!is_told(&honest), "others go first");
        assert_eq!((guests.shed(), guests.shed()), (Some(ann), None));
        drop((flood, honest));
        let state = guests.0.lock().unwrap();
        assert!(state.of.is_empty() && state.by_count.is_empty(), "{state:?}");
    }
}

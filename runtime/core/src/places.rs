//! Counts and limits the open connections of each holder. A holder is a user or an address.
//!
//! A [`Place`] represents one connection in its holder's count. Dropping the place lowers the
//! count, so the count is correct however the connection ended. A holder without connections takes
//! no memory.

use crate::defences::Defence;
use driftless_schemas::access::Claims;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The counts of all holders. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Places<K: Ord>(Arc<Mutex<BTreeMap<K, usize>>>);

/// A connection in the count of its holder. Dropping the place lowers the count.
#[derive(Debug)]
pub struct Place<K: Ord> {
    places: Places<K>,
    holder: K,
}

/// Counts and limits the connections of each user. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Users {
    /// The limit on the open connections of each user; 0 means no limit.
    pub connections_per_user: usize,
    /// Limits on the open connections of users with a role. The greatest limit among
    /// `connections_per_user` and the user's roles applies; 0 means no limit.
    pub connections_of_role: BTreeMap<String, usize>,
    places: Places<String>,
}

/// The address by which a client is counted. A client with one IPv6 address usually has its whole
/// /64.
#[must_use]
pub fn counted(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & !u128::from(u64::MAX)).into()),
        ip => ip,
    }
}

/// A holder has reached its limit of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} connections are open already, which is the limit: close one first")]
pub struct TooMany(pub usize);

impl Users {
    /// Creates counts of zero with these limits.
    #[must_use]
    pub fn new(connections_per_user: usize, connections_of_role: BTreeMap<String, usize>) -> Self {
        Self { connections_per_user, connections_of_role, places: Places::default() }
    }

    /// Returns the limit on this user's connections; 0 means no limit.
    #[must_use]
    pub fn max_of(&self, claims: &Claims) -> usize {
        let of_roles = claims.access.roles.iter().filter_map(|role| self.connections_of_role.get(role).copied());
        let any_is_most = |max: &usize| max.wrapping_sub(1);
        if !Defence::UserConnections.is_on() {
            return 0;
        }
        of_roles.chain([self.connections_per_user]).max_by_key(any_is_most).unwrap_or(0)
    }

    /// Takes a place for one more connection of this user.
    ///
    /// # Errors
    /// [`TooMany`] if the user has reached its limit.
    pub fn take(&self, claims: &Claims) -> Result<Place<String>, TooMany> {
        self.places.take(&claims.sub, self.max_of(claims))
    }
}

impl<K: Ord> Default for Places<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Ord + Clone> Places<K> {
    /// Takes a place for one more connection of `holder`, whose limit is `max`; 0 means no limit.
    ///
    /// # Errors
    /// [`TooMany`] if the holder has `max` places already. No place is taken then.
    pub fn take(&self, holder: &K, max: usize) -> Result<Place<K>, TooMany> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(holder) {
            Some(count) if *count >= max && max > 0 => return Err(TooMany(max)),
            Some(count) => *count += 1,
            None => drop(counts.insert(holder.clone(), 1)),
        }
        Ok(Place { places: self.clone(), holder: holder.clone() })
    }
}

impl<K: Ord> Places<K> {
    fn give_back(&self, holder: &K) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(holder) {
            *count -= 1;
            if *count == 0 {
                counts.remove(holder);
            }
        }
    }
}

impl<K: Ord> Drop for Place<K> {
    fn drop(&mut self) {
        self.places.give_back(&self.holder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A holder has at most its limit of places, and the count of another holder is separate.
    #[test]
    fn a_holder_has_no_more_than_it_may_and_the_others_are_apart() {
        let places = Places::default();
        let (first, _second) = (places.take(&"ann", 2).unwrap(), places.take(&"ann", 2).unwrap());
        assert_eq!(places.take(&"ann", 2).unwrap_err(), TooMany(2));
        let _other = places.take(&"bob", 2).unwrap();
        drop(first);
        let _third = places.take(&"ann", 2).unwrap();
        assert!(places.take(&"ann", 2).is_err());
        assert!(places.take(&"ann", 0).is_ok() && places.take(&"ann", 4).is_ok(), "0 is any number");
    }

    /// A role may raise the limit of its users, and never lowers it.
    #[test]
    fn a_role_may_have_more_and_none_takes_anything_away() {
        let users = Users::new(2, [("service".to_owned(), 5), ("poor".to_owned(), 1), ("free".to_owned(), 0)].into());
        let max_of = |roles: &[&str]| {
            let roles = roles.iter().map(|&role| role.to_owned()).collect();
            let access = driftless_schemas::access::Access { roles, ..Default::default() };
            users.max_of(&Claims { sub: "bot".into(), jti: None, expires_at: 0, access, key: Default::default() })
        };
        assert_eq!((max_of(&[]), max_of(&["other", "poor"]), max_of(&["poor", "service"])), (2, 2, 5));
        assert_eq!(max_of(&["service", "free"]), 0, "any number");
    }

    /// A holder without places takes no memory.
    #[test]
    fn who_holds_nothing_is_not_remembered() {
        let places = Places::default();
        for user in 0..1000 {
            drop(places.take(&user, 1).unwrap());
        }
        assert!(places.0.lock().unwrap().is_empty());
    }
}

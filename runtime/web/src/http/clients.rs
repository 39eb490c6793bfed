//! The clients of a connection, and the limits of their addresses.
//!
//! A connection counts for one address: that of its peer, or of the client for which a proxy opened
//! it. Over a connection that a trusted proxy shares among its clients, each request and each
//! websocket counts for its own client instead, and the connection only among all connections.

use super::anonymous::Anonymous;
use super::guests::{Guest, Guests};
use super::{Problem, Response};
use crate::metrics;
use crate::proxy::Proxies;
use driftless_runtime_core::places::{Place, Places, counted};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use warp::http::{HeaderMap, StatusCode};

/// The time after which a client that has too many connections is told to try again.
const PLACE_RETRY_MS: u32 = 10_000;

/// The client's address, an extension of every request (`warp::ext::get`): that of the peer, or the
/// one that a trusted proxy names. The port is 0 if the proxy does not name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// A connection's slot in the count of all connections, and the slot of the connection, or of one
/// request of it, in the count of its client's address. The permit is an extension of every
/// request. A websocket keeps it as long as it is open.
#[derive(Clone, Debug)]
pub struct ConnectionPermit {
    connection: Arc<OwnedSemaphorePermit>,
    address: Arc<Mutex<Option<Slot>>>,
}

/// The slot of a connection in the counts of its address.
#[derive(Debug)]
struct Slot {
    _place: Place<IpAddr>,
    /// `None` if a proxy shares the connection among its clients.
    guest: Option<Guest>,
    /// The address that counts, and its rates.
    address: IpAddr,
    anonymous: Anonymous,
}

impl ConnectionPermit {
    fn new(connection: Arc<OwnedSemaphorePermit>, slot: Option<Slot>) -> Self {
        Self { connection, address: Arc::new(Mutex::new(slot)) }
    }

    /// Waits until the server wants to close this connection, because all its connections are taken
    /// and this one has not said for which user it is. Never returns for other connections.
    pub(crate) async fn must_leave(&self) {
        if let Some(leave) = self.leave() {
            leave.notified().await;
            if self.leave().is_some() {
                return;
            }
        }
        std::future::pending().await
    }

    /// Notes that the websocket with this permit has ended. If it never had a user, it counts for
    /// its address.
    pub(crate) fn websocket_ended(&self) {
        if let Some(slot) = &*self.address.lock().unwrap_or_else(PoisonError::into_inner) {
            slot.anonymous.charge_socket(&slot.address);
        }
    }

    fn leave(&self) -> Option<Arc<Notify>> {
        let slot = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        slot.as_ref()?.guest.as_ref().map(Guest::leave)
    }

    /// Releases the slot in the count of the address. A service calls this once the user is known,
    /// because the connection then counts for its user instead.
    pub fn release_address(&self) {
        drop(self.address.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// The counts and rates of the addresses of a server's clients. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    places: Places<IpAddr>,
    guests: Guests,
    anonymous: Anonymous,
}

impl Addresses {
    /// Takes a slot for one more connection of the client's address, whose limit is `max`; 0 is
    /// unlimited. Returns `None` if the address has reached the limit.
    fn admit(&self, client: SocketAddr, max: usize) -> Option<Place<IpAddr>> {
        self.places.take(&counted(client.ip()), max).ok()
    }

    /// Tells one unauthenticated connection to close, to make room for another one. Returns its
    /// address, or `None` if there is no such connection.
    pub fn shed(&self) -> Option<IpAddr> {
        self.guests.shed()
    }

    fn slot(&self, client: SocketAddr, place: Place<IpAddr>, guest: Option<Guest>) -> Slot {
        Slot { _place: place, guest, address: counted(client.ip()), anonymous: self.anonymous.clone() }
    }

    /// The rates of requests without a token.
    pub fn anonymous(&self) -> &Anonymous {
        &self.anonymous
    }
}

/// The clients of one connection.
#[derive(Debug)]
pub(super) struct Clients {
    /// The client, or the proxy that names the client of each request.
    pub peer: SocketAddr,
    pub permit: ConnectionPermit,
    is_shared: bool,
}

impl Clients {
    /// Creates the clients of a connection that counts for one client. Returns `None` if its
    /// address has `max` connections already.
    pub fn one(
        client: SocketAddr,
        connection: &Arc<OwnedSemaphorePermit>,
        addresses: &Addresses,
        max: usize,
    ) -> Option<Self> {
        let place = addresses.admit(client, max)?;
        let guest = Some(addresses.guests.add(counted(client.ip())));
        let slot = addresses.slot(client, place, guest);
        let permit = ConnectionPermit::new(Arc::clone(connection), Some(slot));
        Some(Self { peer: client, permit, is_shared: false })
    }

    /// Creates the clients of a connection of a trusted proxy, which names one in each request.
    pub fn of_proxy(proxy: SocketAddr, connection: &Arc<OwnedSemaphorePermit>) -> Self {
        Self { peer: proxy, permit: ConnectionPermit::new(Arc::clone(connection), None), is_shared: true }
    }

    /// Returns the client of a request, and the permit that it and its websocket hold.
    ///
    /// # Errors
    /// The response 429 if the client shares the connection, and its address has `max` requests and
    /// unauthenticated websockets already.
    pub fn of_request(
        &self,
        headers: &HeaderMap,
        proxies: &Proxies,
        addresses: &Addresses,
        max: usize,
    ) -> Result<(SocketAddr, ConnectionPermit), Box<Response>> {
        if !self.is_shared {
            return Ok((self.peer, self.permit.clone()));
        }
        let client = proxies.client_of_request(self.peer, headers);
        let Some(place) = addresses.admit(client, max) else {
            metrics::refused("address");
            tracing::debug!(%client, proxy = %self.peer, "refused a request: its address has reached the limit");
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_connections", TOO_MANY);
            return Err(Box::new(problem.with_retry_after_ms(PLACE_RETRY_MS).response()));
        };
        let slot = addresses.slot(client, place, None);
        Ok((client, ConnectionPermit::new(Arc::clone(&self.permit.connection), Some(slot))))
    }
}

/// The detail of the problem `too_many_connections`.
pub(super) const TOO_MANY: &str =
    "your address has reached the limit of unauthenticated connections (http.connections_per_address)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_counted_by_its_ipv4_address_or_by_its_64() {
        let counted = |client: &str| counted(client.parse::<SocketAddr>().unwrap().ip()).to_string();
        assert_eq!(counted("192.0.2.7:1"), "192.0.2.7");
        assert_eq!(counted("[::ffff:192.0.2.7]:1"), "192.0.2.7");
        assert_eq!(counted("[2001:db8:1:2:3:4:5:6]:1"), "2001:db8:1:2::");
    }
}

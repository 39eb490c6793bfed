//! The token of a request, and the address that sent it.

use super::{PeerAddr, Problem, token_of};
use driftless_auth::{Claims, Verifier};
use driftless_schemas::time::UnixMs;
use std::convert::Infallible;
use std::net::IpAddr;
use warp::Filter;
use warp::http::HeaderMap;

/// The token of a request, which is not verified yet, and the address that sent it.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The token; `None` if the request has none.
    pub token: Option<String>,
    /// The peer's address; `None` if the request did not arrive through [`super::serve`].
    pub peer: Option<IpAddr>,
}

impl Credentials {
    /// Verifies the token and returns its claims. The verifier logs a refused token.
    ///
    /// # Errors
    /// The problem for the response: the request has no token, or the token is refused.
    pub fn verify(&self, verifier: &Verifier, now: UnixMs) -> Result<Claims, Problem> {
        let token = self.token.as_deref().ok_or_else(Problem::no_token)?;
        verifier.at(self.peer).verify(token, now).map_err(|e| Problem::token(&e))
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token is a secret.
        write!(f, "Credentials(of {:?})", self.peer)
    }
}

/// Extracts the request's token from `Authorization: Bearer …`, or else from `?token=…`, for
/// browsers and links that cannot send headers.
pub fn credentials() -> impl Filter<Extract = (Credentials,), Error = Infallible> + Clone {
    warp::header::headers_cloned()
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(warp::ext::optional::<PeerAddr>())
        .map(|headers: HeaderMap, query: String, peer: Option<PeerAddr>| Credentials {
            token: token_of(&headers, &query),
            peer: peer.map(|PeerAddr(address)| address.ip()),
        })
}

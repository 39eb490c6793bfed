//! The verifier of one peer's tokens, as services use it: it logs each refusal.

use super::refusals::{claimed_sub, readable};
use super::{TokenError, Verifier};
use driftless_runtime_core::{Environment, TokenRefused};
use driftless_schemas::access::Claims;
use driftless_schemas::time::UnixMs;
use std::net::IpAddr;

/// Verifies the tokens of one peer, and logs those that are refused.
#[derive(Clone, Copy, Debug)]
pub struct PeerVerifier<'a> {
    verifier: &'a Verifier,
    peer: Option<IpAddr>,
}

impl Verifier {
    /// Returns a verifier for the tokens of the peer with this address; `None` if the address is
    /// not known.
    #[must_use]
    pub fn at(&self, peer: Option<IpAddr>) -> PeerVerifier<'_> {
        PeerVerifier { verifier: self, peer }
    }
}

impl PeerVerifier<'_> {
    /// Verifies a token as [`Verifier::verify`] does, and logs a refusal.
    ///
    /// # Errors
    /// [`TokenError`] names the first problem.
    pub fn verify(&self, token: &str, now: UnixMs) -> Result<Claims, TokenError> {
        self.verifier
            .verify(token, now)
            .inspect_err(|error| self.verifier.refusals().log(self.peer, || claimed_sub(token), error))
    }

    /// Checks a token again as [`Verifier::check_again`] does, and logs a refusal.
    ///
    /// # Errors
    /// [`TokenError::Denied`], [`TokenError::KeyRemoved`].
    pub fn check_again(&self, claims: &Claims) -> Result<(), TokenError> {
        self.verifier
            .check_again(claims)
            .inspect_err(|error| self.verifier.refusals().log(self.peer, || Some(readable(&claims.sub)), error))
    }
}

/// Sessions on a service's websockets verify tokens in this way, and get random bytes from the
/// operating system.
impl Environment for PeerVerifier<'_> {
    fn verify(&self, token: &str, now: UnixMs) -> Result<Claims, TokenRefused> {
        Self::verify(self, token, now).map_err(|e| TokenRefused(e.to_string()))
    }

    fn recheck(&self, claims: &Claims) -> Result<(), TokenRefused> {
        self.check_again(claims).map_err(|e| TokenRefused(e.to_string()))
    }

    fn random(&self) -> [u8; 10] {
        rand::random()
    }
}

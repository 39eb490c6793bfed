//! What a session needs from its surroundings: checked tokens and randomness (R11).

use driftless_schemas::access::Claims;
use driftless_schemas::time::UnixMs;

/// Checks tokens and draws random numbers for sessions.
pub trait Environment {
    /// Verifies a token.
    ///
    /// # Errors
    /// [`TokenRefused`] says what is wrong with it.
    fn verify(&self, token: &str, now: UnixMs) -> Result<Claims, TokenRefused>;

    /// Checks whether a token that was verified before may still be used: it may have been denied
    /// since, or its key removed. A session asks with every message and every tick.
    ///
    /// # Errors
    /// [`TokenRefused`] says why the token may no longer be used.
    fn recheck(&self, claims: &Claims) -> Result<(), TokenRefused>;

    /// Random bytes for a new session.
    fn random(&self) -> [u8; 10];
}

/// Why a token is refused, in words for the client. A session passes them on and acts on no detail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TokenRefused(pub String);

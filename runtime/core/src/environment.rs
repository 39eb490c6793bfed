//! The environment of a session: the checks of tokens, and random numbers. The session's core does
//! no I/O (R11), so the shell provides both.

use driftless_schemas::access::Claims;
use driftless_schemas::time::UnixMs;

/// Checks tokens and draws random numbers for sessions.
pub trait Environment {
    /// Verifies a token and returns its claims.
    ///
    /// # Errors
    /// [`TokenRefused`] says what is wrong with the token.
    fn verify(&self, token: &str, now: UnixMs) -> Result<Claims, TokenRefused>;

    /// Checks again a token that was verified before: meanwhile it may have been denied, or its key
    /// removed. A session calls this with every message and every tick.
    ///
    /// # Errors
    /// [`TokenRefused`] says why the token may no longer be used.
    fn recheck(&self, claims: &Claims) -> Result<(), TokenRefused>;

    /// Returns random bytes for the id of a new session.
    fn random(&self) -> [u8; 10];
}

/// The reason why a token is refused, as a text for the client. A session passes the text on and
/// does not interpret it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TokenRefused(pub String);

//! Session ids: how a service issues a new one, and which ones it accepts again
//! (docs/design.md#wire-protocol).
//!
//! A session id contains the time of its creation. A chunk's ledger forgets old sessions, and keeps
//! a floor: the time below which sessions may be forgotten. A session from the future would push
//! that floor ahead of all other sessions. A session that is too old may be forgotten already.

use driftless_schemas::time::UnixMs;
use driftless_schemas::{SessionId, limits};

/// The reason why a session is not issued or not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The session does not have 16 bytes.
    #[error("a session has 16 bytes, not {0}; leave it empty to get a new one")]
    Length(usize),
    /// The session's time is too far ahead of this server's clock.
    #[error(
        "the session's time is {ahead_ms} ms from now; leave it empty to get a new one, and check the clocks of the servers"
    )]
    FromTheFuture {
        /// How far the session is ahead of this server's clock, milliseconds.
        ahead_ms: u64,
    },
    /// The session is too old.
    #[error("the session is {age_ms} ms old, the limit is {max_ms} ms; leave it empty to get a new one")]
    TooOld {
        /// The session's age, milliseconds.
        age_ms: u64,
        /// The greatest age that is accepted, milliseconds.
        max_ms: u64,
    },
    /// The client requests a session with a time above `after_ms`, which is too far ahead of this
    /// server's clock.
    #[error("the session must be above {after_ms}, {ahead_ms} ms ahead of this server's clock; come again later")]
    NotYet {
        /// The time above which the session must be, in milliseconds since 1970.
        after_ms: u64,
        /// How far the session would be ahead of this server's clock, milliseconds.
        ahead_ms: u64,
    },
}

/// Issues a session whose time is `now`, or `after_ms` + 1 if that is later.
///
/// # Errors
/// [`SessionError::NotYet`] if the session's time would be further ahead than servers accept.
pub fn issue(after_ms: u64, now: UnixMs, random: [u8; 10]) -> Result<SessionId, SessionError> {
    let now_ms = since_1970(now);
    let time_ms = now_ms.max(after_ms.saturating_add(1));
    let ahead_ms = time_ms - now_ms;
    if ahead_ms > limits::SESSION_AHEAD_MAX_MS {
        return Err(SessionError::NotYet { after_ms, ahead_ms });
    }
    Ok(SessionId::new(time_ms, random))
}

/// Accepts a session that a client continues after a reconnection.
///
/// # Errors
/// [`SessionError`] says why the session is not accepted.
pub fn accept(bytes: &[u8], now: UnixMs, age_max_ms: u64) -> Result<SessionId, SessionError> {
    let session = SessionId::from_slice(bytes).ok_or(SessionError::Length(bytes.len()))?;
    let (time_ms, now_ms) = (session.time_ms(), since_1970(now));
    let ahead_ms = time_ms.saturating_sub(now_ms);
    if ahead_ms > limits::SESSION_AHEAD_MAX_MS {
        return Err(SessionError::FromTheFuture { ahead_ms });
    }
    let age_ms = now_ms.saturating_sub(time_ms);
    if age_ms > age_max_ms {
        return Err(SessionError::TooOld { age_ms, max_ms: age_max_ms });
    }
    Ok(session)
}

/// Returns the milliseconds since 1970, the unit of a session's time. A clock before 1970 reads as
/// 1970.
fn since_1970(now: UnixMs) -> u64 {
    u64::try_from(now.0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);
    const AGE: u64 = limits::SESSION_AGE_MAX_MS;

    #[test]
    fn a_session_is_issued_above_the_floor_and_not_too_far_ahead() {
        let time = |after| issue(after, NOW, [0; 10]).map(SessionId::time_ms);
        assert_eq!(time(0), Ok(NOW.0 as u64));
        assert_eq!(time(NOW.0 as u64 + 59_999), Ok(NOW.0 as u64 + 60_000));
        let after_ms = NOW.0 as u64 + 60_000;
        assert_eq!(time(after_ms), Err(SessionError::NotYet { after_ms, ahead_ms: 60_001 }));
        assert!(time(u64::MAX).is_err());
    }

    /// A client may continue a session that is neither too old nor too far ahead of the clock.
    #[test]
    fn a_session_is_taken_back_within_its_time() {
        let take = |time_ms| accept(&SessionId::new(time_ms, [7; 10]).0, NOW, AGE);
        let now = NOW.0 as u64;
        assert!(take(now).is_ok() && take(now + 60_000).is_ok() && take(now - AGE).is_ok());
        assert_eq!(take(now + 60_001), Err(SessionError::FromTheFuture { ahead_ms: 60_001 }));
        assert_eq!(take(now - AGE - 1), Err(SessionError::TooOld { age_ms: AGE + 1, max_ms: AGE }));
        assert_eq!(accept(&[1; 15], NOW, AGE), Err(SessionError::Length(15)));
    }
}

//! Sessions: who gives them out and which are taken back (DESIGN.md section 9).
//!
//! A session's time is what the ledger's floor is compared with, so it must be neither from the future (it would push
//! the floor ahead of everybody) nor older than what ledgers are kept for.

use driftless_schemas::time::UnixMs;
use driftless_schemas::{SessionId, limits};

/// Why there is no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Not 16 bytes.
    #[error("a session has 16 bytes, not {0}; leave it empty to get a new one")]
    NotOne(usize),
    /// Its time has not come.
    #[error(
        "the session is of {ahead_ms} ms from now; leave it empty to get a new one, and check the clocks of the servers"
    )]
    FromTheFuture {
        /// How far ahead of this server's clock.
        ahead_ms: u64,
    },
    /// It is too old.
    #[error("the session is {age_ms} ms old, {max_ms} are the most; leave it empty to get a new one")]
    TooOld {
        /// Its age.
        age_ms: u64,
        /// The limit.
        max_ms: u64,
    },
    /// A new one is wanted above a time that is too far ahead.
    #[error("a session above {after_ms} is wanted, {ahead_ms} ms ahead of this server's clock; come again later")]
    NotYet {
        /// What it must be above.
        after_ms: u64,
        /// How far that is ahead.
        ahead_ms: u64,
    },
}

/// A new session with a time of now, or just above `after_ms` where that is later.
///
/// # Errors
/// [`SessionError::NotYet`] where that would be further ahead than any server takes.
pub fn give_out(after_ms: u64, now: UnixMs, random: [u8; 10]) -> Result<SessionId, SessionError> {
    let now_ms = since_1970(now);
    let time_ms = now_ms.max(after_ms.saturating_add(1));
    let ahead_ms = time_ms - now_ms;
    if ahead_ms > limits::SESSION_AHEAD_MAX_MS {
        return Err(SessionError::NotYet { after_ms, ahead_ms });
    }
    Ok(SessionId::new(time_ms, random))
}

/// A session that a client hands in again.
///
/// # Errors
/// [`SessionError`] says why it is not taken.
pub fn take_back(bytes: &[u8], now: UnixMs, age_max_ms: u64) -> Result<SessionId, SessionError> {
    let session = SessionId::from_slice(bytes).ok_or(SessionError::NotOne(bytes.len()))?;
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

/// Milliseconds, as a session's 48-bit time counts them; a clock before 1970 reads as 1970.
fn since_1970(now: UnixMs) -> u64 {
    u64::try_from(now.0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);
    const AGE: u64 = limits::SESSION_AGE_MAX_MS;

    #[test]
    fn a_session_is_given_out_above_the_floor_and_not_too_far_ahead() {
        let time = |after| give_out(after, NOW, [0; 10]).map(SessionId::time_ms);
        assert_eq!(time(0), Ok(NOW.0 as u64));
        assert_eq!(time(NOW.0 as u64 + 59_999), Ok(NOW.0 as u64 + 60_000));
        let after_ms = NOW.0 as u64 + 60_000;
        assert_eq!(time(after_ms), Err(SessionError::NotYet { after_ms, ahead_ms: 60_001 }));
        assert!(time(u64::MAX).is_err());
    }

    #[test]
    fn a_session_is_taken_back_within_its_time() {
        let take = |time_ms| take_back(&SessionId::new(time_ms, [7; 10]).0, NOW, AGE);
        let now = NOW.0 as u64;
        assert!(take(now).is_ok() && take(now + 60_000).is_ok() && take(now - AGE).is_ok());
        assert_eq!(take(now + 60_001), Err(SessionError::FromTheFuture { ahead_ms: 60_001 }));
        assert_eq!(take(now - AGE - 1), Err(SessionError::TooOld { age_ms: AGE + 1, max_ms: AGE }));
        assert_eq!(take_back(&[1; 15], NOW, AGE), Err(SessionError::NotOne(15)));
    }
}

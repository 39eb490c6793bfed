//! Session ids and writer ids (docs/design.md#wire-protocol).
//!
//! Servers create sessions. A server derives a writer id from a session and the user's name, so
//! that no user can write under another user's writer id.

use crate::id16::{id16, time_ms};

id16! {
    /// The identity of one client instance: 16 bytes laid out like a UUIDv7 (48-bit time in ms,
    /// version, randomness).
    SessionId
}
id16! {
    /// The identity under which one user writes in one session: the session's 48-bit time,
    /// big-endian, then 10 bytes of BLAKE3(session ‖ sub). `sub` is the user's name.
    WriterId
}

/// The largest session time that 48 bits hold.
pub const TIME_MS_MAX: u64 = (1 << 48) - 1;

impl SessionId {
    /// Makes a session from a time and 10 random bytes, and sets the version and variant bits of a
    /// UUIDv7. A time above 48 bits becomes the maximum.
    #[must_use]
    pub fn new(time_ms: u64, random: [u8; 10]) -> Self {
        let mut id = [0; 16];
        id[..6].copy_from_slice(&time_ms.min(TIME_MS_MAX).to_be_bytes()[2..]);
        id[6..].copy_from_slice(&random);
        id[6] = 0x70 | (id[6] & 0x0f);
        id[8] = 0x80 | (id[8] & 0x3f);
        Self(id)
    }

    /// The time at which the session began, in milliseconds since the Unix epoch: the first 48 bits
    /// of the id.
    #[must_use]
    pub fn time_ms(self) -> u64 {
        time_ms(self.0)
    }

    /// Derives the writer id of this session for the user `sub`.
    #[must_use]
    pub fn writer(self, sub: &str) -> WriterId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(sub.as_bytes());
        let mut id = [0; 16];
        id[..6].copy_from_slice(&self.0[..6]);
        id[6..].copy_from_slice(&hasher.finalize().as_bytes()[..10]);
        WriterId(id)
    }
}

impl WriterId {
    /// The time at which the writer's session began, in milliseconds since the Unix epoch: the
    /// first 48 bits of the id.
    #[must_use]
    pub fn time_ms(self) -> u64 {
        time_ms(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_keeps_its_time_and_looks_like_a_uuid7() {
        let session = SessionId::new(1_763_900_000_123, [0xff; 10]);
        assert_eq!(session.time_ms(), 1_763_900_000_123);
        assert_eq!(session.0[6] >> 4, 7);
        assert_eq!(session.0[8] >> 6, 0b10);
        assert_eq!(session.to_string().parse(), Ok(session));
    }

    #[test]
    fn no_user_can_write_as_another() {
        let session = SessionId::new(5, [1; 10]);
        assert_ne!(session.writer("ann"), session.writer("bob"));
        assert_eq!(session.writer("ann").time_ms(), 5);
        assert_ne!(session.writer("ann"), SessionId::new(5, [2; 10]).writer("ann"));
    }
}

//! Why a websocket is closed: the codes that servers send, and what a client makes of them (DESIGN.md section 9).
//!
//! 4000–4499 say "connect again" (after a jittered wait; nothing is wrong with what the client sent). 4500–4999 say "not
//! again with the same Hello or the same bytes": another token, another session or another version of the client may help.

/// The server is being shut down or drained; another one takes over.
pub const SHUTTING_DOWN: u16 = 4000;
/// The client took nothing off the socket for too long.
pub const WRITE_TIMEOUT: u16 = 4001;
/// This gateway is behind what the client holds and did not catch up in time (R12).
pub const BEHIND: u16 = 4002;
/// Nothing was heard from the client for too long.
pub const DEAD_PEER: u16 = 4003;
/// The server failed on something that is not the client's fault.
pub const INTERNAL: u16 = 4004;
/// The server has as many sockets as it takes. Reserved: today's servers let more connections wait to be accepted.
pub const OVERLOADED: u16 = 4005;
/// The user has as many connections to this process as it may have: it closes one, or comes again later.
pub const TOO_MANY: u16 = 4006;

/// The bytes cannot be trusted: too large, not binary, or no protobuf at all.
pub const FRAME_UNTRUSTED: u16 = 4500;
/// The client and the server have no model, or no version of the protocol, in common: upgrade the client.
pub const UPGRADE_NEEDED: u16 = 4501;
/// The token is not usable, or has expired: connect again with a fresh one.
pub const TOKEN: u16 = 4502;
/// No Hello came in time.
pub const NO_HELLO: u16 = 4503;
/// The session is too old, from the future or no session: connect again without one.
pub const SESSION: u16 = 4504;

/// Whether a client may connect again by itself with what it has. Also true for codes that are not Driftless's own
/// (1001, 1006, …): connections break.
#[must_use]
pub const fn may_reconnect(code: u16) -> bool {
    !matches!(code, 4500..=4999)
}

/// A code's name, for logs and metric labels.
#[must_use]
pub const fn name(code: u16) -> &'static str {
    match code {
        SHUTTING_DOWN => "shutting_down",
        WRITE_TIMEOUT => "write_timeout",
        BEHIND => "behind",
        DEAD_PEER => "dead_peer",
        INTERNAL => "internal",
        OVERLOADED => "overloaded",
        TOO_MANY => "too_many",
        FRAME_UNTRUSTED => "frame_untrusted",
        UPGRADE_NEEDED => "upgrade_needed",
        TOKEN => "token",
        NO_HELLO => "no_hello",
        SESSION => "session",
        _ => "other",
    }
}

/// A reason as a close frame can carry it: cut at a character boundary to the 123 bytes that RFC 6455 leaves.
#[must_use]
pub fn reason(text: &str) -> &str {
    const BYTES_MAX: usize = 123;
    if text.len() <= BYTES_MAX {
        return text;
    }
    let mut end = BYTES_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranges_say_whether_to_reconnect() {
        for code in [SHUTTING_DOWN, WRITE_TIMEOUT, BEHIND, DEAD_PEER, INTERNAL, OVERLOADED, TOO_MANY, 1001, 1006] {
            assert!(may_reconnect(code), "{code}");
        }
        for code in [FRAME_UNTRUSTED, UPGRADE_NEEDED, TOKEN, NO_HELLO, SESSION] {
            assert!(!may_reconnect(code), "{code}");
        }
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(reason("short"), "short");
        let long = "é".repeat(100);
        assert_eq!(reason(&long).len(), 122);
    }
}

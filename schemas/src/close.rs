//! The close codes of websockets, and what each asks of the client (docs/design.md#wire-protocol).
//!
//! After a code from 4000 to 4499 the client connects again after a random wait, because it did
//! nothing wrong. After a code from 4500 to 4999 the client must not connect again with the same
//! Hello or send the same bytes again. A different token, session or version of the client may
//! help.

/// The server is shutting down or draining; another server takes over.
pub const SHUTTING_DOWN: u16 = 4000;
/// The client accepted no bytes for too long.
pub const WRITE_TIMEOUT: u16 = 4001;
/// The gateway has read less of the log than the client's replica contains, and did not catch up in
/// time (R12).
pub const BEHIND: u16 = 4002;
/// The client sent nothing for too long.
pub const DEAD_PEER: u16 = 4003;
/// The server failed, and the client is not at fault.
pub const INTERNAL: u16 = 4004;
/// More clients connect at once than the server admits. The reason in the close frame says when the
/// client should return.
pub const OVERLOADED: u16 = 4005;
/// The user already has the largest number of connections to this process. The client should close
/// one of them, or return later.
pub const TOO_MANY: u16 = 4006;

/// The client's message is too large, is not binary, or is not protobuf.
pub const FRAME_UNTRUSTED: u16 = 4500;
/// The client and the server have no model, or no version of the protocol, in common: upgrade the
/// client.
pub const UPGRADE_NEEDED: u16 = 4501;
/// The token is not usable, or has expired: connect again with a fresh token.
pub const TOKEN: u16 = 4502;
/// No Hello came in time.
pub const NO_HELLO: u16 = 4503;
/// The session is too old, from the future, or malformed: connect again without a session.
pub const SESSION: u16 = 4504;
/// A chunk that the client tracks has another history than the client's replica, and the client's
/// Hello does not say that it knows histories: start again without the replica, or upgrade the
/// client.
pub const HISTORY: u16 = 4505;

/// Whether a client may connect again without a user's help and with the same Hello.
///
/// Also true for codes below 4000 (1001, 1006, …), which any broken connection may give.
#[must_use]
pub const fn may_reconnect(code: u16) -> bool {
    !matches!(code, 4500..=4999)
}

/// The name of a code, for logs and metric labels.
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
        HISTORY => "history",
        _ => "other",
    }
}

/// The largest reason that a close frame can hold, in bytes (RFC 6455).
const REASON_BYTES_MAX: usize = 123;

/// Cuts a reason to the length that a close frame can hold, at a character boundary.
#[must_use]
pub fn reason(text: &str) -> &str {
    if text.len() <= REASON_BYTES_MAX {
        return text;
    }
    let mut end = REASON_BYTES_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Makes a reason that also asks the client to return after `after_ms` milliseconds, and cuts it to
/// the length that a close frame can hold.
///
/// The client reads the time with [`retry_after_ms`].
#[must_use]
pub fn come_again(text: &str, after_ms: u32) -> String {
    let when = format!(" (retry after {after_ms} ms)");
    let mut end = text.len().min(REASON_BYTES_MAX - when.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{when}", &text[..end])
}

/// Reads from a reason the time after which the client should return, in milliseconds and at most a
/// minute. `None` if the reason names no time.
#[must_use]
pub fn retry_after_ms(reason: &str) -> Option<u32> {
    let (_, when) = reason.strip_suffix(" ms)")?.rsplit_once("(retry after ")?;
    when.parse::<u32>().ok().map(|after_ms| after_ms.min(60_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranges_say_whether_to_reconnect() {
        for code in [SHUTTING_DOWN, WRITE_TIMEOUT, BEHIND, DEAD_PEER, INTERNAL, OVERLOADED, TOO_MANY, 1001, 1006] {
            assert!(may_reconnect(code), "{code}");
        }
        for code in [FRAME_UNTRUSTED, UPGRADE_NEEDED, TOKEN, NO_HELLO, SESSION, HISTORY] {
            assert!(!may_reconnect(code), "{code}");
        }
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(reason("short"), "short");
        let long = "é".repeat(100);
        assert_eq!(reason(&long).len(), 122);
    }

    #[test]
    fn a_reason_says_when_to_return() {
        let told = come_again("the server is shutting down", 850);
        assert_eq!(
            (told.as_str(), retry_after_ms(&told)),
            ("the server is shutting down (retry after 850 ms)", Some(850))
        );
        let long = come_again(&"é".repeat(100), u32::MAX);
        assert!(long.len() <= 123);
        assert_eq!(retry_after_ms(&long), Some(60_000));
        for none in ["", "retry after 5 ms", "(retry after 5 ms", "(retry after -5 ms)", "(retry after  ms)", "x ms)"] {
            assert_eq!(retry_after_ms(none), None, "{none:?}");
        }
    }
}

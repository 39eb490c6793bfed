//! Messages for people, cut to a bounded length.

use driftless_schemas::limits;

/// Cuts a message to [`limits::DETAIL_BYTES_MAX`] (256 bytes).
///
/// Names, lists and a model's own messages may be long, and a frame may have thousands of requests
/// that are wrong in the same way. The answers to a frame must therefore not be much longer than
/// the frame, and must fit into one server frame.
#[must_use]
pub fn bounded(mut message: String) -> String {
    if message.len() > limits::DETAIL_BYTES_MAX {
        let mut end = limits::DETAIL_BYTES_MAX - '…'.len_utf8();
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_at_a_character() {
        assert_eq!(bounded("x".repeat(256)), "x".repeat(256));
        let cut = bounded("ü".repeat(200));
        assert!(cut.len() <= 256 && cut.ends_with("ü…"), "{cut}");
    }
}

//! Messages for people, kept short.

use driftless_schemas::limits;

/// A message cut to 256 bytes: names, lists and what a model says may be long, and a frame may have thousands of
/// requests that are wrong in the same way. The answer must not outgrow the question by much, nor a server's frame.
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

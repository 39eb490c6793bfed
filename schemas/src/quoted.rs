//! A text from outside, as messages show it.

use std::fmt;

/// Shows a text in quotation marks, with everything that is not printable escaped. What `{:?}` shows, but for the browser's core
/// too, which is built without `Debug`.
#[derive(Clone, Copy)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_debug())
    }
}

//! JSON, written as it comes: the events of a turn would otherwise be trees first, and building trees is a tenth of the core's size.

use std::fmt::Write as _;

/// An object or an array that is being written.
pub struct Json(String);

impl Json {
    pub fn object() -> Self {
        Self("{".into())
    }

    pub fn array() -> Self {
        Self("[".into())
    }

    /// A member's name in an object; nothing in an array.
    fn name(&mut self, name: &str) {
        if !self.0.ends_with(['{', '[']) {
            self.0.push(',');
        }
        if self.0.starts_with('{') {
            quote(&mut self.0, name);
            self.0.push(':');
        }
    }

    pub fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        quote(&mut self.0, value);
    }

    pub fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        // Into a string: this cannot fail.
        let _ = write!(self.0, "{value}");
    }

    pub fn flag(&mut self, name: &str, value: bool) {
        self.raw(name, if value { "true" } else { "false" });
    }

    /// What is JSON already.
    pub fn raw(&mut self, name: &str, json: &str) {
        self.name(name);
        self.0.push_str(json);
    }

    pub fn is_empty(&self) -> bool {
        self.0.len() == 1
    }

    pub fn end(mut self) -> String {
        self.0.push(if self.0.starts_with('{') { '}' } else { ']' });
        self.0
    }
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\0'..=' ' if c != ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_is_written_is_read_back() {
        let text = "a \"b\" \\ \n\u{1}\u{7f} é 🎨";
        let mut inner = Json::array();
        inner.number("", u64::MAX);
        inner.text("", "");
        let mut object = Json::object();
        assert!(object.is_empty());
        object.text(text, text);
        object.flag("flag", true);
        object.raw("inner", &inner.end());
        object.raw("nothing", &Json::object().end());
        let read: Value = serde_json::from_str(&object.end()).unwrap();
        assert_eq!(read, json!({ text: text, "flag": true, "inner": [u64::MAX, ""], "nothing": {} }));
    }
}

//! A writer of JSON text. It writes text directly, because code that builds a tree of values first
//! would be a tenth of the core's size.

use crate::float;
use serde_json::Value;
use std::fmt::Write as _;

/// An object or an array under construction.
pub struct Json(String);

impl Json {
    pub fn object() -> Self {
        Self("{".into())
    }

    pub fn array() -> Self {
        Self("[".into())
    }

    /// Writes the comma before the next element if one is needed, and in an object the member's
    /// name. In an array `name` is ignored.
    fn name(&mut self, name: &str) {
        if !self.0.is_empty() && !self.0.ends_with(['{', '[']) {
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
        // Writing into a string cannot fail.
        let _ = write!(self.0, "{value}");
    }

    pub fn flag(&mut self, name: &str, value: bool) {
        self.raw(name, if value { "true" } else { "false" });
    }

    /// Adds a member or element whose value is JSON text already.
    pub fn raw(&mut self, name: &str, json: &str) {
        self.name(name);
        self.0.push_str(json);
    }

    pub fn value(&mut self, name: &str, value: &Value) {
        match value {
            Value::Null => self.raw(name, "null"),
            Value::Bool(flag) => self.flag(name, *flag),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => self.number(name, number),
                (None, Some(number)) => self.raw(name, &number.to_string()),
                (None, None) => self.raw(name, &float::write(number.as_f64().unwrap_or_default())),
            },
            Value::String(text) => self.text(name, text),
            Value::Array(elements) => {
                let mut array = Self::array();
                elements.iter().for_each(|element| array.value("", element));
                self.raw(name, &array.end());
            }
            Value::Object(members) => {
                let mut object = Self::object();
                members.iter().for_each(|(name, member)| object.value(name, member));
                self.raw(name, &object.end());
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.len() == 1
    }

    pub fn end(mut self) -> String {
        self.0.push(if self.0.starts_with('{') { '}' } else { ']' });
        self.0
    }
}

/// Writes a value as JSON text.
pub fn text(value: &Value) -> String {
    let mut whole = Json(String::new());
    whole.value("", value);
    whole.0
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
    fn serde_json_reads_the_written_text_back() {
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
        let value = json!([null, true, [u64::MAX, i64::MIN, -0.5, 1e300], { "a": "b", "c": {} }]);
        let mut whole = Json::array();
        whole.value("", &value);
        whole.value("", &json!([]));
        assert_eq!(serde_json::from_str::<Value>(&whole.end()).unwrap(), json!([value, []]));
    }
}

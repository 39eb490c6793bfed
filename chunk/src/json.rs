//! Reads JSON member by member. Its errors name the member, its value, and what would be right.
//!
//! The built-in models read their parameters and commands with this module, and your own models may
//! use it too. serde's derived readers do the same, but in the browser's core they would be larger
//! than the models themselves (docs/decisions/0011), and their errors name no index in an array.

use crate::model::{ParameterError, Refusal};
use driftless_schemas::Quoted;
use serde_json::{Map, Value};

/// A member with a wrong value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}{}{problem}", if place.is_empty() { "" } else { ": " })]
pub struct Problem {
    /// The member's path, such as `set[3].x`; empty for the whole document.
    pub place: String,
    /// The fault, and what would be right.
    pub problem: String,
}

impl Problem {
    /// Makes the problem for a value of the wrong type. `wanted` says what would be right.
    #[must_use]
    pub fn new(place: &str, found: &Value, wanted: &str) -> Self {
        let found = match found {
            Value::Null => "null".into(),
            Value::Bool(flag) => flag.to_string(),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => number.to_string(),
                (None, Some(number)) => number.to_string(),
                (None, None) => "a number of another kind".into(),
            },
            Value::String(text) => Quoted(text).to_string(),
            Value::Array(_) => "an array".into(),
            Value::Object(_) => "an object".into(),
        };
        Self { place: place.to_owned(), problem: format!("{found} is not {wanted}") }
    }

    /// The same problem with `place` in front of its path.
    #[must_use]
    pub fn within(self, place: &str) -> Self {
        let place = match (place, self.place.as_str()) {
            ("", _) => return self,
            (place, "") => place.to_owned(),
            (place, member) => format!("{place}.{member}"),
        };
        Self { place, ..self }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem.to_string())
    }
}

impl From<Problem> for ParameterError {
    fn from(Problem { place, problem }: Problem) -> Self {
        Self { key: place, problem }
    }
}

/// An object whose members are read one by one.
pub struct Members<'a> {
    place: &'a str,
    object: &'a Map<String, Value>,
    taken: Vec<&'static str>,
}

impl<'a> Members<'a> {
    /// Starts reading the object at `place`.
    ///
    /// # Errors
    /// If the value is not an object.
    pub fn of(place: &'a str, value: &'a Value) -> Result<Self, Problem> {
        match value {
            Value::Object(object) => Ok(Self::of_object(place, object)),
            other => Err(Problem::new(place, other, "an object")),
        }
    }

    /// Starts reading a value that is known to be an object.
    #[must_use]
    pub fn of_object(place: &'a str, object: &'a Map<String, Value>) -> Self {
        Self { place, object, taken: Vec::new() }
    }

    /// Reads an optional member; `None` if the member is absent or `null`.
    pub fn optional(&mut self, name: &'static str) -> Option<&'a Value> {
        self.taken.push(name);
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// Reads an optional text.
    ///
    /// # Errors
    /// If the member is not a string.
    pub fn optional_text(&mut self, name: &'static str) -> Result<Option<&'a str>, Problem> {
        let Some(value) = self.optional(name) else { return Ok(None) };
        text(name, value).map(Some).map_err(|problem| problem.within(self.place))
    }

    /// Reads an optional whole number.
    ///
    /// # Errors
    /// If the member is not a whole number from 0 to `u32::MAX`.
    pub fn optional_number(&mut self, name: &'static str) -> Result<Option<u32>, Problem> {
        let Some(value) = self.optional(name) else { return Ok(None) };
        number(name, value).map(Some).map_err(|problem| problem.within(self.place))
    }

    /// Reads a required member.
    ///
    /// # Errors
    /// If the member is missing.
    pub fn required(&mut self, name: &'static str) -> Result<&'a Value, Problem> {
        self.optional(name).ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> Problem {
        Problem { place: name.to_owned(), problem: "it is missing".into() }.within(self.place)
    }

    /// Reads a required whole number.
    ///
    /// # Errors
    /// If the member is missing, or is not a whole number from 0 to `u32::MAX`.
    pub fn number(&mut self, name: &'static str) -> Result<u32, Problem> {
        self.optional_number(name)?.ok_or_else(|| self.missing(name))
    }

    /// Reads a required text.
    ///
    /// # Errors
    /// If the member is missing, or is not a string.
    pub fn text(&mut self, name: &'static str) -> Result<&'a str, Problem> {
        self.optional_text(name)?.ok_or_else(|| self.missing(name))
    }

    /// Checks that every member was read.
    ///
    /// # Errors
    /// If a member was not read. The problem names the first such member.
    pub fn end(self) -> Result<(), Problem> {
        match self.object.keys().find(|key| !self.taken.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => {
                let is_plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                let place = if is_plain { key.clone() } else { Quoted(key).to_string() };
                let problem = format!("there is no such member; there are {}", self.taken.join(", "));
                Err(Problem { place, problem }.within(self.place))
            }
        }
    }
}

/// Reads an object that chooses between alternatives by having exactly one member. Returns the
/// member's name and value.
///
/// # Errors
/// If the value is not an object, or does not have exactly one member.
pub fn choice(value: &Value) -> Result<(&str, &Value), Problem> {
    let Value::Object(object) = value else { return Err(Problem::new("", value, "an object")) };
    match object.iter().next() {
        Some((name, value)) if object.len() == 1 => Ok((name, value)),
        _ => Err(Problem {
            place: String::new(),
            problem: format!("an object of {} members instead of one", object.len()),
        }),
    }
}

/// Reads a whole number.
///
/// # Errors
/// If the value is not a whole number from 0 to `u32::MAX`.
pub fn number(place: &str, value: &Value) -> Result<u32, Problem> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| Problem::new(place, value, "a whole number from 0 to 4294967295"))
}

/// Reads a text.
///
/// # Errors
/// If the value is not a string.
pub fn text<'a>(place: &str, value: &'a Value) -> Result<&'a str, Problem> {
    value.as_str().ok_or_else(|| Problem::new(place, value, "a text"))
}

/// Reads an array.
///
/// # Errors
/// If the value is not an array.
pub fn array<'a>(place: &str, value: &'a Value) -> Result<&'a [Value], Problem> {
    match value {
        Value::Array(elements) => Ok(elements),
        other => Err(Problem::new(place, other, "an array")),
    }
}

/// Makes an object of these members. Leaves out members whose value is `null`.
#[must_use]
pub fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let mut object = Map::new();
    for (name, value) in members {
        if !value.is_null() {
            object.insert(name.to_owned(), value);
        }
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_problem_says_where_and_what() {
        let value = json!({ "x": -1, "text": 2.5, "more": null, "flag": true, "list": [], "inner": {} });
        let mut members = Members::of("set[3]", &value).unwrap();
        assert_eq!(
            members.number("x").unwrap_err().to_string(),
            "set[3].x: -1 is not a whole number from 0 to 4294967295"
        );
        assert_eq!(
            members.text("text").unwrap_err().to_string(),
            "set[3].text: a number of another kind is not a text"
        );
        assert_eq!(
            members.number("flag").unwrap_err().to_string(),
            "set[3].flag: true is not a whole number from 0 to 4294967295"
        );
        assert_eq!(members.text("list").unwrap_err().to_string(), "set[3].list: an array is not a text");
        assert_eq!(members.text("inner").unwrap_err().to_string(), "set[3].inner: an object is not a text");
        assert_eq!(members.text("more").unwrap_err().to_string(), "set[3].more: it is missing");
        assert_eq!(members.optional_number("more"), Ok(None));
        members.end().unwrap();
        assert_eq!(Members::of("", &json!("a\n")).err().unwrap().to_string(), "\"a\\n\" is not an object");
        assert_eq!(
            number("a", &json!(1u64 << 32)).unwrap_err().to_string(),
            "a: 4294967296 is not a whole number from 0 to 4294967295"
        );
    }

    #[test]
    fn what_nobody_took_is_a_problem() {
        let value = json!({ "x": 1, "colour": 2 });
        let mut members = Members::of("", &value).unwrap();
        members.number("x").unwrap();
        members.optional("y");
        assert_eq!(members.end().unwrap_err().to_string(), "colour: there is no such member; there are x, y");
        let value = json!({ "a\n": 1 });
        let strange = Members::of("put", &value).unwrap().end().unwrap_err();
        assert_eq!(strange.to_string(), "put.\"a\\n\": there is no such member; there are ");
    }

    #[test]
    fn a_choice_has_one_member() {
        assert_eq!(choice(&json!({ "a": 1 })), Ok(("a", &json!(1))));
        for none in [json!({}), json!({ "a": 1, "b": 2 }), json!([1]), json!(null)] {
            assert!(choice(&none).is_err(), "{none}");
        }
    }

    #[test]
    fn null_is_left_out_of_an_object() {
        assert_eq!(object([("a", Value::from(1)), ("b", Value::Null)]), json!({ "a": 1 }));
    }
}

//! A step of a scenario: a JSON object with a verb, the verb's subject, and members that the verb
//! allows.

use serde_json::{Map, Value};

/// Each verb, with the other members that its step may have.
const VERBS: [(&str, &[&str]); 24] = [
    ("client", &["read", "write"]),
    ("track", &["chunk", "rejected"]),
    ("submit", &["chunk", "command", "bytes", "as"]),
    ("fill", &["chunk", "value", "as"]),
    ("burst", &["chunk", "cell", "count", "as"]),
    ("cancel", &[]),
    ("undo", &["as"]),
    ("corrupt", &["chunk"]),
    ("offline", &[]),
    ("online", &[]),
    ("expect", &["outcome", "version", "reason", "code"]),
    ("converge", &["chunk", "version"]),
    ("cell", &["chunk", "at", "is"]),
    ("entry", &["chunk", "key", "is"]),
    ("told", &["outcomes", "histories"]),
    ("cut", &["server", "at", "until_admitted"]),
    ("admit", &[]),
    ("hold", &["event"]),
    ("release", &[]),
    ("double", &[]),
    ("put_off", &["seqs", "after_ms"]),
    ("await", &["event", "count"]),
    ("kill", &[]),
    ("start", &["fresh"]),
];

/// A step whose verb and members are known.
pub struct Step {
    /// The verb.
    pub verb: &'static str,
    members: Map<String, Value>,
}

impl Step {
    /// Reads a step. JSON does not keep the order of members. But only one member of a step is a
    /// verb that allows all others.
    ///
    /// # Panics
    /// If no verb fits.
    pub fn new(step: &Value) -> Self {
        let members = step.as_object().unwrap_or_else(|| panic!("{step} is no step")).clone();
        let fits = |(verb, known): &&(&str, &[&str])| {
            members.contains_key(*verb) && members.keys().all(|name| name == verb || known.contains(&name.as_str()))
        };
        let (verb, _) = VERBS.iter().find(fits).unwrap_or_else(|| panic!("nobody knows the step {step}"));
        Self { verb, members }
    }

    /// The subject of the verb, which must be a single name.
    pub fn name(&self) -> &str {
        self.text(self.verb)
    }

    pub fn get(&self, member: &str) -> Option<&Value> {
        self.members.get(member)
    }

    pub fn text(&self, member: &str) -> &str {
        self.get(member).and_then(Value::as_str).unwrap_or_else(|| panic!("{member} must be a text"))
    }

    pub fn number(&self, member: &str) -> u64 {
        self.get(member).and_then(Value::as_u64).unwrap_or_else(|| panic!("{member} must be a number"))
    }

    pub fn texts(&self, member: &str) -> Vec<&str> {
        let list = self.get(member).and_then(Value::as_array).unwrap_or_else(|| panic!("{member} must be a list"));
        list.iter().map(|text| text.as_str().unwrap_or_else(|| panic!("{member} must be texts"))).collect()
    }

    pub fn numbers(&self, member: &str) -> Vec<u64> {
        let list = self.get(member).and_then(Value::as_array).unwrap_or_else(|| panic!("{member} must be a list"));
        list.iter().map(|number| number.as_u64().unwrap_or_else(|| panic!("{member} must be numbers"))).collect()
    }

    /// Reads a member that names a cell of a grid, as [x, y].
    pub fn place(&self, member: &str) -> [u32; 2] {
        let at: Vec<u32> = self.numbers(member).into_iter().map(|n| u32::try_from(n).expect("a coordinate")).collect();
        at.try_into().unwrap_or_else(|at| panic!("{member} must be [X, Y], not {at:?}"))
    }
}

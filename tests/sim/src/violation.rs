//! A violation that an oracle found.

use std::fmt;

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule's name, for example `R6`.
    pub rule: &'static str,
    /// The values that were expected and found.
    pub detail: String,
}

impl Violation {
    /// Makes a violation of the rule with this name.
    pub fn new(rule: &'static str, detail: impl Into<String>) -> Self {
        Self { rule, detail: detail.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.detail)
    }
}

/// The result of a check; `Err` is a violation.
pub type Verdict = Result<(), Violation>;

/// Returns a violation of the rule if `is_so` is false. `detail` describes the values, and is
/// called only then.
///
/// # Errors
/// The violation, if the condition is false.
pub fn hold(is_so: bool, rule: &'static str, detail: impl FnOnce() -> String) -> Verdict {
    if is_so { Ok(()) } else { Err(Violation::new(rule, detail())) }
}

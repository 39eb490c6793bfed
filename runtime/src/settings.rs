//! The error of an unusable setting.

/// A setting with an unusable value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: {problem}")]
pub struct SettingError {
    /// The setting's name, such as `http.listen`.
    pub key: String,
    /// The value as the user gave it.
    pub value: String,
    /// The problem, and a value that would work.
    pub problem: String,
}

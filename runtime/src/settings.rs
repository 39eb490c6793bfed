//! What a setting that cannot be used says of itself.

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: {problem}")]
pub struct SettingError {
    /// Its name, such as `http.listen`.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

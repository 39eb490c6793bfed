//! The reasons why ingest does not start.

use driftless_ingest_core::policy::PolicyError;
use driftless_log as log;
use driftless_runtime::settings::SettingError;
use driftless_runtime_core::memory::TooSmall;

/// The reason why ingest does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The topic is missing or wrong, or the log cannot be reached.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// The memory of the process does not hold what it needs.
    #[error(transparent)]
    Memory(#[from] TooSmall),
    /// A limit of the policy cannot be used.
    #[error("ingest.policy: {0}")]
    Policy(#[from] PolicyError),
    /// Another setting cannot be used.
    #[error("ingest: {0}")]
    Setting(#[from] SettingError),
}

//! The replayer's settings, with their defaults.

use crate::watchdog::WhenStuck;
use driftless_replayer_core::Settings as CoreSettings;
use driftless_schemas::limits;
use serde::{Deserialize, Serialize};

/// The replayer's settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The name of this process in the group. It must be the same after a restart (static
    /// membership).
    pub member: String,
    /// The settings of the partitions' cores: snapshots, checkpoints and memory.
    pub core: CoreSettings,
    /// The time limit of a planned end, milliseconds. Ownerships that have not ended by then are
    /// aborted.
    pub drain_timeout_ms: u64,
    /// The time limit of one model call, milliseconds. A model that has not returned by then counts
    /// as one that never returns.
    pub model_call_ms_max: u64,
    /// The reaction to a model that exceeds `model_call_ms_max`.
    #[serde(skip)]
    pub when_stuck: WhenStuck,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            member: "replayer-0".into(),
            core: CoreSettings::default(),
            drain_timeout_ms: 20_000,
            model_call_ms_max: limits::MODEL_CALL_MS_MAX,
            when_stuck: WhenStuck::default(),
        }
    }
}

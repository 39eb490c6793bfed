//! The replayer's settings, with their defaults.

use crate::watchdog::WhenStuck;
use driftless_replayer_core::Settings as CoreSettings;
use driftless_schemas::limits;
use serde::{Deserialize, Serialize};

/// The replayer's settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The name of this process in the group, the same after a restart (static membership).
    pub member: String,
    /// When snapshots and checkpoints are made.
    pub core: CoreSettings,
    /// How long a planned end may take before the ownerships are dropped, milliseconds.
    pub drain_timeout_ms: u64,
    /// A model that has not returned from one call after this time never will, milliseconds.
    pub model_call_ms_max: u64,
    /// The reaction to such a model.
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

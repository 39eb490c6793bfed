//! The replayer's settings, with their defaults.

use crate::watchdog::WhenStuck;
use driftless_log::QueueLimits;
use driftless_replayer_core::Settings as CoreSettings;
use driftless_runtime::memory;
use driftless_runtime_core::memory::{Division, Part, TooSmall, divide};
use driftless_schemas::limits;
use serde::{Deserialize, Serialize};

/// The replayer's settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The name of this process in the group. It must be the same after a restart (static
    /// membership).
    pub member: String,
    /// The anonymous memory that this process may take, bytes. The partitions that it owns share
    /// what is left for chunks. 0: 80 % of the container's limit, or 40 % of the machine's memory.
    pub memory_max: usize,
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
            memory_max: 0,
            core: CoreSettings::default(),
            drain_timeout_ms: 20_000,
            model_call_ms_max: limits::MODEL_CALL_MS_MAX,
            when_stuck: WhenStuck::default(),
        }
    }
}

impl Settings {
    /// Divides the memory of this process.
    ///
    /// # Errors
    /// [`TooSmall`] if `memory_max` does not hold what the process needs.
    pub fn memory(&self) -> Result<Division, TooSmall> {
        let max = memory::max_or_default(self.memory_max, 40);
        divide(
            max,
            &[
                memory::PROGRAM,
                memory::allocator(max),
                memory::LOG_READER,
                Part::share("log producer", 8, 4 * memory::MIB).at_most(256 * memory::MIB),
                memory::INDEX,
                Part::share("connections", 4, 2 * memory::MIB).at_most(16 * memory::MIB),
                Part::share("chunks", 60, 16 * memory::MIB),
            ],
        )
    }

    /// The limits on the records in the producer's queue that fit into its part of the memory.
    #[must_use]
    pub fn queue(memory: &Division) -> QueueLimits {
        let bytes = memory.of("log producer");
        QueueLimits::within(bytes, bytes / 2)
    }
}

//! State that every websocket and every HTTP request of an ingest process shares.

use crate::metrics::Metrics;
use crate::producer::CommandProducer;
use crate::settings::Settings;
use driftless_auth::Verifier;
use driftless_ingest_core::Admission;
use driftless_ingest_core::rate::Rates;
use driftless_runtime::clock::Clock;
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime::telemetry::LogThrottle;
use driftless_runtime_core::pool::Pool;
use std::sync::Arc;

/// State that every websocket and every HTTP request shares.
pub(crate) struct Context {
    pub admission: Arc<Admission>,
    pub rates: Arc<Rates>,
    pub clock: Clock,
    pub verifier: Verifier,
    pub producer: CommandProducer,
    /// The budget for incomplete messages and bodies of all connections.
    pub input: Pool,
    /// The budget for output that clients have not taken.
    pub output: Pool,
    pub settings: Settings,
    pub metrics: Metrics,
    /// Limits how often refused commands are logged: a fault of the log affects all sockets at
    /// once.
    pub refused_log: LogThrottle,
    /// Limits how often commands without an acknowledgement are logged, for the same reason.
    pub unacknowledged_log: LogThrottle,
    pub shutdown: Shutdown,
}

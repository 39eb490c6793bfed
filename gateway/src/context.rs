//! State that every websocket and every HTTP request of a gateway shares.

use crate::hub::HubHandle;
use driftless_auth::Verifier;
use driftless_gateway_core::connection::Shared;
use driftless_runtime::clock::Clock;
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime_core::pool::Pool;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// State that every websocket and every HTTP request shares.
pub(crate) struct Context {
    pub hub: HubHandle,
    pub verifier: Verifier,
    /// The world, and the limits that websockets and HTTP requests share.
    pub shared: Arc<Shared>,
    pub shutdown: Shutdown,
    /// Permits for event streams, one each.
    pub streams: Arc<Semaphore>,
    pub clock: Clock,
    /// The budget for incomplete messages of all connections.
    pub input: Pool,
}

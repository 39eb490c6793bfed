//! State that every websocket and every HTTP request of a gateway shares.

use crate::hub::HubHandle;
use driftless_auth::Verifier;
use driftless_gateway_core::connection::Shared;
use driftless_runtime::clock::Clock;
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime_core::Environment;
use driftless_schemas::access::Claims;
use driftless_schemas::time::UnixMs;
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
}

impl Environment for Context {
    fn verify(&self, token: &str, now: UnixMs) -> Result<Claims, String> {
        self.verifier.verify(token, now).map_err(|e| e.to_string())
    }

    fn denied(&self, claims: &Claims) -> Option<String> {
        self.verifier.check_again(claims).err().map(|e| e.to_string())
    }

    fn random(&self) -> [u8; 10] {
        rand::random()
    }
}

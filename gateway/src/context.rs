//! State that every websocket and every HTTP request of a gateway shares.

use crate::hub::HubHandle;
use crate::turns::Turns;
use driftless_auth::Verifier;
use driftless_gateway_core::connection::Shared;
use driftless_runtime::clock::Clock;
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime_core::pool::Pool;
use driftless_schemas::access::Claims;
use driftless_web::http::Problem;
use std::sync::Arc;
use tokio::sync::Semaphore;
use warp::http::StatusCode;

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
    /// Permits for work that takes a core for milliseconds.
    pub heavy: Turns,
    /// The budget for incomplete messages of all connections.
    pub input: Pool,
    /// The budget for the JSON that waits for the readers of all event streams.
    pub events: Pool,
}

impl Context {
    /// Charges requests to the user's rate, or returns a problem (429) if the rate is exceeded.
    /// What costs more than a small answer counts as several requests, but never as more than half
    /// of a burst: a user who has paused gets any answer.
    pub fn pay(&self, claims: &Claims, requests: usize) -> Result<(), Problem> {
        let now = self.clock.monotonic();
        let half = self.shared.greeter.limits.requests_burst as usize / 2;
        let requests = requests.min(half.max(1));
        self.shared.requests.of(&claims.sub, now).take([requests, 0], now).map_err(|wait_ms| {
            let most = self.shared.greeter.limits.requests_per_second;
            let detail = format!("{:?} sends more than {most} requests a second; wait {wait_ms} ms", claims.sub);
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).with_retry_after_ms(wait_ms)
        })
    }
}

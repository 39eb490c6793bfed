//! The gateway as a service: follows the log, serves websockets and HTTP, shuts down gracefully.

use crate::auditor::Auditor;
use crate::context::Context;
use crate::error::Error;
use crate::follower::Follower;
use crate::hub::shard::ShardSettings;
use crate::hub::{self, TaskHandle};
use crate::settings::Settings;
use crate::turns::Turns;
use crate::{http, metrics};
use driftless_auth::Verifier;
use driftless_chunk::world::World;
use driftless_gateway_core::Standings;
use driftless_gateway_core::connection::Shared;
use driftless_log::Log;
use driftless_runtime::clock::Clock;
use driftless_runtime::memory;
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime_core::admission::Admission;
use driftless_runtime_core::defences::Defence;
use driftless_runtime_core::places::Users;
use driftless_runtime_core::pool::Pool;
use driftless_runtime_core::rate::Rates;
use driftless_runtime_core::{Greeter, announced};
use driftless_schemas::proto;
use driftless_store::Store;
use driftless_web::http::openapi::Document;
use driftless_web::http::{Origins, Routes};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinError;

/// The most pictures and JSON forms of contents that are made at a time. The other cores serve
/// everybody else.
const HEAVY_MAX: usize = 2;

/// A running gateway.
pub struct Gateway {
    routes: Routes,
    standings: watch::Receiver<Standings>,
    task: TaskHandle,
    #[cfg(debug_assertions)]
    hub: hub::HubHandle,
}

impl Gateway {
    /// Starts to open the partitions and to follow the log. A partition that cannot be opened or
    /// read is degraded, and the gateway serves all others.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn start(
        settings: Settings,
        world: Arc<World>,
        log: Arc<dyn Log>,
        store: Store,
        verifier: Verifier,
        origins: Origins,
        shutdown: Shutdown,
    ) -> Result<Self, Error> {
        metrics::describe();
        let clock = Clock::default();
        let memory = settings.memory()?;
        memory::announce("gateway", &memory);
        let core = settings.core_within(&memory);
        let follower = Follower::start(&world, &log, &store, memory.of(memory::INDEX_NAME)).await?;
        let loader = follower.loader.clone();
        let auditor = Auditor::start(&world, &*log)?;
        let shared = Arc::new(shared(&settings, Arc::clone(&world)));
        let streams = Arc::new(Semaphore::new(settings.event_streams_max.min(Semaphore::MAX_PERMITS)));
        let shard_settings = shard_settings(&settings);
        let (hub, task) = hub::start(world, core, shard_settings, follower, auditor, clock, shutdown.clone());
        let renewed = hub.clone();
        tokio::spawn(loader.renew_views(clock, shutdown.clone(), move |partition, opened| {
            renewed.view_renewed(partition, opened);
        }));
        let standings = hub.standings.clone();
        #[cfg(debug_assertions)]
        let hub_to_damage = hub.clone();
        let input = Pool::new(Defence::InputPool.limit(memory.of("input")));
        let events = Pool::new(memory.of("event streams"));
        let verifier = verifier.for_world(shared.greeter.world.id());
        let heavy = Turns::new(HEAVY_MAX);
        let context = Context { hub, verifier, shared, shutdown, streams, clock, heavy, input, events };
        Ok(Self {
            routes: http::routes(Arc::new(context), origins),
            standings,
            task,
            #[cfg(debug_assertions)]
            hub: hub_to_damage,
        })
    }

    /// The gateway's HTTP and websocket routes, to be mounted beside others.
    #[must_use]
    pub fn routes(&self) -> Routes {
        self.routes.clone()
    }

    /// The OpenAPI document of [`Self::routes`].
    #[must_use]
    pub fn document() -> Document {
        crate::openapi::document()
    }

    /// Returns a function that flips a bit in the memory of a chunk's replica, to show that drift
    /// is healed. Debug builds only.
    #[cfg(debug_assertions)]
    pub fn damage(&self) -> impl Fn(driftless_schemas::ChunkId) + Clone + Send + Sync + use<> {
        let hub = self.hub.clone();
        move |chunk| hub.damage(chunk)
    }

    /// A channel, to wait for or to poll: the standing of each partition. [`Standings::is_ready`]
    /// and [`Standings::readiness`] say whether clients should come.
    #[must_use]
    pub fn readiness(&self) -> watch::Receiver<Standings> {
        self.standings.clone()
    }

    /// Waits until the gateway ends.
    ///
    /// # Errors
    /// The gateway panicked.
    pub async fn join(self) -> Result<(), JoinError> {
        self.task.await
    }
}

fn shared(settings: &Settings, world: Arc<World>) -> Shared {
    let limits = proto::Limits {
        requests_per_second: settings.requests_per_second,
        requests_burst: settings.requests_burst,
        ..announced()
    };
    let users = Users::new(settings.connections_per_user, settings.connections_of_role.clone());
    Shared {
        greeter: Greeter { users, limits, ..Greeter::new(world) },
        admission: Admission::new(settings.admissions_per_second),
        requests: Rates::new([settings.requests_per_user(), settings.answers_per_user()]),
    }
}

fn shard_settings(settings: &Settings) -> ShardSettings {
    let count = match settings.shards {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    };
    ShardSettings {
        count,
        write_timeout: Duration::from_millis(settings.write_timeout_ms),
        drain: Duration::from_millis(settings.drain_ms),
        io_uring: settings.io_uring,
        // Each shard closes its part of the sockets, so it gets its part of the rate.
        admissions_per_second: settings.admissions_per_second.div_ceil(u32::try_from(count).unwrap_or(u32::MAX)),
    }
}

//! The gateway as a service: follows the log, serves, ends in order.

use crate::auditor::Auditor;
use crate::connection::Context;
use crate::follower::Follower;
use crate::hub;
use crate::shard::ShardSettings;
use crate::{http, metrics};
use driftless_auth::Verifier;
use driftless_chunk::world::World;
use driftless_gateway_core::Settings as CoreSettings;
use driftless_gateway_core::connection::Shared;
use driftless_log::{self as log, Log};
use driftless_runtime::clock::Clock;
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime_core::admission::Admission;
use driftless_runtime_core::places::Users;
use driftless_runtime_core::rate::{Allowance, Rates};
use driftless_runtime_core::{Greeter, announced};
use driftless_schemas::{limits, proto};
use driftless_store::Store;
use driftless_store::index;
use driftless_web::http::openapi::Document;
use driftless_web::http::{Origins, Routes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// The gateway's settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How much is kept, and when what is sent.
    pub core: CoreSettings,
    /// A socket that takes nothing for this long is closed, milliseconds.
    pub write_timeout_ms: u64,
    /// Streams of server-sent events at once; more are answered with 503. A stream costs several times what a websocket
    /// does. Each is one of `http.connections_max`, too.
    pub event_streams_max: usize,
    /// Tasks that write to websockets; 0 is one for each core.
    pub shards: usize,
    /// Write to many websockets with one call of the kernel, where it has io_uring and allows it. Default true.
    pub io_uring: bool,
    /// Websockets and event streams of one user to this process; 0 is any number. Default 128.
    pub connections_per_user: usize,
    /// The same for users with a role, such as `service = 10000`; the most counts, and 0 is any number. Default: none.
    pub connections_of_role: BTreeMap<String, usize>,
    /// Requests a second (Track, Untrack, Refresh, DriftReport, and those over HTTP) that one user may send to this process, over
    /// all sockets. A socket that sends more is not read for a while; over HTTP the answer is 429. Default 2,000.
    pub requests_per_second: u32,
    /// Requests that one user may send at once after a rest. Default 16,384.
    pub requests_burst: u32,
    /// At the end of the gateway its websockets are closed one after the other over this time, milliseconds. Also where it is 0,
    /// each is told another time to come again.
    pub drain_ms: u64,
    /// Websockets that are let in a second; twice as many at once. The others are told when to come again, and those of a gateway
    /// that ends are told to come at this rate. 0: no bound.
    pub admissions_per_second: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            core: CoreSettings::default(),
            write_timeout_ms: limits::WRITE_TIMEOUT_MS,
            event_streams_max: 4096,
            shards: 0,
            io_uring: true,
            drain_ms: 0,
            admissions_per_second: 2_000,
            connections_per_user: limits::CONNECTIONS_PER_USER,
            connections_of_role: BTreeMap::new(),
            requests_per_second: limits::REQUESTS_PER_SECOND,
            requests_burst: limits::REQUESTS_BURST,
        }
    }
}

/// What ends a gateway.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Topics or connections.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// The index cannot be read.
    #[error(transparent)]
    Index(#[from] index::Error),
    /// The world's topics are not there.
    #[error("topic {topic} does not exist: run `driftless init` for this world first")]
    NoTopic {
        /// Which.
        topic: String,
    },
    /// The log cannot be followed any more.
    #[error("{0}")]
    Follow(String),
}

/// A running gateway.
pub struct Gateway {
    routes: Routes,
    ready: watch::Receiver<bool>,
    task: tokio::task::JoinHandle<Result<(), String>>,
    #[cfg(debug_assertions)]
    hub: hub::HubHandle,
}

impl Gateway {
    /// Opens the views and starts to follow the log.
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
        let follower = Follower::start(&world, &log, &store).await?;
        let loader = follower.loader.clone();
        let auditor = Auditor::start(&world, &*log)?;
        let shards = match settings.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            shards => shards,
        };
        let rules = ShardSettings {
            write_timeout: Duration::from_millis(settings.write_timeout_ms),
            drain: Duration::from_millis(settings.drain_ms),
            io_uring: settings.io_uring,
            // Each shard closes its part of the sockets.
            admissions_per_second: settings.admissions_per_second.div_ceil(u32::try_from(shards).unwrap_or(u32::MAX)),
        };
        let (hub, task) =
            hub::start(Arc::clone(&world), settings.core, rules, shards, follower, auditor, clock, shutdown.clone());
        let ready = hub.ready.clone();
        let renewed = hub.clone();
        tokio::spawn(loader.renew_views(clock, shutdown.clone(), move |opened| renewed.views_renewed(opened)));
        #[cfg(debug_assertions)]
        let hub_too = hub.clone();
        let admission = Admission::new(settings.admissions_per_second);
        let greeter = Greeter {
            users: Users::new(settings.connections_per_user, settings.connections_of_role),
            limits: proto::Limits {
                requests_per_second: settings.requests_per_second,
                requests_burst: settings.requests_burst,
                ..announced()
            },
            ..Greeter::new(world)
        };
        let per_user = Allowance { per_second: settings.requests_per_second, burst: settings.requests_burst };
        let streams = Arc::new(Semaphore::new(settings.event_streams_max.min(Semaphore::MAX_PERMITS)));
        let shared = Arc::new(Shared { greeter, admission, requests: Rates::new([per_user]) });
        let context = Context { hub, verifier, shared, shutdown, streams, clock };
        Ok(Self {
            routes: http::routes(Arc::new(context), origins),
            ready,
            task,
            #[cfg(debug_assertions)]
            hub: hub_too,
        })
    }

    /// The routes, for mounting beside others.
    #[must_use]
    pub fn routes(&self) -> Routes {
        self.routes.clone()
    }

    /// What [`Self::routes`] answer to.
    #[must_use]
    pub fn document() -> Document {
        crate::openapi::document()
    }

    /// Flips a bit in the memory of a replica: to show that drift is healed. Debug builds only.
    #[cfg(debug_assertions)]
    pub fn damage(&self) -> impl Fn(driftless_schemas::ChunkId) + Clone + Send + Sync + use<> {
        let hub = self.hub.clone();
        move |chunk| hub.damage(chunk)
    }

    /// Whether the log's end at the start was reached.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// A copy of the readiness, to wait for or to ask.
    #[must_use]
    pub fn readiness(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Why it ended by itself.
    pub async fn join(self) -> Result<(), Error> {
        match self.task.await {
            Ok(result) => result.map_err(Error::Follow),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

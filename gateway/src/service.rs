//! The gateway as a service: follows the log, serves, ends in order.

use crate::auditor::Auditor;
use crate::connection::Context;
use crate::follower::Follower;
use crate::hub;
use crate::shard::Rules;
use crate::{http, metrics};
use driftless_chunk::world::World;
use driftless_gateway_core::Settings as CoreSettings;
use driftless_runtime::auth::Verifier;
use driftless_runtime::http::openapi::Document;
use driftless_runtime::http::{Origins, Routes};
use driftless_runtime::index;
use driftless_runtime::log::{self, Log};
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime::store::Store;
use driftless_runtime_core::Greeter;
use driftless_schemas::limits;
use serde::{Deserialize, Serialize};
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
    /// At the end of the gateway its websockets are closed one after the other over this time, milliseconds.
    pub drain_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            core: CoreSettings::default(),
            write_timeout_ms: limits::WRITE_TIMEOUT_MS,
            event_streams_max: 4096,
            shards: 0,
            drain_ms: 0,
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
        let follower = Follower::start(&world, &log, &store).await?;
        let loader = follower.loader.clone();
        let auditor = Auditor::start(&world, &*log)?;
        let rules = Rules {
            write_timeout: Duration::from_millis(settings.write_timeout_ms),
            drain: Duration::from_millis(settings.drain_ms),
        };
        let shards = match settings.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            shards => shards,
        };
        let (hub, task) =
            hub::start(Arc::clone(&world), settings.core, rules, shards, follower, auditor, shutdown.clone());
        let ready = hub.ready.clone();
        let renewed = hub.clone();
        tokio::spawn(loader.renew_views(shutdown.clone(), move |opened| renewed.views_renewed(opened)));
        #[cfg(debug_assertions)]
        let hub_too = hub.clone();
        let streams = Arc::new(Semaphore::new(settings.event_streams_max.min(Semaphore::MAX_PERMITS)));
        let context = Context { hub, verifier, greeter: Greeter::new(world), shutdown, streams };
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

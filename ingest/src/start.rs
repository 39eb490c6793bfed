//! Starting, and serving alone.

use crate::handover::Handover;
use crate::metrics::Metrics;
use crate::{Settings, Shared, http, socket};
use driftless_auth::Verifier;
use driftless_chunk::world::World;
use driftless_ingest_core::Admission;
use driftless_ingest_core::policy::PolicyError;
use driftless_ingest_core::rate::rates;
use driftless_log::{self as log, Log};
use driftless_runtime::clock::Clock;
use driftless_runtime::settings::SettingError;
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime::telemetry::{self, LogThrottle};
use driftless_web::http as web;
use driftless_web::http::openapi::{Document, openapi};
use driftless_web::socket::{INGEST, Upgrade, websocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Instant;
use warp::Filter;

/// Why ingest does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The topic is not there: wrong log, wrong world, or `driftless init` did not run.
    #[error(
        "there is no topic {topic} in {log}; create this world's topics with `driftless init`, or check that this is the log of world {world:?}"
    )]
    NoTopic {
        /// The topic.
        topic: String,
        /// Where it was looked for.
        log: String,
        /// The world.
        world: String,
    },
    /// Partition counts are frozen for a generation (R1).
    #[error(
        "topic {topic} in {log} has {found} partitions, but the world says {wanted}. Commands would go to partitions that nobody expects them in. Correct `partitions` in world.toml, or make a new generation with `driftless init`"
    )]
    PartitionCount {
        /// The topic.
        topic: String,
        /// Where it is.
        log: String,
        /// As it is.
        found: i32,
        /// As the world has it.
        wanted: i32,
    },
    /// The log does not answer.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// A setting of the policy.
    #[error("ingest.policy: {0}")]
    Policy(#[from] PolicyError),
    /// Another setting.
    #[error("ingest: {0}")]
    Setting(#[from] SettingError),
    /// The address is not to be had.
    #[error("ingest cannot listen on {address}: {reason}; choose another address with --http")]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        reason: std::io::Error,
    },
}

/// An ingest that runs. Dropping it does not end its sockets; the shutdown that it was started with does.
pub struct Ingest {
    shared: Arc<Shared>,
    origins: web::Origins,
}

impl Ingest {
    /// Checks settings and topic, and makes the producer.
    ///
    /// # Errors
    /// [`Error`] says what is wrong, where, and how to mend it.
    pub async fn start(
        settings: Settings,
        world: Arc<World>,
        log: Arc<dyn Log>,
        verifier: Verifier,
        shutdown: Shutdown,
    ) -> Result<Self, Error> {
        settings.policy.check()?;
        let origins = settings.http.origins()?;
        let topic = Arc::clone(&world.topics().commands);
        check_topic(&*log, &world, &topic, settings.waits.start(), &shutdown).await?;
        let handover = Handover::new(&*log, Arc::clone(&topic), settings.waits.acknowledgement())?;
        tracing::info!(world = world.spec().name, %topic, log = log.describe(), "ingest has started");
        let shared = Shared {
            admission: Arc::new(Admission::new(world, settings.policy.clone())),
            rates: Arc::new(rates(&settings.policy)),
            clock: Clock::default(),
            verifier,
            handover,
            metrics: Metrics::new(),
            refused: LogThrottle::default(),
            unacknowledged: LogThrottle::default(),
            settings,
            shutdown,
        };
        Ok(Self { shared: Arc::new(shared), origins })
    }

    /// `GET /v1/ingest` (websocket), `POST /v1/sessions`, `POST /v1/chunks/{id}/commands`. Serve them with
    /// [`driftless_web::http::serve`]: websockets need its connections.
    #[must_use]
    pub fn routes(&self) -> web::Routes {
        let shared = Arc::clone(&self.shared);
        let sockets =
            warp::path!("v1" / "ingest").and(websocket(INGEST, self.origins.clone())).map(move |upgrade: Upgrade| {
                let shared = Arc::clone(&shared);
                upgrade.on_stream(move |stream, begun, permit| socket::serve(stream, begun, permit, shared))
            });
        Self::document().guard(sockets.or(http::routes(&self.shared)).unify().boxed())
    }

    /// What [`Self::routes`] answer to.
    #[must_use]
    pub fn document() -> Document {
        crate::openapi::document()
    }

    /// Whether new clients should come here.
    ///
    /// # Errors
    /// Why not.
    pub fn ready(&self) -> Result<(), String> {
        match self.shared.shutdown.is_requested() {
            true => Err("ingest is shutting down".into()),
            false => Ok(()),
        }
    }

    /// Commands handed to the log and not yet acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.handover.in_flight()
    }
}

async fn check_topic(
    log: &dyn Log,
    world: &World,
    topic: &str,
    wait: Duration,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    let deadline = Instant::now() + wait;
    let found = loop {
        match log.partitions(topic).await {
            Err(error @ log::Error::Unavailable { .. }) if Instant::now() < deadline && !shutdown.is_requested() => {
                tracing::warn!(%error, "waiting for the log");
                tokio::select! {
                    () = shutdown.wait() => {}
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                }
            }
            other => break other?,
        }
    };
    let wanted = world.spec().partitions;
    match found {
        Some(found) if found == wanted => Ok(()),
        Some(found) => Err(Error::PartitionCount { topic: topic.to_owned(), log: log.describe(), found, wanted }),
        None => Err(Error::NoTopic { topic: topic.to_owned(), log: log.describe(), world: world.spec().name.clone() }),
    }
}

/// Starts, serves on `settings.http.listen` until the shutdown is asked for, and ends in order. Adds `/healthz`, `/readyz`
/// and, where metrics are given, `/metrics`.
///
/// # Errors
/// [`Error`] where it does not start.
pub async fn run(
    settings: Settings,
    world: Arc<World>,
    log: Arc<dyn Log>,
    verifier: Verifier,
    metrics: Option<telemetry::Metrics>,
    shutdown: Shutdown,
) -> Result<(), Error> {
    // Nothing is bound that must not be.
    settings.http.server_options()?;
    let address = settings.http.listen;
    let listener =
        TcpListener::bind(address).await.map_err(|reason| Error::Listen { address: address.to_string(), reason })?;
    run_on(listener, settings, world, log, verifier, metrics, shutdown).await
}

/// The same on a listener that is there already.
///
/// # Errors
/// [`Error`] where it does not start.
pub async fn run_on(
    listener: TcpListener,
    settings: Settings,
    world: Arc<World>,
    log: Arc<dyn Log>,
    verifier: Verifier,
    metrics: Option<telemetry::Metrics>,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let options = settings.http.server_options()?;
    let origins = settings.http.origins()?;
    let ingest = Arc::new(Ingest::start(settings, world, log, verifier, shutdown.clone()).await?);
    let mut routes = ingest.routes().or(web::healthz()).unify().boxed();
    routes = routes.or(openapi(&Ingest::document())).unify().boxed();
    routes = routes.or(web::readyz(move || ingest.ready())).unify().boxed();
    if let Some(metrics) = metrics {
        tokio::spawn(metrics.clone().upkeep(shutdown.clone()));
        routes = routes.or(web::metrics(metrics)).unify().boxed();
    }
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "ingest listens");
    }
    web::serve(listener, routes, origins, options, shutdown).await;
    Ok(())
}

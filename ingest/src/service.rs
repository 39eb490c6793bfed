//! Ingest as a service: its start and its routes.

use crate::context::Context;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::producer::CommandProducer;
use crate::settings::Settings;
use crate::{http, sockets};
use driftless_auth::Verifier;
use driftless_chunk::world::World;
use driftless_ingest_core::Admission;
use driftless_ingest_core::rate::rates;
use driftless_log::{self as log, Log};
use driftless_runtime::clock::Clock;
use driftless_runtime::memory;
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime::telemetry::LogThrottle;
use driftless_runtime_core::defences::Defence;
use driftless_runtime_core::pool::Pool;
use driftless_web::http as web;
use driftless_web::http::openapi::Document;
use driftless_web::socket::{INGEST, Upgrade, websocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use warp::Filter;

/// The pause between two attempts to reach the log at the start.
const START_RETRY: Duration = Duration::from_secs(1);

/// A running ingest. Dropping this value does not close the open sockets: they close when the
/// shutdown that was passed to [`Ingest::start`] is requested.
pub struct Ingest {
    context: Arc<Context>,
    origins: web::Origins,
}

impl Ingest {
    /// Checks the settings and the topic, and creates the producer.
    ///
    /// # Errors
    /// [`Error`] if a setting is unusable, the topic is missing or wrong, or the log does not
    /// answer.
    pub async fn start(
        settings: Settings,
        world: Arc<World>,
        log: Arc<dyn Log>,
        verifier: Verifier,
        shutdown: Shutdown,
    ) -> Result<Self, Error> {
        settings.policy.check()?;
        let memory = settings.memory()?;
        memory::announce("ingest", &memory);
        let origins = settings.http.origins()?;
        let topic = Arc::clone(&world.topics().commands);
        check_topic(&*log, &topic, world.spec().partitions, settings.waits.start(), &shutdown).await?;
        let producer = CommandProducer::new(&*log, Arc::clone(&topic), settings.waits.acknowledgement())?;
        tracing::info!(world = world.spec().name, %topic, log = log.describe(), "ingest has started");
        let verifier = verifier.for_world(world.id());
        let context = Context {
            admission: Arc::new(Admission::new(world, settings.policy.clone())),
            rates: Arc::new(rates(&settings.policy)),
            clock: Clock::default(),
            verifier,
            producer,
            output: Pool::new(memory.of("output")),
            input: Pool::new(Defence::InputPool.limit(memory.of("input"))),
            settings,
            metrics: Metrics::new(),
            refused_log: LogThrottle::default(),
            unacknowledged_log: LogThrottle::default(),
            shutdown,
        };
        Ok(Self { context: Arc::new(context), origins })
    }

    /// Returns the routes `GET /v1/ingest` (websocket), `POST /v1/sessions` and
    /// `POST /v1/chunks/{id}/commands`. Serve these routes with [`driftless_web::http::serve`],
    /// because websockets work only on the connections of that server.
    #[must_use]
    pub fn routes(&self) -> web::Routes {
        let context = Arc::clone(&self.context);
        let sockets =
            warp::path!("v1" / "ingest").and(websocket(INGEST, self.origins.clone())).map(move |upgrade: Upgrade| {
                let (context, peer) = (Arc::clone(&context), upgrade.peer());
                upgrade.on_stream(move |stream, begun, permit| sockets::serve(stream, begun, permit, peer, context))
            });
        Self::document().guard(sockets.or(http::routes(&self.context)).unify().boxed())
    }

    /// The OpenAPI document of [`Self::routes`].
    #[must_use]
    pub fn document() -> Document {
        crate::openapi::document()
    }

    /// Checks that new clients should connect to this process (`/readyz`).
    ///
    /// # Errors
    /// The reason why they should not, such as a shutdown.
    pub fn ready(&self) -> Result<(), String> {
        match self.context.shutdown.is_requested() {
            true => Err("ingest is shutting down".into()),
            false => Ok(()),
        }
    }

    /// The number of commands that were handed to the log and are not acknowledged yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.context.producer.in_flight()
    }
}

/// Checks the topic of commands. If the log does not answer, retries until `wait` has passed or a
/// shutdown is requested.
async fn check_topic(
    log: &dyn Log,
    topic: &str,
    partitions: i32,
    wait: Duration,
    shutdown: &Shutdown,
) -> Result<(), log::Error> {
    let deadline = Instant::now() + wait;
    loop {
        match log::check_topic(log, topic, partitions).await {
            Err(error @ log::Error::Unavailable { .. }) if Instant::now() < deadline && !shutdown.is_requested() => {
                tracing::warn!(%error, "waiting for the log");
                tokio::select! {
                    () = shutdown.wait() => {}
                    () = tokio::time::sleep(START_RETRY) => {}
                }
            }
            checked => return checked,
        }
    }
}

//! `driftless ingest`, `replayer` and `gateway`: each service as a process of its own.

use crate::config::{Config, ConfigArgs, KeyArgs, MemoryArgs, TlsArgs};
use crate::deployment::DeploymentArgs;
use crate::signals::Signals;
use anyhow::{Context, Result, bail};
use driftless_gateway::Gateway;
use driftless_replayer::Replayer;
use driftless_runtime::files;
use driftless_runtime::memory;
use driftless_runtime::shutdown::{Shutdown, ShutdownSource};
use driftless_runtime::telemetry::Metrics;
use driftless_runtime_core::memory::Division;
use driftless_web::http::openapi::openapi;
use driftless_web::http::{self, Routes};
use std::net::SocketAddr;
use warp::Filter;

/// How many readers of the log a process has at a time: one that follows it, and those of rereads
/// or of the group.
const READERS: usize = 4;

/// Arguments of `driftless ingest`.
#[derive(clap::Args)]
pub(crate) struct IngestArgs {
    #[command(flatten)]
    deployment: DeploymentArgs,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// Address and port to listen on.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    memory: MemoryArgs,
}

/// Arguments of `driftless replayer`.
#[derive(clap::Args)]
pub(crate) struct ReplayerArgs {
    #[command(flatten)]
    deployment: DeploymentArgs,
    #[command(flatten)]
    config: ConfigArgs,
    /// Address and port of /healthz, /readyz and /metrics.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    /// Name of this process in the consumer group: the same after a restart, and different for each
    /// process.
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    /// Gone: `driftless recover` has taken its place.
    #[arg(long, hide = true)]
    accept_loss: bool,
}

/// Arguments of `driftless gateway`.
#[derive(clap::Args)]
pub(crate) struct GatewayArgs {
    #[command(flatten)]
    deployment: DeploymentArgs,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// Address and port to listen on.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    memory: MemoryArgs,
}

/// Runs an ingest until a signal asks the process to end.
pub(crate) async fn ingest(args: IngestArgs) -> Result<()> {
    let mut config = args.config.read()?;
    if let Some(listen) = args.http {
        config.ingest.http.listen = listen;
    }
    args.tls.apply(&mut config.ingest.http);
    args.memory.apply(&mut config.ingest.memory_max);
    if args.config.print(&config)? {
        return Ok(());
    }
    let memory = config.ingest.memory().context("ingest")?;
    config.ingest.http.fit_into(memory.of("connections")).context("ingest.http")?;
    config.ingest.http.server_options().context("ingest.http")?;
    config.kafka.queue = driftless_ingest::Settings::queue(&memory);
    let verifier = args.key.verifier(&config)?;
    let deployment = args.deployment.open(&mut config).await?;
    let metrics = Metrics::install().map_err(anyhow::Error::msg)?;
    let source = ShutdownSource::new();
    let shutdown = source.handle();
    tokio::spawn(files::keep_reloading(verifier.reloaders(), verifier.reload_interval(), shutdown.clone()));
    let mut signals = Signals::listen()?;
    let mut serving = tokio::spawn(driftless_ingest::run(
        config.ingest,
        deployment.world,
        deployment.log,
        verifier,
        Some(metrics),
        shutdown,
    ));
    tokio::select! {
        () = signals.asked_to_end() => source.end().await,
        ended = &mut serving => return Ok(ended??),
    }
    Ok(serving.await??)
}

/// Runs a replayer until a signal asks the process to end.
pub(crate) async fn replayer(args: ReplayerArgs) -> Result<()> {
    let mut config = args.config.read()?;
    if let Some(member) = args.member {
        config.replayer.member = member;
    }
    if args.accept_loss || config.replayer.core.accept_loss {
        bail!(
            "--accept-loss (accept_loss in the configuration) is gone: `driftless recover plan` prints what is lost, and \
             `driftless recover apply` accepts it"
        );
    }
    config.http.listen = args.http.unwrap_or(config.http.listen);
    args.tls.apply(&mut config.http);
    args.memory.apply(&mut config.replayer.memory_max);
    if args.config.print(&config)? {
        return Ok(());
    }
    let memory = config.replayer.memory().context("replayer")?;
    config.http.fit_into(memory.of("connections")).context("http")?;
    config.http.server_options().context("http")?;
    config.kafka.fetched_bytes_max = fetched_bytes_max(&memory);
    config.kafka.queue = driftless_replayer::Settings::queue(&memory);
    let deployment = args.deployment.open(&mut config).await?;
    let source = ShutdownSource::new();
    let settings = config.replayer.clone();
    let replayer =
        Replayer::start(settings, deployment.world, deployment.log, deployment.store, source.handle()).await?;
    let routes = http::readyz(replayer.readiness());
    #[cfg(debug_assertions)]
    let routes = routes.or(crate::damage::route("replayer", replayer.damage())).unify().boxed();
    let signals = serve_beside(&config, routes, source.handle()).await?;
    end_with(replayer.join(), signals, source).await
}

/// Runs a gateway until a signal asks the process to end.
pub(crate) async fn gateway(args: GatewayArgs) -> Result<()> {
    let mut config = args.config.read()?;
    config.http.listen = args.http.unwrap_or(config.http.listen);
    args.tls.apply(&mut config.http);
    args.memory.apply(&mut config.gateway.memory_max);
    if args.config.print(&config)? {
        return Ok(());
    }
    let memory = config.gateway.memory().context("gateway")?;
    config.http.fit_into(memory.of("connections")).context("http")?;
    config.http.server_options().context("http")?;
    config.kafka.fetched_bytes_max = fetched_bytes_max(&memory);
    let verifier = args.key.verifier(&config)?;
    let deployment = args.deployment.open(&mut config).await?;
    let source = ShutdownSource::new();
    tokio::spawn(files::keep_reloading(verifier.reloaders(), verifier.reload_interval(), source.handle()));
    let gateway = Gateway::start(
        config.gateway.clone(),
        deployment.world,
        deployment.log,
        deployment.store,
        verifier,
        config.http.origins()?,
        source.handle(),
    )
    .await?;
    let standings = gateway.readiness();
    let ready = move || standings.borrow().readiness();
    let routes = gateway.routes().or(http::readyz_with_notes(ready)).unify();
    let routes = routes.or(openapi(&Gateway::document())).unify().boxed();
    #[cfg(debug_assertions)]
    let routes = crate::damage::route("gateway", gateway.damage()).or(routes).unify().boxed();
    let signals = serve_beside(&config, routes, source.handle()).await?;
    end_with(gateway.join(), signals, source).await
}

/// The limit on the records that each reader of a process has fetched and not passed on. A process
/// has up to [`READERS`] of them at a time.
fn fetched_bytes_max(memory: &Division) -> usize {
    memory.of(memory::LOG_READER_NAME) / READERS
}

/// Serves routes, health and metrics in a background task. Returns the signals that ask the process
/// to end.
///
/// A program that reads "listening" in the log may send a signal at once. This function therefore
/// listens for signals before it logs that word.
async fn serve_beside(config: &Config, routes: Routes, shutdown: Shutdown) -> Result<Signals> {
    let options = config.http.server_options().context("http")?;
    let metrics = Metrics::install().map_err(anyhow::Error::msg)?;
    let listener = tokio::net::TcpListener::bind(config.http.listen)
        .await
        .with_context(|| format!("cannot listen on {}: choose another address with --http", config.http.listen))?;
    let signals = Signals::listen()?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    tokio::spawn(metrics.clone().upkeep(shutdown.clone()));
    tokio::spawn(memory::sample(shutdown.clone()));
    let routes = routes.or(http::healthz()).unify().or(http::metrics(metrics)).unify().boxed();
    let origins = config.http.origins()?;
    tokio::spawn(http::serve(listener, routes, origins, options, shutdown));
    Ok(signals)
}

/// Waits until `service` ends by itself. On a signal, shuts it down gracefully and waits for its
/// end.
async fn end_with<E>(
    service: impl Future<Output = Result<(), E>>,
    mut signals: Signals,
    source: ShutdownSource,
) -> Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let mut service = std::pin::pin!(service);
    tokio::select! {
        () = signals.asked_to_end() => {}
        ended = &mut service => return Ok(ended?),
    }
    tracing::info!("asked to end: finishing what is under way");
    let ending = source.end();
    let (ended, ()) = tokio::join!(service, ending);
    Ok(ended?)
}

//! `driftless ingest`, `replayer` and `gateway`: each service as a process of its own.

use crate::config::{ConfigArgs, KeyArgs, MemoryArgs, TlsArgs};
use crate::deployment::DeploymentArgs;
use crate::listeners::{self, Listeners};
use crate::signals::Signals;
use anyhow::{Context, Result, bail};
use driftless_gateway::Gateway;
use driftless_ingest::Ingest;
use driftless_replayer::Replayer;
use driftless_runtime::files;
use driftless_runtime::memory;
use driftless_runtime::shutdown::ShutdownSource;
use driftless_runtime_core::memory::Division;
use driftless_web::http;
use driftless_web::http::openapi::openapi;
use std::net::SocketAddr;
use std::sync::Arc;
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
    /// Address and port for clients.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Address and port of /healthz, /readyz and /metrics, in plain text and without tokens
    /// [default: 127.0.0.1:9471].
    #[arg(long, value_name = "ADDR", env = "DRIFTLESS_INTERNAL")]
    internal: Option<SocketAddr>,
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
    /// Address and port of /healthz, /readyz and /metrics, in plain text and without tokens
    /// [default: 127.0.0.1:9472]. A replayer has no clients, and listens nowhere else.
    #[arg(long, value_name = "ADDR", env = "DRIFTLESS_INTERNAL", alias = "http")]
    internal: Option<SocketAddr>,
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
    /// Address and port for clients.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Address and port of /healthz, /readyz and /metrics, in plain text and without tokens
    /// [default: 127.0.0.1:9473].
    #[arg(long, value_name = "ADDR", env = "DRIFTLESS_INTERNAL")]
    internal: Option<SocketAddr>,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    memory: MemoryArgs,
}

/// Runs an ingest until a signal asks the process to end.
pub(crate) async fn ingest(args: IngestArgs) -> Result<()> {
    let mut config = args.config.read()?;
    let http = &mut config.ingest.http;
    http.listen = args.http.unwrap_or(http.listen);
    let internal = listeners::internal(http, args.internal, listeners::INGEST_PORT);
    args.tls.apply(http);
    args.memory.apply(&mut config.ingest.memory_max);
    if args.config.print(&config)? {
        return Ok(());
    }
    let memory = config.ingest.memory().context("ingest")?;
    config.ingest.http.fit_into(memory.of("connections")).context("ingest.http")?;
    let listeners = Listeners::new(internal, &config.ingest.http).context("ingest.http")?;
    config.kafka.queue = driftless_ingest::Settings::queue(&memory);
    let verifier = args.key.verifier(&config)?;
    let deployment = args.deployment.open(&mut config).await?;
    let source = ShutdownSource::new();
    tokio::spawn(files::keep_reloading(verifier.reloaders(), verifier.reload_interval(), source.handle()));
    // Ingest waits for the log when it starts. A signal ends that wait.
    let mut signals = Signals::listen()?;
    let starting = Ingest::start(config.ingest, deployment.world, deployment.log, verifier, source.handle());
    let ingest = tokio::select! {
        () = signals.asked_to_end() => return Ok(()),
        started = starting => Arc::new(started?),
    };
    let routes = ingest.routes().or(openapi(&Ingest::document())).unify().boxed();
    let ready = http::readyz(move || ingest.ready());
    listeners.serve(Some(routes), ready, source.handle()).await?;
    signals.asked_to_end().await;
    tracing::info!("asked to end: finishing what is under way");
    source.end().await;
    Ok(())
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
    let internal = listeners::internal(&mut config.http, args.internal, listeners::REPLAYER_PORT);
    args.memory.apply(&mut config.replayer.memory_max);
    if args.config.print(&config)? {
        return Ok(());
    }
    let memory = config.replayer.memory().context("replayer")?;
    let listeners = Listeners::internal_only(internal);
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
    // A program that reads "listening" in the log may send a signal at once.
    let signals = Signals::listen()?;
    listeners.serve(None, routes, source.handle()).await?;
    end_with(replayer.join(), signals, source).await
}

/// Runs a gateway until a signal asks the process to end.
pub(crate) async fn gateway(args: GatewayArgs) -> Result<()> {
    let mut config = args.config.read()?;
    config.http.listen = args.http.unwrap_or(config.http.listen);
    let internal = listeners::internal(&mut config.http, args.internal, listeners::GATEWAY_PORT);
    args.tls.apply(&mut config.http);
    args.memory.apply(&mut config.gateway.memory_max);
    if args.config.print(&config)? {
        return Ok(());
    }
    let memory = config.gateway.memory().context("gateway")?;
    config.http.fit_into(memory.of("connections")).context("http")?;
    let listeners = Listeners::new(internal, &config.http).context("http")?;
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
    let routes = gateway.routes().or(openapi(&Gateway::document())).unify().boxed();
    let ready = http::readyz_with_notes(ready);
    #[cfg(debug_assertions)]
    let ready = ready.or(crate::damage::route("gateway", gateway.damage())).unify().boxed();
    let signals = Signals::listen()?;
    listeners.serve(Some(routes), ready, source.handle()).await?;
    end_with(gateway.join(), signals, source).await
}

/// The limit on the records that each reader of a process has fetched and not passed on. A process
/// has up to [`READERS`] of them at a time.
fn fetched_bytes_max(memory: &Division) -> usize {
    memory.of(memory::LOG_READER_NAME) / READERS
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

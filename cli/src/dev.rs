//! `driftless dev`: everything in one process, over a data folder.
//!
//! It is the real thing: the same ingest, replayer and gateway as apart, over the embedded log (one SQLite file) and a
//! folder as object store. What was acknowledged survives Ctrl-C and kill -9.

use crate::config::file_url;
use crate::deployment::{compare, create_topics};
use crate::signals::asked_to_end;
use crate::{page, token};
use anyhow::{Context, Result, bail};
use driftless_chunk::model::Models;
use driftless_chunk::world::World;
use driftless_gateway::Gateway;
use driftless_ingest::Ingest;
use driftless_replayer::{CoreSettings, Replayer};
use driftless_runtime::auth::{KeyKind, Settings as AuthSettings, Signer, Verifier, generate_key};
use driftless_runtime::http;
use driftless_runtime::log::Log;
use driftless_runtime::log::kafka::{KafkaLog, KafkaSettings};
use driftless_runtime::log::sqlite::SqliteLog;
use driftless_runtime::shutdown::ShutdownSource;
use driftless_runtime::store::Store;
use driftless_runtime::telemetry::Metrics;
use driftless_schemas::access::Access;
use driftless_schemas::world::{StoredWorld, WorldSpec};
use driftless_testbed::kafka::{Kafka, KafkaOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use warp::Filter;

/// The token of `dev` is good for this long.
const TOKEN_HOURS: u32 = 24 * 30;
/// Longer than any recovery of a world on one machine should take.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Arguments of `driftless dev`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  driftless dev                                   then open the page that it prints
  driftless dev --fresh --json                    from nothing; one line of JSON once it is ready
  driftless dev --kafka                           on a real Apache Kafka of its own (needs Java and, once, Maven)
  driftless dev --brokers 127.0.0.1:9092          on a Kafka or Redpanda that runs already")]
pub(crate) struct Args {
    /// Where everything is kept.
    #[arg(long, value_name = "DIR", default_value = ".driftless")]
    data: PathBuf,
    /// Delete what is in the data folder first. With --brokers: only what is in the folder, so give the world a new name or generation.
    #[arg(long)]
    fresh: bool,
    /// Address and port of the page and of all services.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// A world.toml instead of the world of `dev` (128×128 canvases and things on them).
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
    /// Start a real Apache Kafka in the data folder instead of the embedded log.
    #[arg(long, conflicts_with = "brokers")]
    kafka: bool,
    /// Use a Kafka or Redpanda that runs already.
    #[arg(long, value_name = "LIST")]
    brokers: Option<String>,
    /// Use this object store instead of a folder in the data folder.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Print one line of JSON once everything is ready.
    #[arg(long)]
    json: bool,
}

/// What the log is; the broker of `--kafka` ends with it.
struct OpenedLog {
    log: Arc<dyn Log>,
    brokers: Option<String>,
    broker: Option<Kafka>,
}

/// Runs until Ctrl-C.
pub(crate) async fn run(args: Args) -> Result<()> {
    if args.fresh {
        clear(&args.data)?;
    }
    std::fs::create_dir_all(&args.data)
        .with_context(|| format!("cannot make the data folder {}: choose another with --data", args.data.display()))?;
    // The port first: whoever runs it twice learns it before anything else happens.
    let listener = tokio::net::TcpListener::bind(args.http).await.with_context(|| {
        format!(
            "cannot listen on {}: another `driftless dev` may be running; choose another address with --http",
            args.http
        )
    })?;
    let address = listener.local_addr()?;
    let key = args.data.join("dev.key");
    if !key.exists() {
        generate_key(&key, KeyKind::Secret)?;
    }
    let verifier = Verifier::new(AuthSettings::with_key_file(&key))?;
    let store = match &args.store {
        Some(url) => Store::open(url)?,
        None => Store::open(&file_url(&args.data.join("store"))?)?,
    };
    let opened = open_log(&args).await?;
    let world = prepare_world(&args, &store, &*opened.log).await?;

    let metrics = Metrics::install().map_err(anyhow::Error::msg)?;
    let (front, back) = (ShutdownSource::new(), ShutdownSource::new());
    let settings = driftless_replayer::Settings { core: CoreSettings::dev(), ..Default::default() };
    let log = || Arc::clone(&opened.log);
    let replayer = Replayer::start(settings, Arc::clone(&world), log(), store.clone(), back.handle()).await?;
    let http_settings = driftless_runtime::settings::Http::default();
    let origins = http_settings.origins()?;
    let gateway = Gateway::start(
        driftless_gateway::Settings::default(),
        Arc::clone(&world),
        log(),
        store,
        verifier.clone(),
        origins.clone(),
        front.handle(),
    )
    .await?;
    let ingest =
        Ingest::start(driftless_ingest::Settings::default(), Arc::clone(&world), log(), verifier, front.handle())
            .await?;

    let partitions = usize::try_from(world.spec().partitions).unwrap_or(usize::MAX);
    let mut readiness = gateway.readiness();
    let all_ready = async { replayer.ready(partitions).await && readiness.wait_for(|ready| *ready).await.is_ok() };
    if !tokio::time::timeout(READY_WITHIN, all_ready).await.unwrap_or(false) {
        bail!("not ready within {READY_WITHIN:?}: the log of the services above says why");
    }
    let ready = readiness.clone();
    let ready = move || if *ready.borrow() { Ok(()) } else { Err("catching up with the log".to_owned()) };
    let routes = gateway.routes().or(ingest.routes()).unify();
    let routes = routes.or(http::healthz()).unify().or(http::readyz(ready)).unify();
    let routes = routes.or(http::metrics(metrics.clone())).unify().or(page::routes()).unify().boxed();
    // Its sockets go on without it; whoever holds a copy of the shutdown holds up the end.
    drop(ingest);
    tokio::spawn(metrics.upkeep(front.handle()));
    let server = tokio::spawn(http::serve(listener, routes, origins, http_settings.connections_max, front.handle()));
    announce(&args, address, &Signer::from_file(&key)?, opened.brokers.as_deref())?;

    let mut replaying = tokio::spawn(replayer.join());
    let mut following = tokio::spawn(gateway.join());
    let mut failed: Option<anyhow::Error> = None;
    tokio::select! {
        () = asked_to_end() => {}
        ended = &mut replaying => failed = Some(by_itself("the replayer", ended)),
        ended = &mut following => failed = Some(by_itself("the gateway", ended)),
    }
    // In the order of an edit, so that nothing acknowledged is lost: no more commands, then the last decisions.
    if !args.json {
        println!("\nending: finishing what is under way");
    }
    front.end().await;
    back.end().await;
    server.await?;
    drop(opened.log);
    if let Some(broker) = opened.broker {
        tokio::task::spawn_blocking(move || drop(broker)).await?;
    }
    failed.map_or(Ok(()), Err)
}

fn by_itself<E: std::fmt::Display>(who: &str, ended: Result<Result<(), E>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow::anyhow!("{who} ended by itself"),
        Ok(Err(e)) => anyhow::anyhow!("{who} ended: {e}"),
        Err(e) => anyhow::anyhow!("{who} ended: {e}"),
    }
}

/// Deletes what `dev` itself has made, and nothing else.
fn clear(data: &Path) -> Result<()> {
    for name in ["store", "kafka"] {
        remove(&data.join(name), |path| std::fs::remove_dir_all(path))?;
    }
    for name in ["log.db", "log.db-wal", "log.db-shm", "log.db.lock", "dev.key"] {
        remove(&data.join(name), |path| std::fs::remove_file(path))?;
    }
    Ok(())
}

fn remove(path: &Path, remove: impl Fn(&Path) -> std::io::Result<()>) -> Result<()> {
    match remove(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot delete {}", path.display()))
        }
        _ => Ok(()),
    }
}

async fn open_log(args: &Args) -> Result<OpenedLog> {
    let kafka_log = |brokers: &str| -> Result<Arc<dyn Log>> {
        Ok(Arc::new(KafkaLog::new(KafkaSettings { brokers: brokers.to_owned(), ..KafkaSettings::default() })?))
    };
    if let Some(brokers) = &args.brokers {
        return Ok(OpenedLog { log: kafka_log(brokers)?, brokers: Some(brokers.clone()), broker: None });
    }
    if args.kafka {
        eprintln!(
            "starting Apache Kafka {} (the first time it is fetched) …",
            driftless_testbed::kafka::KafkaDist::VERSION
        );
        let folder = std::path::absolute(args.data.join("kafka"))?;
        let broker = tokio::task::spawn_blocking(move || Kafka::start(KafkaOptions::new(folder))).await??;
        let brokers = broker.brokers().to_owned();
        return Ok(OpenedLog { log: kafka_log(&brokers)?, brokers: Some(brokers), broker: Some(broker) });
    }
    let path = args.data.join("log.db");
    let log = tokio::task::spawn_blocking(move || SqliteLog::open(&path)).await??;
    Ok(OpenedLog { log: Arc::new(log), brokers: None, broker: None })
}

async fn prepare_world(args: &Args, store: &Store, log: &dyn Log) -> Result<Arc<World>> {
    let (file, spec) = match &args.world {
        None => ("the world of `driftless dev`".to_owned(), WorldSpec::dev()),
        Some(path) => {
            let file = path.display().to_string();
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {file}"))?;
            let spec = WorldSpec::from_toml(&file, &text)?;
            (file, spec)
        }
    };
    let world = World::new(&file, spec.clone(), &Models::builtin())?;
    match store.world().await? {
        None => {
            create_topics(log, &spec).await?;
            store.put_world(&StoredWorld { revision: 1, spec }).await?;
        }
        Some(stored) => {
            compare(&file, &spec, &stored, store).context("to begin anew, run `driftless dev --fresh`")?;
            create_topics(log, &spec).await?;
        }
    }
    Ok(Arc::new(world))
}

fn announce(args: &Args, address: SocketAddr, signer: &Signer, brokers: Option<&str>) -> Result<()> {
    let prefix = |name: &str| vec![format!("{name}/")];
    let spec = match &args.world {
        None => WorldSpec::dev(),
        Some(path) => WorldSpec::from_toml(&path.display().to_string(), &std::fs::read_to_string(path)?)?,
    };
    let write = spec.families.iter().flat_map(|family| prefix(&family.name)).collect();
    let access = Access { read: Vec::new(), write, roles: Vec::new() };
    let token = signer.issue("dev", &access, token::now_ms(), TOKEN_HOURS * 3600)?;
    if args.json {
        let line = serde_json::json!({
            "ready": true,
            "http": format!("http://{address}"),
            "page": format!("http://{address}/?token={token}"),
            "ingest_ws": format!("ws://{address}/v1/ingest"),
            "gateway_ws": format!("ws://{address}/v1/gateway"),
            "brokers": brokers,
            "token": token,
            "data": args.data,
        });
        println!("{line}");
        return Ok(());
    }
    let log = match brokers {
        Some(brokers) => format!("Kafka at {brokers}"),
        None => format!("{} (look into it with sqlite3)", args.data.join("log.db").display()),
    };
    println!(
        "
  Driftless is ready.

  Page       http://{address}/?token={token}
  Log        {log}
  Data       {}

  In another terminal:
    export DRIFTLESS_TOKEN={token}
    driftless watch canvas/0/0 --http http://{address}
    curl -N \"http://{address}/v1/chunks/canvas/0/0/events?token=$DRIFTLESS_TOKEN\"

  Ctrl-C ends it; nothing that was acknowledged is lost.
",
        args.data.display()
    );
    Ok(())
}

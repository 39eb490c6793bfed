//! `driftless dev`: everything in one process, over a data folder.
//!
//! It is the real thing: the same ingest, replayer and gateway as apart, over the embedded log (one SQLite file) and a
//! folder as object store. What was acknowledged survives Ctrl-C and kill -9.

use crate::config::{TlsArgs, file_url};
use crate::data_folder::{DataFolder, LogName};
use crate::deployment::{Unknown, compare, create_topics, found};
use crate::page;
use crate::signals::Signals;
use anyhow::{Context, Result, bail};
use driftless_auth::{KeyKind, Settings as AuthSettings, Signer, Verifier, generate_key};
use driftless_chunk::world::World;
use driftless_gateway::Gateway;
use driftless_ingest::Ingest;
use driftless_local_kafka::{Kafka, KafkaDist, KafkaOptions};
use driftless_log::Log;
use driftless_log::kafka::{KafkaLog, KafkaSettings};
use driftless_log::sqlite::SqliteLog;
use driftless_replayer::{CoreSettings, Replayer};
use driftless_runtime::clock::unix_now;
use driftless_runtime::files;
use driftless_runtime::shutdown::ShutdownSource;
use driftless_runtime::telemetry::Metrics;
use driftless_schemas::access::Access;
use driftless_schemas::world::WorldSpec;
use driftless_store::Store;
use driftless_web::http;
use driftless_web::http::openapi::openapi;
use std::ffi::OsString;
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
  driftless dev --kafka --kafka-port 9092         the same where other programs look for a Kafka
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
    #[command(flatten)]
    tls: TlsArgs,
    /// A world.toml instead of the world of `dev` (128×128 canvases and things on them).
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
    /// Start a real Apache Kafka in the data folder instead of the embedded log.
    #[arg(long, conflicts_with = "brokers")]
    kafka: bool,
    /// With --kafka: its port; a free one without it.
    #[arg(long, value_name = "PORT", requires = "kafka", value_parser = clap::value_parser!(u16).range(1..))]
    kafka_port: Option<u16>,
    /// Use a Kafka or Redpanda that runs already.
    #[arg(long, value_name = "LIST")]
    brokers: Option<String>,
    /// Use this object store instead of a folder in the data folder.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Users and tokens that are refused although they are signed well: lines `sub <name>` and `jti <id>`; may change meanwhile.
    #[arg(long, value_name = "FILE")]
    deny_file: Option<PathBuf>,
    /// Print one line of JSON once everything is ready.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// The log that is asked for.
    fn log(&self) -> LogName {
        match &self.brokers {
            Some(brokers) => LogName::Brokers { brokers: brokers.clone(), cluster_id: None },
            None if self.kafka => LogName::Kafka,
            None => LogName::Embedded,
        }
    }
}

/// What the log is; the broker of `--kafka` ends with it.
struct OpenedLog {
    log: Arc<dyn Log>,
    name: LogName,
    brokers: Option<String>,
    broker: Option<Kafka>,
}

/// A service that ended before it was ready.
enum Ended {
    Replayer,
    Gateway,
}

/// Runs until Ctrl-C.
pub(crate) async fn run(args: Args) -> Result<()> {
    let mut http_settings = driftless_web::settings::Http { listen: args.http, ..Default::default() };
    args.tls.apply(&mut http_settings);
    let options = http_settings.server_options().context("http")?;
    let folder = DataFolder::new(&args.data);
    // The port first: whoever runs it twice learns it before anything else happens.
    let listener = tokio::net::TcpListener::bind(args.http).await.with_context(|| {
        format!(
            "cannot listen on {}: another `driftless dev` may be running; choose another address with --http",
            args.http
        )
    })?;
    let address = listener.local_addr()?;
    // Until the process ends: what runs in the background may outlive this function by a moment.
    std::mem::forget(folder.lock()?);
    if args.fresh {
        folder.clear()?;
    }
    folder.check(&args.log())?;
    let key = folder.key();
    if !key.exists() {
        generate_key(&key, KeyKind::Secret)?;
    }
    let auth = AuthSettings { deny_file: args.deny_file.clone(), ..AuthSettings::with_key_file(&key) };
    let verifier = Verifier::new(auth)?;
    let store = match &args.store {
        Some(url) => Store::open(url)?,
        None => Store::open(&file_url(&folder.store())?)?,
    };
    let (file, spec) = read_world(&args)?;
    let world = Arc::new(World::new(&file, spec.clone(), &crate::models())?);
    let opened = open_log(&args, &folder).await?;
    folder.bind(&opened.name)?;
    store_world(&file, spec, &store, &*opened.log).await?;

    let metrics = Metrics::install().map_err(anyhow::Error::msg)?;
    let (front, back) = (ShutdownSource::new(), ShutdownSource::new());
    tokio::spawn(files::keep_reloading(verifier.reloaders(), verifier.reload_interval(), front.handle()));
    let settings = driftless_replayer::Settings { core: CoreSettings::dev(), ..Default::default() };
    let log = || Arc::clone(&opened.log);
    let replayer = Replayer::start(settings, Arc::clone(&world), log(), store.clone(), back.handle()).await?;
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
    // Whoever ends by itself says why, at once.
    let all_ready = async {
        let replayer = async { replayer.ready(partitions).await.then_some(()).ok_or(Ended::Replayer) };
        let gateway = async { readiness.wait_for(|ready| *ready).await.map(drop).map_err(|_| Ended::Gateway) };
        tokio::try_join!(replayer, gateway)
    };
    match tokio::time::timeout(READY_WITHIN, all_ready).await {
        Ok(Ok(_)) => {}
        Ok(Err(Ended::Replayer)) => return Err(by_itself("the replayer", Ok(replayer.join().await))),
        Ok(Err(Ended::Gateway)) => return Err(by_itself("the gateway", Ok(gateway.join().await))),
        Err(_) => bail!("not ready within {READY_WITHIN:?}: the log of the services above says why"),
    }
    let ready = readiness.clone();
    let ready = move || if *ready.borrow() { Ok(()) } else { Err("catching up with the log".to_owned()) };
    let routes = gateway.routes().or(ingest.routes()).unify().boxed();
    #[cfg(debug_assertions)]
    let routes = {
        let damage = crate::damage::route("replayer", replayer.damage());
        let damage = damage.or(crate::damage::route("gateway", gateway.damage())).unify();
        damage.or(routes).unify().boxed()
    };
    let document = Gateway::document().and(Ingest::document());
    let routes = routes.or(http::healthz()).unify().or(http::readyz(ready)).unify();
    let routes = routes.or(openapi(&document)).unify();
    let routes = routes.or(http::metrics(metrics.clone())).unify().or(page::routes()).unify().boxed();
    // Its sockets go on without it; whoever holds a copy of the shutdown holds up the end.
    drop(ingest);
    tokio::spawn(metrics.upkeep(front.handle()));
    // Whoever is told that it is ready may ask for the end at once.
    let mut signals = Signals::listen()?;
    let server = tokio::spawn(http::serve(listener, routes, origins, options, front.handle()));
    let is_tls = http_settings.tls.is_some();
    announce(&args, address, is_tls, world.spec(), &Signer::from_file(&key)?, opened.brokers.as_deref())?;

    let mut replaying = tokio::spawn(replayer.join());
    let mut following = tokio::spawn(gateway.join());
    let mut failed: Option<anyhow::Error> = None;
    tokio::select! {
        () = signals.asked_to_end() => {}
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

async fn open_log(args: &Args, folder: &DataFolder) -> Result<OpenedLog> {
    let kafka_log =
        |brokers: &str| KafkaLog::new(KafkaSettings { brokers: brokers.to_owned(), ..KafkaSettings::default() });
    let name = args.log();
    match &name {
        LogName::Brokers { brokers, .. } => {
            let log = kafka_log(brokers)?;
            let name = LogName::Brokers { brokers: brokers.clone(), cluster_id: Some(log.cluster_id().await?) };
            Ok(OpenedLog { log: Arc::new(log), name, brokers: Some(brokers.clone()), broker: None })
        }
        LogName::Kafka => {
            // The first start on a machine also fetches Kafka, and says so.
            eprintln!("starting Apache Kafka {} …", KafkaDist::VERSION);
            let options = KafkaOptions::new(std::path::absolute(folder.kafka())?).port(args.kafka_port);
            let broker = tokio::task::spawn_blocking(move || Kafka::start(options)).await??;
            let brokers = broker.brokers().to_owned();
            let log = Arc::new(kafka_log(&brokers)?);
            Ok(OpenedLog { log, name, brokers: Some(brokers), broker: Some(broker) })
        }
        LogName::Embedded => {
            let path = folder.log_db();
            let log = tokio::task::spawn_blocking(move || SqliteLog::open(&path)).await??;
            Ok(OpenedLog { log: Arc::new(log), name, brokers: None, broker: None })
        }
    }
}

fn read_world(args: &Args) -> Result<(String, WorldSpec)> {
    let Some(path) = &args.world else { return Ok(("the world of `driftless dev`".to_owned(), WorldSpec::dev())) };
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {file}"))?;
    let spec = WorldSpec::from_toml(&file, &text)?;
    Ok((file, spec))
}

async fn store_world(file: &str, spec: WorldSpec, store: &Store, log: &dyn Log) -> Result<()> {
    match store.world().await? {
        None => {
            let ways_out = "Name the store that belongs to it with --store; or begin anew: with the embedded log and with \
                            --kafka by --fresh, with --brokers by --world and another name or generation in it";
            found(log, store, &spec, Unknown::Refused { ways_out }).await?;
        }
        Some(stored) => {
            compare(file, &spec, &stored, store).context("to begin anew, run `driftless dev --fresh`")?;
            create_topics(log, &spec).await?;
        }
    }
    Ok(())
}

fn announce(
    args: &Args,
    address: SocketAddr,
    is_tls: bool,
    spec: &WorldSpec,
    signer: &Signer,
    brokers: Option<&str>,
) -> Result<()> {
    let (http, ws) = if is_tls { ("https", "wss") } else { ("http", "ws") };
    let prefix = |name: &str| vec![format!("{name}/")];
    let write = spec.families.iter().flat_map(|family| prefix(&family.name)).collect();
    let access = Access { read: Vec::new(), write, roles: Vec::new() };
    let token = signer.issue("dev", &access, unix_now(), TOKEN_HOURS * 3600)?;
    if args.json {
        let line = serde_json::json!({
            "ready": true,
            "http": format!("{http}://{address}"),
            "page": format!("{http}://{address}/?token={token}"),
            "ingest_ws": format!("{ws}://{address}/v1/ingest"),
            "gateway_ws": format!("{ws}://{address}/v1/gateway"),
            "brokers": brokers,
            "token": token,
            "data": args.data,
        });
        println!("{line}");
        return Ok(());
    }
    let log = match brokers {
        Some(brokers) => format!("Kafka at {brokers}"),
        None => format!("{} (look into it with sqlite3)", DataFolder::new(&args.data).log_db().display()),
    };
    let driftless = called_as(std::env::args_os().next());
    println!(
        "
  Driftless is ready.

  Page       {http}://{address}/?token={token}
  Log        {log}
  Data       {}

  In another terminal:
    export DRIFTLESS_TOKEN={token}
    {driftless} watch canvas/0/0 --http {http}://{address}
    curl -N \"{http}://{address}/v1/chunks/canvas/0/0/events?token=$DRIFTLESS_TOKEN\"

  Ctrl-C ends it; nothing that was acknowledged is lost.
",
        args.data.display()
    );
    Ok(())
}

/// How this program is started from another terminal: as it was started here, by a path that holds everywhere.
fn called_as(argument: Option<OsString>) -> String {
    let Some(program) = argument.filter(|program| !program.is_empty()) else { return "driftless".into() };
    // A bare name was found on the PATH.
    let is_bare = Path::new(&program).components().count() == 1 && !Path::new(&program).has_root();
    let path = if is_bare { program.into() } else { std::path::absolute(&program).unwrap_or(program.into()) };
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_for_the_other_terminal_works_there() {
        let called = |program: &str| called_as(Some(program.into()));
        assert_eq!(called("driftless"), "driftless");
        assert_eq!(called("/opt/driftless"), "/opt/driftless");
        let here = std::env::current_dir().unwrap().display().to_string();
        assert!(called("target/debug/driftless").ends_with("/target/debug/driftless"));
        assert!(called("./driftless").trim_matches('\'').starts_with(&here));
        assert_eq!(called("/home/ann's own/driftless"), r"'/home/ann'\''s own/driftless'");
        assert_eq!(called_as(None), "driftless");
    }
}

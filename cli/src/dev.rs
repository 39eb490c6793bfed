//! `driftless dev`: the whole of Driftless in one process, over a data folder.
//!
//! The services are the real ingest, replayer and gateway. Unless the arguments say otherwise, the
//! log is the embedded one (a SQLite file) and the object store is a folder. Acknowledged edits
//! survive Ctrl-C and kill -9.

mod announce;
mod log;
mod stack;

use crate::config::{MemoryArgs, TlsArgs, file_url};
use crate::data_folder::{DataFolder, LogName};
use crate::deployment::{StrayTopics, compare, create_topics, create_world, update_world};
use crate::signals::Signals;
use anyhow::{Context, Result};
use driftless_auth::{KeyKind, Settings as AuthSettings, Signer, Verifier, audience_of, generate_key};
use driftless_chunk::world::World;
use driftless_log::Log;
use driftless_runtime::files;
use driftless_runtime::shutdown::ShutdownSource;
use driftless_runtime::telemetry::Metrics;
use driftless_schemas::world::{StoredWorld, WorldSpec};
use driftless_store::Store;
use driftless_web::http;
use driftless_web::settings::Http;
use log::OpenedLog;
use stack::{Memory, Stack};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Arguments of `driftless dev`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  driftless dev                                   then open the printed page
  driftless dev --fresh --json                    an empty world; one line of JSON once it is ready
  driftless dev --kafka                           on a real Apache Kafka of its own (needs Java and, once, Maven)
  driftless dev --kafka --kafka-port 9092         the same on Kafka's usual port
  driftless dev --brokers 127.0.0.1:9092          on a Kafka or Redpanda that runs already")]
pub(crate) struct Args {
    /// The folder of all data.
    #[arg(long, value_name = "DIR", default_value = ".driftless")]
    data: PathBuf,
    /// Delete the contents of the data folder first. With --brokers the topics stay, so give the
    /// world a new name or generation.
    #[arg(long)]
    fresh: bool,
    /// Give an id to a world that version 0.1.0 made. Version 0.1.0 cannot read the data folder
    /// after that.
    #[arg(long)]
    update: bool,
    /// Address and port of the page and of all services.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    /// A world.toml instead of the built-in world (128×128 canvases and things on them).
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
    /// Start a real Apache Kafka in the data folder instead of the embedded log.
    #[arg(long, conflicts_with = "brokers")]
    kafka: bool,
    /// Kafka's port, for --kafka [default: a free port].
    #[arg(long, value_name = "PORT", requires = "kafka", value_parser = clap::value_parser!(u16).range(1..))]
    kafka_port: Option<u16>,
    /// Use a Kafka or Redpanda that runs already.
    #[arg(long, value_name = "LIST")]
    brokers: Option<String>,
    /// Use this object store instead of a folder in the data folder.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Users and tokens to refuse although their signature is good: lines `sub <name>` and `jti
    /// <id>`. The file may change while the program runs.
    #[arg(long, value_name = "FILE")]
    deny_file: Option<PathBuf>,
    /// Print one line of JSON once everything is ready.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// The log that the arguments name.
    fn log(&self) -> LogName {
        match &self.brokers {
            Some(brokers) => LogName::Brokers { brokers: brokers.clone(), cluster_id: None },
            None if self.kafka => LogName::Kafka,
            None => LogName::Embedded,
        }
    }
}

/// Runs all services until a signal asks the process to end, or until a service ends by itself.
/// Then shuts the other services down gracefully.
pub(crate) async fn run(args: Args) -> Result<()> {
    let mut http_settings = Http { listen: args.http, ..Http::default() };
    args.tls.apply(&mut http_settings);
    let memory = Memory::of_process(args.memory)?;
    http_settings.fit_into(memory.connections()).context("http")?;
    let options = http_settings.server_options().context("http")?;
    // The program binds its port first. A second `driftless dev` on this port then fails here,
    // before it changes anything.
    let listener = listen(args.http).await?;
    let address = listener.local_addr()?;
    let site = Site::open(&args).await?;

    let metrics = Metrics::install().map_err(anyhow::Error::msg)?;
    let (front, back) = (ShutdownSource::new(), ShutdownSource::new());
    tokio::spawn(files::keep_reloading(site.verifier.reloaders(), site.verifier.reload_interval(), front.handle()));
    let origins = http_settings.origins()?;
    let stack = Stack::start(&site, memory, &origins, &front, &back).await?.ready().await?;
    let routes = stack.routes(&metrics);
    tokio::spawn(metrics.upkeep(front.handle()));
    tokio::spawn(driftless_runtime::memory::sample(front.handle()));
    // A program that reads "ready" may send a signal at once, so `dev` listens for signals before
    // it announces that it is ready.
    let mut signals = Signals::listen()?;
    let server = tokio::spawn(http::serve(listener, routes, origins, options, front.handle()));
    announce::announce(&args, address, http_settings.tls.is_some(), &site)?;

    let failed = stack.run_until(signals.asked_to_end()).await;
    // The services end in the order in which an edit meets them. First ingest accepts no more
    // commands, and then the replayer publishes its last decisions, so no acknowledged edit is
    // lost.
    if !args.json {
        println!("\nending: finishing what is under way");
    }
    front.end().await;
    back.end().await;
    server.await?;
    site.close().await?;
    failed.map_or(Ok(()), Err)
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address}: another `driftless dev` may be running; choose another address with --http"
        )
    })
}

/// The opened data folder: keys, world, log and object store.
struct Site {
    verifier: Verifier,
    signer: Signer,
    /// The audience that tokens must name.
    audience: String,
    world: Arc<World>,
    store: Store,
    opened: OpenedLog,
}

impl Site {
    async fn open(args: &Args) -> Result<Self> {
        let folder = DataFolder::new(&args.data);
        // The lock must last until the process ends, because background tasks may outlive `run` by
        // a moment. The file is therefore never dropped.
        std::mem::forget(folder.lock()?);
        if args.fresh {
            folder.clear()?;
        }
        folder.check(&args.log())?;
        let key = folder.key();
        if !key.exists() {
            generate_key(&key, KeyKind::Secret)?;
        }
        let (file, spec) = read_world(args)?;
        let audience = audience_of(&spec.name);
        let auth = AuthSettings {
            deny_file: args.deny_file.clone(),
            audience: Some(audience.clone()),
            lifetime_max_s: announce::TOKEN_HOURS * 3600,
            ..AuthSettings::with_key_file(&key)
        };
        let verifier = Verifier::new(auth)?;
        let signer = Signer::from_file(&key)?.with_audience(Some(audience.clone()));
        let store = match &args.store {
            Some(url) => Store::open(url)?,
            None => Store::open(&file_url(&folder.store())?)?,
        };
        let world = World::new(&file, spec.clone(), &crate::models())?;
        let opened = OpenedLog::open(args.log(), &folder, args.kafka_port).await?;
        folder.bind(&opened.name)?;
        let stored = store_world((&file, spec), &store, &*opened.log, args.update).await?;
        let world = Arc::new(world.with_id(stored.id));
        Ok(Self { verifier, signer, audience, world, store, opened })
    }

    async fn close(self) -> Result<()> {
        self.opened.close().await
    }
}

fn read_world(args: &Args) -> Result<(String, WorldSpec)> {
    let Some(path) = &args.world else { return Ok(("the world of `driftless dev`".to_owned(), WorldSpec::dev())) };
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {file}"))?;
    let spec = WorldSpec::from_toml(&file, &text)?;
    Ok((file, spec))
}

async fn store_world(
    (file, spec): (&str, WorldSpec),
    store: &Store,
    log: &dyn Log,
    is_update: bool,
) -> Result<StoredWorld> {
    let Some(stored) = store.world().await? else {
        let remedy = "Name the store that belongs to it with --store; or begin anew: with the embedded log and with \
                        --kafka by --fresh, with --brokers by --world and another name or generation in it";
        return create_world(log, store, &spec, StrayTopics::Refused { remedy }).await;
    };
    compare(file, &spec, &stored, store).context("to begin anew, run `driftless dev --fresh`")?;
    create_topics(log, &spec).await?;
    match stored.id {
        None if is_update => update_world(store, stored, &spec).await,
        _ => Ok(stored),
    }
}

//! The measured process of `mixed`: ingest, replayer and gateway over the embedded log.

use super::{RINGS_BYTES, SOCKET_QUEUE_BYTES, WRITE_TIMEOUT};
use anyhow::{Result, anyhow};
use driftless_auth::{self as auth, Verifier};
use driftless_chunk::model::Models;
use driftless_chunk::world::World;
use driftless_gateway::{Gateway, Settings, Standings};
use driftless_ingest::Ingest;
use driftless_log::sqlite::SqliteLog;
use driftless_log::{Log, TopicSpec};
use driftless_replayer::Replayer;
use driftless_runtime::shutdown::ShutdownSource;
use driftless_schemas::limits;
use driftless_schemas::world::WorldSpec;
use driftless_store::Store;
use driftless_web::http::{Origins, ServerOptions, serve};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use warp::Filter as _;

/// Arguments of the measured process.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ServeArgs {
    /// The folder with the file `key`, and for log and store.
    #[arg(long)]
    folder: PathBuf,
}

/// The line that the process prints when it is ready.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ready {
    pub address: SocketAddr,
}

/// Serves until the process is killed.
pub(crate) async fn run(args: ServeArgs) -> Result<()> {
    let mut spec = WorldSpec::dev();
    spec.name = "mixed".into();
    let world = Arc::new(World::new("the bench's world", spec, &Models::builtin())?);
    let path = args.folder.join("log.db");
    let log: Arc<dyn Log> = Arc::new(tokio::task::spawn_blocking(move || SqliteLog::open(&path)).await??);
    create_topics(&*log, world.spec()).await?;
    let folder = args.folder.join("store");
    std::fs::create_dir_all(&folder)?;
    let store = Store::open(&format!("file://{}", std::path::absolute(&folder)?.display()))?;
    let verifier = Verifier::new(auth::Settings::with_key_file(args.folder.join("key")))?;
    let shutdown = ShutdownSource::new();
    let replayer = Replayer::start(
        driftless_replayer::Settings::default(),
        Arc::clone(&world),
        Arc::clone(&log),
        store.clone(),
        shutdown.handle(),
    )
    .await?;
    let settings = Settings {
        core: driftless_gateway::CoreSettings {
            socket_queue_bytes_max: SOCKET_QUEUE_BYTES,
            rings_bytes_max: Some(RINGS_BYTES),
            ..Default::default()
        },
        write_timeout_ms: WRITE_TIMEOUT.as_millis() as u64,
        // The clients of the crowd connect all at once.
        admissions_per_second: 0,
        ..Settings::default()
    };
    let origins = Origins::default();
    let gateway = Gateway::start(
        settings,
        Arc::clone(&world),
        Arc::clone(&log),
        store,
        verifier.clone(),
        origins.clone(),
        shutdown.handle(),
    )
    .await?;
    let ingest =
        Ingest::start(driftless_ingest::Settings::default(), Arc::clone(&world), log, verifier, shutdown.handle())
            .await?;
    let partitions = usize::try_from(world.spec().partitions)?;
    replayer.ready(partitions).await.map_err(|reason| anyhow!("the replayer cannot decide: {reason}"))?;
    gateway.readiness().wait_for(Standings::is_ready).await?;
    let sockets = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", serde_json::to_string(&Ready { address: sockets.local_addr()? })?);
    let routes = gateway.routes().or(ingest.routes()).unify().boxed();
    serve(sockets, routes, origins, ServerOptions::new(usize::MAX), shutdown.handle()).await;
    Ok(())
}

async fn create_topics(log: &dyn Log, spec: &WorldSpec) -> Result<()> {
    let topics = spec.topics();
    let partitions = [(topics.commands, spec.partitions), (topics.updates, spec.partitions), (topics.dead_letter, 1)];
    for (name, partitions) in partitions {
        let record_bytes_max = limits::RECORD_BYTES_MAX;
        let topic = TopicSpec { name: name.to_string(), partitions, retention_ms: None, record_bytes_max };
        log.create_topic(&topic).await?;
    }
    Ok(())
}

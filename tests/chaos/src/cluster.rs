//! Everything that a run needs, each as a process: Kafka, an S3 server, replayers, gateways and
//! ingests. A gate is in every connection that faults may disturb: from all services to S3, from
//! clients to each service, and from each service to each broker. For the last kind, each broker
//! has a listener for each service, which advertises the address of the gate.

use crate::clock::WallClock;
use crate::gate::Gate;
use crate::journal::Journal;
use crate::plan::Kind;
use crate::service::{Launch, Service};
use anyhow::{Context, Result, bail, ensure};
use driftless_auth::{KeyKind, generate_key};
use driftless_chunk::world::World;
use driftless_client::{ChunkId, Hash, Settings, Token, Version};
use driftless_e2e_tests::people::Tokens;
use driftless_e2e_tests::process::{Env, arguments, command};
use driftless_e2e_tests::stack;
use driftless_schemas::world::WorldSpec;
use driftless_testbed::kafka::{Kafka, KafkaOptions};
use driftless_testbed::s3::{S3, S3Options};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard, RwLock};
use tokio::task::block_in_place;

/// The config of the services. Snapshots and checkpoints are frequent, and memory holds few chunks,
/// so that every code path runs within minutes.
const CONFIG: &str = "\
[replayer.core]
snapshot_every = 64
snapshot_max_age_ms = 2000
snapshot_min_interval_ms = 500
checkpoint_interval_ms = 500
chunks_bytes_max = 65536
";
/// The deadline for everything to recover after the last fault.
pub const WELL_WITHIN: Duration = Duration::from_secs(180);
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Options of a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder for logs and data; must be empty.
    pub dir: PathBuf,
    /// The `driftless` program.
    pub program: PathBuf,
    /// The number of replayers, of gateways, and of ingests.
    pub services: usize,
    /// The Kafka of the run.
    pub kafka: KafkaChoice,
    /// The number of partitions of the world.
    pub partitions: i32,
    /// The library of `tests/clock-shim`, which shifts the clock of a service; `None` if no clock
    /// is to be shifted.
    pub shim: Option<PathBuf>,
}

/// The Kafka of a run: started by the run, or running already.
#[derive(Clone, Debug)]
pub enum KafkaChoice {
    /// A Kafka that the run starts, with this number of nodes.
    Own(usize),
    /// A Kafka that runs already, by its bootstrap list.
    At(String),
}

/// The running cluster. Dropping it kills all its processes.
pub struct Cluster {
    dir: PathBuf,
    services: BTreeMap<(Kind, usize), AsyncMutex<Service>>,
    gates: BTreeMap<(Kind, usize), Arc<Gate>>,
    clocks: BTreeMap<(Kind, usize), WallClock>,
    site: Site,
    /// The gate between all services and S3.
    pub store: Gate,
    /// Held by a task that disturbs the store, or that needs an undisturbed store.
    pub store_turn: AsyncMutex<()>,
    /// Every fault of a target shares this lock. A fault of the environment holds it alone.
    pub calm: RwLock<()>,
    kafka: Option<Arc<Mutex<Kafka>>>,
    s3: S3,
    /// The bootstrap list of Kafka.
    pub brokers: String,
    /// The world that the services serve.
    pub world: Arc<World>,
    tokens: Arc<Tokens>,
    /// The record of faults and other events.
    pub journal: Journal,
    http: reqwest::Client,
}

impl Cluster {
    /// Starts everything, and waits until every service is ready.
    ///
    /// # Errors
    /// If something does not start.
    pub async fn start(options: Options) -> Result<Self> {
        let dir = &options.dir;
        let logs = dir.join("logs");
        std::fs::create_dir_all(&logs)?;
        let journal = Journal::create(&dir.join("faults.log"))?;
        let s3 = block_in_place(|| S3::start(S3Options::new(dir.join("s3"))))?;
        let store = Gate::start(Some(s3.endpoint().trim_start_matches("http://").parse()?)).await?;
        let (kafka, brokers, mut ways) = start_kafka(&options).await?;
        let files = Files::write(dir, options.partitions)?;
        let endpoint = format!("http://{}", store.address());
        let through_gate =
            |(name, value)| if name == "AWS_ENDPOINT_URL" { (name, endpoint.clone()) } else { (name, value) };
        let env: Env = s3.env().into_iter().map(through_gate).collect();
        let launch = Launch { program: options.program.clone(), arguments: Vec::new(), env, logs };
        let site = Site { launch, store_url: s3.url(), world: text(&files.world), config: text(&files.config) };
        init(&site.launch, &site.deployment(&brokers, &site.store_url), &dir.join("init.log")).await?;

        let (mut services, mut gates, mut clocks) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (kind, number) in all_services(options.services) {
            let way = ways.remove(&(kind, number)).unwrap_or_default();
            let through: Vec<String> = way.iter().map(|gate| gate.address().to_string()).collect();
            let name = format!("{}-{number}", kind.name());
            let brokers = if through.is_empty() { brokers.clone() } else { through.join(",") };
            let mut launch = site.launch(kind, &brokers, &site.store_url);
            let gate = if kind == Kind::Replayer {
                launch.arguments.extend(arguments(&["--member", &name]));
                None
            } else {
                launch.arguments.extend(arguments(&["--key-file", &text(&files.key)]));
                let gate = Arc::new(Gate::start(None).await?);
                gates.insert((kind, number), Arc::clone(&gate));
                Some(gate)
            };
            if let Some(shim) = &options.shim {
                let clock = WallClock::new(dir.join(format!("{name}.clock")), shim)?;
                launch.env.extend(clock.env());
                clocks.insert((kind, number), clock);
            }
            services.insert((kind, number), AsyncMutex::new(Service::new(kind, name, launch, gate, way)));
        }
        let tokens = Arc::new(Tokens::of(&files.key));
        let world = stack::world(files.spec);
        let http = reqwest::Client::builder().timeout(ANSWER_WITHIN).build()?;
        let cluster = Self {
            dir: dir.clone(),
            services,
            gates,
            clocks,
            site,
            store,
            store_turn: AsyncMutex::default(),
            calm: RwLock::default(),
            kafka,
            s3,
            brokers,
            world,
            tokens,
            journal,
            http,
        };
        for service in cluster.services.values() {
            service.lock().await.start(&cluster.journal).await?;
        }
        cluster.all_ready().await?;
        Ok(cluster)
    }

    /// Returns a service. While a task holds the service's lock, the supervisor does not restart
    /// the service.
    ///
    /// # Errors
    /// If there is no such service.
    pub fn service(&self, kind: Kind, number: usize) -> Result<&AsyncMutex<Service>> {
        self.services.get(&(kind, number)).with_context(|| format!("there is no {}-{number}", kind.name()))
    }

    /// A service by its position among all services, with its wall clock; `None` if no clock can be
    /// shifted.
    pub(crate) fn clock(&self, position: usize) -> Option<(Kind, usize, &WallClock)> {
        self.clocks.iter().nth(position).map(|((kind, number), clock)| (*kind, *number, clock))
    }

    /// A replayer with this name, whose store is the bucket of this name. It does not run yet.
    pub(crate) fn stranger(&self, name: &str) -> Service {
        let mut launch = self.site.launch(Kind::Replayer, &self.brokers, &format!("s3://{name}"));
        launch.arguments.extend(arguments(&["--member", name]));
        Service::new(Kind::Replayer, name.to_owned(), launch, None, Vec::new())
    }

    /// Runs a command of `driftless` on the world, past all gates but that of the store.
    ///
    /// # Errors
    /// If the command does not end in time.
    pub(crate) async fn command(&self, what: &[&str]) -> Result<Output> {
        let Site { launch, store_url, config, .. } = &self.site;
        let deployment = self.site.deployment(&self.brokers, store_url);
        let all = [arguments(what), deployment, arguments(&["--config", config])].concat();
        let mut command = tokio::process::Command::from(command(&launch.program, &all, &launch.env));
        command.kill_on_drop(true).stdin(Stdio::null());
        let ended = tokio::time::timeout(WELL_WITHIN, command.output()).await;
        Ok(ended.with_context(|| format!("driftless {what:?} does not end"))??)
    }

    /// All services, by kind and number.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (Kind, usize)> {
        self.services.keys().copied()
    }

    /// The answer of a service to `/readyz`: its status and its text.
    ///
    /// # Errors
    /// If the service does not answer.
    pub(crate) async fn readiness(&self, kind: Kind, number: usize) -> Result<(u16, String)> {
        let base = self.service(kind, number)?.lock().await.internal()?;
        let answer = self.http.get(format!("{base}/readyz")).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// The names of the replayers of the world.
    pub fn replayers(&self) -> impl Iterator<Item = String> {
        let replayers = self.services.keys().filter(|(kind, _)| *kind == Kind::Replayer);
        replayers.map(|(kind, number)| format!("{}-{number}", kind.name()))
    }

    /// Locks all replayers in a fixed order, so that two tasks never wait for each other. While the
    /// locks are held, no other task disturbs a replayer.
    pub async fn all_replayers(&self) -> Vec<MutexGuard<'_, Service>> {
        let mut all = Vec::new();
        for ((kind, _), service) in &self.services {
            if *kind == Kind::Replayer {
                all.push(service.lock().await);
            }
        }
        all
    }

    /// The gates between clients and services, each with the name of its service.
    pub fn gates(&self) -> impl Iterator<Item = (String, &Gate)> {
        self.gates.iter().map(|((kind, number), gate)| (format!("{}-{number}", kind.name()), &**gate))
    }

    /// A folder of the run with this name. It need not exist.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The folder in which the S3 server keeps the bucket.
    #[must_use]
    pub fn bucket(&self) -> PathBuf {
        self.s3.dir()
    }

    /// SDK settings for a user that may write these chunks and read all chunks. The client first
    /// connects to the ingest and the gateway with the number `first`.
    #[must_use]
    pub fn settings(&self, user: &str, write: &[ChunkId], first: usize, token_life_s: u32) -> Settings {
        let urls = |wanted: Kind| -> Vec<String> {
            let gates: Vec<_> = self.gates.iter().filter(|((kind, _), _)| *kind == wanted).collect();
            let turned = (0..gates.len()).map(|i| gates[(first + i) % gates.len()].1.address());
            turned.map(|address| format!("ws://{address}/v1/{}", wanted.name())).collect()
        };
        let (tokens, user) = (Arc::clone(&self.tokens), user.to_owned());
        let write: Vec<String> = write.iter().map(ToString::to_string).collect();
        let token = Token::provider(move || {
            let write: Vec<&str> = write.iter().map(String::as_str).collect();
            std::future::ready(Ok(tokens.issue_for(&user, &["canvas/", "things/"], &write, token_life_s)))
        });
        let mut settings = Settings::new("", "", token);
        settings.ingest_urls = urls(Kind::Ingest);
        settings.gateway_urls = urls(Kind::Gateway);
        settings.reconnect_max = Duration::from_secs(2);
        settings.connect_timeout = Duration::from_secs(5);
        settings
    }

    /// Reads a chunk from a gateway over HTTP.
    ///
    /// # Errors
    /// An error that describes the unexpected answer.
    pub async fn get(&self, gateway: usize, chunk: &ChunkId) -> Result<(Version, Hash), String> {
        let base = match self.service(Kind::Gateway, gateway) {
            Ok(service) => service.lock().await.base(),
            Err(e) => Err(e),
        };
        let base = base.map_err(|e| e.to_string())?;
        let token = self.tokens.for_all("reader");
        let asked = tokio::time::timeout(ANSWER_WITHIN, stack::get(&base, &token, chunk));
        asked.await.unwrap_or_else(|_| Err(format!("no answer within {ANSWER_WITHIN:?}")))
    }

    /// The number of gateways.
    #[must_use]
    pub fn gateways(&self) -> usize {
        self.services.keys().filter(|(kind, _)| *kind == Kind::Gateway).count()
    }

    /// Waits until every service reports that it is ready.
    ///
    /// # Errors
    /// An error that names the service that is not ready in time, with its answer.
    pub async fn all_ready(&self) -> Result<()> {
        self.all_ready_within(WELL_WITHIN).await
    }

    /// Waits like [`Cluster::all_ready`], but no longer than `within`.
    ///
    /// # Errors
    /// An error that names the service that is not ready in time, with its answer.
    pub async fn all_ready_within(&self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        for service in self.services.values() {
            loop {
                let (name, base) = {
                    let service = service.lock().await;
                    (service.name.clone(), service.internal()?)
                };
                let Err(seen) = self.ready(&base).await else { break };
                ensure!(Instant::now() < deadline, "{name} is not ready within {within:?}: {seen}");
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
        }
        Ok(())
    }

    /// Waits until the replayers have shared out all partitions and decide for them. Before that, a
    /// rebalance of the group may be in progress. `guest` is a further replayer of the group. A
    /// replayer that does not answer has no share.
    ///
    /// # Errors
    /// An error that says how many partitions each replayer decides for when the time is up.
    pub async fn all_shared_out(&self, guest: Option<&Service>, within: Duration) -> Result<()> {
        let (partitions, deadline) = (self.world.partitions().count(), Instant::now() + within);
        loop {
            let mut bases = Vec::new();
            for ((kind, _), service) in &self.services {
                if *kind == Kind::Replayer {
                    bases.push(service.lock().await.internal()?);
                }
            }
            bases.extend(guest.map(Service::internal).transpose()?);
            let mut shares = Vec::new();
            for base in &bases {
                shares.extend(self.deciding(base).await);
            }
            let is_fair = shares.iter().all(|share| *share >= partitions / shares.len().max(1));
            if is_fair && shares.iter().sum::<usize>() == partitions {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "after {within:?} the replayers decide for {shares:?} partitions");
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// The number of partitions for which a replayer decides, by its metrics.
    async fn deciding(&self, base: &str) -> Option<usize> {
        let answer = self.http.get(format!("{base}/metrics")).send().await.ok()?.text().await.ok()?;
        let gauge = "driftless_replayer_partitions{state=\"deciding\"} ";
        answer.lines().find_map(|line| line.strip_prefix(gauge)?.parse().ok())
    }

    async fn ready(&self, base: &str) -> Result<(), String> {
        let answer = self.http.get(format!("{base}/readyz")).send().await.map_err(|e| e.to_string())?;
        match answer.status().as_u16() {
            200 => Ok(()),
            status => Err(format!("{status} {}", answer.text().await.unwrap_or_default())),
        }
    }

    /// Restarts processes that ended by themselves, without end. Returns only if that fails.
    pub async fn supervise(&self) -> anyhow::Error {
        loop {
            for service in self.services.values() {
                // A task that holds this lock is about to hit the service, or repairs it, so the
                // supervisor leaves it alone.
                let Ok(mut service) = service.try_lock() else { continue };
                match service.ended() {
                    Ok(None) => {}
                    Ok(Some(ended)) => {
                        self.journal.ended_by_itself(ended);
                        if let Err(e) = service.start(&self.journal).await {
                            return e;
                        }
                    }
                    Err(e) => return e,
                }
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Sends SIGTERM to all services at once, and waits until they have ended.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub async fn end_services(&self) -> Result<()> {
        let ends = self.services.values().map(async |service| service.lock().await.terminate(&self.journal).await);
        futures_util::future::try_join_all(ends).await.map(drop)
    }

    /// Runs a function on the nodes of Kafka, on a thread that may block.
    ///
    /// # Errors
    /// The errors of the function. Also an error if this run has not started Kafka.
    pub async fn with_kafka(&self, act: impl FnOnce(&mut Kafka) -> Result<()> + Send + 'static) -> Result<()> {
        let kafka = Arc::clone(self.kafka.as_ref().context("Kafka is not of this run: it is not ours to break")?);
        tokio::task::spawn_blocking(move || act(&mut kafka.lock().unwrap_or_else(PoisonError::into_inner))).await?
    }

    /// Waits until all replicas of every partition are in sync.
    ///
    /// # Errors
    /// An error that names the missing replicas when the time is up.
    pub async fn in_sync(&self) -> Result<()> {
        let asker: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &self.brokers).create()?;
        let deadline = Instant::now() + WELL_WITHIN;
        let look = move || loop {
            let Err(seen) = look_at_replicas(&asker) else { return Ok(()) };
            if Instant::now() >= deadline {
                bail!("Kafka's replicas are not in sync within {WELL_WITHIN:?}: {seen}");
            }
            std::thread::sleep(BETWEEN_LOOKS);
        };
        tokio::task::spawn_blocking(look).await?
    }
}

type Ways = BTreeMap<(Kind, usize), Vec<Gate>>;

/// Starts Kafka if the run should do so. Returns Kafka, its bootstrap list, and the gates of each
/// service to its nodes. There are no gates to a Kafka that runs already.
async fn start_kafka(options: &Options) -> Result<(Option<Arc<Mutex<Kafka>>>, String, Ways)> {
    let mut ways = Ways::new();
    let nodes = match &options.kafka {
        KafkaChoice::At(brokers) => return Ok((None, brokers.clone(), ways)),
        KafkaChoice::Own(nodes) => *nodes,
    };
    let mut own = KafkaOptions::new(options.dir.join("kafka")).nodes(nodes);
    for (kind, number) in all_services(options.services) {
        let gates: Vec<Gate> = futures_util::future::try_join_all((0..nodes).map(|_| Gate::start(None))).await?;
        let advertised = gates.iter().map(|gate| gate.address().to_string()).collect();
        own = own.listener(&listener(kind, number), advertised);
        ways.insert((kind, number), gates);
    }
    let kafka = block_in_place(|| Kafka::start(own))?;
    for ((kind, number), gates) in &ways {
        for (gate, node) in gates.iter().zip(1..) {
            gate.lead_to(kafka.listener(&listener(*kind, *number), node).map(str::parse).transpose()?);
        }
    }
    let brokers = kafka.brokers().to_owned();
    Ok((Some(Arc::new(Mutex::new(kafka))), brokers, ways))
}

fn all_services(each: usize) -> impl Iterator<Item = (Kind, usize)> {
    let kinds = [Kind::Replayer, Kind::Gateway, Kind::Ingest];
    kinds.into_iter().flat_map(move |kind| (0..each).map(move |number| (kind, number)))
}

/// The name of the Kafka listener that one service uses.
fn listener(kind: Kind, number: usize) -> String {
    format!("{}{number}", kind.name().to_uppercase())
}

fn look_at_replicas(asker: &BaseConsumer) -> Result<(), String> {
    let metadata = asker.fetch_metadata(None, ANSWER_WITHIN).map_err(|e| e.to_string())?;
    let mut behind = BTreeSet::new();
    for topic in metadata.topics() {
        for partition in topic.partitions() {
            if partition.leader() < 0 || partition.isr().len() < partition.replicas().len() {
                behind.insert(format!("{} {}", topic.name(), partition.id()));
            }
        }
    }
    if behind.is_empty() { Ok(()) } else { Err(format!("behind: {}", Vec::from_iter(behind).join(", "))) }
}

/// The settings with which each program of a world reaches it.
struct Site {
    /// The program, the variables for S3 and the folder of the logs, without arguments.
    launch: Launch,
    store_url: String,
    world: String,
    config: String,
}

impl Site {
    /// The flags that name the world, over these brokers and this store.
    fn deployment(&self, brokers: &str, store: &str) -> Vec<String> {
        arguments(&["--brokers", brokers, "--store", store, "--world", &self.world])
    }

    /// How to start a service over these brokers and this store.
    fn launch(&self, kind: Kind, brokers: &str, store: &str) -> Launch {
        let mut all = arguments(&["--log-json", kind.name(), "--internal", "127.0.0.1:0"]);
        if kind != Kind::Replayer {
            all.extend(arguments(&["--http", "127.0.0.1:0"]));
        }
        all.extend(self.deployment(brokers, store));
        all.extend(arguments(&["--config", &self.config]));
        Launch { arguments: all, ..self.launch.clone() }
    }
}

/// The files that the services get.
struct Files {
    spec: WorldSpec,
    world: PathBuf,
    key: PathBuf,
    config: PathBuf,
}

impl Files {
    fn write(dir: &Path, partitions: i32) -> Result<Self> {
        let spec = WorldSpec { name: stack::unique_world(), partitions, ..WorldSpec::dev() };
        let (key, config) = (dir.join("chaos.key"), dir.join("driftless.toml"));
        let world = stack::world_file(dir, &spec);
        let key = generate_key(&key, KeyKind::Secret)?;
        std::fs::write(&config, CONFIG)?;
        Ok(Self { spec, world, key, config })
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Runs `driftless init`.
async fn init(launch: &Launch, deployment: &[String], log: &Path) -> Result<()> {
    let all = [arguments(&["init"]), deployment.to_vec()].concat();
    let mut command = tokio::process::Command::from(command(&launch.program, &all, &launch.env));
    command.kill_on_drop(true).stdin(Stdio::null());
    let ended = tokio::time::timeout(WELL_WITHIN, command.output()).await.context("driftless init does not end")??;
    let said = [ended.stdout, ended.stderr].concat();
    std::fs::write(log, &said)?;
    ensure!(ended.status.success(), "driftless init: {}\n{}", ended.status, String::from_utf8_lossy(&said));
    Ok(())
}

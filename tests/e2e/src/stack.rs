//! Whole deployments: `driftless dev`, or separate services on Kafka and S3. Clients connect
//! through proxies, whose addresses stay the same when services restart.

use crate::history::History;
use crate::people::Tokens;
use crate::process::{Addresses, Env, Running, arguments, listening, run};
use crate::proxy::{Passing, Proxy, Verdict};
use crate::wait::{eventually, soon};
use bytes::Bytes;
use driftless_chunk::model::Models;
use driftless_chunk::world::World;
use driftless_client::{Chunk, Client, Settings};
use driftless_log::Log;
use driftless_log::kafka::{KafkaLog, KafkaSettings};
use driftless_log::sqlite::SqliteLog;
use driftless_schemas::world::WorldSpec;
use driftless_schemas::{ChunkId, Hash, Version};
use driftless_testbed::{RunDir, shared_kafka, shared_s3};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::task::block_in_place;

/// The clients' access to a deployment: proxies, tokens, and the world.
pub struct Entrance {
    /// A proxy in front of each ingest.
    pub ingests: Vec<Proxy>,
    /// A proxy in front of each gateway.
    pub gateways: Vec<Proxy>,
    /// Signs tokens for any user.
    pub tokens: Tokens,
    /// The world of the deployment.
    pub world: Arc<World>,
}

impl Entrance {
    /// SDK settings for a user who may write everything.
    #[must_use]
    pub fn settings(&self, user: &str) -> Settings {
        let urls = |proxies: &[Proxy], service: &str| -> Vec<String> {
            proxies.iter().map(|proxy| format!("ws://{}/v1/{service}", proxy.address())).collect()
        };
        let mut settings = Settings::new("", "", self.tokens.for_all(user));
        settings.ingest_urls = urls(&self.ingests, "ingest");
        settings.gateway_urls = urls(&self.gateways, "gateway");
        settings.reconnect_min = Duration::from_millis(10);
        settings.reconnect_max = Duration::from_millis(500);
        settings
    }

    /// The HTTP address of the first ingest.
    #[must_use]
    pub fn ingest_http(&self) -> String {
        format!("http://{}", self.ingests[0].address())
    }

    /// The HTTP address of the first gateway.
    #[must_use]
    pub fn gateway_http(&self) -> String {
        format!("http://{}", self.gateways[0].address())
    }

    /// Connects a client for this user.
    ///
    /// # Panics
    /// If the client does not connect.
    pub async fn client(&self, user: &str) -> Client {
        soon("a client", Client::connect(self.settings(user))).await.expect("it may connect")
    }

    /// Connects a client and tracks a chunk. Dropping the client closes it.
    pub async fn follower(&self, user: &str, chunk: &ChunkId) -> (Client, Chunk) {
        let client = self.client(user).await;
        let chunk = client.track(chunk);
        soon("a chunk", chunk.ready()).await.expect("it is served");
        (client, chunk)
    }

    /// Reads a chunk over HTTP from the first gateway.
    ///
    /// # Errors
    /// An error that describes the unexpected answer.
    pub async fn get(&self, chunk: &ChunkId) -> Result<(Version, Hash), String> {
        soon("an answer", get(&self.gateway_http(), &self.tokens.for_all("reader"), chunk)).await
    }

    /// Waits until all replicas of a chunk and the HTTP answer have the same hash, at version
    /// `at_least` or later. Returns version and hash.
    pub async fn converge(&self, at_least: u64, replicas: &[&Chunk]) -> (Version, Hash) {
        let id = replicas[0].id();
        eventually(&format!("equal replicas of {id} at version {at_least}"), || async {
            let all: Vec<_> = replicas.iter().map(|replica| replica.confirmed()).collect();
            let served = self.get(id).await;
            match &served {
                Ok(served) if served.0.0 >= at_least && all.iter().all(|one| *one == Some(*served)) => Ok(*served),
                _ => Err((all, served)),
            }
        })
        .await
    }

    /// Sets one rule for all of these proxies.
    pub fn rule_all(proxies: &[Proxy], rule: impl FnMut(&Passing) -> Verdict + Send + 'static) {
        let rule = Arc::new(std::sync::Mutex::new(rule));
        for proxy in proxies {
            let rule = Arc::clone(&rule);
            proxy.rule(move |passing| rule.lock().expect("rules do not panic")(passing));
        }
    }

    /// Sets rules that let every message of all proxies pass.
    pub fn pass_all(&self) {
        self.ingests.iter().chain(&self.gateways).for_each(Proxy::pass);
    }
}

/// Reads a chunk over HTTP from the gateway at `base`.
///
/// # Errors
/// The unexpected answer, or a content that does not fit its hash (R7).
pub async fn get(base: &str, token: &str, chunk: &ChunkId) -> Result<(Version, Hash), String> {
    let asked = reqwest::Client::new().get(format!("{base}/v1/chunks/{chunk}.bin")).bearer_auth(token).send();
    let response = asked.await.map_err(|e| e.to_string())?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body: Bytes = response.bytes().await.map_err(|e| e.to_string())?;
    if !status.is_success() {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body)));
    }
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let hash: Hash = header("etag").trim_matches('"').parse()?;
    let found = Hash::of(&body);
    if found != hash {
        return Err(format!("R7: {chunk} says that it is {hash}, and is {found}"));
    }
    let version = header("driftless-version");
    Ok((Version(version.parse().map_err(|e| format!("version {version:?}: {e}"))?), hash))
}

/// A deployment of any kind, for scenarios.
pub trait Stack {
    /// The clients' access to the deployment.
    fn entrance(&self) -> &Entrance;
    /// Reads the whole log. A stack with an embedded log stops its process first.
    fn history(&mut self) -> impl Future<Output = History>;
}

/// Parses a world spec.
///
/// # Panics
/// If the spec is invalid.
#[must_use]
pub fn world(spec: WorldSpec) -> Arc<World> {
    Arc::new(World::new("the test's world", spec, &Models::builtin()).expect("a world"))
}

/// A running `driftless dev`.
pub struct Dev {
    entrance: Option<Entrance>,
    flags: Vec<String>,
    running: Option<Running>,
    starts: usize,
    page: String,
    data: PathBuf,
    folder: RunDir,
}

impl Dev {
    /// Starts over the embedded log, with an empty data folder and no further flags.
    pub async fn embedded() -> Self {
        Self::with(&[]).await
    }

    /// Starts over the embedded log, with an empty data folder and these flags.
    ///
    /// # Panics
    /// If the process does not start.
    pub async fn with(flags: &[&str]) -> Self {
        let folder = RunDir::new("dev").expect("a folder");
        let data = folder.path().join("data");
        Self::new(folder, data, flags).await
    }

    /// Starts over the embedded log in an existing data folder.
    ///
    /// # Panics
    /// If the process does not start.
    pub async fn in_folder(data: PathBuf) -> Self {
        Self::new(RunDir::new("dev").expect("a folder"), data, &[]).await
    }

    /// Starts over the embedded log in an existing data folder, with these flags.
    ///
    /// # Panics
    /// If the process does not start.
    pub async fn in_folder_with(data: PathBuf, flags: &[&str]) -> Self {
        Self::new(RunDir::new("dev").expect("a folder"), data, flags).await
    }

    async fn new(folder: RunDir, data: PathBuf, flags: &[&str]) -> Self {
        let (flags, page) = (arguments(flags), String::new());
        let mut dev = Self { entrance: None, flags, running: None, starts: 0, page, data, folder };
        dev.start().await;
        dev
    }

    /// The address that a person opens in a browser. It contains a token, and does not go through a
    /// proxy.
    #[must_use]
    pub fn page(&self) -> &str {
        &self.page
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The process's output since its last start.
    ///
    /// # Panics
    /// If the process does not run.
    #[must_use]
    pub fn text(&self) -> String {
        self.running.as_ref().expect("it runs").text()
    }

    /// Starts the process, or starts it again. Once it is ready, the proxies lead to it.
    ///
    /// # Panics
    /// If the process does not become ready in time.
    pub async fn start(&mut self) {
        let data = self.data.clone();
        let mut all = arguments(&["dev", "--http", "127.0.0.1:0", "--json", "--data"]);
        all.push(data.display().to_string());
        all.extend(self.flags.iter().cloned());
        self.starts += 1;
        let log = self.folder.path().join(format!("dev-{}.log", self.starts));
        let mut running = Running::start("driftless dev", &all, &Env::new(), &log);
        let ready = running.line("being ready", |line| (line["ready"] == true).then(|| line.clone())).await;
        self.running = Some(running);
        let text = |key: &str| ready[key].as_str().expect("a text").to_owned();
        let address: SocketAddr = text("http").trim_start_matches("http://").parse().expect("an address");
        assert_eq!(text("ingest_ws"), format!("ws://{address}/v1/ingest"));
        assert_eq!(text("gateway_ws"), format!("ws://{address}/v1/gateway"));
        self.page = text("page");
        match &self.entrance {
            Some(entrance) => {
                entrance.ingests.iter().chain(&entrance.gateways).for_each(|proxy| proxy.lead_to(Some(address)));
            }
            None => {
                let tokens = Tokens::of(&data.join("dev.key")).for_audience(&text("audience"));
                let world = world(self.spec());
                let (ingests, gateways) =
                    (vec![Proxy::start(Some(address)).await], vec![Proxy::start(Some(address)).await]);
                self.entrance = Some(Entrance { ingests, gateways, tokens, world });
            }
        }
    }

    fn spec(&self) -> WorldSpec {
        let flag = self.flags.iter().position(|flag| flag == "--world");
        let Some(path) = flag.and_then(|i| self.flags.get(i + 1)) else { return WorldSpec::dev() };
        WorldSpec::from_toml(path, &std::fs::read_to_string(path).expect("a file")).expect("a world")
    }

    /// Deletes log and store of a process that does not run. The next start makes an empty world
    /// with another id. The key that signs tokens stays.
    ///
    /// # Panics
    /// If the process runs, or if a file cannot be deleted.
    pub fn forget_world(&mut self) {
        assert!(self.running.is_none(), "a running process has its files open");
        std::fs::remove_dir_all(self.data.join("store")).expect("a store");
        for name in ["log.db", "log.db-wal", "log.db-shm", "log.json"] {
            // SQLite deletes some of its files when it closes the log.
            let _ = std::fs::remove_file(self.data.join(name));
        }
    }

    /// Sends SIGKILL to the process.
    ///
    /// # Panics
    /// If the process does not run.
    pub fn kill(&mut self) {
        self.running.take().expect("it runs").kill();
    }

    /// Ends the process gracefully, as Ctrl-C does.
    ///
    /// # Panics
    /// If the process does not run, or ends with an error.
    pub async fn stop(&mut self) {
        self.running.take().expect("it runs").stop().await;
    }
}

impl Stack for Dev {
    fn entrance(&self) -> &Entrance {
        self.entrance.as_ref().expect("it has started")
    }

    async fn history(&mut self) -> History {
        if self.running.is_some() {
            self.stop().await;
        }
        let brokers = self.flags.iter().position(|flag| flag == "--brokers").map(|i| &self.flags[i + 1]);
        let log: Box<dyn Log> = match brokers {
            Some(brokers) => Box::new(kafka_log(brokers)),
            None => Box::new(block_in_place(|| SqliteLog::open(&self.data().join("log.db"))).expect("the log")),
        };
        History::read(&*log, &self.entrance().world).await
    }
}

/// Opens a log on these brokers with the settings of the services.
///
/// # Panics
/// If the settings are refused.
#[must_use]
pub fn kafka_log(brokers: &str) -> KafkaLog {
    KafkaLog::new(KafkaSettings { brokers: brokers.to_owned(), ..KafkaSettings::default() }).expect("settings")
}

/// Makes a world name that is not in use, not even on a broker that keeps the topics of earlier
/// runs.
#[must_use]
pub fn unique_world() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("e2e-{}-{}", crate::people::now_ms(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The world of `dev` with this name and with few partitions, so that a start is fast.
#[must_use]
pub fn small_world(name: &str) -> WorldSpec {
    WorldSpec { name: name.to_owned(), partitions: 3, ..WorldSpec::dev() }
}

/// Writes a world spec to `world.toml` in this folder, and returns its path.
///
/// # Panics
/// If the file cannot be written.
#[must_use]
pub fn world_file(folder: &Path, spec: &WorldSpec) -> PathBuf {
    let path = folder.join(format!("{}.toml", spec.name));
    std::fs::write(&path, toml::to_string_pretty(spec).expect("TOML")).expect("a file");
    path
}

/// A deployment on Kafka and S3: two ingests, two gateways and a replayer, each in its own process.
pub struct Apart {
    entrance: Entrance,
    running: BTreeMap<&'static str, Running>,
    addresses: BTreeMap<&'static str, Addresses>,
    starts: usize,
    deployment: Deployment,
}

/// The addresses and files of a deployment on Kafka and S3.
pub struct Deployment {
    /// The address of Kafka.
    pub brokers: String,
    /// The store's URL, with a prefix of its own in the shared bucket.
    pub store: String,
    /// Environment variables for S3.
    pub env: Env,
    /// The path of `world.toml`.
    pub world_file: PathBuf,
    /// The path of the key that `driftless token` made.
    pub key: PathBuf,
    /// The path of the config file of the services.
    pub config: PathBuf,
    /// The folder that holds all these files.
    pub folder: RunDir,
}

impl Deployment {
    /// Prepares files and addresses, and starts no service and creates no topic. `config` is the
    /// text of the services' config file.
    ///
    /// # Panics
    /// If Kafka or S3 is not available.
    pub async fn new(config: &str) -> Self {
        let (brokers, access) =
            block_in_place(|| (shared_kafka().expect("a Kafka"), shared_s3().expect("an S3 server")));
        let folder = RunDir::new("apart").expect("a folder");
        let spec = small_world(&unique_world());
        let world_file = world_file(folder.path(), &spec);
        let (key, config_file) = (folder.path().join("test.key"), folder.path().join("driftless.toml"));
        std::fs::write(&config_file, config).expect("a file");
        let made = run(&arguments(&["token", "--new-key", &key.display().to_string()]), &Env::new()).await;
        assert!(made.status.success(), "{made:?}");
        Self {
            brokers: brokers.to_owned(),
            store: format!("{}/{}", access.url, spec.name),
            env: access.env.clone(),
            world_file,
            key,
            config: config_file,
            folder,
        }
    }

    /// The flags that every service takes.
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        arguments(&["--brokers", &self.brokers, "--store", &self.store])
    }

    /// Runs `driftless init`.
    ///
    /// # Panics
    /// If the command fails.
    pub async fn init(&self) {
        let mut all = arguments(&["init", "--world", &self.world_file.display().to_string()]);
        all.extend(self.flags());
        let made = run(&all, &self.env).await;
        assert!(made.status.success(), "{made:?}");
    }

    /// Reads `world.toml`.
    ///
    /// # Panics
    /// If the file cannot be read.
    #[must_use]
    pub fn spec(&self) -> WorldSpec {
        WorldSpec::from_toml("world.toml", &std::fs::read_to_string(&self.world_file).expect("a file"))
            .expect("a world")
    }
}

impl Apart {
    /// Starts all five services in a new deployment, with an empty config file.
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// Starts all five services in a new deployment, with this text as config file.
    ///
    /// # Panics
    /// If one of the services does not start.
    pub async fn with(config: &str) -> Self {
        let deployment = Deployment::new(config).await;
        deployment.init().await;
        let two = async || vec![Proxy::start(None).await, Proxy::start(None).await];
        let entrance = Entrance {
            ingests: two().await,
            gateways: two().await,
            tokens: Tokens::of(&deployment.key),
            world: world(deployment.spec()),
        };
        let mut apart = Self { entrance, running: BTreeMap::new(), addresses: BTreeMap::new(), starts: 0, deployment };
        for name in ["replayer", "ingest-0", "ingest-1", "gateway-0", "gateway-1"] {
            apart.spawn(name);
        }
        for name in ["replayer", "ingest-0", "ingest-1", "gateway-0", "gateway-1"] {
            apart.listening(name).await;
        }
        apart
    }

    /// The addresses of each service that has been started, by its name.
    pub fn addresses(&self) -> impl Iterator<Item = (&&'static str, &Addresses)> {
        self.addresses.iter()
    }

    /// The deployment's addresses and files.
    #[must_use]
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// Starts a service (again) by its name: `replayer`, `replayer-1`, `ingest-0`, `gateway-1`, …
    pub async fn restart(&mut self, name: &'static str) {
        self.spawn(name);
        self.listening(name).await;
    }

    fn spawn(&mut self, name: &'static str) {
        let service = name.split('-').next().unwrap_or(name);
        let mut all = arguments(&["--log-json", service]);
        all.extend(self.deployment.flags());
        all.extend(arguments(&["--config", &self.deployment.config.display().to_string()]));
        all.extend(arguments(&["--internal", "127.0.0.1:0"]));
        all.extend(arguments(&["--world", &self.deployment.world_file.display().to_string()]));
        match service {
            "replayer" => all.extend(arguments(&["--member", name])),
            _ => {
                let key = self.deployment.key.display().to_string();
                all.extend(arguments(&["--http", "127.0.0.1:0", "--key-file", &key]));
            }
        }
        self.starts += 1;
        let log = self.deployment.folder.path().join(format!("{name}-{}.log", self.starts));
        self.running.insert(name, Running::start(name, &all, &self.deployment.env, &log));
    }

    async fn listening(&mut self, name: &'static str) {
        let running = self.running.get_mut(name).expect("it was started");
        let addresses = running.line("listening", listening).await;
        self.addresses.insert(name, addresses);
        if let Some((service @ ("ingest" | "gateway"), number)) = name.split_once('-') {
            let proxies = if service == "ingest" { &self.entrance.ingests } else { &self.entrance.gateways };
            proxies[number.parse::<usize>().expect("a number")].lead_to(addresses.public);
        }
    }

    /// Waits until this replayer has logged that it decides commands of some partition.
    ///
    /// # Panics
    /// If the process does not run.
    pub async fn deciding(&mut self, name: &'static str) {
        let running = self.running.get_mut(name).expect("it runs");
        running.line("deciding", |line| (line["message"] == "deciding").then_some(())).await;
    }

    /// Waits until this service reports that it is ready; a replayer then decides for all
    /// partitions.
    ///
    /// # Panics
    /// If the service does not become ready.
    pub async fn ready(&self, name: &'static str) {
        let url = format!("http://{}/readyz", self.addresses[name].internal);
        let look = async || match reqwest::get(&url).await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(answer.text().await.unwrap_or_default()),
            Err(e) => Err(e.to_string()),
        };
        eventually(&format!("{name} is ready"), look).await;
    }

    /// Waits until this service has logged a message with this text.
    ///
    /// # Panics
    /// If the process does not run.
    pub async fn logged(&mut self, name: &'static str, text: &str) {
        let running = self.running.get_mut(name).expect("it runs");
        let is_it = |line: &serde_json::Value| line["message"].as_str().is_some_and(|said| said.contains(text));
        running.line(text, |line| is_it(line).then_some(())).await;
    }

    /// Sends SIGKILL to this service.
    ///
    /// # Panics
    /// If the process does not run.
    pub fn kill(&mut self, name: &'static str) {
        self.running.remove(name).expect("it runs").kill();
    }

    /// Sends SIGTERM to this service and waits until it has ended gracefully.
    ///
    /// # Panics
    /// If the service does not run, or ends with an error.
    pub async fn stop(&mut self, name: &'static str) {
        self.running.remove(name).expect("it runs").stop().await;
    }

    /// Opens the log of the deployment.
    #[must_use]
    pub fn log(&self) -> KafkaLog {
        kafka_log(&self.deployment.brokers)
    }
}

impl Stack for Apart {
    fn entrance(&self) -> &Entrance {
        &self.entrance
    }

    async fn history(&mut self) -> History {
        History::read(&self.log(), &self.entrance.world).await
    }
}

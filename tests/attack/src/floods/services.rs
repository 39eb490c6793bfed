//! The services as operators run them: ingest, replayer and gateway as processes over Kafka and S3,
//! each with little memory and few file descriptors.

use crate::target::status_bytes;
use anyhow::{Context as _, Result, bail, ensure};
use driftless_auth::{KeyKind, generate_key};
use driftless_chunk::model::Models;
use driftless_chunk::world::World;
use driftless_e2e_tests::edits::{chunk, set, set_many};
use driftless_e2e_tests::history::History;
use driftless_e2e_tests::people::Tokens;
use driftless_e2e_tests::process::{Addresses, Env, arguments, command, listening};
use driftless_e2e_tests::raw::{Raw, submit};
use driftless_e2e_tests::stack::{kafka_log, unique_world, world_file};
use driftless_schemas::proto::event;
use driftless_schemas::world::{FamilySpec, WorldSpec};
use driftless_schemas::{ChunkId, Partition, SessionId};
use driftless_testbed::{Process, RunDir, shared_kafka, shared_s3};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::Instant;

/// The memory that each service may take, bytes (`--memory-max`).
pub const MEMORY_MAX: u64 = 256 << 20;
/// The file descriptors that each service may open.
const DESCRIPTORS: u32 = 4096;
/// The number of large chunks that were written before the floods. Their contents are larger than
/// the memory of a service.
pub const LARGE_CHUNKS: u32 = 600;
/// The number of chunks whose content does not compress.
pub const NOISY_CHUNKS: u32 = 64;
/// Log levels at which a service logs what operators see.
const LOG: &str = "info,slatedb=warn";
const START_WITHIN: Duration = Duration::from_secs(120);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// The running services.
pub struct Services {
    /// The address of ingest for clients.
    pub ingest: SocketAddr,
    /// The address of the gateway for clients.
    pub gateway: SocketAddr,
    /// Signs tokens that the services accept.
    pub tokens: Arc<Tokens>,
    world: World,
    brokers: String,
    processes: Vec<(&'static str, Process)>,
    _folder: RunDir,
}

/// A command that the log has.
struct Written {
    chunk: ChunkId,
    session: SessionId,
    seq: u64,
    token: String,
}

/// The peaks of the services' memory, which are being watched.
pub struct Peaks {
    end: watch::Sender<bool>,
    task: JoinHandle<Vec<(String, u64)>>,
}

impl Peaks {
    /// Ends the watch, and returns the most anonymous memory of each service, bytes.
    pub async fn end(self) -> Vec<(String, u64)> {
        self.end.send_replace(true);
        self.task.await.unwrap_or_default()
    }
}

/// The id of a large chunk. Those below [`LARGE_CHUNKS`] have content.
#[must_use]
pub fn large(number: u32) -> ChunkId {
    chunk(&format!("large/{}/{}", number / 1000, number % 1000))
}

/// The id of a chunk whose content does not compress.
#[must_use]
pub fn noisy(number: u32) -> String {
    format!("canvas/100/{number}")
}

/// Commands that fill a chunk with noise.
fn noise(number: u32) -> Vec<Vec<u8>> {
    let mut state = number | 1;
    let cells: Vec<_> = (0..128 * 128)
        .map(|cell| {
            // xorshift32 by Marsaglia.
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (cell, state % 256, None)
        })
        .collect();
    cells.chunks(1_024).map(set_many).collect()
}

/// The world of `driftless dev`, with a family of chunks of half a mebibyte each.
fn spec() -> WorldSpec {
    let parameters = serde_json::json!({"size": [512, 512, 1], "palette": 65536});
    let mut spec = WorldSpec { name: unique_world(), partitions: 6, ..WorldSpec::dev() };
    spec.families.push(FamilySpec {
        name: "large".into(),
        model: "grid".into(),
        parameters: parameters.as_object().cloned().unwrap_or_default(),
        coordinates: 2,
        bounds: 1024,
        region: 0,
    });
    spec
}

impl Services {
    /// Starts Kafka and S3, makes a world, and starts one service of each kind. `switched_off`
    /// names defences that the services do without.
    ///
    /// # Errors
    /// If something does not start.
    pub async fn start(program: &Path, switched_off: &str) -> Result<Self> {
        let (brokers, s3) = block_in_place(|| Ok::<_, anyhow::Error>((shared_kafka()?, shared_s3()?)))?;
        let (folder, spec) = (RunDir::new("floods")?, spec());
        let world = world_file(folder.path(), &spec).display().to_string();
        let key = folder.path().join("key");
        generate_key(&key, KeyKind::Secret)?;
        let store = format!("{}/{}", s3.url, spec.name);
        let mut env: Env = s3.env.clone();
        env.push(("DRIFTLESS_LOG".into(), LOG.into()));
        env.push(("DRIFTLESS_SWITCH_OFF".into(), switched_off.into()));
        let deployment = arguments(&["--brokers", brokers, "--store", &store, "--world", &world]);
        let init = [arguments(&["init"]), deployment.clone()].concat();
        let made = tokio::process::Command::from(command(program, &init, &env)).output().await?;
        ensure!(made.status.success(), "driftless init: {}", String::from_utf8_lossy(&made.stderr));

        let (key_path, memory) = (key.display().to_string(), MEMORY_MAX.to_string());
        let (mut processes, mut addresses) = (Vec::new(), BTreeMap::new());
        for name in ["replayer", "gateway", "ingest"] {
            let mut all = arguments(&["--log-json", name, "--internal", "127.0.0.1:0", "--memory-max", &memory]);
            all.extend(deployment.iter().cloned());
            match name {
                "replayer" => all.extend(arguments(&["--member", name])),
                _ => all.extend(arguments(&["--http", "127.0.0.1:0", "--key-file", &key_path])),
            }
            let log = folder.path().join(format!("{name}.log"));
            let command = with_few_descriptors(&command(program, &all, &env));
            let mut process = block_in_place(|| Process::spawn(&format!("driftless {name}"), command, &log))?;
            addresses.insert(name, listens(&mut process).await?);
            processes.push((name, process));
        }
        let public = |name: &str| addresses[name].public.with_context(|| format!("{name} has no address for clients"));
        let (ingest, gateway) = (public("ingest")?, public("gateway")?);
        for (name, addresses) in &addresses {
            ready(&format!("http://{}/readyz", addresses.internal)).await.context(*name)?;
        }
        Ok(Self {
            ingest,
            gateway,
            tokens: Arc::new(Tokens::of(&key)),
            world: World::new("floods", spec, &Models::builtin())?,
            brokers: brokers.to_owned(),
            processes,
            _folder: folder,
        })
    }

    /// Writes the chunks that floods ask for, and waits until their commands are decided.
    ///
    /// # Errors
    /// If ingest refuses a command, or the replayer does not decide them.
    pub async fn write_chunks(&self) -> Result<()> {
        // Each writer wakes no more content than a user may wake at once.
        const OF_EACH: u32 = 300;
        let mut last = BTreeMap::new();
        for first in (0..LARGE_CHUNKS).step_by(OF_EACH as usize) {
            let commands = (first..first + OF_EACH).map(|number| (large(number), vec![set(7, 7)]));
            self.write(&format!("builder-{first}"), commands.collect(), &mut last).await?;
        }
        let noisy = (0..NOISY_CHUNKS).map(|number| (chunk(&noisy(number)), noise(number)));
        self.write("noise", noisy.collect(), &mut last).await?;
        // The commands of a partition are decided in order.
        let client = reqwest::Client::new();
        let deadline = Instant::now() + START_WITHIN;
        for Written { chunk, session, seq, token } in last.values() {
            let url = format!("http://{}/v1/chunks/{chunk}/commands/{session}/{seq}", self.gateway);
            loop {
                let answer = client.get(&url).bearer_auth(token).send().await?.text().await?;
                if answer.contains("\"committed\"") {
                    break;
                }
                ensure!(Instant::now() < deadline, "the command to {chunk} is not decided: {answer}");
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
        }
        Ok(())
    }

    /// Sends commands of a user, and waits until the log has them. Notes the last command of each
    /// partition.
    async fn write(
        &self,
        user: &str,
        commands: Vec<(ChunkId, Vec<Vec<u8>>)>,
        last: &mut BTreeMap<Partition, Written>,
    ) -> Result<()> {
        let token = self.token(user);
        let (mut raw, welcome) = Raw::welcomed(&format!("ws://{}/v1/ingest", self.ingest), "ingest", &token, &[]).await;
        let session = SessionId(welcome.session.as_ref().try_into()?);
        let mut requests = Vec::new();
        for (chunk, commands) in commands {
            for (command, seq) in commands.into_iter().zip(1..) {
                requests.push(submit(chunk.as_str(), seq, seq - 1, command));
                let written = Written { chunk: chunk.clone(), session, seq, token: token.clone() };
                last.insert(self.world.place(&chunk)?.partition, written);
            }
        }
        for part in requests.chunks(10) {
            raw.send_all(part.to_vec()).await;
        }
        for _ in &requests {
            let body = raw.next().await.map_err(|closed| anyhow::anyhow!("closed: {closed:?}"))?;
            ensure!(matches!(body, event::Body::Receipt(_)), "a command of {user} was answered with {body:?}");
        }
        Ok(())
    }

    /// A token with which this user may write everything.
    #[must_use]
    pub fn token(&self, user: &str) -> String {
        self.tokens.issue(user, &[], &["canvas/", "things/", "large/"])
    }

    /// Watches the anonymous memory of the services until the watch is ended.
    #[must_use]
    pub fn watch_memory(&self) -> Peaks {
        let (end, mut ended) = watch::channel(false);
        let pids: Vec<_> = self.processes.iter().map(|(name, process)| (*name, process.pid())).collect();
        let task = tokio::spawn(async move {
            let mut peaks: Vec<(String, u64)> = pids.iter().map(|(name, _)| ((*name).to_owned(), 0)).collect();
            loop {
                for ((_, peak), (_, pid)) in peaks.iter_mut().zip(&pids) {
                    *peak = status_bytes(&format!("/proc/{pid}/status"), "RssAnon:").max(*peak);
                }
                let ended = tokio::time::timeout(BETWEEN_LOOKS, ended.wait_for(|ended| *ended)).await;
                if ended.is_ok() {
                    return peaks;
                }
            }
        });
        Peaks { end, task }
    }

    /// Checks that all services run.
    ///
    /// # Errors
    /// If one of them has ended. The error contains the end of its log.
    pub fn live(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(|(_, process)| process.check())
    }

    /// Reads all decisions in the log by the protocol's rules. Panics if a rule is broken; the
    /// caller catches the panic.
    pub async fn history(&self) -> History {
        History::read(&kafka_log(&self.brokers), &self.world).await
    }
}

/// The same command in a process that may open few files.
fn with_few_descriptors(command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -n {DESCRIPTORS}; exec \"$0\" \"$@\"")]);
    limited.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
}

async fn listens(process: &mut Process) -> Result<Addresses> {
    let deadline = Instant::now() + START_WITHIN;
    loop {
        let text = std::fs::read(process.log()).unwrap_or_default();
        let lines = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        let mut lines = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        if let Some(addresses) = lines.find_map(|line| listening(&line)) {
            return Ok(addresses);
        }
        process.check()?;
        if Instant::now() > deadline {
            bail!("it does not listen within {START_WITHIN:?}: {}", String::from_utf8_lossy(&text));
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

async fn ready(url: &str) -> Result<()> {
    let deadline = Instant::now() + START_WITHIN;
    loop {
        let answer = reqwest::get(url).await?;
        if answer.status().is_success() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "not ready: {}", answer.text().await?);
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

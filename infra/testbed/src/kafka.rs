//! A real Apache Kafka on 127.0.0.1: one node, or several with replication, each a JVM that is broker and controller.
//!
//! The settings are those of a test server: it forgets nothing that it acknowledged, comes back quickly after a SIGKILL, and
//! is small (`kafka/config.rs` has the reasons). Ready means that the node answered a metadata request and counts itself in.

mod config;
mod dist;
mod metadata;

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

pub use dist::{KafkaDist, install};
pub use metadata::{Broker, Metadata, ask_metadata};

use crate::port::free_ports;
use crate::process::{self, Process};

/// What to start. [`KafkaOptions::new`] gives one node on a free port.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// Holds data, configuration and logs. If a cluster lived here before, it lives on.
    pub dir: PathBuf,
    /// 1, or 3 and more for replication factor 3.
    pub nodes: usize,
    /// The first node's port, the others follow. `None` takes free ones.
    pub port: Option<u16>,
    /// Heap of each JVM.
    pub heap_mb: u32,
    /// Further ways in, by name: see [`listener`](Self::listener).
    pub listeners: Vec<(String, Vec<String>)>,
    /// Further `server.properties`; they win over ours.
    pub properties: Vec<(String, String)>,
    /// How long a start may take.
    pub ready_within: Duration,
}

impl KafkaOptions {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            nodes: 1,
            port: None,
            heap_mb: 512,
            listeners: Vec::new(),
            properties: Vec::new(),
            ready_within: Duration::from_secs(90),
        }
    }

    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    pub fn port(mut self, port: Option<u16>) -> Self {
        self.port = port;
        self
    }

    /// One more way in, for clients that come through a proxy of their own. `advertised` is where each node sends those who
    /// ask it by this listener, in the order of the nodes; [`Kafka::listener`] says where it listens. The name is of capital
    /// letters and digits.
    pub fn listener(mut self, name: &str, advertised: Vec<String>) -> Self {
        self.listeners.push((name.to_owned(), advertised));
        self
    }

    /// One more line for `server.properties`.
    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// A running cluster. Dropping it stops all nodes; the folder stays.
#[derive(Debug)]
pub struct Kafka {
    dist: KafkaDist,
    heap_mb: u32,
    ready_within: Duration,
    cluster_id: String,
    brokers: String,
    nodes: Vec<Node>,
}

/// One JVM. Ids count from 1 and are Kafka's own `node.id`.
#[derive(Debug)]
struct Node {
    id: usize,
    addr: String,
    listeners: Vec<Listener>,
    dir: PathBuf,
    process: Option<Process>,
}

/// A further way in.
#[derive(Debug)]
struct Listener {
    name: String,
    addr: String,
    advertised: String,
}

impl Kafka {
    /// Installs Kafka if needed, formats the folder if it is new, starts all nodes and waits until each answers.
    pub fn start(options: KafkaOptions) -> Result<Self> {
        let dist = install()?;
        let mut kafka = Self::prepare(dist, &options)?;
        kafka.launch(&[])?;
        Ok(kafka)
    }

    /// Everything before the first server process: folders, ports, settings, formatted storage.
    fn prepare(dist: KafkaDist, options: &KafkaOptions) -> Result<Self> {
        ensure!(options.nodes >= 1, "a Kafka cluster has at least one node");
        fs::create_dir_all(&options.dir).with_context(|| format!("cannot make {}", options.dir.display()))?;
        let dir = fs::canonicalize(&options.dir)?;
        let cluster_id = cluster_id_of(&dir, options.nodes)?;

        let mut ports = free_ports(options.nodes * (2 + options.listeners.len()))?;
        let mut further = ports.split_off(options.nodes * 2).into_iter();
        let controllers = ports.split_off(options.nodes);
        if let Some(first) = options.port {
            ports = (0..options.nodes)
                .map(|n| u16::try_from(usize::from(first) + n).context("port above 65535"))
                .collect::<Result<_>>()?;
        }
        let mut nodes = Vec::new();
        for (n, port) in ports.iter().enumerate() {
            let mut listeners = Vec::new();
            for ((name, advertised), port) in options.listeners.iter().zip(further.by_ref()) {
                let advertised =
                    advertised.get(n).with_context(|| format!("listener {name} has no address for node {}", n + 1))?;
                let addr = format!("127.0.0.1:{port}");
                listeners.push(Listener { name: name.clone(), addr, advertised: advertised.clone() });
            }
            let node = Node {
                id: n + 1,
                addr: format!("127.0.0.1:{port}"),
                listeners,
                dir: dir.join(format!("node-{}", n + 1)),
                process: None,
            };
            fs::create_dir_all(&node.dir)?;
            let settings = config::server_properties(&node, &controllers, &options.properties);
            fs::write(node.config(), settings)?;
            fs::write(node.log_config(), config::LOG4J2)?;
            nodes.push(node);
        }
        let kafka = Self {
            dist,
            heap_mb: options.heap_mb,
            ready_within: options.ready_within,
            cluster_id,
            brokers: nodes.iter().map(|node| node.addr.as_str()).collect::<Vec<_>>().join(","),
            nodes,
        };
        kafka.format()?;
        Ok(kafka)
    }

    /// Formats the storage of nodes that were never formatted.
    fn format(&self) -> Result<()> {
        let mut running = Vec::new();
        for node in self.nodes.iter().filter(|node| !node.formatted().exists()) {
            let mut command = self.java(node);
            command
                .args(["kafka.tools.StorageTool", "format", "--ignore-formatted"])
                .args(["--cluster-id", &self.cluster_id, "--config"])
                .arg(node.config());
            let log = node.dir.join("format.log");
            let name = format!("formatting Kafka's node {}", node.id);
            running.push((node, Process::spawn(&name, command, &log)?));
        }
        for (node, process) in running {
            process::finish(process)?;
            fs::write(node.formatted(), &self.cluster_id)?;
        }
        Ok(())
    }

    /// Starts all nodes at once, each JVM with `flags`, and waits for each.
    fn launch(&mut self, flags: &[String]) -> Result<()> {
        let start = Instant::now();
        let all = self.nodes.len();
        for n in 0..all {
            self.spawn(n, flags)?;
        }
        for node in &mut self.nodes {
            let left = self.ready_within.saturating_sub(start.elapsed());
            node.wait_ready(all, left)?;
        }
        Ok(())
    }

    fn spawn(&mut self, index: usize, flags: &[String]) -> Result<()> {
        let node = &self.nodes[index];
        let mut command = self.java(node);
        command.args(flags).arg("kafka.Kafka").arg(node.config());
        let name = format!("Kafka's node {}", node.id);
        let process = Process::spawn(&name, command, &node.dir.join("kafka.log"))?;
        self.nodes[index].process = Some(process);
        Ok(())
    }

    fn java(&self, node: &Node) -> Command {
        let mut command = self.dist.java();
        command
            .arg(format!("-Xmx{}m", self.heap_mb))
            .args(["-XX:+UseSerialGC", "-XX:-UsePerfData"])
            .args(["-Djava.awt.headless=true"])
            .arg(format!("-Dlog4j2.configurationFile={}", node.log_config().display()));
        command
    }

    /// Bootstrap list for clients: `127.0.0.1:port,…`, all nodes, running or not.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Where a node listens for those who come by a further listener.
    pub fn listener(&self, name: &str, node: usize) -> Option<&str> {
        let listeners = &self.nodes.get(node.checked_sub(1)?)?.listeners;
        listeners.iter().find(|listener| listener.name == name).map(|listener| listener.addr.as_str())
    }

    /// The id that the storage was formatted with; the same after every restart.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// How many nodes there are, running or not.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// What the first running node says about the cluster.
    pub fn metadata(&self) -> Result<Metadata> {
        let running = self.nodes.iter().find(|node| node.process.is_some());
        ask_metadata(&running.context("no node of Kafka runs")?.addr)
    }

    /// The process id of a node's JVM, or `None` if it was ended with [`kill`](Self::kill) or [`stop`](Self::stop).
    pub fn pid(&self, node: usize) -> Option<u32> {
        let node = self.nodes.get(node.checked_sub(1)?)?;
        node.process.as_ref().map(Process::pid)
    }

    /// Fails with the end of the log if a node ended that nobody ended.
    pub fn check(&mut self) -> Result<()> {
        for process in self.nodes.iter_mut().filter_map(|n| n.process.as_mut()) {
            process.check()?;
        }
        Ok(())
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill(&mut self, node: usize) -> Result<()> {
        match self.node_mut(node)?.process.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// SIGTERM, and waits until the process is gone (15 s, then SIGKILL).
    pub fn stop(&mut self, node: usize) -> Result<()> {
        match self.node_mut(node)?.process.take() {
            Some(mut process) => process.stop(),
            None => Ok(()),
        }
    }

    /// SIGSTOP: the node answers nothing, and holds its connections open. Fine on one that does not run.
    pub fn pause(&mut self, node: usize) -> Result<()> {
        self.node_mut(node)?.process.as_mut().map_or(Ok(()), Process::pause)
    }

    /// SIGCONT, and waits until the node counts itself in again.
    pub fn resume(&mut self, node: usize) -> Result<()> {
        let within = self.ready_within;
        let node = self.node_mut(node)?;
        node.process.as_mut().map_or(Ok(()), Process::resume)?;
        node.wait_ready(1, within)
    }

    /// SIGKILL for every node: the quick end for data that nobody needs.
    pub fn kill_all(&mut self) -> Result<()> {
        (1..=self.nodes.len()).try_for_each(|node| self.kill(node))
    }

    /// Starts a node again on its port with its data, and waits until it counts itself in. Stops it first if it runs.
    pub fn restart(&mut self, node: usize) -> Result<()> {
        self.stop(node)?;
        self.spawn(node - 1, &[])?;
        let within = self.ready_within;
        self.node_mut(node)?.wait_ready(1, within)
    }

    fn node_mut(&mut self, node: usize) -> Result<&mut Node> {
        let all = self.nodes.len();
        match node.checked_sub(1).and_then(|n| self.nodes.get_mut(n)) {
            Some(node) => Ok(node),
            None => bail!("Kafka has no node {node}; its nodes are 1 to {all}"),
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // All at once: the last of several would wait in vain for a quorum.
        for process in self.nodes.iter_mut().filter_map(|n| n.process.as_mut()) {
            let _ = process.ask_to_stop();
        }
        for node in &mut self.nodes {
            node.process = None;
        }
    }
}

impl Node {
    fn config(&self) -> PathBuf {
        self.dir.join("server.properties")
    }

    fn log_config(&self) -> PathBuf {
        self.dir.join("log4j2.properties")
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Says that formatting went through.
    fn formatted(&self) -> PathBuf {
        self.dir.join("formatted")
    }

    /// Waits until this node answers, knows a controller, and counts itself and at least `count` nodes in.
    fn wait_ready(&mut self, count: usize, within: Duration) -> Result<()> {
        let process = self.process.as_mut().context("the node does not run")?;
        let (id, addr) = (self.id, &self.addr);
        process.ready(within, || {
            let seen = ask_metadata(addr)?;
            let has_itself = seen.brokers.iter().any(|broker| broker.id as usize == id);
            ensure!(
                has_itself && seen.brokers.len() >= count && seen.controller_id >= 0,
                "node {id} answers, but is not in its place yet: {seen:?}"
            );
            Ok(())
        })
    }
}

/// The cluster that lives in `dir`, or a new one. A cluster's size cannot change.
fn cluster_id_of(dir: &Path, nodes: usize) -> Result<String> {
    let path = dir.join("cluster.json");
    if path.exists() {
        let cluster = fs::read_to_string(&path)?;
        let cluster: Value =
            serde_json::from_str(&cluster).with_context(|| format!("{} is not JSON", path.display()))?;
        let id = cluster["cluster_id"].as_str().unwrap_or_default();
        ensure!(!id.is_empty(), "{} names no cluster_id", path.display());
        ensure!(
            cluster["nodes"] == json!(nodes),
            "{} holds a Kafka cluster of {} nodes, not {nodes}: ask for as many, or take another folder",
            dir.display(),
            cluster["nodes"],
        );
        return Ok(id.to_owned());
    }
    let id = random_cluster_id();
    fs::write(&path, json!({ "cluster_id": id, "nodes": nodes }).to_string())?;
    Ok(id)
}

/// 16 random bytes as Kafka writes them (base64url without padding), kept to letters and digits, so that it can neither
/// look like a command-line flag nor end in bits that do not belong to it.
fn random_cluster_id() -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let draw = RandomState::new();
    let letter = |n: u32| char::from(ALPHABET[(draw.hash_one(n) % 62) as usize]);
    (0..21).map(letter).chain(['A']).collect()
}

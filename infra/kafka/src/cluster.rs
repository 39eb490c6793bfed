//! A cluster of one node or several, and its life: install, format, start, kill, pause, restart.
//!
//! The settings are those of a test server: acknowledged records survive, a node returns quickly
//! after a SIGKILL, and memory is small (`config.rs` has the reasons). A node is ready once it
//! answers a metadata request and lists itself as a broker.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::cache;
use crate::config;
use crate::dist::{self, KafkaDist};
use crate::metadata::{Metadata, ask_metadata};
use crate::node::{Listener, Node};
use crate::port::free_ports;
use crate::process::{self, Process};

/// The cluster to start. [`KafkaOptions::new`] gives one node on a free port.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// The folder for data, configuration and logs. A cluster that an earlier run left there
    /// continues.
    pub dir: PathBuf,
    /// Number of nodes. The replication factor is the same number, but at most 3.
    pub nodes: usize,
    /// The first node's port; the other nodes get the next ports. `None` takes free ports.
    pub port: Option<u16>,
    /// Limit of each JVM's heap, in MiB.
    pub heap_mb: u32,
    /// Listeners in addition to the plain one, each with its name and the addresses that it
    /// advertises: see [`listener`](Self::listener).
    pub listeners: Vec<(String, Vec<String>)>,
    /// Lines added to `server.properties`, which override the lines of this crate.
    pub properties: Vec<(String, String)>,
    /// Time limit for the start of all nodes.
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

    /// Adds a listener for clients that connect through a proxy. `advertised` holds one address for
    /// each node, in the order of the nodes: the node names that address to clients of this
    /// listener. [`Kafka::listener`] returns the address on which the node itself listens. The name
    /// consists of capital letters and digits.
    pub fn listener(mut self, name: &str, advertised: Vec<String>) -> Self {
        self.listeners.push((name.to_owned(), advertised));
        self
    }

    /// Adds a line to `server.properties`.
    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// Fetches Apache Kafka into the cache, once (45 MB, about half a minute), and makes its class
/// archive.
pub fn install() -> Result<KafkaDist> {
    let dist = dist::fetch_once()?;
    if !dist.is_archive_decided() {
        archive_classes(&dist);
    }
    Ok(dist)
}

/// Runs one server for a moment with class data sharing, which takes about a second off later
/// starts.
///
/// A failure costs only that second: the function reports it once and leaves a mark, so that later
/// starts do not try again.
fn archive_classes(dist: &KafkaDist) {
    let make = || -> Result<()> {
        let _lock = cache::lock(dist.home(), "classes")?;
        if dist.is_archive_decided() {
            return Ok(());
        }
        let (partial, dir) = (dist.home().join("classes.partial"), dist.home().join("classes-run"));
        cache::remove_if_there(&dir)?;
        let mut kafka = Kafka::prepare(dist.clone(), &KafkaOptions::new(&dir))?;
        kafka.launch(&[format!("-XX:ArchiveClassesAtExit={}", partial.display())])?;
        kafka.stop(1)?;
        cache::remove_if_there(&dir)?;
        fs::rename(&partial, dist.class_archive()).context("the JVM made no class archive")
    };
    if let Err(error) = make() {
        eprintln!("Kafka will start about a second later each time: no class archive: {error:#}");
        dist.note_no_archive(&format!("{error:#}"));
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

impl Kafka {
    /// Installs Kafka if needed, formats the folder if it is new, starts all nodes and waits until
    /// each answers.
    pub fn start(options: KafkaOptions) -> Result<Self> {
        let dist = install()?;
        let mut kafka = Self::prepare(dist, &options)?;
        kafka.launch(&[])?;
        Ok(kafka)
    }

    /// Does everything that precedes the first server process: folders, ports, settings, formatted
    /// storage.
    fn prepare(dist: KafkaDist, options: &KafkaOptions) -> Result<Self> {
        ensure!(options.nodes >= 1, "a Kafka cluster has at least one node");
        fs::create_dir_all(&options.dir).with_context(|| format!("cannot make {}", options.dir.display()))?;
        let dir = fs::canonicalize(&options.dir)?;
        let cluster_id = cluster_id_of(&dir, options.nodes)?;
        let (nodes, controllers) = lay_out(&dir, options)?;
        for node in &nodes {
            fs::create_dir_all(&node.dir)?;
            let settings = config::server_properties(node, &controllers, &options.properties);
            fs::write(node.config(), settings)?;
            fs::write(node.log_config(), config::LOG4J2)?;
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

    /// A `java` command with the flags of every process of the node.
    fn java(&self, node: &Node) -> Command {
        let mut command = self.dist.java();
        command
            .arg(format!("-Xmx{}m", self.heap_mb))
            .args(["-XX:+UseSerialGC", "-XX:-UsePerfData"])
            .args(["-Djava.awt.headless=true"])
            .arg(format!("-Dlog4j2.configurationFile={}", node.log_config().display()));
        command
    }

    /// Returns the bootstrap list for clients: `127.0.0.1:port,…` of all nodes, running or not.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The address on which a node listens for clients of a listener that the options added.
    pub fn listener(&self, name: &str, node: usize) -> Option<&str> {
        let listeners = &self.nodes.get(node.checked_sub(1)?)?.listeners;
        listeners.iter().find(|listener| listener.name == name).map(|listener| listener.addr.as_str())
    }

    /// The id that the storage was formatted with. A restart keeps it.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Returns the number of nodes, running or not.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Asks the first running node about the cluster.
    pub fn metadata(&self) -> Result<Metadata> {
        let running = self.nodes.iter().find(|node| node.process.is_some());
        ask_metadata(&running.context("no node of Kafka runs")?.addr)
    }

    /// The process id of a node's JVM, or `None` if it was ended with [`kill`](Self::kill) or
    /// [`stop`](Self::stop).
    pub fn pid(&self, node: usize) -> Option<u32> {
        let node = self.nodes.get(node.checked_sub(1)?)?;
        node.process.as_ref().map(Process::pid)
    }

    /// Fails with the tail of the log if a node ended by itself.
    pub fn check(&mut self) -> Result<()> {
        for process in self.nodes.iter_mut().filter_map(|n| n.process.as_mut()) {
            process.check()?;
        }
        Ok(())
    }

    /// Kills a node (SIGKILL), and waits until its process is gone.
    pub fn kill(&mut self, node: usize) -> Result<()> {
        match self.node_mut(node)?.process.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Stops a node (SIGTERM, and SIGKILL after 15 s), and waits until its process is gone.
    pub fn stop(&mut self, node: usize) -> Result<()> {
        match self.node_mut(node)?.process.take() {
            Some(mut process) => process.stop(),
            None => Ok(()),
        }
    }

    /// Pauses a node (SIGSTOP): the node answers nothing and keeps its connections open. Does
    /// nothing if the node does not run.
    pub fn pause(&mut self, node: usize) -> Result<()> {
        self.node_mut(node)?.process.as_mut().map_or(Ok(()), Process::pause)
    }

    /// Resumes a node (SIGCONT), and waits until the node lists itself as a broker again.
    pub fn resume(&mut self, node: usize) -> Result<()> {
        let within = self.ready_within;
        let node = self.node_mut(node)?;
        node.process.as_mut().map_or(Ok(()), Process::resume)?;
        node.wait_ready(1, within)
    }

    /// Kills every node (SIGKILL), which is quick. Use it when the data is no longer needed.
    pub fn kill_all(&mut self) -> Result<()> {
        (1..=self.nodes.len()).try_for_each(|node| self.kill(node))
    }

    /// Starts a node again on its port with its data, and waits until it lists itself as a broker.
    /// A running node is stopped first.
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
        // All nodes are asked to stop at the same time. If they stopped one by one, the last node
        // would wait in vain for a quorum.
        for process in self.nodes.iter_mut().filter_map(|n| n.process.as_mut()) {
            let _ = process.ask_to_stop();
        }
        for node in &mut self.nodes {
            node.process = None;
        }
    }
}

/// Returns the nodes with their addresses and folders, and the port of each node's controller.
fn lay_out(dir: &Path, options: &KafkaOptions) -> Result<(Vec<Node>, Vec<u16>)> {
    let mut ports = free_ports(options.nodes * (2 + options.listeners.len()))?;
    let mut listener_ports = ports.split_off(options.nodes * 2).into_iter();
    let controllers = ports.split_off(options.nodes);
    if let Some(first) = options.port {
        ports = (0..options.nodes)
            .map(|n| u16::try_from(usize::from(first) + n).context("port above 65535"))
            .collect::<Result<_>>()?;
    }
    let mut nodes = Vec::new();
    for (n, port) in ports.iter().enumerate() {
        let mut listeners = Vec::new();
        for ((name, advertised), port) in options.listeners.iter().zip(listener_ports.by_ref()) {
            let advertised =
                advertised.get(n).with_context(|| format!("listener {name} has no address for node {}", n + 1))?;
            let addr = format!("127.0.0.1:{port}");
            listeners.push(Listener { name: name.clone(), addr, advertised: advertised.clone() });
        }
        let (id, addr) = (n + 1, format!("127.0.0.1:{port}"));
        nodes.push(Node { id, addr, listeners, dir: dir.join(format!("node-{id}")), process: None });
    }
    Ok((nodes, controllers))
}

/// Returns the id of the cluster in `dir`, or a new id for a new cluster. Fails if the cluster in
/// `dir` has another number of nodes, because the number cannot change.
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

/// A random 16-byte id in Kafka's notation (base64url without padding). Letters and digits alone
/// keep the id from looking like a command-line flag; the last letter carries no excess bits.
fn random_cluster_id() -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let draw = RandomState::new();
    let letter = |n: u32| char::from(ALPHABET[(draw.hash_one(n) % 62) as usize]);
    (0..21).map(letter).chain(['A']).collect()
}

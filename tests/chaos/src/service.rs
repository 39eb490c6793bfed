//! A service as a process that can be hit, under a supervisor that restarts it.

use crate::gate::Gate;
use crate::journal::Journal;
use crate::plan::Kind;
use anyhow::{Context, Result, bail};
use driftless_e2e_tests::process::{Env, command, listening};
use driftless_testbed::Process;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

/// The time in which a supervisor must succeed. Brokers, store and machine may all be slow at once.
const START_WITHIN: Duration = Duration::from_secs(180);
/// The pause between two starts.
const START_PAUSE: Duration = Duration::from_millis(500);
/// Longer than a service may take to drain.
const END_WITHIN: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// How to start a service.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The `driftless` program.
    pub program: PathBuf,
    /// The subcommand and its flags.
    pub arguments: Vec<String>,
    /// Environment variables for S3.
    pub env: Env,
    /// The folder of the logs; every start gets its own file.
    pub logs: PathBuf,
}

/// A service.
pub struct Service {
    /// The kind of service.
    pub kind: Kind,
    /// The name, such as `gateway-1`.
    pub name: String,
    launch: Launch,
    running: Option<Process>,
    starts: usize,
    address: Option<SocketAddr>,
    /// The gate in front of the service, for its clients.
    gate: Option<Arc<Gate>>,
    /// The gates between the service and each of Kafka's nodes.
    to_kafka: Vec<Gate>,
}

impl Service {
    /// A service that does not run yet.
    #[must_use]
    pub fn new(kind: Kind, name: String, launch: Launch, gate: Option<Arc<Gate>>, to_kafka: Vec<Gate>) -> Self {
        Self { kind, name, launch, running: None, starts: 0, address: None, gate, to_kafka }
    }

    /// The gates between the service and Kafka's nodes; none if this run did not start Kafka.
    #[must_use]
    pub fn way_to_kafka(&self) -> &[Gate] {
        &self.to_kafka
    }

    /// The service's HTTP address, past the gate.
    ///
    /// # Errors
    /// If the service never listened.
    pub fn base(&self) -> Result<String> {
        Ok(format!("http://{}", self.address.with_context(|| format!("{} does not listen", self.name))?))
    }

    /// Starts the service until it listens. A process that ends before that is started again, as a
    /// supervisor does.
    ///
    /// # Errors
    /// If the service never listens.
    pub async fn start(&mut self, journal: &Journal) -> Result<()> {
        let deadline = Instant::now() + START_WITHIN;
        loop {
            match self.start_once().await? {
                Ok(address) => {
                    self.address = Some(address);
                    if let Some(gate) = &self.gate {
                        gate.lead_to(Some(address));
                    }
                    journal.note(&format!("{} listens", self.name));
                    return Ok(());
                }
                Err(why) => journal.start_in_vain(&format!("{} ended before it listened: {why}", self.name)),
            }
            if Instant::now() >= deadline {
                bail!("{} does not come up within {START_WITHIN:?}: {}", self.name, self.last_line());
            }
            tokio::time::sleep(START_PAUSE).await;
        }
    }

    /// Starts the service once. The inner error means that the process ended.
    async fn start_once(&mut self) -> Result<Result<SocketAddr, String>> {
        self.starts += 1;
        let log = self.launch.logs.join(format!("{}-{:03}.log", self.name, self.starts));
        let command = command(&self.launch.program, &self.launch.arguments, &self.launch.env);
        let process = block_in_place(|| Process::spawn(&self.name, command, &log))?;
        let process = self.running.insert(process);
        let deadline = Instant::now() + START_WITHIN;
        loop {
            // Reads the exit status first and the output second, so that output before the end
            // counts.
            let status = process.exit_status()?;
            let text = std::fs::read(&log).unwrap_or_default();
            // A line without a line end is still being written.
            let lines = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
            let mut lines = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
            if let Some(address) = lines.find_map(|line| listening(&line)) {
                return Ok(Ok(address));
            }
            if let Some(status) = status {
                self.running = None;
                return Ok(Err(format!("{status}; {}", self.last_line())));
            }
            if Instant::now() >= deadline {
                bail!("{} does not listen within {START_WITHIN:?}: {}", self.name, self.last_line());
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    fn log(&self) -> PathBuf {
        self.launch.logs.join(format!("{}-{:03}.log", self.name, self.starts))
    }

    fn last_line(&self) -> String {
        let text = std::fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        format!("{} ends with: {}", self.log().display(), text.lines().last().unwrap_or_default())
    }

    /// Sends SIGKILL.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut process) = self.leave() else { return Ok(()) };
        block_in_place(|| process.kill())
    }

    /// Sends SIGSTOP.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn pause(&mut self) -> Result<()> {
        self.running.as_mut().map_or(Ok(()), Process::pause)
    }

    /// Sends SIGCONT.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn resume(&mut self) -> Result<()> {
        self.running.as_mut().map_or(Ok(()), Process::resume)
    }

    /// Sends SIGTERM, and records a process that does not shut down gracefully.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub async fn terminate(&mut self, journal: &Journal) -> Result<()> {
        let log = self.log();
        let Some(mut process) = self.leave() else { return Ok(()) };
        process.ask_to_stop()?;
        let deadline = Instant::now() + END_WITHIN;
        while Instant::now() < deadline {
            match process.exit_status()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    journal.bad_end(format!("{} after SIGTERM: {status}, see {}", self.name, log.display()));
                    return Ok(());
                }
                None => tokio::time::sleep(BETWEEN_LOOKS).await,
            }
        }
        journal.bad_end(format!("{} runs {END_WITHIN:?} after SIGTERM, see {}", self.name, log.display()));
        block_in_place(|| process.kill())
    }

    fn leave(&mut self) -> Option<Process> {
        if let Some(gate) = &self.gate {
            gate.lead_to(None);
        }
        self.running.take()
    }

    /// The exit status of a process that ended unasked.
    ///
    /// # Errors
    /// If the process cannot be inspected.
    pub fn ended(&mut self) -> Result<Option<String>> {
        let Some(process) = &mut self.running else { return Ok(None) };
        let Some(status) = process.exit_status()? else { return Ok(None) };
        let ended = format!("{}: {status}; {}", self.name, self.last_line());
        self.leave();
        Ok(Some(ended))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Kills without a graceful shutdown: the data is not needed any more.
        let _ = self.kill();
    }
}

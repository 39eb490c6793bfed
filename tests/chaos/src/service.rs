//! A service of the cluster: a process that faults can hit and that a supervisor restarts.

use crate::gate::Gate;
use crate::journal::Journal;
use crate::plan::Kind;
use anyhow::{Context, Result, bail};
use driftless_e2e_tests::process::{Addresses, Env, command, listening};
use driftless_testbed::Process;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

/// The deadline for a start to succeed. Brokers, store and machine may all be slow at the same
/// time.
const START_WITHIN: Duration = Duration::from_secs(180);
/// The pause between two attempts to start a service.
const START_PAUSE: Duration = Duration::from_millis(500);
/// The deadline for a graceful end. It is longer than a service may take to drain.
const END_WITHIN: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// How to start a service.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The path of the `driftless` program.
    pub program: PathBuf,
    /// The subcommand and its flags.
    pub arguments: Vec<String>,
    /// Environment variables for S3.
    pub env: Env,
    /// The folder of the logs. Each start writes its own log file.
    pub logs: PathBuf,
}

/// A service, which runs or does not run at the moment.
pub struct Service {
    /// The kind of service.
    pub kind: Kind,
    /// The name of the service, such as `gateway-1`.
    pub name: String,
    launch: Launch,
    running: Option<Process>,
    starts: usize,
    addresses: Option<Addresses>,
    /// The gate between clients and the service; `None` for a replayer.
    gate: Option<Arc<Gate>>,
    /// The gates between the service and each node of Kafka; empty if this run did not start Kafka.
    to_kafka: Vec<Gate>,
}

impl Service {
    /// Describes a service without starting it.
    #[must_use]
    pub fn new(kind: Kind, name: String, launch: Launch, gate: Option<Arc<Gate>>, to_kafka: Vec<Gate>) -> Self {
        Self { kind, name, launch, running: None, starts: 0, addresses: None, gate, to_kafka }
    }

    /// The gates between the service and each node of Kafka; empty if this run did not start Kafka.
    #[must_use]
    pub fn way_to_kafka(&self) -> &[Gate] {
        &self.to_kafka
    }

    /// The HTTP address of the service for clients, which bypasses the gate.
    ///
    /// # Errors
    /// If the service never listened, or has no clients.
    pub fn base(&self) -> Result<String> {
        let address = self.addresses.and_then(|addresses| addresses.public);
        Ok(format!("http://{}", address.with_context(|| format!("{} does not listen for clients", self.name))?))
    }

    /// The HTTP address of the service for operators.
    ///
    /// # Errors
    /// If the service never listened.
    pub fn internal(&self) -> Result<String> {
        let addresses = self.addresses.with_context(|| format!("{} does not listen", self.name))?;
        Ok(format!("http://{}", addresses.internal))
    }

    /// Starts the service, and waits until it listens. If the process ends earlier, it is started
    /// again, as a supervisor does.
    ///
    /// # Errors
    /// If the service never listens.
    pub async fn start(&mut self, journal: &Journal) -> Result<()> {
        let deadline = Instant::now() + START_WITHIN;
        loop {
            match self.start_once().await? {
                Ok(addresses) => {
                    self.addresses = Some(addresses);
                    if let Some(gate) = &self.gate {
                        gate.lead_to(addresses.public);
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

    /// Makes one attempt to start the service. The inner error means that the process ended, and
    /// says how.
    async fn start_once(&mut self) -> Result<Result<Addresses, String>> {
        self.starts += 1;
        let log = self.log();
        let command = command(&self.launch.program, &self.launch.arguments, &self.launch.env);
        let process = block_in_place(|| Process::spawn(&self.name, command, &log))?;
        let process = self.running.insert(process);
        let deadline = Instant::now() + START_WITHIN;
        loop {
            // Reads the exit status first and the output second. So output that the process wrote
            // before it ended is not missed.
            let status = process.exit_status()?;
            let text = std::fs::read(&log).unwrap_or_default();
            // A line without a line end is still being written.
            let lines = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
            let mut lines = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
            if let Some(addresses) = lines.find_map(|line| listening(&line)) {
                return Ok(Ok(addresses));
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

    /// Sends SIGTERM and waits for the end. Records in the journal if the process does not shut
    /// down gracefully.
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

    /// Returns how the process ended if it ended by itself; `None` if it runs or should not run.
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
        // Kills the process without a graceful shutdown, because its data is not needed any more.
        let _ = self.kill();
    }
}

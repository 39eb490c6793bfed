//! One service as a process that can be hit, under a supervisor that starts it again.

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

/// How long a supervisor tries. Brokers, store and machine may all be slow at once.
const START_WITHIN: Duration = Duration::from_secs(180);
/// A rest between two starts.
const START_PAUSE: Duration = Duration::from_millis(500);
/// Longer than a service may take to drain.
const END_WITHIN: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// How it is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// `driftless`.
    pub program: PathBuf,
    /// Subcommand and flags.
    pub arguments: Vec<String>,
    /// What S3 needs.
    pub env: Env,
    /// Every start gets a log of its own in here.
    pub logs: PathBuf,
}

/// The process.
pub struct Service {
    /// Which.
    pub kind: Kind,
    /// `gateway-1`.
    pub name: String,
    launch: Launch,
    running: Option<Process>,
    starts: usize,
    address: Option<SocketAddr>,
    /// In the way of its clients.
    gate: Option<Arc<Gate>>,
    /// In its way to each of Kafka's nodes.
    to_kafka: Vec<Gate>,
}

impl Service {
    /// One that does not run yet.
    #[must_use]
    pub fn new(kind: Kind, name: String, launch: Launch, gate: Option<Arc<Gate>>, to_kafka: Vec<Gate>) -> Self {
        Self { kind, name, launch, running: None, starts: 0, address: None, gate, to_kafka }
    }

    /// The gates in its way to Kafka's nodes; none where Kafka is not ours.
    #[must_use]
    pub fn way_to_kafka(&self) -> &[Gate] {
        &self.to_kafka
    }

    /// Where it is reached over HTTP, past the gate.
    ///
    /// # Errors
    /// Where it never listened.
    pub fn base(&self) -> Result<String> {
        Ok(format!("http://{}", self.address.with_context(|| format!("{} does not listen", self.name))?))
    }

    /// Starts it, until it listens; one that ends before is started again, as a supervisor does.
    ///
    /// # Errors
    /// Where it does not come to listen.
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

    /// Inner error: it ended.
    async fn start_once(&mut self) -> Result<Result<SocketAddr, String>> {
        self.starts += 1;
        let log = self.launch.logs.join(format!("{}-{:03}.log", self.name, self.starts));
        let command = command(&self.launch.program, &self.launch.arguments, &self.launch.env);
        let process = block_in_place(|| Process::spawn(&self.name, command, &log))?;
        let process = self.running.insert(process);
        let deadline = Instant::now() + START_WITHIN;
        loop {
            // First the end, then the text: what it wrote before its end counts.
            let status = process.exit_status()?;
            let text = std::fs::read(&log).unwrap_or_default();
            // A line without its end is still being written.
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

    /// SIGKILL.
    ///
    /// # Errors
    /// Where the kernel says no.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut process) = self.leave() else { return Ok(()) };
        block_in_place(|| process.kill())
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// Where the kernel says no.
    pub fn pause(&mut self) -> Result<()> {
        self.running.as_mut().map_or(Ok(()), Process::pause)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// Where the kernel says no.
    pub fn resume(&mut self) -> Result<()> {
        self.running.as_mut().map_or(Ok(()), Process::resume)
    }

    /// SIGTERM; one that does not end in order is noted.
    ///
    /// # Errors
    /// Where the kernel says no.
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

    /// How it ended, if it did although nobody asked for it.
    ///
    /// # Errors
    /// Where it cannot be looked at.
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
        // Without waiting for an orderly end: nobody needs the data.
        let _ = self.kill();
    }
}

//! Processes of `driftless replayer` that can be killed, and the events in their logs.

use crate::program;
use anyhow::{Context, Result, bail};
use driftless_testbed::Process;
use serde_json::Value;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

const LOOK_AGAIN: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts replayers that share log, object store and config file.
pub(crate) struct Launcher {
    pub folder: PathBuf,
    pub brokers: String,
    pub store: String,
    pub config: PathBuf,
    /// Further flags of the replayers.
    pub flags: Vec<String>,
    pub env: Vec<(String, String)>,
    pub starts: u32,
}

/// A running replayer, and the events in its log.
pub(crate) struct Replayer {
    pub member: &'static str,
    process: Process,
    log: PathBuf,
    /// Number of bytes of the log that were read.
    read: u64,
    events: Vec<Event>,
}

/// A line of a replayer's log. `at` is the line's timestamp. All times in this benchmark are by the
/// clock of this machine.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub at: SystemTime,
    pub line: Value,
}

impl Event {
    /// Returns true if the consumer group assigns partitions to this process (`some` is true), or
    /// assigns none (`some` is false).
    pub fn is_assigned(&self, some: bool) -> bool {
        // Version 0.1.0 says only "assigned".
        let is_assignment = self.line["message"].as_str().is_some_and(|said| said.ends_with("assigned"));
        is_assignment && (self.line["partitions"] != "[]") == some
    }

    /// Returns true if the replayer starts to decide.
    pub fn is_deciding(&self) -> bool {
        self.line["message"] == "deciding"
    }
}

impl Launcher {
    /// Returns a command of the `driftless` program, with the addresses of the deployment.
    pub fn command(&self, service: &str) -> Result<Command> {
        let mut command = Command::new(program::driftless()?);
        command.args(["--log-json", service, "--brokers", &self.brokers, "--store", &self.store]);
        command.arg("--config").arg(&self.config).envs(self.env.iter().cloned());
        Ok(command)
    }

    /// Starts a replayer with this name in the consumer group.
    pub fn start(&mut self, member: &'static str) -> Result<Replayer> {
        self.starts += 1;
        let log = self.folder.join(format!("{member}-{}.log", self.starts));
        let mut command = self.command("replayer")?;
        // Version 0.1.0 knows `--internal` by this name.
        command.args(["--http", "127.0.0.1:0", "--member", member]).args(&self.flags);
        if std::env::var_os("DRIFTLESS_LOG").is_none() {
            command.env("DRIFTLESS_LOG", "info,driftless_replayer=debug,slatedb=warn,rdkafka=warn,librdkafka=warn");
        }
        let process = Process::spawn(member, command, &log)?;
        Ok(Replayer { member, process, log, read: 0, events: Vec::new() })
    }

    /// Starts a replayer, and waits until it has joined the group without owning a partition.
    pub async fn stand_by(&mut self, member: &'static str) -> Result<Replayer> {
        let mut standby = self.start(member)?;
        standby.event("membership", SystemTime::UNIX_EPOCH, PATIENCE, |e| e.is_assigned(false)).await?;
        Ok(standby)
    }
}

impl Replayer {
    /// Waits for an event that was logged after `since`.
    pub async fn event(
        &mut self,
        what: &str,
        since: SystemTime,
        within: Duration,
        is_wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event> {
        let deadline = Instant::now() + within;
        loop {
            self.process.check()?;
            self.read_log()?;
            if let Some(found) = self.events.iter().find(|event| event.at >= since && is_wanted(event)) {
                return Ok(found.clone());
            }
            if Instant::now() >= deadline {
                bail!("{}: {what} did not come within {} s: see {}", self.member, within.as_secs(), self.log.display());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Kills the process with SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Asks the process to end, with SIGTERM.
    pub fn ask_to_stop(&mut self) -> Result<()> {
        self.process.ask_to_stop()
    }

    /// Waits for the end of the process. Fails if its exit code is not 0.
    pub async fn ended(&mut self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            match self.process.exit_status()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("{} ended with {status}: see {}", self.member, self.log.display()),
                None if Instant::now() >= deadline => bail!("{} does not end", self.member),
                None => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    fn read_log(&mut self) -> Result<()> {
        let text = read_from(&self.log, self.read)?;
        // The replayer is still writing a line that has no end. The next call reads that line.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            self.read += line.len() as u64;
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            let Some(Ok(at)) = line["timestamp"].as_str().map(humantime::parse_rfc3339) else { continue };
            self.events.push(Event { at, line });
        }
        Ok(())
    }
}

fn read_from(path: &Path, from: u64) -> Result<String> {
    let mut file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

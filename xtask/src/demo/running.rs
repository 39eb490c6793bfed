//! The `driftless` processes of the demo.

use anyhow::{Context, Result, bail, ensure};
use driftless_testbed::{Process, until};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::http;

const READY_WITHIN: Duration = Duration::from_secs(120);
/// Time limit for the end of a service after a signal. It is longer than services may take to
/// drain.
const END_WITHIN: Duration = Duration::from_secs(60);

/// A running process, whose output goes to a log file.
pub struct Running {
    name: String,
    process: Process,
}

impl Running {
    pub fn start(name: &str, command: Command, log: &Path) -> Result<Self> {
        Ok(Self { name: name.to_owned(), process: Process::spawn(name, command, log)? })
    }

    /// Waits for the line of JSON with `"ready": true`, and returns it.
    pub fn ready_line(&mut self) -> Result<Value> {
        let log = self.process.log().to_owned();
        self.process.ready(READY_WITHIN, || {
            let text = fs::read_to_string(&log)?;
            let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|line| line["ready"] == true).context("the process has not announced that it is ready")
        })
    }

    /// Waits until `url` answers 200.
    pub fn ready_at(&mut self, url: &str) -> Result<()> {
        self.process.ready(READY_WITHIN, || match http::get(url, "")?.status {
            200 => Ok(()),
            other => bail!("{url} answers {other}"),
        })
    }

    /// Sends SIGINT, the signal of Ctrl-C. Fails unless the process then ends by itself with exit
    /// code 0.
    pub fn interrupt(mut self) -> Result<()> {
        let mut kill = Command::new("kill");
        kill.args(["-INT", &self.process.pid().to_string()]);
        crate::process::check("Ctrl-C", kill)?;
        let status = until(END_WITHIN, &format!("{} to end", self.name), || self.process.exit_status().transpose())??;
        ensure!(status.success(), "{} ended badly after Ctrl-C: {status}", self.name);
        Ok(())
    }

    pub fn kill(mut self) -> Result<()> {
        self.process.kill()
    }
}

/// Returns an address `127.0.0.1:port` with a port that is free now.
pub fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0").context("no port is free")?.local_addr()?.to_string())
}

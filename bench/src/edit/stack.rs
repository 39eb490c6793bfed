//! The measured stack: `driftless dev` as a separate process, and its Kafka.

use super::LogKind;
use crate::program;
use anyhow::{Context, Result, bail};
use driftless_auth::Signer;
use driftless_runtime::clock::unix_now;
use driftless_schemas::access::Access;
use driftless_testbed::kafka::{Kafka, KafkaDist, KafkaOptions};
use serde::Deserialize;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const START_WITHIN: Duration = Duration::from_secs(120);

/// A running stack. Dropping it ends the processes and deletes their folder.
pub(super) struct Stack {
    pub ingest_ws: String,
    pub gateway_ws: String,
    /// The bootstrap servers, if the log is a Kafka.
    pub brokers: Option<String>,
    /// The name of the log, for the report.
    pub log: String,
    signer: Signer,
    _dev: Child,
    _kafka: Option<Kafka>,
    folder: PathBuf,
}

/// The part of the line printed by `driftless dev --json` that this benchmark needs.
#[derive(Deserialize)]
struct Ready {
    ingest_ws: String,
    gateway_ws: String,
    /// A program of version 0.1.0, which `DRIFTLESS_BIN` may name, has none.
    audience: Option<String>,
}

impl Stack {
    pub async fn start(kind: LogKind, brokers: Option<&str>) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("driftless-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let mut kafka = None;
        let (brokers, log) = match (kind, brokers) {
            (LogKind::Embedded, _) => (None, "embedded (SQLite)".to_owned()),
            (LogKind::Kafka, Some(brokers)) => (Some(brokers.to_owned()), format!("Kafka at {brokers}")),
            (LogKind::Kafka, None) => {
                let options = KafkaOptions::new(folder.join("kafka"));
                let started = tokio::task::spawn_blocking(move || Kafka::start(options)).await??;
                let brokers = started.brokers().to_owned();
                kafka = Some(started);
                (Some(brokers), format!("Apache Kafka {}", KafkaDist::VERSION))
            }
        };
        let data = folder.join("data");
        let mut command = Command::new(program::driftless()?);
        command.args(["dev", "--json", "--fresh", "--http", "127.0.0.1:0", "--data"]).arg(&data);
        if let Some(brokers) = &brokers {
            // Each run has its own world, so that several runs can use the same brokers one after
            // another.
            let world = folder.join("world.toml");
            let mut spec = driftless_schemas::world::WorldSpec::dev();
            spec.name = format!("bench-{}", std::process::id());
            std::fs::write(&world, toml::to_string(&spec)?)?;
            command.arg("--world").arg(world).args(["--brokers", brokers]);
        }
        let mut dev = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let stdout = dev.stdout.take().context("the child has a standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(START_WITHIN, lines.next_line()).await;
        let Some(line) = first.context("`driftless dev` was not ready in time")?? else {
            bail!("`driftless dev` ended before it was ready: see its messages above");
        };
        let ready: Ready = serde_json::from_str(&line)?;
        let Ready { ingest_ws, gateway_ws, audience } = ready;
        let signer = Signer::from_file(&data.join("dev.key"))?.with_audience(audience);
        Ok(Self { ingest_ws, gateway_ws, brokers, log, signer, _dev: dev, _kafka: kafka, folder })
    }

    /// Returns a token for the user `sub`. Each client is a separate user, because limits apply per
    /// user.
    pub fn token(&self, sub: &str) -> Result<String> {
        let access = Access { write: vec!["canvas/".into()], ..Access::default() };
        Ok(self.signer.issue(sub, &access, unix_now(), 24 * 3600)?)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Some(id) = self._dev.id() {
            tracing::debug!(id, "ending driftless dev");
        }
        let _ = self._dev.start_kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

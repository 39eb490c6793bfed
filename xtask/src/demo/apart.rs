//! The second part of the demo: the services as separate processes, over a real Apache Kafka and a
//! real S3 server.

use anyhow::{Context, Result, ensure};
use driftless_testbed::kafka::{Kafka, KafkaDist, KafkaOptions};
use driftless_testbed::poll;
use driftless_testbed::s3::{self, S3, S3Options};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Environment;
use super::paint::{Target, paint, state, summary};
use super::running::{Running, free_address};
use crate::step::Verdict;
use crate::{apt, process};

/// Settings of the replayer that make it store snapshots within seconds.
const CONFIG: &str = "\
[replayer.core]
snapshot_max_age_ms = 1000
snapshot_min_interval_ms = 500
checkpoint_interval_ms = 500
";
const SNAPSHOTS_WITHIN: Duration = Duration::from_secs(60);

/// The running servers and services. The fields drop in this order, so services end before servers.
pub struct Apart<'a> {
    environment: &'a Environment<'a>,
    services: Vec<Running>,
    kafka: Kafka,
    s3: S3,
    target: Target,
    painted: Value,
}

impl<'a> Apart<'a> {
    pub fn start_servers(
        environment: &'a Environment<'a>,
        slot: &mut Option<Self>,
        shown: &mut Value,
    ) -> Result<Verdict> {
        let s3 = S3::start(S3Options::new(environment.dir.path().join("s3")))?;
        let kafka = Kafka::start(KafkaOptions::new(environment.dir.path().join("kafka")))?;
        *slot = Some(Self {
            environment,
            services: Vec::new(),
            kafka,
            s3,
            target: Target::default(),
            painted: Value::Null,
        });
        let (kafka, s3) = (format!("Apache Kafka {}", KafkaDist::VERSION), format!("versitygw {}", s3::VERSION));
        let note = format!("{kafka}, {s3}");
        shown["kafka"] = kafka.into();
        shown["s3"] = s3.into();
        Ok(Verdict::Passed(note))
    }

    pub fn start_services(slot: &mut Option<Self>) -> Result<Verdict> {
        let this = slot.as_mut().context("nothing runs")?;
        let folder = this.environment.dir.path();
        let (world, config, key) = (folder.join("world.toml"), folder.join("config.toml"), folder.join("key"));
        fs::write(&config, CONFIG)?;
        let mut print = this.driftless("init");
        print.arg("--print");
        fs::write(&world, process::ask(print)?)?;
        let mut new_key = this.driftless("token");
        new_key.arg("--new-key").arg(&key);
        process::ask(new_key)?;
        let mut token = this.driftless("token");
        token.arg("--key-file").arg(&key).args(["--sub", "demo", "--write", "canvas/"]);
        let token = process::ask(token)?;
        let mut init = this.driftless("init");
        init.arg("--world").arg(&world);
        process::ask(init)?;

        let mut urls = Vec::new();
        for name in ["replayer", "gateway", "ingest"] {
            let (address, internal) = (free_address()?, free_address()?);
            let mut service = this.driftless(name);
            service.arg("--config").arg(&config).args(["--internal", &internal]);
            if name != "replayer" {
                service.args(["--http", &address]).arg("--key-file").arg(&key);
                urls.push(format!("http://{address}"));
            }
            let mut running = Running::start(name, service, &this.environment.output.join(format!("{name}.log")))?;
            running.ready_at(&format!("http://{internal}/readyz"))?;
            this.services.push(running);
        }
        let [gateway, ingest] = &urls[..] else { unreachable!("two services with clients were started") };
        this.target = Target { ingest: ingest.clone(), gateway: gateway.clone(), token };
        Ok(Verdict::Passed(format!("a replayer, and gateway and ingest at {}", urls.join(" and "))))
    }

    pub fn paint(slot: &mut Option<Self>, shown: &mut Value) -> Result<Verdict> {
        let this = slot.as_mut().context("nothing runs")?;
        this.painted = paint(&this.environment.driftless(), &this.environment.picture, &this.target)?;
        shown["apart"] = this.painted.clone();
        Ok(Verdict::Passed(summary(&this.painted)))
    }

    /// Checks with independent programs (`zstd`, `b3sum`) that the name of every object below
    /// `snapshots/` is the hash of its content. Also checks that there is a snapshot for each chunk
    /// that the gateway shows.
    pub fn check_snapshots(slot: &mut Option<Self>, shown: &mut Value) -> Result<Verdict> {
        let this = slot.as_mut().context("nothing runs")?;
        if process::find("b3sum").is_none() {
            apt::install(this.environment.screen, &["b3sum", "zstd"])?;
        }
        let state = state(&this.painted, &this.target)?;
        let folder = this.s3.dir().join("snapshots");
        let stored = poll(SNAPSHOTS_WITHIN, "a snapshot of every chunk in the bucket", || {
            let files = files_below(&folder).unwrap_or_default();
            let names: BTreeSet<String> = files.iter().filter_map(|file| name(file)).collect();
            let lacking: Vec<_> =
                state.iter().filter(|(_, (_, hash))| !names.contains(hash)).map(|(chunk, _)| chunk).collect();
            match lacking[..] {
                [] => ControlFlow::Break(Ok(files)),
                _ => ControlFlow::Continue(format!("{} objects, none for {lacking:?}", files.len())),
            }
        })?;
        for file in &stored {
            let hash = content_hash(file)?;
            ensure!(name(file).as_ref() == Some(&hash), "{} has content that hashes to {hash}", file.display());
        }
        shown["snapshots"] = json!(stored.len());
        let all = stored.len();
        Ok(Verdict::Passed(format!("{all} snapshots are named by their content, {} of them shown now", state.len())))
    }

    /// Returns the command `driftless SUBCOMMAND`, with the addresses of log and store.
    fn driftless(&self, subcommand: &str) -> Command {
        let mut driftless = Command::new(self.environment.driftless());
        driftless.arg(subcommand).envs(self.s3.env());
        driftless.env("DRIFTLESS_BROKERS", self.kafka.brokers()).env("DRIFTLESS_STORE", self.s3.url());
        driftless
    }
}

fn name(file: &Path) -> Option<String> {
    Some(file.file_name()?.to_str()?.to_owned())
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => files.extend(files_below(&entry.path())?),
            false => files.push(entry.path()),
        }
    }
    Ok(files)
}

/// Returns the output of `zstd -dc FILE | b3sum`: the hash of the decompressed content.
fn content_hash(file: &Path) -> Result<String> {
    let mut zstd =
        Command::new("zstd").arg("-dc").arg(file).stdout(Stdio::piped()).spawn().context("cannot run zstd")?;
    let mut b3sum = Command::new("b3sum");
    b3sum.arg("--no-names").stdin(zstd.stdout.take().context("zstd has no output")?);
    let hash = process::ask(b3sum);
    ensure!(zstd.wait()?.success(), "{} is no zstd file", file.display());
    hash
}

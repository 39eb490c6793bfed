//! The first part of the demo, the embedded stack: `cargo dev` over a temporary data folder.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

use super::Environment;
use super::paint::{Target, paint, state, summary};
use super::running::{Running, free_address};
use super::two_windows::{self, Half};
use crate::step::Verdict;

pub struct Embedded<'a> {
    environment: &'a Environment<'a>,
    data: PathBuf,
    address: String,
    starts: u32,
    running: Option<Running>,
    page: String,
    target: Target,
    /// The JSON report of the last painting.
    painted: Value,
}

impl<'a> Embedded<'a> {
    pub fn start(environment: &'a Environment<'a>, slot: &mut Option<Self>) -> Result<Verdict> {
        let embedded = slot.insert(Self {
            environment,
            data: environment.dir.path().join("data"),
            address: free_address()?,
            starts: 0,
            running: None,
            page: String::new(),
            target: Target::default(),
            painted: Value::Null,
        });
        // The demo starts with the command that people use.
        let mut dev = environment.workspace.cargo();
        dev.args(["dev", "--fresh"]);
        embedded.launch(dev)?;
        Ok(Verdict::Passed(embedded.target.gateway.clone()))
    }

    pub fn paint(slot: &mut Option<Self>, shown: &mut Value) -> Result<Verdict> {
        let this = slot.as_mut().context("nothing runs")?;
        this.painted = paint(&this.environment.driftless(), &this.environment.picture, &this.target)?;
        shown["embedded"] = this.painted.clone();
        Ok(Verdict::Passed(summary(&this.painted)))
    }

    /// Ends the stack with `end`, starts it again, and checks that every chunk has the same version
    /// and hash as before.
    pub fn restart(slot: &mut Option<Self>, end: fn(Running) -> Result<()>) -> Result<Verdict> {
        let this = slot.as_mut().context("nothing runs")?;
        let before = state(&this.painted, &this.target)?;
        end(this.running.take().context("nothing runs")?)?;
        let mut dev = Command::new(this.environment.driftless());
        dev.arg("dev");
        this.launch(dev)?;
        let after = state(&this.painted, &this.target)?;
        let differing: Vec<&String> = after.keys().filter(|chunk| before.get(*chunk) != after.get(*chunk)).collect();
        ensure!(differing.is_empty(), "another version or hash than before: {differing:?}");
        Ok(Verdict::Passed(format!("{} chunks have the same versions and hashes", after.len())))
    }

    pub fn browse(slot: &mut Option<Self>, half: Half) -> Result<Verdict> {
        let this = slot.as_mut().context("nothing runs")?;
        let (root, output) = (&this.environment.workspace.root, &this.environment.output);
        two_windows::run(root, &this.page, output, half, this.environment.screen)?;
        Ok(Verdict::Passed(format!("screenshots in {}", output.display())))
    }

    fn launch(&mut self, mut dev: Command) -> Result<()> {
        self.starts += 1;
        let log = self.environment.output.join(format!("dev-{}.log", self.starts));
        dev.args(["--json", "--http", &self.address, "--data"]).arg(&self.data);
        let running = self.running.insert(Running::start("driftless dev", dev, &log)?);
        let ready = running.ready_line()?;
        let text = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
        self.page = text("page");
        self.target = Target { ingest: text("http"), gateway: text("http"), token: text("token") };
        Ok(())
    }
}

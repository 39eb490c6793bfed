//! The embedded stack: `cargo dev` over a folder of its own.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

use super::Stage;
use super::paint::{State, Target, paint, state, tell};
use super::running::{Running, free_address};
use crate::step::Verdict;

pub struct Embedded<'a> {
    stage: &'a Stage<'a>,
    data: PathBuf,
    address: String,
    starts: u32,
    running: Option<Running>,
    page: String,
    target: Target,
    /// What the last painting reported, and left.
    painted: Value,
    state: State,
}

impl<'a> Embedded<'a> {
    pub fn start(stage: &'a Stage<'a>, slot: &mut Option<Self>) -> Result<Verdict> {
        let embedded = slot.insert(Self {
            stage,
            data: stage.dir.path().join("data"),
            address: free_address()?,
            starts: 0,
            running: None,
            page: String::new(),
            target: Target::default(),
            painted: Value::Null,
            state: State::new(),
        });
        embedded.launch(&["--fresh"])?;
        Ok(Verdict::Passed(embedded.target.gateway.clone()))
    }

    pub fn page(&self) -> &str {
        &self.page
    }

    pub fn paint(slot: &mut Option<Self>, shown: &mut Value) -> Result<Verdict> {
        let this = slot.as_mut().context("nothing runs")?;
        this.painted = paint(&this.stage.driftless(), &this.stage.picture, &this.target)?;
        this.state = state(&this.painted, &this.target)?;
        shown["embedded"] = this.painted.clone();
        Ok(Verdict::Passed(tell(&this.painted)))
    }

    /// Kills it when nothing but the log holds what was painted, starts it again, and looks whether everything is there.
    pub fn restart_after_kill(slot: &mut Option<Self>) -> Result<Verdict> {
        let this = slot.as_mut().context("nothing runs")?;
        this.running.take().context("nothing runs")?.kill()?;
        this.come_back()
    }

    pub fn restart_in_order(slot: &mut Option<Self>) -> Result<Verdict> {
        let this = slot.as_mut().context("nothing runs")?;
        this.running.take().context("nothing runs")?.interrupt()?;
        this.come_back()
    }

    fn come_back(&mut self) -> Result<Verdict> {
        self.launch(&[])?;
        let state = state(&self.painted, &self.target)?;
        let differing: Vec<&String> =
            state.keys().filter(|chunk| self.state.get(*chunk) != state.get(*chunk)).collect();
        ensure!(differing.is_empty(), "another version or hash than before: {differing:?}");
        Ok(Verdict::Passed(format!("{} chunks have the same versions and hashes", state.len())))
    }

    fn launch(&mut self, flags: &[&str]) -> Result<()> {
        self.starts += 1;
        let log = self.stage.output.join(format!("dev-{}.log", self.starts));
        // As a person starts it; later by itself, so that nobody waits for Cargo.
        let mut dev = match self.starts {
            1 => self.stage.workspace.cargo(),
            _ => Command::new(self.stage.driftless()),
        };
        dev.args(["dev", "--json", "--http", &self.address, "--data"]).arg(&self.data).args(flags);
        let running = self.running.insert(Running::start("driftless dev", dev, &log)?);
        let ready = running.ready_line()?;
        let text = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
        self.page = text("page");
        self.target = Target { ingest: text("http"), gateway: text("http"), token: text("token") };
        Ok(())
    }
}

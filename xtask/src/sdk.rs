//! Checks the code for the browser: the SDK (`client/js`), the page (`web`), the quick start's
//! project, and the WebAssembly cores.

use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::process::Command;

use crate::prerequisites::{self, Variables, node_packages};
use crate::process;
use crate::step::Screen;
use crate::wasm;
use crate::workspace::{Workspace, files};

const SDK: &str = "client/js";
const PAGE: &str = "web";
/// The built page. Its files are committed, and the program `driftless` contains them.
const DIST: &str = "web/dist";

pub struct Sdk<'a> {
    pub workspace: &'a Workspace,
    pub screen: Screen,
}

/// Runs `cargo xtask sdk`.
pub fn run(workspace: &Workspace) -> Result<String> {
    let screen = Screen { is_stderr: false };
    let mut build = workspace.cargo();
    build.args(["build", "--package", "driftless", "--package", "driftless-example-stock"]);
    process::check("the build", build)?;
    let sdk = Sdk { workspace, screen };
    let chromium = prerequisites::chromium(screen)?.context(prerequisites::NO_CHROMIUM)?;
    sdk.all(&vec![("DRIFTLESS_TEST_CHROMIUM", chromium.display().to_string())])
}

impl Sdk<'_> {
    /// Runs all checks.
    pub fn all(&self, variables: &Variables) -> Result<String> {
        let quick = self.without_browser(variables)?;
        self.quick_start(variables)?;
        let cores = self.cores(variables)?;
        Ok(format!("{quick}, quick start, a custom model; {cores}"))
    }

    /// Runs the checks that need no browser.
    pub fn without_browser(&self, variables: &Variables) -> Result<String> {
        self.build()?;
        let fresh = self.fresh()?;
        self.tests(variables)?;
        self.size()?;
        Ok(format!("{fresh}; tests, size"))
    }

    /// Checks the types, and builds the SDK as it is published. The tests and the page use this
    /// build.
    pub fn build(&self) -> Result<()> {
        node_packages(&self.folder(SDK), self.screen)?;
        self.npm(SDK, &["run", "check"], &Variables::new())?;
        self.npm(SDK, &["run", "build"], &Variables::new())
    }

    /// Checks that the committed core and the committed page were built from the present sources.
    fn fresh(&self) -> Result<String> {
        let core = wasm::check(self.workspace)?;
        node_packages(&self.folder(PAGE), self.screen)?;
        self.npm(PAGE, &["run", "check"], &Variables::new())?;
        let built = self.workspace.target_dir.join("web");
        let out = built.display().to_string();
        self.npm(PAGE, &["run", "build", "--", "--outDir", &out, "--emptyOutDir"], &Variables::new())?;
        let (mut ours, mut committed) = (files(&built)?, files(&self.folder(DIST))?);
        // The page's `.wasm` files are copies of the SDK's `.wasm` files, which the check of the
        // core compares.
        for files in [&mut ours, &mut committed] {
            files.retain(|name, _| !name.ends_with(".wasm"));
        }
        let differs = |name: &&String| ours.get(*name) != committed.get(*name);
        let stale: Vec<&str> = ours.keys().chain(committed.keys()).filter(differs).map(String::as_str).collect();
        ensure!(
            stale.is_empty(),
            "{DIST} is stale: a build of its sources differs in {}; run `cd web && npm ci && npm run build`, and commit it",
            stale.join(", ")
        );
        Ok(format!("{core}; {DIST} too"))
    }

    /// Runs the SDK's unit tests, its golden bytes, and its scenarios against the real services of
    /// `driftless dev`.
    fn tests(&self, variables: &Variables) -> Result<()> {
        self.npm(SDK, &["test"], &self.with_program(variables))
    }

    /// Measures the number of bytes that an application loads.
    fn size(&self) -> Result<()> {
        self.npm(SDK, &["run", "size"], &Variables::new())
    }

    /// Runs a new project with the packed SDK in a real Chromium, as the quick start describes.
    fn quick_start(&self, variables: &Variables) -> Result<()> {
        let mut node = Command::new("node");
        node.arg("test/quick-start.mjs").current_dir(self.folder(SDK)).stdout(self.screen.stdio());
        node.envs(self.with_program(variables).iter().map(|(name, value)| (name, value)));
        process::check("the quick start's project", node)
    }

    /// Builds the committed core again, and compares both. Then tests a core with a custom model
    /// against a server with the same model.
    fn cores(&self, variables: &Variables) -> Result<String> {
        let same = wasm::reproduce(self.workspace, self.screen)?;
        let core = self.workspace.target_dir.join("wasm/stock");
        wasm::build(self.workspace, self.screen, "driftless-example-stock", &core)?;
        let mut node = Command::new("node");
        node.arg("test/custom-model.mjs").arg(&core).current_dir(self.folder(SDK)).stdout(self.screen.stdio());
        node.env("DRIFTLESS_BIN", self.workspace.program("debug", "driftless-example-stock"));
        node.envs(variables.iter().map(|(name, value)| (name, value)));
        process::check("the shop with a custom model", node)?;
        Ok(same)
    }

    fn with_program(&self, variables: &Variables) -> Variables {
        let program = self.workspace.program("debug", "driftless");
        let mut all = variables.clone();
        all.push(("DRIFTLESS_BIN", program.display().to_string()));
        all
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.workspace.root.join(name)
    }

    fn npm(&self, folder: &str, arguments: &[&str], variables: &Variables) -> Result<()> {
        let mut npm = Command::new("npm");
        npm.args(arguments).current_dir(self.folder(folder)).stdout(self.screen.stdio());
        npm.envs(variables.iter().map(|(name, value)| (name, value)));
        process::check(&format!("npm {} in {folder}", arguments.join(" ")), npm)
    }
}

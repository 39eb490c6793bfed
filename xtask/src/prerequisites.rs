//! Servers and programs that tests need besides Rust: Kafka, S3, a browser, Node and Python
//! packages.
//!
//! Each is installed once. If this process may not install one (it is not root), the report names
//! it as missing.

use anyhow::{Context, Result, ensure};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use driftless_testbed::{kafka, s3};

use crate::apt;
use crate::process;
use crate::python;
use crate::step::Screen;

/// Environment variables for the tests: names and values.
pub type Variables = Vec<(&'static str, String)>;

/// The folder of the tests in Python, with the packages that they need.
const PYTHON: &str = "tests/e2e/python";
/// The folder of the end-to-end tests' scripts for a browser.
pub const E2E_BROWSER: &str = "tests/e2e/browser";

pub const NO_CHROMIUM: &str = "Chromium, for the tests of the web page: install it (Debian: apt-get install chromium), or \
                               name one in DRIFTLESS_TEST_CHROMIUM";
pub const NO_NODE: &str = "Node.js is missing: install version 20 or newer";

/// The result of the installation.
#[derive(Debug, Default)]
pub struct Prerequisites {
    pub variables: Variables,
    /// The name of the Kafka that the tests will use, for the report.
    pub kafka: Option<String>,
    /// Names of the installed prerequisites.
    pub found: Vec<String>,
    /// The missing prerequisites, each with what needs it.
    pub missing: Vec<String>,
}

impl Prerequisites {
    /// Returns true if a variable with this name is set for the tests.
    pub fn has(&self, name: &str) -> bool {
        self.variables.iter().any(|(known, _)| *known == name)
    }

    /// Installs everything that the tests below `root` need. If `servers` is false (`--quick`),
    /// leaves out Kafka, S3 and the browser.
    pub fn install(root: &Path, screen: Screen, servers: bool) -> Result<Self> {
        let mut all = Self::default();
        if servers {
            let kafka = kafka_name()?;
            all.found.push(kafka.clone());
            all.kafka = Some(kafka);
            all.found.push(s3_name()?);
            let browser = root.join(E2E_BROWSER);
            if browser.is_dir() {
                node_packages(&browser, screen)?;
                match chromium(screen)? {
                    Some(chromium) => {
                        all.found.push("Chromium".to_owned());
                        all.variables.push(("DRIFTLESS_TEST_CHROMIUM", chromium.display().to_string()));
                    }
                    None => all.missing.push(NO_CHROMIUM.to_owned()),
                }
            }
        }
        if root.join(PYTHON).is_dir() {
            let programs = python::environment("python", &root.join(PYTHON).join("requirements.txt"), screen)?;
            let python = programs.join("python");
            all.found.push("Python packages".to_owned());
            all.variables.push(("DRIFTLESS_TEST_PYTHON", python.display().to_string()));
        }
        Ok(all)
    }
}

/// Installs Kafka, unless the tests will use brokers that run already. Returns a name for the
/// report.
fn kafka_name() -> Result<String> {
    if let Some(brokers) = variable("DRIFTLESS_TEST_BROKERS") {
        return Ok(format!("the brokers at {brokers}"));
    }
    kafka::install()?;
    Ok(format!("Apache Kafka {}", kafka::KafkaDist::VERSION))
}

fn s3_name() -> Result<String> {
    if let Some(url) = variable("DRIFTLESS_TEST_S3") {
        return Ok(format!("the bucket {url}"));
    }
    s3::install()?;
    Ok(format!("versitygw {}", s3::VERSION))
}

/// Finds a browser, or installs Chromium if this process may install packages. Returns `None` if
/// there is no browser.
pub fn chromium(screen: Screen) -> Result<Option<PathBuf>> {
    if let Some(chromium) = variable("DRIFTLESS_TEST_CHROMIUM") {
        return Ok(Some(chromium.into()));
    }
    let installed = || ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(process::find);
    if installed().is_none() && apt::may_install() {
        apt::install(screen, &["chromium"])?;
    }
    Ok(installed())
}

/// Runs `npm ci`, unless the packages of the lock file are installed already.
pub fn node_packages(folder: &Path, screen: Screen) -> Result<()> {
    let lock = folder.join("package-lock.json");
    let lock = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let stamp = folder.join("node_modules/.installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    ensure!(process::find("npm").is_some(), "{NO_NODE}");
    let mut npm = Command::new("npm");
    // The browser comes from the system, so the packages' install scripts need not download one.
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder).stdout(screen.stdio());
    process::check("npm ci", npm)?;
    // For a lock file without packages, `npm ci` creates no folder.
    fs::create_dir_all(folder.join("node_modules"))?;
    fs::write(&stamp, lock)?;
    Ok(())
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

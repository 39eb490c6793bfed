//! What tests need beside Rust: the real servers, a browser, Node and Python packages. Everything is installed once; where
//! we may not install (not root), it is said what is missing.

use anyhow::{Context, Result, bail, ensure};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use driftless_testbed::{cache_dir, kafka, s3};

use crate::browser;
use crate::process;
use crate::step::Screen;

/// For the tests: names and values of environment variables.
pub type Variables = Vec<(&'static str, String)>;

/// The tests' folder that needs packages of its own.
const PYTHON: &str = "tests/e2e/python";

pub const NO_CHROMIUM: &str = "Chromium, for the tests of the web page: install it (Debian: apt-get install chromium), or \
                               name one in DRIFTLESS_TEST_CHROMIUM";
pub const NO_NODE: &str = "Node.js is missing: install version 20 or newer";

#[derive(Debug, Default)]
pub struct Prerequisites {
    pub variables: Variables,
    /// The Kafka that tests will meet.
    pub kafka: Option<String>,
    /// What is there.
    pub found: Vec<String>,
    /// What is not, and what it is needed for.
    pub missing: Vec<String>,
}

impl Prerequisites {
    /// Whether a variable was set for the tests.
    pub fn has(&self, name: &str) -> bool {
        self.variables.iter().any(|(known, _)| *known == name)
    }

    /// Those of the tests below `root`. Without `servers` (`--quick`) neither Kafka nor S3 nor the browser.
    pub fn install(root: &Path, screen: Screen, servers: bool) -> Result<Self> {
        let mut all = Self::default();
        if servers {
            let kafka = kafka_name()?;
            all.found.push(kafka.clone());
            all.kafka = Some(kafka);
            all.found.push(s3_name()?);
            let browser = browser::folder(root);
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
            let python = python(&root.join(PYTHON), screen)?;
            all.found.push("Python packages".to_owned());
            all.variables.push(("DRIFTLESS_TEST_PYTHON", python.display().to_string()));
        }
        Ok(all)
    }
}

/// Installs Kafka if the tests are to start one; says which one they will meet.
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

/// A browser, installed if that is possible.
pub fn chromium(screen: Screen) -> Result<Option<PathBuf>> {
    if let Some(chromium) = variable("DRIFTLESS_TEST_CHROMIUM") {
        return Ok(Some(chromium.into()));
    }
    let installed = || ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(process::find);
    if installed().is_none() && may_install() {
        apt_get(screen, &["chromium"])?;
    }
    Ok(installed())
}

/// `npm ci`, unless the packages of this lock file are there.
pub fn node_packages(folder: &Path, screen: Screen) -> Result<()> {
    let lock = folder.join("package-lock.json");
    let lock = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let stamp = folder.join("node_modules/.installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    ensure!(process::find("npm").is_some(), "{NO_NODE}");
    let mut npm = Command::new("npm");
    // Browsers come from the system: nothing is downloaded by install scripts.
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder).stdout(screen.stdio());
    process::check("npm ci", npm)?;
    // A lock file without packages makes no folder.
    fs::create_dir_all(folder.join("node_modules"))?;
    fs::write(&stamp, lock)?;
    Ok(())
}

/// A virtual environment in the cache with the folder's `requirements.txt`; returns its interpreter.
fn python(folder: &Path, screen: Screen) -> Result<PathBuf> {
    let requirements = folder.join("requirements.txt");
    let wanted =
        fs::read_to_string(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let mut version = Command::new("python3");
    version.arg("--version");
    let version = process::ask(version).context("Python 3 is missing")?;
    let recipe = format!("{version}\n{wanted}");

    let home = cache_dir()?.join("python");
    let (python, stamp) = (home.join("bin/python"), home.join("installed"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == recipe) {
        return Ok(python);
    }
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    let venv = || {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(&home).stdout(screen.stdio());
        process::check("making a Python virtual environment", venv)
    };
    if let Err(error) = venv() {
        // Debian splits the standard library.
        if !may_install() {
            return Err(error.context("python3 -m venv does not work (Debian: apt-get install python3-venv)"));
        }
        apt_get(screen, &["python3-venv"])?;
        venv()?;
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    pip.arg(&requirements).stdout(screen.stdio());
    process::check("pip install", pip)?;
    fs::write(&stamp, recipe)?;
    Ok(python)
}

/// Are we root on a Debian?
pub fn may_install() -> bool {
    let mut id = Command::new("id");
    id.arg("-u");
    process::find("apt-get").is_some() && process::ask(id).is_ok_and(|user| user == "0")
}

pub fn apt_get(screen: Screen, packages: &[&str]) -> Result<()> {
    if !may_install() {
        bail!("{} missing: apt-get install {}", packages.join(", "), packages.join(" "));
    }
    screen.say(&format!("installing {} with apt-get", packages.join(", ")));
    update_lists(screen)?;
    apt(screen, &[&["install", "--yes", "--no-install-recommends"], packages].concat())
}

/// Which packages and versions there are.
pub fn update_lists(screen: Screen) -> Result<()> {
    apt(screen, &["update"])
}

fn apt(screen: Screen, arguments: &[&str]) -> Result<()> {
    let mut apt_get = Command::new("apt-get");
    apt_get.args(["--quiet=2", "-o=Dpkg::Use-Pty=0"]).args(arguments);
    apt_get.env("DEBIAN_FRONTEND", "noninteractive").stdout(screen.stdio());
    process::check("apt-get", apt_get)
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

//! The services under attack: `driftless dev` with its default limits, and without a proxy in
//! front.

use crate::wire::Http;
use anyhow::{Context as _, Result, bail, ensure};
use driftless_auth::Signer;
use driftless_chunk::model::Models;
use driftless_chunk::world::World;
use driftless_client::{Settings, Token};
use driftless_e2e_tests::history::History;
use driftless_e2e_tests::people::{Tokens, now_ms};
use driftless_e2e_tests::process::{Env, command};
use driftless_log::sqlite::SqliteLog;
use driftless_schemas::world::WorldSpec;
use driftless_testbed::{Process, RunDir};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Log levels at which the services log everything about their peers, so that attacks on the log
/// have an effect.
const LOG: &str = "info,slatedb=warn,driftless_ingest=debug,driftless_gateway=debug,driftless_replayer=debug,\
                   driftless_runtime=debug,driftless_auth=debug,driftless_web=debug,driftless_log=debug,driftless_store=debug,hyper=debug";
/// The memory that the attacked process may take, bytes (`--memory-max`).
pub const MEMORY_MAX: u64 = 256 << 20;
const START_WITHIN: Duration = Duration::from_secs(90);
/// The audience that the attacked services accept: that of the world of `driftless dev`.
pub const AUDIENCE: &str = "driftless:dev";
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// A running deployment that is attacked.
pub struct Target {
    /// The `driftless` program.
    pub program: PathBuf,
    /// The address at which all services listen.
    pub address: SocketAddr,
    /// The address of a second process, which uses TLS. It is for attacks that happen before HTTP.
    pub tls_address: SocketAddr,
    /// Signs valid tokens.
    pub tokens: Tokens,
    /// Signs tokens with any claims.
    pub signer: Signer,
    /// The path of the deny list.
    pub deny_file: PathBuf,
    /// The path of the file with the keys that check tokens.
    pub key_file: PathBuf,
    world: World,
    folder: RunDir,
    dev: Mutex<Process>,
    _tls: Process,
}

impl Target {
    /// Starts both processes and waits until they are ready. `switched_off` names defences that
    /// they do without.
    ///
    /// # Errors
    /// If a process does not get ready in time. The error contains its output.
    pub async fn start(program: &Path, switched_off: &str) -> Result<Arc<Self>> {
        let folder = RunDir::new("attack")?;
        let path = |name: &str| folder.path().join(name);
        let deny_file = path("deny.txt");
        std::fs::write(&deny_file, "# nobody yet\n")?;
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        std::fs::write(path("cert.pem"), made.cert.pem())?;
        std::fs::write(path("key.pem"), made.signing_key.serialize_pem())?;
        let deny = ["--deny-file".to_owned(), deny_file.display().to_string()];
        let tls = [
            "--tls-cert",
            &path("cert.pem").display().to_string(),
            "--tls-key",
            &path("key.pem").display().to_string(),
        ]
        .map(str::to_owned);
        let memory = ["--memory-max".to_owned(), MEMORY_MAX.to_string()];
        let mut dev = start(program, &folder, "dev", &[&deny[..], &memory].concat(), switched_off)?;
        let mut encrypted = start(program, &folder, "tls", &tls, switched_off)?;
        let address = ready(&mut dev).await?;
        let tls_address = ready(&mut encrypted).await?;
        let key_file = path("dev").join("dev.key");
        Ok(Arc::new(Self {
            program: program.to_owned(),
            address,
            tls_address,
            tokens: Tokens::of(&key_file).for_audience(AUDIENCE),
            signer: Signer::from_file(&key_file)?,
            deny_file,
            key_file,
            world: World::new("dev", WorldSpec::dev(), &Models::builtin())?,
            dev: Mutex::new(dev),
            _tls: encrypted,
            folder,
        }))
    }

    /// The websocket address of each service, with the service's name.
    #[must_use]
    pub fn sockets(&self) -> [(String, &'static str); 2] {
        ["ingest", "gateway"].map(|service| (format!("ws://{}/v1/{service}", self.address), service))
    }

    /// The websocket address of a service.
    #[must_use]
    pub fn socket(&self, service: &str) -> String {
        format!("ws://{}/v1/{service}", self.address)
    }

    /// The HTTP address of all services.
    #[must_use]
    pub fn http(&self) -> Http {
        Http::new(format!("http://{}", self.address))
    }

    /// Signs a token with the claims of a valid token, after these changes to them.
    ///
    /// # Errors
    /// If the token cannot be signed.
    pub fn token_with(&self, changes: &Value) -> Result<String> {
        let now_s = now_ms() / 1000;
        let access = json!({"read": ["canvas/"], "write": ["canvas/"]});
        let mut claims = json!({"sub": "mallory", "aud": AUDIENCE, "exp": now_s + 600, "driftless": access});
        for (key, value) in changes.as_object().into_iter().flatten() {
            claims[key] = value.clone();
        }
        Ok(self.signer.sign(&claims)?)
    }

    /// Settings for an SDK client of this user.
    #[must_use]
    pub fn settings(&self, user: &str) -> Settings {
        Settings::new(self.socket("ingest"), self.socket("gateway"), Token::from(&*self.tokens.for_all(user)))
    }

    /// A folder in which attacks may write files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything that the attacked process has logged.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn log(&self) -> Result<Vec<u8>> {
        Ok(std::fs::read(self.folder.path().join("dev.log"))?)
    }

    /// The anonymous memory of the attacked process, in bytes; 0 if the system does not report it.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let pid = self.dev.lock().unwrap_or_else(PoisonError::into_inner).pid();
        status_bytes(&format!("/proc/{pid}/status"), "RssAnon:")
    }

    /// Asserts that the attacked process still runs.
    ///
    /// # Errors
    /// If the process has ended. The error contains the end of its log.
    pub fn lives(&self) -> Result<()> {
        self.dev.lock().unwrap_or_else(PoisonError::into_inner).check()
    }

    /// Stops the process, and reads all its decisions by the protocol's rules. Panics if a rule is
    /// broken; the caller catches the panic.
    ///
    /// # Errors
    /// If the process did not shut down gracefully.
    pub async fn history(&self) -> Result<History> {
        self.dev.lock().unwrap_or_else(PoisonError::into_inner).ask_to_stop()?;
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            let status = self.dev.lock().unwrap_or_else(PoisonError::into_inner).exit_status()?;
            if let Some(status) = status {
                break status;
            }
            ensure!(Instant::now() < deadline, "it does not end");
            tokio::time::sleep(BETWEEN_LOOKS).await;
        };
        ensure!(status.success(), "it ended with {status}");
        let log = tokio::task::block_in_place(|| SqliteLog::open(&self.folder.path().join("dev/log.db")))?;
        Ok(History::read(&log, &self.world).await)
    }
}

/// The value of the line `name` in a file like `/proc/self/status`, in bytes.
#[must_use]
pub fn status_bytes(path: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0) * 1024
}

fn start(program: &Path, folder: &RunDir, name: &str, flags: &[String], switched_off: &str) -> Result<Process> {
    let data = folder.path().join(name).display().to_string();
    let mut all: Vec<String> =
        ["dev", "--http", "127.0.0.1:0", "--json", "--data", &data].iter().map(|&flag| flag.to_owned()).collect();
    all.extend(flags.iter().cloned());
    let env: Env = vec![
        ("DRIFTLESS_LOG".to_owned(), LOG.to_owned()),
        ("DRIFTLESS_SWITCH_OFF".to_owned(), switched_off.to_owned()),
    ];
    let log = folder.path().join(format!("{name}.log"));
    tokio::task::block_in_place(|| {
        Process::spawn(&format!("driftless dev ({name})"), command(program, &all, &env), &log)
    })
}

/// Waits for the line of JSON by which the process reports that it is ready. Returns the address in
/// it.
async fn ready(process: &mut Process) -> Result<SocketAddr> {
    let deadline = Instant::now() + START_WITHIN;
    loop {
        let text = String::from_utf8_lossy(&std::fs::read(process.log())?).into_owned();
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n') && line.starts_with('{'));
        if let Some(ready) =
            lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|v| v["ready"] == true)
        {
            let http = ready["http"].as_str().context("it says no address")?;
            return Ok(http.rsplit("//").next().unwrap_or_default().parse()?);
        }
        process.check()?;
        if Instant::now() > deadline {
            bail!("not ready within {START_WITHIN:?}; it wrote:\n{text}");
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

//! One Kafka and one S3 server for a whole test process, or those that run already.
//!
//! Statics are not dropped. So what is started here is ended, and its folder removed, by a handler that the C library calls
//! at exit; if the process is killed instead, the kernel ends the servers ([`crate::process`]) and the next [`RunDir`]
//! removes the folder.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once, OnceLock, PoisonError};

use anyhow::{Context, Result, anyhow, ensure};

use crate::cache;
use crate::kafka::{Kafka, KafkaOptions};
use crate::s3::{Access, S3, S3Options};

/// A bootstrap list: `DRIFTLESS_TEST_BROKERS` if it is set, else one node that is started at the first call and ended with
/// this process.
pub fn shared_kafka() -> Result<&'static str> {
    static SHARED: OnceLock<Result<String, String>> = OnceLock::new();
    let start = || {
        if let Some(brokers) = variable("DRIFTLESS_TEST_BROKERS") {
            return Ok(brokers);
        }
        let dir = RunDir::new("kafka")?;
        let kafka = Kafka::start(KafkaOptions::new(dir.path()))?;
        let brokers = kafka.brokers().to_owned();
        end_at_exit(Server::Kafka(kafka, dir));
        Ok(brokers)
    };
    get(SHARED.get_or_init(|| flat(start()))).map(String::as_str)
}

/// A bucket: that of `DRIFTLESS_TEST_S3` (`s3://bucket`, with the usual `AWS_…` variables) if it is set, else one on a
/// server that is started at the first call and ended with this process. Tests share it: use a prefix of your own.
pub fn shared_s3() -> Result<&'static Access> {
    static SHARED: OnceLock<Result<Access, String>> = OnceLock::new();
    let start = || {
        if let Some(url) = variable("DRIFTLESS_TEST_S3") {
            ensure!(url.starts_with("s3://"), "DRIFTLESS_TEST_S3 is {url:?}; it should be s3://bucket");
            let env = env::vars().filter(|(name, _)| name.starts_with("AWS_"));
            return Ok(Access { url, env: env.collect() });
        }
        let dir = RunDir::new("s3")?;
        let s3 = S3::start(S3Options::new(dir.path()))?;
        let access = s3.access();
        end_at_exit(Server::S3(s3, dir));
        Ok(access)
    };
    get(SHARED.get_or_init(|| flat(start())))
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// An error that every later caller can have a copy of.
fn flat<T>(result: Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("{error:#}"))
}

fn get<T>(kept: &Result<T, String>) -> Result<&T> {
    kept.as_ref().map_err(|error| anyhow!(error.clone()))
}

/// Fields drop in their order: the server before its folder.
enum Server {
    Kafka(Kafka, RunDir),
    S3(S3, RunDir),
}

static SERVERS: Mutex<Vec<Server>> = Mutex::new(Vec::new());

fn end_at_exit(server: Server) {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| {
        // SAFETY: the handler is a plain function that does not unwind. Should there be no room for it, servers still end
        // with the process; only their folder waits for the next run.
        unsafe { libc::atexit(end_servers) };
    });
    SERVERS.lock().unwrap_or_else(PoisonError::into_inner).push(server);
}

extern "C" fn end_servers() {
    let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
    for server in servers.drain(..) {
        // Nobody needs the data: no reason to wait for an orderly end.
        let _ = match server {
            Server::Kafka(mut kafka, _dir) => kafka.kill_all(),
            Server::S3(mut s3, _dir) => s3.kill(),
        };
    }
}

/// A folder for one run, below the cache. It is removed when dropped, or by a later run if the process was killed.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// Locked while the folder is in use.
    _in_use: File,
}

impl RunDir {
    /// `name` helps people to see what it is for.
    pub fn new(name: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let cache = cache::cache_dir()?;
        // Nobody may sweep between making a lock file and locking it.
        let _sweeping = cache::lock(&cache, "runs")?;
        let runs = cache.join("runs");
        fs::create_dir_all(&runs)?;
        sweep(&runs);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = runs.join(format!("{name}-{}-{count}", process::id()));
        let in_use = File::create(lock_of(&path))?;
        in_use.try_lock().with_context(|| format!("{} is in use", path.display()))?;
        cache::remove_if_there(&path)?;
        fs::create_dir(&path)?;
        Ok(Self { path, _in_use: in_use })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
        let _ = fs::remove_file(lock_of(&self.path));
    }
}

fn lock_of(run: &Path) -> PathBuf {
    run.with_added_extension("lock")
}

/// Removes what runs that were killed left behind. What cannot be removed now waits for the next time.
fn sweep(runs: &Path) {
    let Ok(entries) = fs::read_dir(runs) else {
        return;
    };
    for lock in entries.flatten().map(|entry| entry.path()) {
        if lock.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let is_left = File::open(&lock).is_ok_and(|file| file.try_lock().is_ok());
        if is_left && cache::remove_if_there(&lock.with_extension("")).is_ok() {
            let _ = fs::remove_file(&lock);
        }
    }
}

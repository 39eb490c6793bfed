//! A Kafka and an S3 server for a whole test process, or servers that run already.
//!
//! Rust does not drop statics. A handler that the C library calls at exit therefore ends the
//! servers and removes their folders. If the process is killed instead, the kernel ends the servers
//! ([`driftless_local_kafka::process`]) and the next [`RunDir`] removes the folders.

use std::env;
use std::sync::{Mutex, Once, OnceLock, PoisonError};

use anyhow::{Result, anyhow, ensure};
use driftless_local_kafka::{Kafka, KafkaOptions};

use crate::run_dir::RunDir;
use crate::s3::{Access, S3, S3Options};

/// Returns a bootstrap list: `DRIFTLESS_TEST_BROKERS` if it is set. Otherwise the first call starts
/// one node, which ends with this process.
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

/// Returns a bucket: `DRIFTLESS_TEST_S3` (`s3://bucket`, with the usual `AWS_…` variables) if it is
/// set. Otherwise the first call starts a server, which ends with this process.
///
/// Tests share the bucket, so each test uses a prefix of its own.
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

/// Turns an error into text, because every later caller gets a copy of it.
fn flat<T>(result: Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("{error:#}"))
}

fn get<T>(kept: &Result<T, String>) -> Result<&T> {
    kept.as_ref().map_err(|error| anyhow!(error.clone()))
}

/// A server with its folder. Fields drop in this order, so the server ends before its folder is
/// removed.
enum Server {
    Kafka(Kafka, RunDir),
    S3(S3, RunDir),
}

static SERVERS: Mutex<Vec<Server>> = Mutex::new(Vec::new());

fn end_at_exit(server: Server) {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| {
        // SAFETY: the handler is a plain function that does not unwind. If the C library has no
        // room for it, the servers still end with the process; their folder waits for the next run.
        unsafe { libc::atexit(end_servers) };
    });
    SERVERS.lock().unwrap_or_else(PoisonError::into_inner).push(server);
}

extern "C" fn end_servers() {
    let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
    for server in servers.drain(..) {
        // The data is not needed any more, so there is no reason for an orderly end.
        let _ = match server {
            Server::Kafka(mut kafka, _dir) => kafka.kill_all(),
            Server::S3(mut s3, _dir) => s3.kill(),
        };
    }
}

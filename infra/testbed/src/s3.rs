//! A real S3 server on 127.0.0.1: versitygw over a folder, with buckets as folders and objects as
//! files.
//!
//! Conditional puts are correct under races, and acknowledged objects survive a SIGKILL. The
//! replayers' index in the object store needs both. One restriction: a key must not be a folder
//! prefix of another key.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use driftless_local_kafka::cache;
use driftless_local_kafka::port::free_ports;
use driftless_local_kafka::process::{self, Process};

/// The version of versitygw.
pub const VERSION: &str = "1.8.0";

const ACCESS_KEY: &str = "driftless";
const SECRET_KEY: &str = "driftless-secret";
const REGION: &str = "us-east-1";
const READY_WITHIN: Duration = Duration::from_secs(30);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Builds versitygw into the cache, once (about 3 minutes of CPU time, 80 MB). Returns the
/// program's path.
pub fn install() -> Result<PathBuf> {
    let package = format!("github.com/versity/versitygw/cmd/versitygw@v{VERSION}");
    let name = format!("versitygw-{VERSION}");
    let home = cache::install_once(&name, &package, |dir| {
        eprintln!("building versitygw {VERSION} with Go (some minutes, once)");
        let mut go = Command::new("go");
        go.args(["install", &package]).env("GOBIN", dir);
        process::run("building versitygw with Go", go, &dir.join("go.log"))
    })?;
    Ok(home.join("versitygw"))
}

/// The server to start. [`S3Options::new`] gives the bucket `driftless` on a free port.
#[derive(Clone, Debug)]
pub struct S3Options {
    /// The folder for the buckets and the server's log. Objects of an earlier run are kept.
    pub dir: PathBuf,
    /// The port; `None` takes a free one.
    pub port: Option<u16>,
    /// The name of the bucket, which is created if it is missing.
    pub bucket: String,
}

impl S3Options {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), port: None, bucket: "driftless".to_owned() }
    }

    pub fn port(mut self, port: Option<u16>) -> Self {
        self.port = port;
        self
    }
}

/// The access to a bucket: its URL, and the variables that `object_store`
/// (`AmazonS3Builder::from_env`) and most S3 clients read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The URL of the bucket, `s3://bucket`.
    pub url: String,
    /// Names and values of the `AWS_…` variables.
    pub env: Vec<(String, String)>,
}

/// A running server. Dropping it stops the server; the folder stays.
#[derive(Debug)]
pub struct S3 {
    program: PathBuf,
    dir: PathBuf,
    bucket: String,
    port: u16,
    endpoint: String,
    process: Option<Process>,
}

impl S3 {
    /// Installs versitygw if needed, starts it and waits until it answers.
    pub fn start(options: S3Options) -> Result<Self> {
        let program = install()?;
        fs::create_dir_all(options.dir.join("buckets").join(&options.bucket))
            .with_context(|| format!("cannot make {}", options.dir.display()))?;
        let port = match options.port {
            Some(port) => port,
            None => free_ports(1)?[0],
        };
        let mut s3 = Self {
            program,
            dir: fs::canonicalize(&options.dir)?,
            bucket: options.bucket,
            port,
            endpoint: format!("http://127.0.0.1:{port}"),
            process: None,
        };
        s3.restart()?;
        Ok(s3)
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the URL of the bucket, `s3://bucket`.
    pub fn url(&self) -> String {
        format!("s3://{}", self.bucket)
    }

    /// Returns the environment variables that S3 clients read.
    pub fn env(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_REGION", REGION),
            ("AWS_ALLOW_HTTP", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    pub fn access(&self) -> Access {
        Access { url: self.url(), env: self.env() }
    }

    /// The bucket's folder on disk, with objects as files.
    pub fn dir(&self) -> PathBuf {
        self.buckets().join(&self.bucket)
    }

    /// The server's process id, or `None` after [`kill`](Self::kill) or [`stop`](Self::stop).
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Fails with the tail of the log if the server ended by itself.
    pub fn check(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::check)
    }

    /// Kills the server (SIGKILL), and waits until its process is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Stops the server (SIGTERM, and SIGKILL after 15 s), and waits until its process is gone.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.stop())
    }

    /// Starts the server again on its port with its data, and waits until it answers. A running
    /// server is stopped first.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        let mut command = Command::new(&self.program);
        command
            .current_dir(&self.dir)
            .args(["--port", &format!("127.0.0.1:{}", self.port)])
            .args(["--access", ACCESS_KEY, "--secret", SECRET_KEY])
            .args(["--region", REGION, "--keep-alive", "--quiet", "posix"])
            .arg(self.buckets());
        let log = self.dir.join("versitygw.log");
        let process = self.process.insert(Process::spawn("the S3 server", command, &log)?);
        let (port, bucket) = (self.port, &self.bucket);
        process.ready(READY_WITHIN, || answers(port, bucket))
    }

    fn buckets(&self) -> PathBuf {
        self.dir.join("buckets")
    }
}

/// Requests the bucket without a signature. The answer `AccessDenied` in S3's format proves that
/// the server handles requests.
fn answers(port: u16, bucket: &str) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut socket =
        TcpStream::connect_timeout(&address, ANSWER_WITHIN).with_context(|| format!("cannot connect to {address}"))?;
    socket.set_read_timeout(Some(ANSWER_WITHIN))?;
    socket.set_write_timeout(Some(ANSWER_WITHIN))?;
    write!(socket, "GET /{bucket} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    ensure!(
        answer.starts_with("HTTP/1.1 403") && answer.contains("<Code>AccessDenied</Code>"),
        "expected S3's AccessDenied from {address}, got {answer:?}"
    );
    Ok(())
}

//! A process that accepts every connection and discards every byte. What it costs to flood it, the
//! attacker's own load costs.

use anyhow::{Context as _, Result};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

/// The running process.
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    _process: Child,
}

impl Sink {
    /// Starts the process: `helper` with the argument `sink`.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start(helper: &Path) -> Result<Self> {
        let mut process =
            Command::new(helper).arg("sink").stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let output = process.stdout.take().context("the sink has an output")?;
        let line = BufReader::new(output).lines().next_line().await?.context("the sink says where it listens")?;
        Ok(Self { address: line.trim().parse()?, _process: process })
    }
}

/// Runs the sink in this process, for ever. Prints the address first.
///
/// # Errors
/// If it cannot listen.
pub async fn run() -> Result<()> {
    let _ = driftless_runtime::descriptors::raise();
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    println!("127.0.0.1:{}", listener.local_addr()?.port());
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 * 1024];
            while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
        });
    }
}

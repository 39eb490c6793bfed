//! A measured server: a process on a core of its own, with the crowd of its clients.

use super::crowd::{Control, Crowd};
use super::dialect::{Centrifuge, Dialect, Gateway};
use super::{FanoutArgs, Ready};
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The time that a server gets to wake up after a pause.
const AWAKE: Duration = Duration::from_millis(300);

/// The two kinds of measured servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Driftless,
    Peer,
}

/// A server with its crowd. The server is paused while another one is measured, because its timers
/// would run on the same core.
pub(super) struct Contestant<'s> {
    server: &'s Server,
    crowd: Crowd<'s>,
    control: Control,
}

impl<'s> Contestant<'s> {
    /// Connects a crowd to each server, and pauses the servers.
    pub fn all(servers: &'s [Server], sockets: usize, channels: usize) -> Result<Vec<Self>> {
        let mut contestants = Vec::new();
        for server in servers {
            let control = Control::connect(server.control)?;
            let crowd = Crowd::open(&*server.dialect, server.address, sockets, channels)?;
            server.signal("STOP")?;
            contestants.push(Self { server, crowd, control });
        }
        Ok(contestants)
    }

    /// Resumes the server, measures, and pauses it again.
    pub fn awake<R>(&mut self, measure: impl FnOnce(&mut Crowd<'s>, &mut Control) -> Result<R>) -> Result<R> {
        self.server.signal("CONT")?;
        // The server first does the work that became due during the pause. This work is not
        // measured.
        self.crowd.idle(AWAKE)?;
        let measured = measure(&mut self.crowd, &mut self.control)?;
        self.server.signal("STOP")?;
        Ok(measured)
    }
}

/// A running server process. Dropping it ends the process.
pub(super) struct Server {
    process: Child,
    pub address: SocketAddr,
    pub control: SocketAddr,
    pub dialect: Box<dyn Dialect>,
}

impl Server {
    /// Starts a server with `chunks` chunks, and waits until it is ready.
    pub fn start(args: &FanoutArgs, kind: Kind, chunks: usize) -> Result<Self> {
        let program = match (kind, &args.peer) {
            (Kind::Peer, Some(peer)) => peer.clone(),
            _ => std::env::current_exe()?.display().to_string(),
        };
        let mut command = Command::new("taskset");
        command.args(["-c", "0", &program]);
        if kind == Kind::Driftless {
            command.args(["fanout-server"]).args(args.brokers.iter().flat_map(|b| ["--brokers", b]));
            command.args(args.one_by_one.then_some("--one-by-one"));
            command.env("TOKIO_WORKER_THREADS", "1");
        }
        command.args(["--chunks", &chunks.to_string()]).env("GOMAXPROCS", "1");
        command.stdout(Stdio::piped());
        let mut process = command.spawn().context("cannot start the server with taskset (util-linux)")?;
        let stdout = process.stdout.take().context("the child has a standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(!line.is_empty(), "the server ended before it was ready: see its messages above");
        let ready: Ready = serde_json::from_str(&line).with_context(|| format!("the server said {line:?}"))?;
        let dialect: Box<dyn Dialect> = match kind {
            Kind::Driftless => Box::new(Gateway { token: ready.token.context("our server gives a token")? }),
            Kind::Peer => Box::new(Centrifuge),
        };
        Ok(Self { process, address: ready.address, control: ready.control, dialect })
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.process.id().to_string()]).status()?;
        ensure!(sent.success(), "the server does not take SIG{signal}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

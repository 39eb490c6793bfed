//! `driftless-testbed`: a real Kafka, a real S3 server, or both, in the foreground until Ctrl-C or
//! SIGTERM. Once the servers are ready, the program prints one line with the variables by which
//! tests find them.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use driftless_testbed::RunDir;
use driftless_testbed::kafka::{self, Kafka, KafkaOptions};
use driftless_testbed::s3::{self, S3, S3Options};
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  driftless-testbed all --install-only          download and build everything, start nothing
  driftless-testbed kafka --port 9092           one node on 127.0.0.1:9092; its data is removed at the end
  driftless-testbed kafka --nodes 3             three nodes, replication factor 3
  driftless-testbed s3 --dir ./s3-data          objects stay in ./s3-data
  driftless-testbed all --json                  one line of JSON instead of shell exports

Copy the printed line into the shell that runs the tests:
  export DRIFTLESS_TEST_BROKERS=127.0.0.1:9092
  cargo test";

/// Starts a real Apache Kafka and a real S3 server for tests, without containers.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Apache Kafka (needs Java 17+ and Maven)
    #[command(after_help = EXAMPLES)]
    Kafka {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        kafka: KafkaArgs,
        /// Port of the first node; the other nodes get the next ports [default: free ports]
        #[arg(long)]
        port: Option<u16>,
    },
    /// An S3 server (needs Go once, to build it)
    #[command(after_help = EXAMPLES)]
    S3 {
        #[command(flatten)]
        common: Common,
        /// Port [default: a free port]
        #[arg(long)]
        port: Option<u16>,
    },
    /// Both
    #[command(after_help = EXAMPLES)]
    All {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        kafka: KafkaArgs,
        /// Port of Kafka's first node; the other nodes get the next ports [default: free ports]
        #[arg(long)]
        port: Option<u16>,
        /// Port of the S3 server [default: a free port]
        #[arg(long)]
        s3_port: Option<u16>,
    },
}

#[derive(Debug, Args)]
struct Common {
    /// Folder of data and logs [default: a folder that is removed at the end]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Download and build the servers, and start nothing
    #[arg(long)]
    install_only: bool,
    /// Print one line of JSON instead of shell exports
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct KafkaArgs {
    /// Number of Kafka nodes
    #[arg(long, default_value_t = 1)]
    nodes: usize,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match listen_to_signals().and_then(|signals| run(cli.what, &signals)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The running servers. The fields drop in this order, so servers end before the removal of the
/// folder that may hold their data.
struct Running {
    kafka: Option<Kafka>,
    s3: Option<S3>,
    _dir: Option<RunDir>,
}

fn run(what: What, signals: &Signals) -> Result<()> {
    let (common, kafka, s3) = match what {
        What::Kafka { common, kafka, port } => (common, Some((kafka.nodes, port)), None),
        What::S3 { common, port } => (common, None, Some(port)),
        What::All { common, kafka, port, s3_port } => (common, Some((kafka.nodes, port)), Some(s3_port)),
    };
    if common.install_only {
        if kafka.is_some() {
            kafka::install()?;
        }
        if s3.is_some() {
            s3::install()?;
        }
        return Ok(());
    }

    let (dir, run_dir) = match common.dir {
        Some(dir) => (dir, None),
        None => {
            let run_dir = RunDir::new("testbed")?;
            (run_dir.path().to_owned(), Some(run_dir))
        }
    };
    let mut running = Running { kafka: None, s3: None, _dir: run_dir };
    if let Some(port) = s3 {
        let options = S3Options::new(dir.join("s3")).port(port);
        running.s3 = Some(S3::start(options)?);
    }
    if let Some((nodes, port)) = kafka {
        let options = KafkaOptions::new(dir.join("kafka")).nodes(nodes).port(port);
        running.kafka = Some(Kafka::start(options)?);
    }
    IS_READY.store(true, Ordering::Release);
    running.announce(common.json)?;
    running.until_told_to_stop(signals)
}

impl Running {
    /// Prints the one line on standard output.
    fn announce(&self, as_json: bool) -> Result<()> {
        let mut env = Vec::new();
        let mut pids = Vec::new();
        if let Some(kafka) = &self.kafka {
            let brokers = kafka.brokers().to_owned();
            env.push(("DRIFTLESS_TEST_BROKERS".to_owned(), brokers));
            pids.extend((1..=kafka.nodes()).filter_map(|node| kafka.pid(node)));
        }
        if let Some(s3) = &self.s3 {
            env.push(("DRIFTLESS_TEST_S3".to_owned(), s3.url()));
            env.extend(s3.env());
            pids.extend(s3.pid());
        }
        let line = if as_json {
            let env: serde_json::Map<_, _> = env.into_iter().map(|(name, value)| (name, value.into())).collect();
            json!({ "env": env, "pids": pids }).to_string()
        } else {
            // This program chose the ports, names and keys: none contains a character that a shell
            // interprets.
            let assignments = env.iter().map(|(name, value)| format!("{name}={value}"));
            format!("export {}", assignments.collect::<Vec<_>>().join(" "))
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).context("cannot write to standard output")
    }

    /// Runs until a signal comes or a server ends by itself.
    fn until_told_to_stop(mut self, signals: &Signals) -> Result<()> {
        loop {
            match signals.recv_timeout(Duration::from_millis(500)) {
                Ok(()) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => bail!("the thread that waits for signals has ended"),
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(kafka) = &mut self.kafka {
                        kafka.check()?;
                    }
                    if let Some(s3) = &mut self.s3 {
                        s3.check()?;
                    }
                }
            }
        }
    }
}

/// Receives a message when a signal asks the servers for an orderly end.
type Signals = Receiver<()>;

/// True once the servers are ready. From then on [`Running`] reads [`Signals`].
static IS_READY: AtomicBool = AtomicBool::new(false);

/// Blocks SIGINT, SIGTERM and SIGHUP, and starts a thread that waits for them. The call must
/// precede the start of any other thread, so that all threads inherit the blocked signals.
fn listen_to_signals() -> Result<Signals> {
    // SAFETY: plain C calls on a set of signals that is a local variable.
    let set = unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::sigaddset(&mut set, signal);
        }
        let failed = libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        if failed != 0 {
            return Err(io::Error::from_raw_os_error(failed)).context("cannot block signals");
        }
        set
    };
    let (came, signals) = channel();
    thread::Builder::new().name("signals".to_owned()).spawn(move || wait_for_signals(&set, &came))?;
    Ok(signals)
}

/// Waits for signals. The first signal after the servers are ready asks for an orderly end. A
/// signal during a download or a start, and any second signal, ends this process at once, and with
/// it the servers.
fn wait_for_signals(set: &libc::sigset_t, came: &Sender<()>) {
    let mut is_first = true;
    loop {
        let mut signal = 0;
        // SAFETY: both point to memory that outlives the call.
        if unsafe { libc::sigwait(set, &mut signal) } != 0 {
            return;
        }
        let is_orderly = is_first && IS_READY.load(Ordering::Acquire) && came.send(()).is_ok();
        if !is_orderly {
            std::process::exit(128 + signal);
        }
        is_first = false;
    }
}

//! Processes of the `driftless` program.

use crate::wait::eventually;
use driftless_testbed::Process;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use tokio::task::block_in_place;

/// The path of the program under test. Cargo puts a package's programs into the folder above its
/// tests.
///
/// # Panics
/// If the program is not there.
#[must_use]
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(Path::parent).expect("tests are in target/<profile>/deps");
    let program = folder.join("driftless-under-test");
    assert!(program.is_file(), "{} is not there: run the tests by `cargo test`", program.display());
    program
}

/// The environment variables of a process.
pub type Env = Vec<(String, String)>;

/// Makes a command that runs the program with these arguments and variables.
#[must_use]
pub fn command(program: &Path, arguments: &[String], env: &Env) -> Command {
    let mut command = Command::new(program);
    // Variables of the caller's shell must not change the test.
    for name in [
        "DRIFTLESS_LOG",
        "RUST_LOG",
        "DRIFTLESS_TOKEN",
        "DRIFTLESS_BROKERS",
        "DRIFTLESS_STORE",
        "DRIFTLESS_KEY_FILE",
        "DRIFTLESS_AUDIENCE",
    ] {
        command.env_remove(name);
    }
    command.args(arguments).envs(env.iter().cloned());
    command
}

/// Owned copies of arguments.
#[must_use]
pub fn arguments(list: &[&str]) -> Vec<String> {
    list.iter().map(|&argument| argument.to_owned()).collect()
}

/// The addresses of a running service.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The address for clients; a replayer has none.
    pub public: Option<SocketAddr>,
    /// The address for operators.
    pub internal: SocketAddr,
}

/// Returns the addresses if this log line is the one in which a service reports that it listens.
#[must_use]
pub fn listening(line: &Value) -> Option<Addresses> {
    let address = |key: &str| line[key].as_str()?.parse().ok();
    (line["message"] == "listening").then_some(())?;
    Some(Addresses { public: address("address"), internal: address("internal")? })
}

/// How a process ended: its exit status and all its output.
#[derive(Debug)]
pub struct Ended {
    /// The exit status of the process.
    pub status: ExitStatus,
    /// The whole standard output.
    pub output: String,
    /// The whole standard error.
    pub error: String,
}

/// Runs the program until it ends.
///
/// # Panics
/// If the program cannot be started, or does not end in time.
pub async fn run(arguments: &[String], env: &Env) -> Ended {
    let mut command = tokio::process::Command::from(command(&program(), arguments, env));
    command.kill_on_drop(true).stdin(std::process::Stdio::null());
    let ended = crate::wait::soon(&format!("the end of {arguments:?}"), command.output()).await.expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { status: ended.status, output: text(ended.stdout), error: text(ended.stderr) }
}

/// A service process. Dropping this value kills the process, and prints its log if the test failed.
pub struct Running {
    name: String,
    process: Process,
}

impl Running {
    /// Starts the process. Its output goes to the file `log`.
    ///
    /// # Panics
    /// If the process cannot be started.
    #[must_use]
    pub fn start(name: &str, arguments: &[String], env: &Env, log: &Path) -> Self {
        let process =
            block_in_place(|| Process::spawn(name, command(&program(), arguments, env), log)).expect("it starts");
        Self { name: name.to_owned(), process }
    }

    /// Waits for a line of JSON in the output from which `find` returns something, and returns
    /// that.
    ///
    /// # Panics
    /// If the process ends earlier.
    pub async fn line<T>(&mut self, what: &str, find: impl Fn(&Value) -> Option<T>) -> T {
        let name = self.name.clone();
        let whole = format!("{name}: {what}");
        let looked = eventually(&whole, || {
            // Reads the exit status first and the output second. So output that the process wrote
            // before it ended is not missed.
            let ended = self.process.exit_status().expect("it can be looked at");
            let text = self.text();
            // A line without a line end is still being written.
            let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let found = lines.filter_map(|line| serde_json::from_str(line).ok()).find_map(|line: Value| find(&line));
            std::future::ready(match (found, ended) {
                (Some(found), _) => Ok(Ok(found)),
                (None, Some(status)) => Ok(Err(format!("{name} ended ({status}) before {what}; it wrote:\n{text}"))),
                (None, None) => Err(text),
            })
        });
        looked.await.unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// The process's output so far.
    #[must_use]
    pub fn text(&self) -> String {
        let bytes = std::fs::read(self.process.log()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends SIGKILL.
    pub fn kill(mut self) {
        block_in_place(|| self.process.kill()).expect("it can be killed");
    }

    /// Sends SIGTERM, which acts like Ctrl-C. The process must shut down gracefully.
    ///
    /// # Panics
    /// If the process does not end in time, or ends with an error.
    pub async fn stop(mut self) {
        self.process.ask_to_stop().expect("it can be asked");
        let name = self.name.clone();
        let whole = format!("the end of {name}");
        let status = eventually(&whole, || {
            let status = self.process.exit_status().expect("it can be looked at");
            std::future::ready(status.ok_or_else(|| self.text()))
        });
        let status = status.await;
        assert!(status.success(), "{name} ended with {status}:\n{}", self.text());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Kills the process without a graceful shutdown, because its data is not needed any more.
        let _ = self.process.kill();
        if std::thread::panicking() {
            let text = self.text();
            let lines: Vec<&str> = text.lines().collect();
            let tail = &lines[lines.len().saturating_sub(40)..];
            eprintln!("--- {} wrote at last:\n{}\n---", self.name, tail.join("\n"));
        }
    }
}

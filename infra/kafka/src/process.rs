//! A server process that never outlives the one that started it.
//!
//! * On Linux the kernel ends the child when its parent dies (`PR_SET_PDEATHSIG`). The kernel
//!   watches the *thread* that forked, not the process, so one thread that lives as long as the
//!   process forks all children.
//! * A child has its own process group: Ctrl-C in a terminal reaches only the parent, which then
//!   ends the servers in the right order.
//! * Standard output and error of a child go to a log file. Every error shows the tail of that log.
//!
//! A signal goes only to a child whose exit status was not collected yet, so its process id cannot
//! belong to another process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::wait;

/// Length of the end of a log that an error quotes, in bytes.
const LOG_TAIL_BYTES: u64 = 4096;

/// A server that has not stopped within this time is killed.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// A child that runs or has ended. Dropping it stops the child: SIGTERM, then SIGKILL if it does
/// not end.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts `command` and appends its output to `log`. Messages use `name`.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write the log of {name}, {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).process_group(0);
        let child = fork_from_the_spawner(command)
            .map_err(|error| describe_spawn_error(&program, &error))
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), log: log.to_owned(), child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file with the child's output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The exit status, or `None` while the child runs.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot look at {}", self.name))
    }

    /// Fails with the tail of the log if the child has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.exit_status()? {
            None => Ok(()),
            Some(status) => Err(self.ended(status)),
        }
    }

    /// Kills the child (SIGKILL), and waits for its end. Does nothing if the child has ended.
    pub fn kill(&mut self) -> Result<()> {
        if self.exit_status()?.is_none() {
            self.child.kill()?;
            self.child.wait()?;
        }
        Ok(())
    }

    /// Asks the child to end (SIGTERM) and does not wait, so that a caller can stop several
    /// children at once. Resumes a paused child, so that it receives the signal.
    pub fn ask_to_stop(&mut self) -> Result<()> {
        self.signal(libc::SIGTERM)?;
        self.signal(libc::SIGCONT)
    }

    /// Pauses the child (SIGSTOP), which then does nothing until [`resume`](Self::resume). From
    /// outside it looks like a machine that hangs.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(libc::SIGSTOP)
    }

    /// Resumes the child (SIGCONT). Does nothing if the child runs.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(libc::SIGCONT)
    }

    fn signal(&mut self, signal: libc::c_int) -> Result<()> {
        if self.exit_status()?.is_none() {
            // SAFETY: no memory is involved; the child was not waited for, so the process id is
            // still its own.
            let sent = unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
            if sent != 0 {
                let error = io::Error::last_os_error();
                return Err(error).with_context(|| format!("cannot send signal {signal} to {}", self.name));
            }
        }
        Ok(())
    }

    /// Stops the child (SIGTERM), and waits for its end. Kills it (SIGKILL) after 15 s.
    pub fn stop(&mut self) -> Result<()> {
        self.ask_to_stop()?;
        let what = format!("{} to stop", self.name);
        let stopped = wait::poll(STOP_WITHIN, &what, || match self.exit_status() {
            Ok(Some(_)) => ControlFlow::Break(Ok(())),
            Ok(None) => ControlFlow::Continue("the process still runs".to_owned()),
            Err(error) => ControlFlow::Break(Err(error)),
        });
        stopped.or_else(|_| self.kill())
    }

    /// Calls `probe` until it succeeds. Fails at once, with the tail of the log, if the child ends
    /// first.
    pub fn ready<T>(&mut self, within: Duration, mut probe: impl FnMut() -> Result<T>) -> Result<T> {
        let what = format!("{} to be ready", self.name);
        let mut ended = false;
        let waited = wait::poll(within, &what, || match self.check() {
            Err(error) => {
                ended = true;
                ControlFlow::Break(Err(error))
            }
            Ok(()) => match probe() {
                Ok(found) => ControlFlow::Break(Ok(found)),
                Err(error) => ControlFlow::Continue(format!("{error:#}")),
            },
        });
        match waited {
            Err(error) if !ended => Err(anyhow!("{error:#}; {}", log_tail(&self.log))),
            done => done,
        }
    }

    fn ended(&self, status: ExitStatus) -> anyhow::Error {
        anyhow!("{} ended: {status}; {}", self.name, log_tail(&self.log))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.stop().is_err() {
            let _ = self.kill();
        }
    }
}

/// Runs a command to its end. An error shows the tail of the log.
pub fn run(name: &str, command: Command, log: &Path) -> Result<()> {
    finish(Process::spawn(name, command, log)?)
}

/// Waits until the process ends by itself. An error shows the tail of the log.
pub fn finish(mut process: Process) -> Result<()> {
    let status = process.child.wait()?;
    if status.success() {
        return Ok(());
    }
    Err(process.ended(status))
}

/// Describes why a program did not start. If the program is missing, the error says how to get it.
fn describe_spawn_error(program: &str, error: &io::Error) -> anyhow::Error {
    if error.kind() != io::ErrorKind::NotFound {
        return anyhow!("{program}: {error}");
    }
    let name =
        Path::new(program).file_name().map_or_else(|| program.to_owned(), |name| name.to_string_lossy().into_owned());
    let mend = match name.as_str() {
        "java" | "mvn" => {
            "Apache Kafka needs a JDK of version 17 or newer and Maven \
             (Debian: apt-get install openjdk-17-jdk-headless maven)"
        }
        "go" => "the S3 server for tests is built with Go 1.25 or newer (https://go.dev/dl)",
        _ => "an earlier step installed this program; was the cache folder cleared meanwhile?",
    };
    anyhow!("`{program}` was not found: {mend}")
}

/// Returns the end of a log, as part of an error.
fn log_tail(log: &Path) -> String {
    let tail = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = fs::metadata(log)?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    match tail() {
        Ok(text) if text.is_empty() => format!("its log {} is empty", log.display()),
        Ok(text) => format!("the end of its log {}:\n{text}\n", log.display()),
        Err(error) => format!("its log {} cannot be read: {error}", log.display()),
    }
}

type Spawned = io::Result<Child>;
/// A command for the spawner thread, and the channel for the started child.
type Order = (Command, mpsc::Sender<Spawned>);

/// Starts a child on the one thread that forks, which lives as long as the process.
fn fork_from_the_spawner(mut command: Command) -> Spawned {
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts processes is gone");

    prepare_child(&mut command);
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        // If the thread cannot be started, the receiver is dropped and every order fails with
        // `gone`.
        let _ = thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (reply, spawned) = mpsc::channel();
    spawner.lock().unwrap_or_else(PoisonError::into_inner).send((command, reply)).map_err(|_| gone())?;
    spawned.recv().map_err(|_| gone())?
}

/// Prepares what the child does between fork and exec: unblock all signals, because a JVM that
/// inherits a blocked SIGTERM never sees it, and ask the kernel to die with the parent.
fn prepare_child(command: &mut Command) {
    let parent = std::process::id() as libc::pid_t;
    let before_exec = move || {
        // SAFETY: only async-signal-safe calls on memory of this frame, as required between fork
        // and exec.
        unsafe {
            let mut none = std::mem::zeroed::<libc::sigset_t>();
            libc::sigemptyset(&mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
            #[cfg(target_os = "linux")]
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have died before the call above; the kernel would then send no signal.
            if libc::getppid() != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
        }
        Ok(())
    };
    // SAFETY: the closure allocates nothing and takes no lock.
    unsafe { command.pre_exec(before_exec) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_for(test: &str) -> PathBuf {
        let log = std::env::temp_dir().join(format!("local-kafka-{}-{test}.log", std::process::id()));
        let _ = fs::remove_file(&log);
        log
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failed_command_shows_its_log() {
        let log = log_for("failed");
        let error = run("the test", shell("echo the reason; exit 3"), &log).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("the reason") && error.contains('3'), "{error}");
        fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_missing_tool_says_how_to_get_it() {
        let log = log_for("missing");
        let command = Command::new("/nowhere/java");
        let error = format!("{:#}", Process::spawn("Kafka", command, &log).unwrap_err());
        assert!(error.contains("apt-get install"), "{error}");
        fs::remove_file(log).unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_paused_child_does_nothing_until_it_is_resumed_and_can_be_stopped_meanwhile() {
        let log = log_for("paused");
        let mut process = Process::spawn("a child", shell("exec sleep 600"), &log).unwrap();
        let stat = format!("/proc/{}/stat", process.pid());
        // The state follows the program's name, which is in parentheses.
        let is = |states: &str| {
            let stat = fs::read_to_string(&stat).ok()?;
            let state = stat.rsplit(") ").next()?.chars().next()?;
            states.contains(state).then_some(())
        };
        process.pause().unwrap();
        wait::until(Duration::from_secs(10), "the pause", || is("T")).unwrap();
        process.resume().unwrap();
        wait::until(Duration::from_secs(10), "the resumption", || is("RS")).unwrap();
        process.pause().unwrap();
        process.ask_to_stop().unwrap();
        wait::until(Duration::from_secs(10), "the end", || process.exit_status().unwrap()).unwrap();
        process.pause().unwrap();
        fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_child_started_by_a_thread_that_ended_lives_on_until_it_is_dropped() {
        let log = log_for("thread");
        let path = log.clone();
        let mut process =
            thread::spawn(move || Process::spawn("a child", shell("echo up; exec sleep 600"), &path).unwrap())
                .join()
                .unwrap();
        let up = |log: &Path| fs::read_to_string(log).is_ok_and(|text| text == "up\n");
        wait::until(Duration::from_secs(10), "the child", || up(&log).then_some(())).unwrap();
        assert!(process.exit_status().unwrap().is_none());
        process.stop().unwrap();
        assert!(process.exit_status().unwrap().is_some());
        fs::remove_file(log).unwrap();
    }
}

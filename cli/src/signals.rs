//! Detects the events that end a command: Ctrl-C, SIGTERM, and a reader of standard output that
//! closes its end of the pipe.

#[cfg(unix)]
use anyhow::Context as _;
use anyhow::Result;

/// The signals that ask this process to end. After [`Signals::listen`] no signal is lost, and no
/// signal ends the process by itself. A program therefore listens before it announces that it is
/// ready.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Starts to listen for SIGINT and SIGTERM.
    #[cfg(unix)]
    pub fn listen() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).context("cannot listen for SIGINT and SIGTERM");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits until the process is asked to end.
    #[cfg(unix)]
    pub async fn asked_to_end(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Does nothing, because on this system only `asked_to_end` listens.
    #[cfg(not(unix))]
    pub fn listen() -> Result<Self> {
        Ok(Self {})
    }

    /// Waits until Ctrl-C.
    #[cfg(not(unix))]
    pub async fn asked_to_end(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// Waits until the program that reads standard output has closed its end of the pipe. If standard
/// output is not a pipe, the wait lasts forever.
pub(crate) async fn reader_is_gone() {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        use tokio::io::Interest;
        use tokio::net::unix::pipe::Sender;
        // This handle of the pipe only waits for the event. Output still goes through `std`, whose
        // writes block.
        let pipe = std::io::stdout().as_fd().try_clone_to_owned().and_then(Sender::from_owned_fd_unchecked);
        if let Ok(pipe) = pipe
            && pipe.ready(Interest::ERROR).await.is_ok()
        {
            return;
        }
    }
    std::future::pending().await
}

/// Returns true if the error means that the reader of the output has closed the pipe, as in
/// `driftless watch … | head -1`. That is a normal end, not an error.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A program that reads "ready" may send its signal before this process waits for it.
    #[tokio::test]
    async fn a_signal_before_the_wait_counts() {
        let mut signals = Signals::listen().unwrap();
        let own = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &own]).status().unwrap().success());
        let asked = tokio::time::timeout(std::time::Duration::from_secs(60), signals.asked_to_end());
        asked.await.expect("the signal is seen");
    }
}

//! What asks for the end: Ctrl-C, SIGTERM, and a reader that has seen enough.

#[cfg(unix)]
use anyhow::Context as _;
use anyhow::Result;

/// What asks this process to end. From [`Signals::listen`] on nothing of it is lost, and nothing of it ends the process by
/// itself: whoever announces that it is ready listens before.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Listens from now on.
    #[cfg(unix)]
    pub fn listen() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).context("cannot listen for the signals that ask for the end");
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

    /// Nothing to do: here it is listened only while it is waited.
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

/// Waits until nobody reads standard output any more, where that can be seen: it is a pipe.
pub(crate) async fn reader_is_gone() {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        use tokio::io::Interest;
        use tokio::net::unix::pipe::Sender;
        // Only waited on: writing goes on by `std`, which blocks.
        let pipe = std::io::stdout().as_fd().try_clone_to_owned().and_then(Sender::from_owned_fd_unchecked);
        if let Ok(pipe) = pipe
            && pipe.ready(Interest::ERROR).await.is_ok()
        {
            return;
        }
    }
    std::future::pending().await
}

/// Nobody reads the output any more, as in `driftless watch … | head -1`: an end, and no error.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// As of somebody who read "ready" and was quicker than we are.
    #[tokio::test]
    async fn a_signal_that_comes_before_it_is_waited_for_counts() {
        let mut signals = Signals::listen().unwrap();
        let own = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &own]).status().unwrap().success());
        let asked = tokio::time::timeout(std::time::Duration::from_secs(60), signals.asked_to_end());
        asked.await.expect("the signal is seen");
    }
}

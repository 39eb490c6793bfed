//! What asks for the end: Ctrl-C, SIGTERM, and a reader that has seen enough.

/// Waits until the process is asked to end.
pub(crate) async fn asked_to_end() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler for SIGTERM, Ctrl-C alone ends in order.
    let _ = tokio::signal::ctrl_c().await;
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

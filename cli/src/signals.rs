//! Ctrl-C and SIGTERM ask for the end, in order.

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

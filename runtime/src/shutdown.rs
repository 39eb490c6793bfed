//! Graceful shutdown: many tasks wait for one signal. The source gives the signal and then waits
//! until all tasks have finished.

use tokio::sync::{mpsc, watch};

/// Requests the shutdown of the tasks that hold a [`Shutdown`]. `main` or a test holds the source.
#[derive(Debug)]
pub struct ShutdownSource {
    request: watch::Sender<bool>,
    done: mpsc::Receiver<()>,
    template: Shutdown,
}

/// A handle for a task that must finish before the process exits. The shutdown completes when all
/// handles are dropped.
#[derive(Clone, Debug)]
pub struct Shutdown {
    requested: watch::Receiver<bool>,
    _alive: mpsc::Sender<()>,
}

impl ShutdownSource {
    /// Creates the source of a shutdown that is not requested yet.
    #[must_use]
    pub fn new() -> Self {
        let (request, requested) = watch::channel(false);
        let (alive, done) = mpsc::channel(1);
        Self { request, done, template: Shutdown { requested, _alive: alive } }
    }

    /// Returns a handle for one more task.
    #[must_use]
    pub fn handle(&self) -> Shutdown {
        self.template.clone()
    }

    /// Requests the shutdown and waits until every handle is dropped.
    pub async fn end(self) {
        let Self { request, mut done, template } = self;
        request.send_replace(true);
        drop(template);
        // No task ever sends on this channel: `recv` returns `None` once the last handle is
        // dropped.
        let _ = done.recv().await;
    }
}

impl Default for ShutdownSource {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Waits until the shutdown is requested. Also returns if the source was dropped.
    pub async fn wait(&self) {
        let mut requested = self.requested.clone();
        let _ = requested.wait_for(|requested| *requested).await;
    }

    /// Returns true once the shutdown is requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }
}

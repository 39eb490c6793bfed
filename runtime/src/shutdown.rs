//! One word for "end now, in order": a shutdown that many tasks wait for, and that says when all of them are done.

use tokio::sync::{mpsc, watch};

/// Held by whoever may request for the end.
#[derive(Debug)]
pub struct ShutdownSource {
    request: watch::Sender<bool>,
    done: mpsc::Receiver<()>,
    template: Shutdown,
}

/// Held by everything that is to end in order. The end is complete when all copies are dropped.
#[derive(Clone, Debug)]
pub struct Shutdown {
    requested: watch::Receiver<bool>,
    _alive: mpsc::Sender<()>,
}

impl ShutdownSource {
    /// A shutdown that nobody requested for yet.
    #[must_use]
    pub fn new() -> Self {
        let (request, requested) = watch::channel(false);
        let (alive, done) = mpsc::channel(1);
        Self { request, done, template: Shutdown { requested, _alive: alive } }
    }

    /// One more copy to give away.
    #[must_use]
    pub fn handle(&self) -> Shutdown {
        self.template.clone()
    }

    /// Asks for the end and waits until every copy is dropped.
    pub async fn end(self) {
        let Self { request, mut done, template } = self;
        request.send_replace(true);
        drop(template);
        // Nothing is ever sent: this gives `None` when the last copy is gone.
        let _ = done.recv().await;
    }
}

impl Default for ShutdownSource {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Waits until the end is requested for. Also returns when the source is gone.
    pub async fn wait(&self) {
        let mut requested = self.requested.clone();
        let _ = requested.wait_for(|requested| *requested).await;
    }

    /// Whether the end was requested for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }
}

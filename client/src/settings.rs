//! What the user chooses: where to connect, as whom, and how patient to be.

use driftless_chunk::model::Models;
use driftless_schemas::time::UnixMs;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A token that is being fetched.
pub type TokenFuture = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// Where tokens come from.
#[derive(Clone)]
pub enum Token {
    /// One token; when it expires, the client ends.
    Fixed(String),
    /// Asked for one at every connect, and shortly before the last one expires.
    Provider(Arc<dyn Fn() -> TokenFuture + Send + Sync>),
}

impl Token {
    /// A provider of fresh tokens for one and the same user. An error is logged, and it is asked again later; so it is where
    /// it takes longer than [`Settings::connect_timeout`], and what it was doing is dropped.
    pub fn provider<F, Fut>(fetch: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, String>> + Send + 'static,
    {
        Self::Provider(Arc::new(move || Box::pin(fetch())))
    }

    pub(crate) async fn fetch(&self) -> Result<String, String> {
        match self {
            Self::Fixed(token) => Ok(token.clone()),
            Self::Provider(fetch) => fetch().await,
        }
    }
}

impl From<&str> for Token {
    fn from(token: &str) -> Self {
        Self::Fixed(token.to_owned())
    }
}

impl From<String> for Token {
    fn from(token: String) -> Self {
        Self::Fixed(token)
    }
}

/// Settings of a client.
#[derive(Clone)]
pub struct Settings {
    /// Where ingest listens (`ws://…`, or `wss://…` over TLS). With several, every new connection takes the next one.
    pub ingest_urls: Vec<String>,
    /// Where gateways listen.
    pub gateway_urls: Vec<String>,
    /// As whom.
    pub token: Token,
    /// The models that the chunks are made of.
    pub models: Models,
    /// The user's name as predictions see it; only for models that ask for the author.
    pub author: String,
    /// The user's roles as predictions see them.
    pub roles: Vec<String>,
    /// Unresolved commands are sent again after this long without progress; it doubles while nothing moves.
    pub resend_after: Duration,
    /// Commands that may be pending in one chunk.
    pub pending_max: usize,
    /// Own commits of a chunk that [`crate::Chunk::take_back`] can take back; each keeps its inverse. 0: none.
    pub undo_max: usize,
    /// The first wait before a new connection; it doubles with each failure, and is drawn between half of it and all.
    pub reconnect_min: Duration,
    /// The longest wait before a new connection.
    pub reconnect_max: Duration,
    /// Opening a connection may take this long, and so may fetching a token.
    pub connect_timeout: Duration,
    /// With `wss://`: the certificates, as PEM, that servers' certificates must lead to. Those that the system trusts where it is
    /// empty (`SSL_CERT_FILE` names others).
    pub root_certificates: Vec<u8>,
}

impl Settings {
    /// One server of each kind, the models that come with Driftless, and defaults.
    pub fn new(ingest_url: impl Into<String>, gateway_url: impl Into<String>, token: impl Into<Token>) -> Self {
        Self {
            ingest_urls: vec![ingest_url.into()],
            gateway_urls: vec![gateway_url.into()],
            token: token.into(),
            models: Models::builtin(),
            author: String::new(),
            roles: Vec::new(),
            resend_after: Duration::from_secs(3),
            pending_max: 4_096,
            undo_max: 64,
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            root_certificates: Vec::new(),
        }
    }

    /// The core's settings; its monotonic clock starts at this wall time.
    pub(crate) fn core(&self, clock_start: UnixMs) -> driftless_client_core::Settings {
        let mut core = driftless_client_core::Settings::new(self.models.clone());
        core.clock_start = clock_start;
        core.author.clone_from(&self.author);
        core.roles.clone_from(&self.roles);
        core.resend_after_ms = u64::try_from(self.resend_after.as_millis()).unwrap_or(u64::MAX / 4).max(1);
        core.resend_after_max_ms = core.resend_after_max_ms.max(core.resend_after_ms);
        core.pending_max = self.pending_max;
        core.undo_max = self.undo_max;
        core.can_renew = matches!(self.token, Token::Provider(_));
        core
    }
}

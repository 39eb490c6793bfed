//! Settings of the SDK: addresses, token, models, and times.

use driftless_chunk::model::Models;
use driftless_schemas::time::UnixMs;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The future of a token that is being fetched.
pub type TokenFuture = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// The source of tokens.
#[derive(Clone)]
pub enum Token {
    /// A single token. When it expires, the client ends.
    Fixed(String),
    /// A function that fetches a token. The client calls it at every connect, and shortly before
    /// the last token expires.
    Provider(Arc<dyn Fn() -> TokenFuture + Send + Sync>),
}

impl Token {
    /// Makes a provider from a function that fetches a fresh token for the same user. If `fetch`
    /// fails, the client logs the error and calls `fetch` again later. If `fetch` takes longer than
    /// [`Settings::connect_timeout`], the client drops its future and calls `fetch` again later.
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
    /// Addresses of ingest (`ws://…`, or `wss://…` for TLS). If there are several, each new
    /// connection uses the next address of the list.
    pub ingest_urls: Vec<String>,
    /// Addresses of gateways (`ws://…` or `wss://…`). If there are several, each new connection
    /// uses the next address of the list.
    pub gateway_urls: Vec<String>,
    /// The source of the user's tokens.
    pub token: Token,
    /// The models that the client knows.
    pub models: Models,
    /// The user's name, which predictions pass to the model as the author. May be empty if no model
    /// reads the author.
    pub author: String,
    /// The user's roles, which predictions pass to the model.
    pub roles: Vec<String>,
    /// The time without a decision after which the client sends a chunk's unresolved commands
    /// again. The time doubles with each resend.
    pub resend_after: Duration,
    /// The largest number of commands that may be pending in one chunk. `submit` refuses further
    /// commands.
    pub pending_max: usize,
    /// The number of this client's newest commits in a chunk that [`crate::Chunk::take_back`] can
    /// take back. The inverse of each is kept in memory. 0 switches undo off.
    pub undo_max: usize,
    /// The first back-off before a new connection. The back-off doubles with each failure. The
    /// actual wait is random, between half the back-off and the whole.
    pub reconnect_min: Duration,
    /// The longest back-off before a new connection.
    pub reconnect_max: Duration,
    /// The timeout for opening a connection. Fetching a token has the same timeout of its own.
    pub connect_timeout: Duration,
    /// The root certificates, as PEM, that the client trusts with `wss://`. If empty, the client
    /// trusts the system's roots; the environment variable `SSL_CERT_FILE` can name a file with
    /// others.
    pub root_certificates: Vec<u8>,
}

impl Settings {
    /// Makes default settings with one ingest, one gateway, and the models that come with
    /// Driftless.
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

    /// Makes the core's settings. `clock_start` is the wall time at which the monotonic clock
    /// showed 0.
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

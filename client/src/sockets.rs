//! The client's background task, which drives the two sockets and the core's timer, and fetches
//! tokens.
//!
//! The task moves bytes between the core and the sockets, and reconnects. All protocol rules are in
//! the core.

use crate::shared::Shared;
use driftless_client_core::Socket;
use driftless_schemas::{close, limits};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::{ClientRequestBuilder, IntoClientRequest as _};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};

type Websocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// An attempt to connect and its connection that together lasted this long reset the back-off.
const GOOD_AFTER: Duration = Duration::from_secs(5);
/// The timeout for a closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the background task until the client ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut status = shared.status.subscribe();
    let ended = status.wait_for(|status| status.ended.is_some());
    let work = async {
        tokio::join!(timer(&shared), tokens(&shared));
    };
    // The sockets are not cancelled at the client's end. They notice the end themselves, because
    // they must still send their close frames.
    let sockets = async { tokio::join!(socket(&shared, Socket::Ingest), socket(&shared, Socket::Gateway)) };
    tokio::join!(sockets, async {
        tokio::select! {
            () = work => {}
            _ = ended => {}
        }
    });
}

async fn timer(shared: &Shared) {
    loop {
        let due = async {
            match shared.next_deadline_in() {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => shared.update(|state, now| state.core.tick(now)),
            () = shared.timer.notified() => {}
        }
    }
}

/// Fetches a token whenever the core asks for one.
async fn tokens(shared: &Shared) {
    loop {
        shared.token_needed.notified().await;
        match token(shared).await {
            Ok(token) => shared.update(|state, now| state.core.renew(now, token)),
            // The core will ask for a token again.
            Err(problem) => tracing::warn!(problem, "could not fetch a fresh token"),
        }
    }
}

/// Fetches a token. A provider that does not answer in time counts as failed, so that it cannot
/// block reconnecting.
async fn token(shared: &Shared) -> Result<String, String> {
    let within = shared.settings.connect_timeout;
    let fetched = tokio::time::timeout(within, shared.settings.token.fetch()).await;
    fetched.unwrap_or_else(|_| Err(format!("the token provider did not answer within {within:?}")))
}

/// Keeps one socket connected until the client ends.
async fn socket(shared: &Shared, socket: Socket) {
    let mut ended = shared.status.subscribe();
    let settings = &shared.settings;
    let urls = if socket == Socket::Ingest { &settings.ingest_urls } else { &settings.gateway_urls };
    let mut failures = 0;
    for url in urls.iter().cycle() {
        let session = shared.read(|core| core.session());
        let started = Instant::now();
        let mut retry_after_ms = None;
        let attempt = tokio::select! {
            attempt = open(shared, socket, url) => attempt,
            _ = ended.wait_for(|status| status.ended.is_some()) => return,
        };
        match attempt {
            Err(problem) => tracing::debug!(?socket, url, problem, "could not connect"),
            Ok((websocket, token)) => {
                // Drop a signal that came before now, because it concerns an older connection.
                let _ = shared.signals(socket).drop.notified().now_or_never();
                shared.update(|state, now| state.core.connected(now, socket, token));
                let end = serve(shared, socket, websocket).await;
                tracing::debug!(?socket, url, ?end, "the connection ended");
                retry_after_ms = end.as_ref().and_then(|end| close::retry_after_ms(&end.reason));
                let code = end.map(|end| u16::from(end.code));
                shared.update(|state, now| state.core.disconnected(now, socket, code));
            }
        }
        if shared.is_ended() {
            return;
        }
        if started.elapsed() >= GOOD_AFTER {
            failures = 0;
        }
        // The core dropped the connection to begin a new session: reconnect without back-off.
        if session.is_some() && shared.read(|core| core.session()).is_none() {
            continue;
        }
        let wait = backoff(settings.reconnect_min, settings.reconnect_max, failures);
        // A server that closes many sockets asks each client for a different delay, so that they do
        // not all reconnect at once.
        let wait = retry_after_ms.map_or(wait, |after_ms| wait.max(Duration::from_millis(after_ms.into())));
        failures = failures.saturating_add(1);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = ended.wait_for(|status| status.ended.is_some()) => return,
        }
    }
}

/// The wait after `failures` failures. The back-off doubles from `min` up to `max`. The wait is
/// random, between half the back-off and the whole, so that clients do not reconnect at the same
/// moment.
fn backoff(min: Duration, max: Duration, failures: u32) -> Duration {
    let wait = min.saturating_mul(1 << failures.min(16)).min(max);
    wait.mul_f64(rand::random_range(0.5..=1.0))
}

async fn open(shared: &Shared, socket: Socket, url: &str) -> Result<(Websocket, String), String> {
    let token = token(shared).await?;
    let protocol = match socket {
        Socket::Ingest => "driftless.ingest.v1",
        Socket::Gateway => "driftless.gateway.v1",
    };
    let url = url.parse().map_err(|e| format!("{url:?} is not a URL: {e}"))?;
    let request = ClientRequestBuilder::new(url).with_sub_protocol(protocol);
    let request = request.into_client_request().map_err(|e| e.to_string())?;
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .max_message_size(Some(limits::SERVER_FRAME_BYTES_MAX))
        .max_frame_size(Some(limits::SERVER_FRAME_BYTES_MAX));
    let connector = connector(&shared.settings.root_certificates)?;
    let connect = tokio_tungstenite::connect_async_tls_with_config(request, Some(config), true, connector);
    match tokio::time::timeout(shared.settings.connect_timeout, connect).await {
        Err(_) => Err(format!("the server did not answer within {:?}", shared.settings.connect_timeout)),
        Ok(Err(problem)) => Err(problem.to_string()),
        Ok(Ok((websocket, _))) => Ok((websocket, token)),
    }
}

/// Makes a TLS connector that trusts only these root certificates. `None` if there are none; the
/// websocket library then trusts the system's roots.
fn connector(roots: &[u8]) -> Result<Option<Connector>, String> {
    if roots.is_empty() {
        return Ok(None);
    }
    let unusable = |e: &dyn std::fmt::Display| format!("cannot use root_certificates: {e}");
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(roots) {
        store.add(certificate.map_err(|e| unusable(&e))?).map_err(|e| unusable(&e))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(&e))?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(Some(Connector::Rustls(Arc::new(config))))
}

/// Moves messages between the core and a websocket until the connection ends. Returns the server's
/// close frame; `None` if the connection ended without one.
async fn serve(shared: &Shared, socket: Socket, websocket: Websocket) -> Option<CloseFrame> {
    let signals = shared.signals(socket);
    let mut status = shared.status.subscribe();
    let (mut sink, mut stream) = websocket.split();
    let read = async {
        while let Some(message) = stream.next().await {
            match message {
                Ok(Message::Binary(message)) => {
                    shared.update(|state, now| state.core.received(now, socket, message));
                }
                Ok(Message::Close(frame)) => return frame,
                Ok(_) => {}
                Err(Error::Capacity(problem)) => {
                    tracing::warn!(?socket, %problem, "the server's message is too large");
                    return None;
                }
                Err(_) => return None,
            }
        }
        None
    };
    let write = async {
        loop {
            while let Some(message) = shared.poll_send(socket) {
                // If writing fails, reading will fail too, but may yield a close frame first. So
                // let the reader end the connection.
                if sink.send(Message::Binary(message)).await.is_err() {
                    return std::future::pending().await;
                }
            }
            tokio::select! {
                () = signals.output.notified() => {}
                _ = status.wait_for(|status| status.ended.is_some()) => break,
            }
        }
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, sink.close()).await;
    };
    tokio::select! {
        end = read => end,
        () = write => None,
        () = signals.drop.notified() => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Settings, Token};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_provider_that_hangs_is_called_again() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let hanging = Token::provider(move || {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::pending()
        });
        let mut settings = Settings::new("ws://127.0.0.1:1", "ws://127.0.0.1:1", hanging);
        settings.connect_timeout = Duration::from_millis(20);
        let shared = Shared::new(settings);
        let asked_again = async {
            while asked.load(Ordering::SeqCst) < 3 {
                shared.token_needed.notify_one();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = tokens(&shared) => unreachable!("the task runs as long as the client"),
            asked = tokio::time::timeout(Duration::from_secs(60), asked_again) => asked.expect("the provider is not called again"),
        }
    }
}

//! TLS built in: a certificate that may change while the service runs, and who gets past the handshake.
//!
//! rustls with aws-lc-rs, TLS 1.2 and 1.3, HTTP/1.1 only (ALPN). A handshake has so much time and counts among the connections, so
//! that nobody can fill the server with halves of them. What comes after it is the relay's ([`relay`]): a service has a plain
//! socket in any case ([`Stream`]).

mod relay;

use crate::stream::{Relayed, Stream};
use driftless_runtime::files::{Reloader, read_bounded};
use driftless_schemas::limits;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use socket2::SockRef;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// A client that has not finished its handshake by then is not waited for.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where certificate and key lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The certificate and those that lead to its root, PEM, the server's own first.
    pub cert: PathBuf,
    /// Its private key, PEM (PKCS #8, PKCS #1 or SEC1).
    pub key: PathBuf,
}

/// What is wrong with a certificate or its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificate {cert}, key {key}: {problem}", cert = .settings.cert.display(), key = .settings.key.display())]
pub struct Error {
    /// Where they lie.
    pub settings: Settings,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// A server's side of TLS. Clones share the certificate.
#[derive(Clone)]
pub struct Tls {
    settings: Settings,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
}

/// The certificate that is in force. A handshake that has begun ends with the one that it began with.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Tls {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// [`Error`] where they are none, or do not belong together.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let error = |problem| Error { settings: settings.clone(), problem };
        let read = |path: &Path| {
            read_bounded(path, limits::KEY_FILE_BYTES_MAX).map_err(|e| error(format!("{} {e}", path.display())))
        };
        let certified = certified(&read(&settings.cert)?, &read(&settings.key)?).map_err(error)?;
        let current = Arc::new(Current(RwLock::new(Arc::new(certified))));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| error(e.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { current, acceptor: TlsAcceptor::from(Arc::new(config)), settings })
    }

    /// What keeps it up to date with its files; for [`driftless_runtime::files::keep_reloading`].
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        let (current, Settings { cert, key }) = (Arc::clone(&self.current), self.settings.clone());
        Reloader::new("tls", [cert, key], limits::KEY_FILE_BYTES_MAX, move |files| {
            let [cert, key] = files else { return Err("both are needed".into()) };
            let certified = certified(cert, key)?;
            let has = format!("{} certificates", certified.cert.len());
            *current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
            Ok(has)
        })
    }

    /// The handshake. Gives the service's stream, and the relay that must run for as long as that is used.
    ///
    /// # Errors
    /// Why there is no connection; the peer's affair.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> std::io::Result<(Stream, impl Future<Output = ()> + Send + use<>)> {
        // As for plain websockets: what the kernel holds for a slow client makes what it sees old.
        SockRef::from(&stream).set_send_buffer_size(limits::SOCKET_SEND_BYTES)?;
        let handshake = self.acceptor.accept_with(stream, |connection| {
            // What waits here waits beside the kernel's buffers: it makes what a slow client sees old.
            connection.set_buffer_limit(Some(relay::BUFFER_BYTES));
        });
        let tls = match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(done) => done?,
            Err(_) => return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "no handshake in time")),
        };
        let (service, local, gone) = Relayed::pair()?;
        Ok((Stream::Tls(service), relay::run(tls, local, gone)))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tls({})", self.settings.cert.display())
    }
}

fn certified(cert: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain = CertificateDer::pem_slice_iter(cert).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|e| format!("the certificate is no PEM: {e}"))?;
    if chain.is_empty() {
        return Err("there is no certificate (-----BEGIN CERTIFICATE-----) in the file of the certificate".into());
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|e| format!("there is no private key (-----BEGIN PRIVATE KEY-----) in the file of the key: {e}"))?;
    let key = aws_lc_rs::default_provider().key_provider.load_private_key(key);
    let key = key.map_err(|e| format!("the private key is of no kind that is taken: {e}"))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(e) => Err(format!("the first certificate is not of this key: {e}")),
    }
}

#[cfg(test)]
mod tests;

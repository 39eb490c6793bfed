//! Built-in TLS: the handshake, and a certificate that may change while the service runs.
//!
//! The implementation is rustls with aws-lc-rs: TLS 1.2 and 1.3, with HTTP/1.1 only (ALPN). A
//! handshake has a time limit and counts as a connection, so that unfinished handshakes cannot fill
//! the server. After the handshake a relay task ([`relay`]) moves the bytes between the TLS
//! connection and the plain socket ([`Stream`]) that the service uses.

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

/// The time limit for a handshake. A client that takes longer is disconnected.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The files of certificate and key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The certificate chain in PEM, the server's own certificate first.
    pub cert: PathBuf,
    /// The private key in PEM (PKCS #8, PKCS #1 or SEC1).
    pub key: PathBuf,
}

/// A problem with a certificate or its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificate {cert}, key {key}: {problem}", cert = .settings.cert.display(), key = .settings.key.display())]
pub struct Error {
    /// The files.
    pub settings: Settings,
    /// The problem, and what would work.
    pub problem: String,
}

/// The server's side of TLS. Clones share the certificate, which may be reloaded.
#[derive(Clone)]
pub struct Tls {
    settings: Settings,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
}

/// The certificate in force. A handshake uses the certificate that was in force when it began.
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
    /// [`Error`] if either is unusable, or if they do not belong together.
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

    /// Returns the reloader of certificate and key, for
    /// [`driftless_runtime::files::keep_reloading`].
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        let (current, Settings { cert, key }) = (Arc::clone(&self.current), self.settings.clone());
        Reloader::new("tls", [cert, key], limits::KEY_FILE_BYTES_MAX, move |files| {
            let [cert, key] = files else { return Err("both certificate and key are needed".into()) };
            let certified = certified(cert, key)?;
            let has = format!("{} certificates", certified.cert.len());
            *current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
            Ok(has)
        })
    }

    /// Performs the handshake. Returns the service's stream, and the relay that must run as long as
    /// the stream is in use.
    ///
    /// # Errors
    /// The reason why the handshake failed, which is the peer's fault.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> std::io::Result<(Stream, impl Future<Output = ()> + Send + use<>)> {
        // The send buffer is as small as for plain connections: a large one would hold old data for
        // a slow client.
        SockRef::from(&stream).set_send_buffer_size(limits::SOCKET_SEND_BYTES)?;
        let handshake = self.acceptor.accept_with(stream, |connection| {
            // rustls buffers in addition to the kernel, so its buffer would also hold old data for
            // a slow client.
            connection.set_buffer_limit(Some(relay::BUFFER_BYTES));
        });
        let tls = match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(done) => done?,
            Err(_) => return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "the handshake took too long")),
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
    let chain = chain.map_err(|e| format!("the certificate is not PEM: {e}"))?;
    if chain.is_empty() {
        return Err("the certificate file contains no certificate (-----BEGIN CERTIFICATE-----)".into());
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|e| format!("the key file contains no private key (-----BEGIN PRIVATE KEY-----): {e}"))?;
    let key = aws_lc_rs::default_provider().key_provider.load_private_key(key);
    let key = key.map_err(|e| format!("this kind of private key is not supported: {e}"))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(e) => Err(format!("the first certificate does not belong to this key: {e}")),
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! Key files: reading the keys that a service verifies with, and generating new ones.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use driftless_runtime::files::read_bounded;
use driftless_schemas::access::KeyNumber;
use driftless_schemas::limits;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The smallest size of an HS256 secret. RFC 7518, section 3.2: the secret must not be shorter than
/// the hash.
const SECRET_BYTES_MIN: usize = 32;
/// The largest number of keys in a JWKS. The limit bounds the work for a token without `kid`,
/// because the verifier tries all keys.
const KEYS_MAX: usize = 64;

/// A problem with a key file.
#[derive(Debug, thiserror::Error)]
#[error("key file {path}: {problem}")]
pub struct KeyError {
    /// The path of the file.
    pub path: PathBuf,
    /// The problem, and what would work.
    pub problem: String,
}

impl KeyError {
    pub(super) fn new(path: &Path, problem: impl Into<String>) -> Self {
        Self { path: path.to_owned(), problem: problem.into() }
    }
}

/// The kind of key to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// A single secret that both signs and verifies (HS256): for a single machine.
    Secret,
    /// A private key that signs and a public key that verifies (EdDSA): for all other deployments.
    Pair,
}

/// A key with the only algorithm that it may be used with.
#[derive(Clone)]
pub(super) struct Key {
    pub kid: Option<String>,
    pub algorithm: Algorithm,
    pub decoding: DecodingKey,
}

impl Key {
    /// Returns true if both keys have the same material and algorithm. The `kid` and the kind of
    /// file are not compared.
    fn is(&self, other: &Self) -> bool {
        use DecodingKeyKind::{RsaModulusExponent, SecretOrDer};
        let is_same_material = match (self.decoding.kind(), other.decoding.kind()) {
            (SecretOrDer(own), SecretOrDer(its)) => own == its,
            (RsaModulusExponent { n, e }, RsaModulusExponent { n: its_n, e: its_e }) => n == its_n && e == its_e,
            _ => false,
        };
        self.algorithm == other.algorithm && is_same_material
    }
}

/// The keys that the verifier accepts. Each key has a number that identifies its material.
#[derive(Clone, Default)]
pub(super) struct KeyRing {
    keys: Vec<(KeyNumber, Key)>,
    next: u64,
}

impl KeyRing {
    /// Returns a ring with exactly these keys. A key that was in the ring keeps its number.
    pub fn renewed(&self, keys: Vec<Key>) -> Self {
        let mut ring = Self { keys: Vec::with_capacity(keys.len()), next: self.next };
        for key in keys {
            let known = self.keys.iter().chain(&ring.keys).find(|(_, known)| known.is(&key)).map(|(number, _)| *number);
            let number = known.unwrap_or_else(|| {
                ring.next += 1;
                KeyNumber(ring.next)
            });
            ring.keys.push((number, key));
        }
        ring
    }

    /// Returns true if the key with this number is still accepted.
    pub fn has(&self, number: KeyNumber) -> bool {
        self.keys.iter().any(|(own, _)| *own == number)
    }

    pub fn iter(&self) -> impl Iterator<Item = (KeyNumber, &Key)> {
        self.keys.iter().map(|(number, key)| (*number, key))
    }
}

/// Reads a key file: a secret, a PEM public key or a JWKS.
pub(super) fn read_keys(path: &Path) -> Result<Vec<Key>, KeyError> {
    let bytes = read_bounded(path, limits::KEY_FILE_BYTES_MAX)
        .map_err(|e| KeyError::new(path, format!("{e}; generate one with `driftless token --new-key FILE`")))?;
    parse_keys(path, &bytes)
}

pub(super) fn parse_keys(path: &Path, bytes: &[u8]) -> Result<Vec<Key>, KeyError> {
    let text = std::str::from_utf8(bytes).ok().map(str::trim);
    match text {
        Some(pem) if pem.starts_with("-----BEGIN") => Ok(vec![parse_pem(path, pem)?]),
        Some(json) if json.starts_with('{') => parse_jwks(path, json),
        _ => Ok(vec![Key {
            kid: None,
            algorithm: Algorithm::HS256,
            decoding: DecodingKey::from_secret(secret(path, bytes)?),
        }]),
    }
}

/// Returns the secret: the bytes of the file without trailing white space, which editors add.
pub(super) fn secret<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a [u8], KeyError> {
    let secret = bytes.trim_ascii_end();
    if secret.len() < SECRET_BYTES_MIN {
        let problem = format!("the secret has {} bytes; HS256 needs {SECRET_BYTES_MIN} or more", secret.len());
        return Err(KeyError::new(path, problem));
    }
    Ok(secret)
}

fn parse_pem(path: &Path, pem: &str) -> Result<Key, KeyError> {
    if pem.contains("PRIVATE KEY") {
        return Err(KeyError::new(path, "this is a private key; a service needs the public one (the .pub file)"));
    }
    if !pem.contains("PUBLIC KEY") {
        return Err(KeyError::new(
            path,
            "this PEM is not a PUBLIC KEY; extract the public key of a certificate with `openssl x509 -pubkey -noout`",
        ));
    }
    let key = |algorithm, decoding| Key { kid: None, algorithm, decoding };
    let bytes = pem.as_bytes();
    if let Ok(decoding) = DecodingKey::from_ed_pem(bytes) {
        return Ok(key(Algorithm::EdDSA, decoding));
    }
    if let Ok(decoding) = DecodingKey::from_ec_pem(bytes) {
        // An uncompressed point of P-256 has 65 bytes: 0x04, x, y.
        if decoding.as_bytes().len() != 65 {
            return Err(KeyError::new(path, "this elliptic curve key is not on P-256 (ES256)"));
        }
        return Ok(key(Algorithm::ES256, decoding));
    }
    let unusable = |problem: String| KeyError::new(path, format!("not an RSA, P-256 or Ed25519 public key: {problem}"));
    let der = DecodingKey::from_rsa_pem(bytes).map_err(|e| unusable(e.to_string()))?;
    // The key is stored by modulus and exponent, the form of a JWKS. The same key in a PEM file and
    // in a JWKS therefore compares equal.
    let rsa = aws_lc_rs::rsa::PublicKey::from_der(der.as_bytes()).map_err(|e| unusable(e.to_string()))?;
    let (n, e) = (rsa.modulus(), rsa.exponent());
    let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
    Ok(key(Algorithm::RS256, DecodingKey::from_rsa_raw_components(n, e)))
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

/// Parses a JWKS. Keys for other uses and of unsupported kinds are skipped (RFC 7517, section 5).
fn parse_jwks(path: &Path, json: &str) -> Result<Vec<Key>, KeyError> {
    let set: KeySet = match serde_json::from_str(json) {
        Ok(set) => set,
        Err(e) => return Err(KeyError::new(path, format!("not a JWKS ({{\"keys\": [...]}}): {e}"))),
    };
    if set.keys.len() > KEYS_MAX {
        return Err(KeyError::new(path, format!("the JWKS has {} keys; the limit is {KEYS_MAX}", set.keys.len())));
    }
    let mut keys = Vec::new();
    for value in set.keys {
        let Ok(jwk) = serde_json::from_value::<Jwk>(value) else { continue };
        let Some(algorithm) = algorithm_of(&jwk) else { continue };
        let decoding = DecodingKey::from_jwk(&jwk)
            .map_err(|e| KeyError::new(path, format!("key {:?}: {e}", jwk.common.key_id)))?;
        if algorithm == Algorithm::HS256 {
            secret(path, decoding.as_bytes())?;
        }
        keys.push(Key { kid: jwk.common.key_id, algorithm, decoding });
    }
    if keys.is_empty() {
        return Err(KeyError::new(path, "no key in it can verify HS256, RS256, ES256 or EdDSA signatures"));
    }
    Ok(keys)
}

/// Returns the algorithm that the key may be used with; `None` for a key that this service cannot
/// use.
fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    if matches!(&jwk.common.public_key_use, Some(other) if *other != PublicKeyUse::Signature) {
        return None;
    }
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(p) if p.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(p) if p.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::OctetKey(_) => (Algorithm::HS256, KeyAlgorithm::HS256),
        _ => return None,
    };
    jwk.common.key_algorithm.is_none_or(|said| said == name).then_some(algorithm)
}

/// Generates a key at `path`, readable by its owner only. For a [`KeyKind::Pair`] the public key
/// goes to `<path>.pub`. Returns the path of the file that services need to verify tokens: the
/// public key of a pair, or the secret.
///
/// # Errors
/// Fails if the file exists (a key is never overwritten) or cannot be written.
pub fn generate_key(path: &Path, kind: KeyKind) -> Result<PathBuf, KeyError> {
    match kind {
        KeyKind::Secret => {
            let mut bytes = [0; SECRET_BYTES_MIN];
            aws_lc_rs::rand::fill(&mut bytes)
                .map_err(|_| KeyError::new(path, "the system's random number generator failed"))?;
            write_new(path, &format!("{}\n", URL_SAFE_NO_PAD.encode(bytes)), 0o600)?;
            Ok(path.to_owned())
        }
        KeyKind::Pair => {
            use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
            use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
            let failed = |_| KeyError::new(path, "cannot generate an Ed25519 key");
            let pair = Ed25519KeyPair::generate().map_err(failed)?;
            let private = pair.to_pkcs8v1().map_err(failed)?;
            let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
            let mut public_path = path.as_os_str().to_owned();
            public_path.push(".pub");
            let public_path = PathBuf::from(public_path);
            write_new(path, &pem("PRIVATE KEY", private.as_ref()), 0o600)?;
            write_new(&public_path, &pem("PUBLIC KEY", public.as_ref()), 0o644)?;
            Ok(public_path)
        }
    }
}

pub(super) fn pem(label: &str, der: &[u8]) -> String {
    // The base64 of an Ed25519 key fits into two lines of 64 characters.
    let base64 = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for (i, c) in base64.chars().enumerate() {
        if i > 0 && i % 64 == 0 {
            text.push('\n');
        }
        text.push(c);
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), KeyError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let written = options.open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => KeyError::new(path, "the file exists; a key is never overwritten"),
        _ => KeyError::new(path, format!("cannot write the file: {e}")),
    })
}

//! Issues tokens, for `driftless token`, `driftless dev` and tests. In production an identity
//! provider issues them.

use super::keys::{KeyError, secret};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use driftless_schemas::access::Access;
use driftless_schemas::time::UnixMs;
use driftless_schemas::{WorldId, limits};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Signs tokens with one key.
#[derive(Clone)]
pub struct Signer {
    path: PathBuf,
    algorithm: Algorithm,
    key: EncodingKey,
    audience: Option<String>,
    world: Option<WorldId>,
}

impl Signer {
    /// Reads the signing key from a secret (HS256) or a PEM private key: Ed25519, P-256 (PKCS #8)
    /// or RSA.
    ///
    /// # Errors
    /// [`KeyError`] if the file is none of these.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let bytes = std::fs::read(path).map_err(|e| KeyError::new(path, format!("cannot be read: {e}")))?;
        let (algorithm, key) = if bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
            private_pem(path, &bytes)?
        } else {
            (Algorithm::HS256, EncodingKey::from_secret(secret(path, &bytes)?))
        };
        Ok(Self { path: path.to_owned(), algorithm, key, audience: None, world: None })
    }

    /// Returns a signer whose issued tokens name this audience in `aud`.
    #[must_use]
    pub fn with_audience(self, audience: Option<String>) -> Self {
        Self { audience, ..self }
    }

    /// Returns a signer whose issued tokens are valid only for services of the world with this id.
    #[must_use]
    pub fn for_world(self, world: Option<WorldId>) -> Self {
        Self { world, ..self }
    }

    /// Issues a token for `sub`, valid from `now` for `lifetime_s` seconds.
    ///
    /// # Errors
    /// Fails if verifiers would refuse the name, or if signing fails.
    pub fn issue(&self, sub: &str, access: &Access, now: UnixMs, lifetime_s: u32) -> Result<String, KeyError> {
        if sub.is_empty() || sub.len() > limits::AUTHOR_BYTES_MAX {
            let problem =
                format!("the user's name must have 1 to {} bytes, not {}", limits::AUTHOR_BYTES_MAX, sub.len());
            return Err(KeyError::new(&self.path, problem));
        }
        let now_s = now.0.div_euclid(1000);
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| {
            KeyError::new(&self.path, "the system's random number generator failed, so the token cannot get a jti")
        })?;
        let mut claims = json!({
            "sub": sub,
            // Identifies this token in a deny list.
            "jti": URL_SAFE_NO_PAD.encode(id),
            "iat": now_s,
            "exp": now_s.saturating_add(i64::from(lifetime_s)),
            "driftless": access,
        });
        if let Some(audience) = &self.audience {
            claims["aud"] = audience.as_str().into();
        }
        if let Some(world) = self.world {
            claims["driftless"]["world"] = world.to_string().into();
        }
        self.sign(&claims)
    }

    /// Signs any claims as they are. Tests sign unusable claims with this function; it also makes
    /// tokens with additional claims.
    ///
    /// # Errors
    /// Fails if signing fails.
    pub fn sign(&self, claims: &serde_json::Value) -> Result<String, KeyError> {
        jsonwebtoken::encode(&Header::new(self.algorithm), claims, &self.key)
            .map_err(|e| KeyError::new(&self.path, format!("cannot sign: {e}")))
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({:?} with {})", self.algorithm, self.path.display())
    }
}

fn private_pem(path: &Path, pem: &[u8]) -> Result<(Algorithm, EncodingKey), KeyError> {
    if let Ok(key) = EncodingKey::from_ed_pem(pem) {
        return Ok((Algorithm::EdDSA, key));
    }
    if let Ok(key) = EncodingKey::from_ec_pem(pem) {
        return Ok((Algorithm::ES256, key));
    }
    EncodingKey::from_rsa_pem(pem)
        .map(|key| (Algorithm::RS256, key))
        .map_err(|e| KeyError::new(path, format!("not an Ed25519, P-256 (PKCS #8) or RSA private key: {e}")))
}

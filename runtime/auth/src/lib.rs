//! Tokens: who somebody is and what they may do (DESIGN.md section 10).
//!
//! A token is a JWT with `sub`, `exp` and the claim `driftless` ([`Access`]). Services check with a [`Verifier`]; a
//! [`Signer`] issues, for `driftless token`, `driftless dev` and tests. The one idea: a key has exactly one algorithm,
//! found when the key is read, so that no token can talk a public key into being an HMAC secret, or the service into
//! `none`. Keys may change while a service runs, and tokens that are signed well may be denied ([`DenyList`]): both are files
//! that [`Verifier::reloaders`] keeps up with. The clock is an argument (R11). Signatures and their constant-time comparison are jsonwebtoken's business.

mod deny;
mod keys;
mod signer;
mod verifier;

pub use deny::{DenyError, DenyList};
pub use driftless_schemas::access::{Access, Claims};
pub use keys::{KeyError, KeyKind, generate_key};
pub use signer::Signer;
pub use verifier::{Trust, Verifier};

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How tokens are checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// A secret of at least 32 bytes as it stands in the file (HS256), a PEM public key (RSA, P-256, Ed25519), or a JWKS.
    pub key_file: PathBuf,
    /// Users and tokens that are refused although they are signed well: lines `sub <name>` and `jti <id>`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_file: Option<PathBuf>,
    /// Key file and deny file are looked at for changes this often, milliseconds. Default 2,000.
    #[serde(default = "reload")]
    pub reload_ms: u32,
    /// If set, a token must name it in `aud`. Default: not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// If set, a token's `iss` must be it. Default: not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// How much later than now a token's `nbf` may be, seconds: for an issuer whose clock is ahead of this one's. `exp` is taken
    /// at its word, and `iat` is not looked at. Default 30.
    #[serde(default = "leeway")]
    pub not_before_leeway_s: u32,
}

fn leeway() -> u32 {
    30
}

fn reload() -> u32 {
    2_000
}

impl Settings {
    /// Tokens signed with this key file, nothing else asked of them.
    #[must_use]
    pub fn with_key_file(key_file: impl Into<PathBuf>) -> Self {
        Self {
            key_file: key_file.into(),
            deny_file: None,
            reload_ms: reload(),
            audience: None,
            issuer: None,
            not_before_leeway_s: leeway(),
        }
    }
}

/// Why tokens cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The deny file.
    #[error(transparent)]
    Deny(#[from] DenyError),
}

/// Why a token is not usable. No message repeats the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than `limits::TOKEN_BYTES_MAX`.
    #[error("the token has {bytes} bytes; {max} are the most")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Not a JWT.
    #[error("the token is no JWT: {0}")]
    Malformed(String),
    /// The header names an algorithm that none of the keys has.
    #[error("the token is signed with {alg:?}; this service takes {allowed}")]
    AlgorithmNotAllowed {
        /// What the header says, cut to a readable length.
        alg: String,
        /// What would be taken.
        allowed: String,
    },
    /// The header names a key that the key file does not have.
    #[error("the token is signed with the key {kid:?}, which this service does not have; was the key file rotated?")]
    UnknownKey {
        /// The header's `kid`, cut to a readable length.
        kid: String,
    },
    /// The signature does not fit.
    #[error("the token's signature is wrong: it was signed with another key, or changed afterwards")]
    Forged,
    /// `exp` has passed.
    #[error("the token expired at {expired_at} (seconds since 1970), {ago_s} s ago; get a fresh one")]
    Expired {
        /// `exp`.
        expired_at: i64,
        /// How long ago that was.
        ago_s: i64,
    },
    /// `nbf` has not come.
    #[error("the token is not valid before {valid_from} (seconds since 1970), in {in_s} s; check the clocks")]
    NotYetValid {
        /// `nbf`.
        valid_from: i64,
        /// How long until then.
        in_s: i64,
    },
    /// It is signed well and has not ended, but the deny list names it.
    #[error("the token is denied: this service's deny list names its {claim} {value:?}")]
    Denied {
        /// `sub` or `jti`.
        claim: &'static str,
        /// What it says there.
        value: String,
    },
    /// It was good, but the key that signed it has been taken out of the key file since.
    #[error(
        "the key that signed the token was taken out of this service's key file; get a token that another one signed"
    )]
    KeyRemoved,
    /// A claim is missing, or is not what it should be.
    #[error("the token's claim {claim:?} is not usable: {problem}")]
    WrongClaim {
        /// Its name.
        claim: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

impl TokenError {
    /// A short name, for metric labels and problem types.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "token_too_long",
            Self::Malformed(_) => "token_malformed",
            Self::AlgorithmNotAllowed { .. } => "token_algorithm",
            Self::UnknownKey { .. } => "token_unknown_key",
            Self::Forged => "token_forged",
            Self::Expired { .. } => "token_expired",
            Self::NotYetValid { .. } => "token_not_yet_valid",
            Self::Denied { .. } => "token_denied",
            Self::KeyRemoved => "token_key_removed",
            Self::WrongClaim { .. } => "token_wrong_claim",
        }
    }
}

#[cfg(test)]
mod tests;

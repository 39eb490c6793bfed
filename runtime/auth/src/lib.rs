//! Tokens: the identity of a user and what the user may access (docs/design.md#access).
//!
//! A token is a JWT with `sub`, `exp` and the claim `driftless` ([`Access`]). Services verify
//! tokens with a [`Verifier`]; a [`Signer`] issues them for `driftless token`, `driftless dev` and
//! tests. Each key has exactly one algorithm, which is determined when the key is read. No token
//! can therefore pass a public key off as an HMAC secret, or select the algorithm `none`.
//!
//! The key file may change while a service runs, and so may the file of users and tokens that are
//! denied ([`DenyList`]). [`Verifier::reloaders`] applies changes of both files. The time is an
//! argument (R11). The crate jsonwebtoken verifies signatures in constant time.
//!
//! A token may be restricted to services of one audience (`aud`), and to services of one world (the
//! claim `driftless.world`, a world's id). Services log refused tokens ([`PeerVerifier`]).

mod deny;
mod keys;
mod peer;
mod refusals;
mod signer;
mod verifier;

pub use deny::{DenyError, DenyList};
pub use driftless_schemas::access::{Access, Claims};
pub use keys::{KeyError, KeyKind, generate_key};
pub use peer::PeerVerifier;
pub use signer::Signer;
pub use verifier::{Trust, Verifier};

use driftless_schemas::WorldId;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The settings with which a service verifies tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The key file: a secret of at least 32 bytes (HS256; not decoded), a PEM public key (RSA,
    /// P-256, Ed25519), or a JWKS.
    pub key_file: PathBuf,
    /// A file of users and tokens that are refused although their signature is valid: lines `sub
    /// <name>` and `jti <id>`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_file: Option<PathBuf>,
    /// The interval at which the key file and the deny file are polled for changes, milliseconds.
    /// Default 2,000.
    #[serde(default = "reload")]
    pub reload_ms: u32,
    /// If set, a token must name this audience in `aud`. Default: not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// If set, a token's `iss` must equal this. Default: not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The longest lifetime of a token, from `iat` to `exp`, seconds. A token without `iat` is
    /// judged by the time from now to `exp`. Default 0: no limit.
    #[serde(default)]
    pub lifetime_max_s: u32,
    /// How far in the future a token's `nbf` may be, seconds. This tolerates an issuer whose clock
    /// is ahead of this service's clock. `exp` has no such leeway. Default 30.
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
    /// Settings for tokens signed with this key file, without further requirements.
    #[must_use]
    pub fn with_key_file(key_file: impl Into<PathBuf>) -> Self {
        Self {
            key_file: key_file.into(),
            deny_file: None,
            reload_ms: reload(),
            audience: None,
            issuer: None,
            lifetime_max_s: 0,
            not_before_leeway_s: leeway(),
        }
    }
}

/// The audience of the services of a world with this name, as `driftless init` suggests it and
/// `driftless dev` uses it. The audience keeps apart worlds whose services have the same keys. It
/// stays the same when the world is made again; [`Verifier::for_world`] tells such worlds apart.
#[must_use]
pub fn audience_of(world: &str) -> String {
    format!("driftless:{world}")
}

/// An error in the files that tokens are verified with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key file is not usable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The deny file is not usable.
    #[error(transparent)]
    Deny(#[from] DenyError),
}

/// The reason why a token is refused. No message repeats the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token is longer than `limits::TOKEN_BYTES_MAX`.
    #[error("the token has {bytes} bytes; the limit is {max}")]
    TooLong {
        /// The token's length in bytes.
        bytes: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The token is not a JWT.
    #[error("the token is not a JWT: {0}")]
    Malformed(String),
    /// The header names an algorithm that no key in force has.
    #[error("the token is signed with {alg:?}; this service accepts {allowed}")]
    AlgorithmNotAllowed {
        /// The header's `alg`, cut to a readable length.
        alg: String,
        /// The accepted algorithms.
        allowed: String,
    },
    /// The header names a key that is not in the key file.
    #[error("the token is signed with the key {kid:?}, which this service does not have; was the key file rotated?")]
    UnknownKey {
        /// The header's `kid`, cut to a readable length.
        kid: String,
    },
    /// The signature does not match.
    #[error("the token's signature does not match: it was signed with another key, or changed afterwards")]
    Forged,
    /// The token's expiry (`exp`) has passed.
    #[error("the token expired at {expired_at} (seconds since 1970), {ago_s} s ago; get a fresh one")]
    Expired {
        /// The claim `exp`: seconds since 1970.
        expired_at: i64,
        /// The seconds since the expiry.
        ago_s: i64,
    },
    /// The token's `nbf` is in the future.
    #[error("the token is not valid before {valid_from} (seconds since 1970), in {in_s} s; check the clocks")]
    NotYetValid {
        /// The claim `nbf`: seconds since 1970.
        valid_from: i64,
        /// The seconds until the token becomes valid.
        in_s: i64,
    },
    /// The token is valid for longer than this service accepts.
    #[error(
        "the token is valid for {lifetime_s} s; this service accepts at most {max_s} s (lifetime_max_s in [auth]): get \
         one that expires sooner"
    )]
    LivesTooLong {
        /// The token's lifetime in seconds: from `iat` to `exp`, or from now without `iat`.
        lifetime_s: i64,
        /// The setting `lifetime_max_s`.
        max_s: u32,
    },
    /// The token is restricted to another world.
    #[error("the token is for the world with id {wanted}; this service serves the world with id {served}")]
    OtherWorld {
        /// The claim `driftless.world`.
        wanted: WorldId,
        /// The id of the served world.
        served: WorldId,
    },
    /// The token is restricted to a world, and the served world has no id.
    #[error(
        "the token is for the world with id {wanted}, and the world of this service has no id: give it one with \
         `driftless init --update`, or get a token without the claim \"driftless.world\""
    )]
    WorldWithoutId {
        /// The claim `driftless.world`.
        wanted: WorldId,
    },
    /// The token is validly signed and has not expired, but is on the deny list.
    #[error("the token is denied: this service's deny list names its {claim} {value:?}")]
    Denied {
        /// The claim that the list names: `sub` or `jti`.
        claim: &'static str,
        /// The value of that claim.
        value: String,
    },
    /// The token was valid, but the key that signed it has been removed from the key file since.
    #[error(
        "the key that signed the token was removed from this service's key file; get a token signed with a current key"
    )]
    KeyRemoved,
    /// A claim is missing or unusable.
    #[error("the token's claim {claim:?} is not usable: {problem}")]
    WrongClaim {
        /// The claim's name.
        claim: &'static str,
        /// The problem, and what would work.
        problem: String,
    },
}

impl TokenError {
    /// A short name for metric labels and problem types.
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
            Self::LivesTooLong { .. } => "token_lifetime",
            Self::OtherWorld { .. } | Self::WorldWithoutId { .. } => "token_other_world",
            Self::Denied { .. } => "token_denied",
            Self::KeyRemoved => "token_key_removed",
            Self::WrongClaim { .. } => "token_wrong_claim",
        }
    }

    /// Whether the token's signature was valid, so that its claims are what an issuer wrote.
    fn is_signed(&self) -> bool {
        match self {
            Self::TooLong { .. }
            | Self::Malformed(_)
            | Self::AlgorithmNotAllowed { .. }
            | Self::UnknownKey { .. }
            | Self::Forged => false,
            Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::LivesTooLong { .. }
            | Self::OtherWorld { .. }
            | Self::WorldWithoutId { .. }
            | Self::Denied { .. }
            | Self::KeyRemoved
            | Self::WrongClaim { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests;

//! Refused tokens in the log: who sent the token, from where, and why it was refused.
//!
//! A line never contains the token or a part of its signature. Clients choose the texts in a line,
//! so the texts are cut and logged as quoted fields, which contain no line ends. All clones of a
//! `Verifier` together write one line per second, because a peer may send refused tokens as fast as
//! it can.

use super::TokenError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use driftless_runtime::telemetry::LogThrottle;
use driftless_schemas::limits;
use serde_json::Value;
use std::net::IpAddr;
use std::time::Instant;

/// Logs refused tokens, at most one line per second.
#[derive(Debug, Default)]
pub(super) struct RefusalLog(LogThrottle);

impl RefusalLog {
    /// Logs a refusal. `sub` gives the user's name; only the issuer's signature makes it more than
    /// a claim of the peer, so that a name without a valid signature has another field.
    pub fn log(&self, peer: Option<IpAddr>, sub: impl FnOnce() -> Option<String>, error: &TokenError) {
        let Some(others) = self.0.due(Instant::now()) else { return };
        let (sub, sub_unverified) = match error.is_signed() {
            true => (sub(), None),
            false => (None, sub()),
        };
        let reason = error.to_string();
        tracing::info!(
            peer = peer.map(|peer| tracing::field::display(peer.to_canonical())),
            sub = sub.as_deref(),
            sub_unverified = sub_unverified.as_deref(),
            code = error.name(),
            // A string field is quoted in the log; the reason may quote texts of the peer.
            reason = reason.as_str(),
            others,
            "refused a token"
        );
    }
}

/// Reads `sub` from a token that was not verified, cut to a readable length.
pub(super) fn claimed_sub(token: &str) -> Option<String> {
    if token.len() > limits::TOKEN_BYTES_MAX {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    claims.get("sub")?.as_str().map(readable)
}

/// Cuts a text that a client chose.
pub(super) fn readable(text: &str) -> String {
    text.chars().take(120).collect()
}

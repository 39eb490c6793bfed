//! The clock, the dice and the token check that the core is given.

use driftless_runtime::auth::{Claims, TokenError, Verifier};
use driftless_runtime_core::Environment;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) struct Desk(pub Verifier);

impl Environment for Desk {
    fn verify(&self, token: &str, now_ms: i64) -> Result<Claims, String> {
        self.check(token, now_ms).map_err(|e| e.to_string())
    }

    fn denied(&self, claims: &Claims) -> Option<String> {
        self.0.check_again(claims).err().map(|e| e.to_string())
    }

    fn random(&self) -> [u8; 10] {
        rand::random()
    }
}

impl Desk {
    pub(crate) fn check(&self, token: &str, now_ms: i64) -> Result<Claims, TokenError> {
        self.0.verify(token, now_ms)
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

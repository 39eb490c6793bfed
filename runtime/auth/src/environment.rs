//! Implements [`Environment`] for [`Verifier`]: sessions on a service's websockets verify tokens
//! with it, and get random bytes from the operating system.

use crate::Verifier;
use driftless_runtime_core::{Environment, TokenRefused};
use driftless_schemas::access::Claims;
use driftless_schemas::time::UnixMs;

impl Environment for Verifier {
    fn verify(&self, token: &str, now: UnixMs) -> Result<Claims, TokenRefused> {
        Self::verify(self, token, now).map_err(|e| TokenRefused(e.to_string()))
    }

    fn recheck(&self, claims: &Claims) -> Result<(), TokenRefused> {
        self.check_again(claims).map_err(|e| TokenRefused(e.to_string()))
    }

    fn random(&self) -> [u8; 10] {
        rand::random()
    }
}

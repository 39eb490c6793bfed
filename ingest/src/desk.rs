//! The clock, the dice and the token check that the core is given.

use driftless_auth::{Claims, TokenError, Verifier};
use driftless_runtime_core::{Environment, TokenRefused};
use driftless_schemas::time::UnixMs;

pub(crate) struct Desk(pub Verifier);

impl Environment for Desk {
    fn verify(&self, token: &str, now: UnixMs) -> Result<Claims, TokenRefused> {
        self.check(token, now).map_err(|e| TokenRefused(e.to_string()))
    }

    fn recheck(&self, claims: &Claims) -> Result<(), TokenRefused> {
        self.0.check_again(claims).map_err(|e| TokenRefused(e.to_string()))
    }

    fn random(&self) -> [u8; 10] {
        rand::random()
    }
}

impl Desk {
    pub(crate) fn check(&self, token: &str, now: UnixMs) -> Result<Claims, TokenError> {
        self.0.verify(token, now)
    }
}

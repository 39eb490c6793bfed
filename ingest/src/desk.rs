//! The clock, the dice and the token check that the core is given.

use driftless_auth::{Claims, TokenError, Verifier};
use driftless_runtime_core::Environment;
use driftless_schemas::time::UnixMs;

pub(crate) struct Desk(pub Verifier);

impl Environment for Desk {
    fn verify(&self, token: &str, now: UnixMs) -> Result<Claims, String> {
        self.check(token, now).map_err(|e| e.to_string())
    }

    fn denied(&self, claims: &Claims) -> Option<String> {
        self.0.check_again(claims).err().map(|e| e.to_string())
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

//! The wire between a client and a server, and the environment of a session: tokens and randomness.

use crate::rng::Rng;
use bytes::Bytes;
use driftless_runtime_core::{Environment, TokenRefused};
use driftless_schemas::access::{Access, Claims};
use driftless_schemas::time::UnixMs;
use std::cell::RefCell;
use std::collections::VecDeque;

/// The messages in flight between a client and a server, in order in both directions.
#[derive(Debug, Default)]
pub struct Link {
    /// The client at the other end; `None` if the client is gone and the server has not noticed.
    pub peer: Option<usize>,
    /// Messages to the server.
    pub up: VecDeque<Bytes>,
    /// Messages to the client.
    pub down: VecDeque<Bytes>,
    /// The code with which the server closes the link after the messages in `down`.
    pub close: Option<u16>,
}

impl Link {
    /// An empty link to the client with this number.
    #[must_use]
    pub fn new(peer: usize) -> Self {
        Self { peer: Some(peer), ..Self::default() }
    }
}

/// Verifies the simulation's tokens. A token is `<sub>`, or `<sub>!` if the user may only read. A
/// suffix `@<seconds>` says how long the token is valid from the moment of its verification. A
/// token without the suffix outlives every run.
pub struct SimEnvironment(RefCell<Rng>);

impl SimEnvironment {
    /// An environment with a separate random stream.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(RefCell::new(Rng::new(seed, 77)))
    }

    /// The time at which a token expires if it is verified at `now`.
    #[must_use]
    pub fn expiry(token: &str, now: UnixMs) -> UnixMs {
        let life_s = token.split_once('@').and_then(|(_, life_s)| life_s.parse().ok());
        UnixMs::from_seconds(now.0 / 1000 + life_s.unwrap_or(1_000_000))
    }
}

impl Environment for SimEnvironment {
    fn verify(&self, token: &str, now: UnixMs) -> Result<Claims, TokenRefused> {
        let all = || vec!["things/".to_owned(), "canvas/".to_owned()];
        let name = token.split('@').next().unwrap_or_default();
        let access = match name.ends_with('!') {
            true => Access { read: all(), ..Access::default() },
            false => Access { write: all(), ..Access::default() },
        };
        let sub = name.trim_end_matches('!').to_owned();
        let expires_at = Self::expiry(token, now).0 / 1000;
        Ok(Claims { sub, jti: None, expires_at, access, key: Default::default() })
    }

    fn recheck(&self, _claims: &Claims) -> Result<(), TokenRefused> {
        Ok(())
    }

    fn random(&self) -> [u8; 10] {
        let mut rng = self.0.borrow_mut();
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&rng.next().to_le_bytes());
        bytes
    }
}

//! The wire between a client and a server, and what a session asks of the world outside.

use crate::rng::Rng;
use bytes::Bytes;
use driftless_schemas::access::{Access, Claims};
use driftless_schemas::time::UnixMs;
use std::cell::RefCell;
use std::collections::VecDeque;

/// Messages on their way, in order both ways.
#[derive(Debug, Default)]
pub struct Link {
    /// The client at the other end; `None` where it is gone and the server has not noticed.
    pub peer: Option<usize>,
    /// To the server.
    pub up: VecDeque<Bytes>,
    /// To the client.
    pub down: VecDeque<Bytes>,
    /// The server closes it with this code, after `down`.
    pub close: Option<u16>,
}

impl Link {
    /// A fresh one.
    #[must_use]
    pub fn new(peer: usize) -> Self {
        Self { peer: Some(peer), ..Self::default() }
    }
}

/// Verifies tokens. A token is `<sub>`, or `<sub>!` if the user may only read. `@<seconds>` at its
/// end says how long it is valid after it was verified; without that it outlives every run.
pub struct Outside(RefCell<Rng>);

impl Outside {
    /// With chance of its own.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(RefCell::new(Rng::new(seed, 77)))
    }

    /// When a token expires that is verified at `now`.
    #[must_use]
    pub fn expiry(token: &str, now: UnixMs) -> UnixMs {
        let life_s = token.split_once('@').and_then(|(_, life_s)| life_s.parse().ok());
        UnixMs::from_seconds(now.0 / 1000 + life_s.unwrap_or(1_000_000))
    }
}

impl driftless_runtime_core::Environment for Outside {
    fn verify(&self, token: &str, now: UnixMs) -> Result<Claims, String> {
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

    fn denied(&self, _claims: &Claims) -> Option<String> {
        None
    }

    fn random(&self) -> [u8; 10] {
        let mut rng = self.0.borrow_mut();
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&rng.next().to_le_bytes());
        bytes
    }
}

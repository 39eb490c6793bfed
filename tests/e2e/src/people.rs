//! Tokens for the users of a test.

use driftless_auth::{Access, Signer};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Signs tokens for users with the key of a deployment.
pub struct Tokens(Signer);

impl Tokens {
    /// Reads the key file of a deployment.
    ///
    /// # Panics
    /// If the text is no key.
    #[must_use]
    pub fn of(key: &Path) -> Self {
        Self(Signer::from_file(key).expect("a key"))
    }

    /// Returns the same with tokens that name this audience.
    #[must_use]
    pub fn for_audience(self, audience: &str) -> Self {
        Self(self.0.with_audience(Some(audience.to_owned())))
    }

    /// Signs a token with which the user may write everything in the families of the world of
    /// `dev`.
    #[must_use]
    pub fn for_all(&self, user: &str) -> String {
        self.issue(user, &[], &["canvas/", "things/"])
    }

    /// Signs a token with this access that is valid for an hour from now.
    #[must_use]
    pub fn issue(&self, user: &str, read: &[&str], write: &[&str]) -> String {
        self.issue_at(user, read, write, 0)
    }

    /// Signs a token with this access that is valid for an hour, counted from `ago_s` seconds ago.
    ///
    /// # Panics
    /// If the user has no name.
    #[must_use]
    pub fn issue_at(&self, user: &str, read: &[&str], write: &[&str], ago_s: i64) -> String {
        self.sign(user, read, write, now_ms() - ago_s * 1000, 3600)
    }

    /// Signs a token with this access that is valid for `life_s` seconds from now.
    #[must_use]
    pub fn issue_for(&self, user: &str, read: &[&str], write: &[&str], life_s: u32) -> String {
        self.sign(user, read, write, now_ms(), life_s)
    }

    fn sign(&self, user: &str, read: &[&str], write: &[&str], from_ms: i64, life_s: u32) -> String {
        let owned = |list: &[&str]| list.iter().map(|&entry| entry.to_owned()).collect();
        let access = Access { read: owned(read), write: owned(write), roles: Vec::new() };
        self.0.issue(user, &access, driftless_schemas::time::UnixMs(from_ms), life_s).expect("a token")
    }
}

/// The time in milliseconds since the Unix epoch.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

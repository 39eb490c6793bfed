//! The result type of attacks.

use anyhow::Result;
use std::future::Future;
use std::pin::Pin;

/// The result of an attack. `Ok` means that the defence held, and says what was seen. `Err` says
/// what the attacker got.
pub type Attack = Pin<Box<dyn Future<Output = Result<String>> + Send>>;

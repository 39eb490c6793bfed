//! What the core's user may choose. Times are milliseconds.

use driftless_chunk::model::Models;
use driftless_schemas::limits;
use driftless_schemas::time::{MonotonicMs, UnixMs};
use serde_json::Value;

/// A window of 8 MiB: more than a content and its framing need.
#[cfg(feature = "zstd")]
const WINDOW_LOG_MAX: u32 = 23;

/// What the core leaves to the program that it runs in, because a browser's build has smaller ways.
#[derive(Clone, Copy)]
pub struct Host {
    /// Uncompresses zstd data of at most that many bytes (uncompressed), or says what is wrong with it.
    pub decompress: fn(&[u8], usize) -> Result<Vec<u8>, String>,
    /// Reads a JSON text, every number exactly, or says what is wrong with it.
    pub read_json: fn(&str) -> Result<Value, String>,
}

/// Settings of a [`crate::ClientCore`].
#[derive(Clone)]
pub struct Settings {
    /// The models that this client has.
    pub models: Models,
    /// The program around it.
    pub host: Host,
    /// Wall time at the zero of the shell's monotonic clock: 0 if that clock counts from 1970. The core's wall time follows
    /// from it and the monotonic clock, so that it never goes back either.
    pub clock_start: UnixMs,
    /// The user's name, as predictions see it; empty where a model does not ask.
    pub author: String,
    /// The user's roles, as predictions see them.
    pub roles: Vec<String>,
    /// Without progress for this long, unresolved commands are sent again. It doubles up to [`Self::resend_after_max_ms`].
    pub resend_after_ms: u64,
    /// See [`Self::resend_after_ms`].
    pub resend_after_max_ms: u64,
    /// The shortest time between two resends of a chunk on one connection; it doubles as long as nothing moves.
    pub resend_gap_ms: u64,
    /// Commands that may be pending in one chunk, those that wait for a number included.
    pub pending_max: usize,
    /// PendingCommand commits of a chunk that can be taken back ([`crate::ClientCore::take_back`]); each keeps its inverse. 0: none.
    pub undo_max: usize,
    /// Whether the shell can get another token: without that, a refused token is the end.
    pub can_renew: bool,
    /// How long before the token's expiry a new one is asked for.
    pub renew_before_ms: u64,
    /// How long to wait for the answer to a Track or a Refresh before it is asked again.
    pub answer_timeout_ms: u64,
    /// See `limits::PING_INTERVAL_MS`.
    pub ping_interval_ms: u64,
    /// See `limits::DEAD_AFTER_MS`.
    pub dead_after_ms: u64,
}

impl Settings {
    /// Defaults for these models, with the C implementation of zstd, and serde_json.
    #[cfg(feature = "zstd")]
    #[must_use]
    pub fn new(models: Models) -> Self {
        let read_json = |text: &str| serde_json::from_str(text).map_err(|e| e.to_string());
        Self::for_host(models, Host { decompress, read_json })
    }

    /// The wall time at a moment of the monotonic clock.
    pub(crate) fn wall_time(&self, now: MonotonicMs) -> UnixMs {
        self.clock_start.plus_ms(i64::try_from(now.0).unwrap_or(i64::MAX))
    }

    /// Defaults for these models and what the caller brings.
    #[must_use]
    pub fn for_host(models: Models, host: Host) -> Self {
        Self {
            models,
            host,
            clock_start: UnixMs(0),
            author: String::new(),
            roles: Vec::new(),
            resend_after_ms: 3_000,
            resend_after_max_ms: 30_000,
            resend_gap_ms: 250,
            pending_max: 4_096,
            undo_max: 0,
            can_renew: false,
            renew_before_ms: 60_000,
            answer_timeout_ms: 15_000,
            ping_interval_ms: limits::PING_INTERVAL_MS,
            dead_after_ms: limits::DEAD_AFTER_MS,
        }
    }
}

#[cfg(feature = "zstd")]
fn decompress(data: &[u8], bytes_max: usize) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let mut out = Vec::new();
    let mut decoder = zstd::stream::read::Decoder::new(data).map_err(|e| e.to_string())?;
    // A frame may ask for a window of 128 MiB; ours hold a content at most.
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(|e| e.to_string())?;
    // One byte more than allowed, so that "too long" is seen and a bomb is not.
    decoder.take(bytes_max as u64 + 1).read_to_end(&mut out).map_err(|e| e.to_string())?;
    if out.len() > bytes_max {
        return Err(format!("more than {bytes_max} bytes"));
    }
    Ok(out)
}

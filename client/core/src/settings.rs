//! Settings of the core, and the functions that the core needs from the program around it.

use driftless_chunk::model::Models;
use driftless_schemas::limits;
use driftless_schemas::time::{MonotonicMs, UnixMs};
use serde_json::Value;

/// The largest window that a zstd frame may ask for, as a power of two: 2^23 bytes are 8 MiB. A
/// content and its framing need less.
#[cfg(feature = "zstd")]
const WINDOW_LOG_MAX: u32 = 23;

/// Functions that the core needs from its host, the program that contains it. They are not part of
/// the core, because browsers need smaller implementations than other hosts.
#[derive(Clone, Copy)]
pub struct Host {
    /// Decompresses the zstd data in the first argument. The second argument is the largest
    /// decompressed size in bytes; more is an error. The error says what is wrong with the data.
    pub decompress: fn(&[u8], usize) -> Result<Vec<u8>, String>,
    /// Parses a JSON text. Whole numbers of 64 bits must stay exact. The error says what is wrong
    /// with the text.
    pub read_json: fn(&str) -> Result<Value, String>,
}

/// Settings of a [`crate::ClientCore`].
#[derive(Clone)]
pub struct Settings {
    /// The models that this client has.
    pub models: Models,
    /// The functions of the host program.
    pub host: Host,
    /// The wall time at which the shell's monotonic clock showed 0; 0 if the monotonic clock counts
    /// from 1970. The core computes wall time as this value plus the monotonic time, so that its
    /// wall time never goes backwards.
    pub clock_start: UnixMs,
    /// The user's name, which predictions pass to the model as the author. May be empty if no model
    /// reads the author.
    pub author: String,
    /// The user's roles, which predictions pass to the model.
    pub roles: Vec<String>,
    /// Milliseconds without a decision after which the core sends a chunk's unresolved commands
    /// again. The time doubles with each resend, up to [`Self::resend_after_max_ms`].
    pub resend_after_ms: u64,
    /// The upper limit to which [`Self::resend_after_ms`] doubles, in milliseconds.
    pub resend_after_max_ms: u64,
    /// The shortest time between two resends of a chunk's commands on one connection, in
    /// milliseconds. The time doubles with each resend that brings no decision.
    pub resend_gap_ms: u64,
    /// The largest number of commands that may be pending in one chunk, including commands that
    /// were not sent yet. `submit` refuses further commands.
    pub pending_max: usize,
    /// The number of this client's newest commits in a chunk that can be taken back
    /// ([`crate::ClientCore::take_back`]). The inverse of each is kept in memory. 0 switches undo
    /// off.
    pub undo_max: usize,
    /// Whether the shell can get another token. If false, a refused token ends the client.
    pub can_renew: bool,
    /// How long before the token's expiry the core asks for a new token, in milliseconds.
    pub renew_before_ms: u64,
    /// How long the core waits for the answer to a Track or a Refresh before it sends Track again,
    /// in milliseconds.
    pub answer_timeout_ms: u64,
    /// The interval of pings in milliseconds, by default `limits::PING_INTERVAL_MS`.
    pub ping_interval_ms: u64,
    /// A connection on which the server sent nothing for this long is dead, in milliseconds; by
    /// default `limits::DEAD_AFTER_MS`.
    pub dead_after_ms: u64,
}

impl Settings {
    /// Defaults for these models, with the C implementation of zstd and with serde_json.
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

    /// Defaults for these models and the host's functions.
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
    // A hostile frame may ask for a window of 128 MiB. Driftless frames hold one content at most.
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(|e| e.to_string())?;
    // Read at most one byte more than allowed. The extra byte shows that the data is too long, and
    // the limit stops a zip bomb.
    decoder.take(bytes_max as u64 + 1).read_to_end(&mut out).map_err(|e| e.to_string())?;
    if out.len() > bytes_max {
        return Err(format!("more than {bytes_max} bytes"));
    }
    Ok(out)
}

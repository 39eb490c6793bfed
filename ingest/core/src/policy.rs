//! What ingest asks of clients, as far as an operator may choose it.

use driftless_schemas::limits;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Limits of users and sockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Commands a second that one user may submit to this process, over all sockets. Default 2,000.
    pub commands_per_second: u32,
    /// Commands that one user may submit at once after a rest. Default 8,000.
    pub commands_burst: u32,
    /// Command bytes a second, likewise. Default 4 MiB.
    pub bytes_per_second: u32,
    /// Command bytes at once, likewise. Default 16 MiB.
    pub bytes_burst: u32,
    /// What a user's commands may cost a second, likewise, in units of one cell: what they do, however few bytes they are. A fill
    /// costs as many units as it has cells. Default 262,144.
    pub cost_per_second: u32,
    /// What they may cost at once, likewise. Default 1,048,576.
    pub cost_burst: u32,
    /// Websockets of one user to this process; 0 is any number. Default 128.
    pub connections_per_user: usize,
    /// The same for users with a role, such as `service = 10000`; the most counts, and 0 is any number. Default: none.
    pub connections_of_role: BTreeMap<String, usize>,
    /// Commands of one socket that may wait for the log; at that point the socket is not read. Default 4,096.
    pub in_flight_max: usize,
    /// How long after its end a token may still be renewed before the socket is closed, milliseconds. Default 10,000.
    pub renewal_grace_ms: u32,
    /// How much older than now a session may be, milliseconds. Default 7 days.
    pub session_age_max_ms: u64,
    /// What a client waits before it comes again when the log takes nothing, milliseconds. Default 1,000.
    pub unavailable_retry_ms: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            commands_per_second: limits::COMMANDS_PER_SECOND,
            commands_burst: limits::COMMANDS_BURST,
            bytes_per_second: limits::COMMAND_BYTES_PER_SECOND,
            bytes_burst: limits::COMMAND_BYTES_BURST,
            cost_per_second: limits::COST_PER_SECOND,
            cost_burst: limits::COST_BURST,
            connections_per_user: limits::CONNECTIONS_PER_USER,
            connections_of_role: BTreeMap::new(),
            in_flight_max: 4096,
            renewal_grace_ms: 10_000,
            session_age_max_ms: limits::SESSION_AGE_MAX_MS,
            unavailable_retry_ms: 1_000,
        }
    }
}

/// A policy that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: {problem}")]
pub struct PolicyError {
    /// The key.
    pub key: &'static str,
    /// Its value.
    pub value: u64,
    /// What would be right.
    pub problem: String,
}

impl Policy {
    /// Checks it.
    ///
    /// # Errors
    /// [`PolicyError`] for the first thing that is wrong.
    pub fn check(&self) -> Result<(), PolicyError> {
        let at_least = |key, value: u64, least: u64| match value < least {
            true => Err(PolicyError { key, value, problem: format!("must be at least {least}") }),
            false => Ok(()),
        };
        at_least("commands_per_second", self.commands_per_second.into(), 1)?;
        at_least("commands_burst", self.commands_burst.into(), 1)?;
        // A command that is larger than the burst would never be taken.
        let largest = limits::COMMAND_BYTES_MAX as u64;
        at_least("bytes_per_second", self.bytes_per_second.into(), 1)?;
        at_least("bytes_burst", self.bytes_burst.into(), largest)?;
        at_least("cost_per_second", self.cost_per_second.into(), 1)?;
        at_least("cost_burst", self.cost_burst.into(), 1)?;
        at_least("in_flight_max", self.in_flight_max as u64, limits::LEDGER_WINDOW)?;
        at_least("session_age_max_ms", self.session_age_max_ms, 60_000)?;
        at_least("unavailable_retry_ms", self.unavailable_retry_ms.into(), 1)
    }
}

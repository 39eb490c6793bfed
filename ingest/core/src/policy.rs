//! The limits of ingest that an operator may set.

use driftless_schemas::limits;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The limits of each user and each socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The limit on the commands a second that one user submits to this process, over all sockets.
    /// Default 2,000.
    pub commands_per_second: u32,
    /// The limit on the commands that one user submits at once after a pause. Default 8,000.
    pub commands_burst: u32,
    /// The limit on the bytes of commands a second that one user submits to this process, over all
    /// sockets. Default 4 MiB.
    pub bytes_per_second: u32,
    /// The limit on the bytes of commands that one user submits at once after a pause. Default
    /// 16 MiB.
    pub bytes_burst: u32,
    /// The limit on the cost a second of one user's commands, over all sockets. The unit is the
    /// cost of one cell: a fill has few bytes, but costs as many units as it has cells. Default
    /// 262,144.
    pub cost_per_second: u32,
    /// The limit on the cost of the commands that one user submits at once after a pause. Default
    /// 1,048,576.
    pub cost_burst: u32,
    /// The limit on the content that one user's commands wake a second, in bytes, over all sockets.
    /// A command to a chunk without commands for a minute counts with the size of the chunk's first
    /// content: the owner must load and store it. Default 32 MiB.
    pub wake_bytes_per_second: u32,
    /// The limit on the content that one user's commands wake at once after a pause, in bytes.
    /// Default 256 MiB.
    pub wake_bytes_burst: u32,
    /// The limit on the open websockets of one user to this process; 0 means no limit. Default 128.
    pub connections_per_user: usize,
    /// Limits on the open websockets of users with a role, such as `service = 10000`. The greatest
    /// limit among `connections_per_user` and the user's roles applies; 0 means no limit. Default:
    /// no roles.
    pub connections_of_role: BTreeMap<String, usize>,
    /// The limit on the commands of one socket in flight to the log. Ingest does not read from a
    /// socket that has reached it. Default 4,096.
    pub in_flight_max: usize,
    /// How long after the end of its token a socket stays open for a renewal, milliseconds. Default
    /// 10,000.
    pub renewal_grace_ms: u32,
    /// The greatest age of a session that a client may continue, milliseconds. Default 7 days.
    pub session_age_max_ms: u64,
    /// How long a rejection tells a client to wait before it resends a command that the log had no
    /// room for, milliseconds. Default 1,000.
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
            wake_bytes_per_second: limits::WAKE_BYTES_PER_SECOND,
            wake_bytes_burst: limits::WAKE_BYTES_BURST,
            connections_per_user: limits::CONNECTIONS_PER_USER,
            connections_of_role: BTreeMap::new(),
            in_flight_max: 4096,
            renewal_grace_ms: 10_000,
            session_age_max_ms: limits::SESSION_AGE_MAX_MS,
            unavailable_retry_ms: 1_000,
        }
    }
}

/// A limit of a policy that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: {problem}")]
pub struct PolicyError {
    /// The name of the setting.
    pub key: &'static str,
    /// The value of the setting.
    pub value: u64,
    /// The problem: which values can be used.
    pub problem: String,
}

impl Policy {
    /// Checks that ingest can work with the policy.
    ///
    /// # Errors
    /// [`PolicyError`] for the first setting that cannot be used.
    pub fn check(&self) -> Result<(), PolicyError> {
        let at_least = |key, value: u64, least: u64| match value < least {
            true => Err(PolicyError { key, value, problem: format!("must be at least {least}") }),
            false => Ok(()),
        };
        at_least("commands_per_second", self.commands_per_second.into(), 1)?;
        at_least("commands_burst", self.commands_burst.into(), 1)?;
        // A command larger than the burst would never be admitted.
        let largest = limits::COMMAND_BYTES_MAX as u64;
        at_least("bytes_per_second", self.bytes_per_second.into(), 1)?;
        at_least("bytes_burst", self.bytes_burst.into(), largest)?;
        at_least("cost_per_second", self.cost_per_second.into(), 1)?;
        at_least("cost_burst", self.cost_burst.into(), 1)?;
        at_least("wake_bytes_per_second", self.wake_bytes_per_second.into(), 1)?;
        at_least("wake_bytes_burst", self.wake_bytes_burst.into(), 1)?;
        at_least("in_flight_max", self.in_flight_max as u64, limits::LEDGER_WINDOW)?;
        at_least("session_age_max_ms", self.session_age_max_ms, 60_000)?;
        at_least("unavailable_retry_ms", self.unavailable_retry_ms.into(), 1)
    }
}

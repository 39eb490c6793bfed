//! The gateway's settings, with their defaults.

use driftless_gateway_core::Settings as CoreSettings;
use driftless_runtime::memory;
use driftless_runtime_core::defences::Defence;
use driftless_runtime_core::memory::{Division, Part, TooSmall, divide};
use driftless_runtime_core::rate::Allowance;
use driftless_schemas::limits;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The gateway's settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The anonymous memory that this process may take, bytes. Replicas, rings, queues and
    /// incomplete messages share what is left for them, unless settings of their own name their
    /// sizes. 0: 80 % of the container's limit, or 30 % of the machine's memory.
    pub memory_max: usize,
    /// The hub's limits on memory and queues, and the intervals of its periodic work.
    pub core: CoreSettings,
    /// A socket that takes none of the bytes queued for it for this long is closed, milliseconds.
    pub write_timeout_ms: u64,
    /// Limit on concurrent streams of server-sent events; a request above the limit is answered
    /// with 503. A stream costs several times as much as a websocket. Each stream also counts as
    /// one of `http.connections_max`.
    pub event_streams_max: usize,
    /// Number of tasks that write to websockets; 0 means one for each CPU core.
    pub shards: usize,
    /// Write to many websockets with one system call, where the kernel has io_uring and allows it.
    /// Default true.
    pub io_uring: bool,
    /// Limit on the websockets and event streams that one user may have open to this process; 0
    /// means no limit. Default 128.
    pub connections_per_user: usize,
    /// The same limit for users with a role, such as `service = 10000`. If several limits apply to
    /// a user, the greatest one counts; 0 means no limit. Default: none.
    pub connections_of_role: BTreeMap<String, usize>,
    /// Limit on the requests a second (Track, Untrack, Refresh, DriftReport, and requests over
    /// HTTP) that one user may send to this process, over all sockets. A socket that sends more is
    /// not read for a while; over HTTP the answer is 429. Default 2,000.
    pub requests_per_second: u32,
    /// Number of requests that one user may send at once after a pause. Default 16,384.
    pub requests_burst: u32,
    /// Bytes a second that the answers to one user's Track and Refresh requests may have, over all
    /// sockets. A socket whose user is over it is not read for a while. Default 8 MiB.
    pub answer_bytes_per_second: u32,
    /// Bytes that such answers may have at once after a pause. Default 128 MiB.
    pub answer_bytes_burst: u32,
    /// At shutdown, the gateway closes its websockets one after the other over this time,
    /// milliseconds. Even if this is 0, each client is told a different time to reconnect.
    pub drain_ms: u64,
    /// Limit on the websockets that are admitted a second; twice as many are admitted at once. A
    /// quarter of these places is kept for addresses that open less than an eighth of the rate. The
    /// others are told when to reconnect. At shutdown, clients are told to reconnect at this rate.
    /// 0 means no limit.
    pub admissions_per_second: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory_max: 0,
            core: CoreSettings::default(),
            write_timeout_ms: limits::WRITE_TIMEOUT_MS,
            event_streams_max: 4096,
            shards: 0,
            io_uring: true,
            drain_ms: 0,
            admissions_per_second: 2_000,
            connections_per_user: limits::CONNECTIONS_PER_USER,
            connections_of_role: BTreeMap::new(),
            requests_per_second: limits::REQUESTS_PER_SECOND,
            requests_burst: limits::REQUESTS_BURST,
            answer_bytes_per_second: limits::ANSWER_BYTES_PER_SECOND,
            answer_bytes_burst: limits::ANSWER_BYTES_BURST,
        }
    }
}

impl Settings {
    /// Divides the memory of this process.
    ///
    /// # Errors
    /// [`TooSmall`] if `memory_max` does not hold what the process needs.
    pub fn memory(&self) -> Result<Division, TooSmall> {
        let max = memory::max_or_default(self.memory_max, 30);
        let CoreSettings { replicas_bytes_max, rings_bytes_max, output_bytes_max, .. } = self.core;
        let share =
            |name, weight, set: Option<usize>| Part::share(name, weight, 8 * memory::MIB).set_to(set.unwrap_or(0));
        divide(
            max,
            &[
                memory::PROGRAM,
                memory::allocator(max),
                memory::LOG_READER,
                memory::INDEX,
                share("replicas", 36, replicas_bytes_max),
                share("rings", 15, rings_bytes_max),
                share("output", 15, output_bytes_max),
                Part::share("input", 6, 4 * memory::MIB),
                Part::share("event streams", 6, 4 * memory::MIB),
                Part::share("connections", 14, 8 * memory::MIB),
            ],
        )
    }

    /// The hub's settings, with budgets that fit into the memory of this process.
    pub(crate) fn core_within(&self, memory: &Division) -> CoreSettings {
        CoreSettings {
            replicas_bytes_max: Some(Defence::ReplicasPool.limit(memory.of("replicas"))),
            rings_bytes_max: Some(memory.of("rings")),
            output_bytes_max: Some(memory.of("output")),
            ..self.core.clone()
        }
    }

    /// The limit on the request rate of one user.
    pub(crate) fn requests_per_user(&self) -> Allowance {
        match Defence::UserRequests.is_on() {
            true => Allowance { per_second: self.requests_per_second, burst: self.requests_burst },
            false => Allowance::UNLIMITED,
        }
    }

    /// The limit on the bytes of answers to one user.
    pub(crate) fn answers_per_user(&self) -> Allowance {
        Allowance { per_second: self.answer_bytes_per_second, burst: self.answer_bytes_burst }
    }
}

//! Every limit, in one place, with assertions about how the limits relate.
//!
//! A refusal names its limit. Nothing is cut silently.

/// A chunk id, in bytes.
pub const CHUNK_ID_BYTES_MAX: usize = 96;
/// A family's name, in bytes.
pub const FAMILY_NAME_BYTES_MAX: usize = 32;
/// A world's name, in bytes. Topic names start with it.
pub const WORLD_NAME_BYTES_MAX: usize = 64;
/// Coordinates in a chunk id.
pub const COORDINATES_MAX: usize = 3;
/// Families of a world.
pub const FAMILIES_MAX: usize = 256;
/// Partitions of a topic.
pub const PARTITIONS_MAX: i32 = 4096;

/// The bytes of one command, as the model reads them.
pub const COMMAND_BYTES_MAX: usize = 16 * 1024;
/// The bytes of one effect. An effect may be larger than its command, but its record must fit.
pub const EFFECT_BYTES_MAX: usize = 256 * 1024;
/// An author's name (a token's `sub`), in bytes.
pub const AUTHOR_BYTES_MAX: usize = 256;
/// The detail of a discard reason, in bytes.
pub const DETAIL_BYTES_MAX: usize = 256;
/// Cells that one `set` may name.
pub const GRID_SET_CELLS_MAX: usize = 1024;
/// Cells of a grid.
pub const GRID_CELLS_MAX: usize = 262_144;
/// A chunk's canonical encoding.
pub const CONTENT_BYTES_MAX: usize = 1024 * 1024;

/// A websocket message from a client.
pub const CLIENT_FRAME_BYTES_MAX: usize = 256 * 1024;
/// Requests in one message from a client.
pub const CLIENT_FRAME_REQUESTS_MAX: usize = 4096;
/// A websocket message to a client. A message with one large chunk may come close to it.
pub const SERVER_FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// A token's own name (`jti`), in bytes.
pub const TOKEN_ID_BYTES_MAX: usize = 256;
/// A file with keys, certificates or a private key, in bytes.
pub const KEY_FILE_BYTES_MAX: usize = 1024 * 1024;
/// A deny list, in bytes.
pub const DENY_FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Users and tokens that a deny list may name.
pub const DENY_ENTRIES_MAX: usize = 100_000;
/// Chunks that one socket may track.
pub const TRACKED_CHUNKS_MAX: usize = 4096;
/// Commands a second that one user may submit, sustained.
pub const COMMANDS_PER_SECOND: u32 = 2_000;
/// Commands that one user may submit in a burst.
pub const COMMANDS_BURST: u32 = 8_000;
/// Command bytes a second that one user may submit, sustained.
pub const COMMAND_BYTES_PER_SECOND: u32 = 4 * 1024 * 1024;
/// Command bytes that one user may submit in a burst.
pub const COMMAND_BYTES_BURST: u32 = 16 * 1024 * 1024;
/// Cost of one user's commands a second, sustained, in units of one cell: one whole grid of the
/// largest size. Every replica of the chunk pays that cost. Folding so many cells and hashing their
/// content takes a replica about a tenth of a millisecond.
pub const COST_PER_SECOND: u32 = 256 * 1024;
/// Cost of one user's commands in a burst: four whole grids, or a picture of 1024×1024 cells at
/// once. `driftless paint` of 512×512 cells takes a quarter of it, however many writers share the
/// token.
pub const COST_BURST: u32 = 1024 * 1024;
/// Track, Untrack, Refresh and DriftReport requests a second that one user may send to a gateway,
/// sustained. An HTTP request counts as one.
pub const REQUESTS_PER_SECOND: u32 = 2_000;
/// The same in a burst: four sockets that track as many chunks as they may, after a reconnect.
pub const REQUESTS_BURST: u32 = 16_384;
/// Websockets and event streams of one user to one process, by default. `driftless paint --writers
/// 100` has a hundred of each kind.
pub const CONNECTIONS_PER_USER: usize = 128;
/// Connections of one address that have not authenticated, by default. A company behind one address
/// has fewer, even if all its clients reconnect at once.
pub const CONNECTIONS_PER_ADDRESS: usize = 1_024;
/// Bytes that wait for one socket before its chunks are marked as lagging.
pub const SOCKET_QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// Unsent bytes of one socket above which a server does not read from it: a client that takes no
/// answers cannot make more of them.
pub const UNSENT_BYTES_MAX: usize = 64 * 1024;

/// A record in Kafka, in bytes: `max.message.bytes` of the topics.
pub const RECORD_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A chunk's decisions of one poll are split into several records above this size, in bytes.
pub const DECISIONS_BYTES_TARGET: usize = 256 * 1024;

/// A chunk's version. No chunk comes near it. A higher version in a record means damage, and must
/// not make sums overflow.
pub const VERSION_MAX: u64 = i64::MAX as u64;
/// Writers in a chunk's ledger.
pub const LEDGER_WRITERS_MAX: usize = 1024;
/// Numbers per writer that the ledger remembers.
pub const LEDGER_WINDOW: u64 = 64;
/// Unresolved numbers that a client may have in flight per chunk. The 64th is for `Settle` alone.
pub const CLIENT_WINDOW: u64 = 63;
/// Refs of a chunk that the index keeps as history.
pub const OLDER_REFS_MAX: usize = 4;

/// Log records that a gateway keeps in memory for resuming clients, in bytes, by default.
pub const RINGS_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The kernel's send buffer of one websocket, in bytes. No memory budget counts it, and a larger
/// buffer would show slow clients older data.
pub const SOCKET_SEND_BYTES: usize = 64 * 1024;

/// The age of a session, milliseconds: 7 days.
pub const SESSION_AGE_MAX_MS: u64 = 7 * 24 * 3600 * 1000;
/// How far ahead of the server's clock a session may be, milliseconds.
pub const SESSION_AHEAD_MAX_MS: u64 = 60 * 1000;
/// How far ahead of the server's clock `Hello.session_after_ms` may be for the client to be told to
/// wait, milliseconds: an hour.
pub const SESSION_WAIT_MS_MAX: u64 = 3600 * 1000;
/// A socket without a Hello is closed after this, milliseconds.
pub const HELLO_TIMEOUT_MS: u64 = 10_000;
/// Time for a request's whole body, milliseconds. A slower request is refused.
pub const BODY_TIMEOUT_MS: u64 = 10_000;
/// A body that is too large is refused after reading and dropping this multiple of the limit.
pub const BODY_EXCESS_MAX: usize = 8;
/// Time for a request's whole head, milliseconds. A slower connection is closed.
pub const HEAD_TIMEOUT_MS: u64 = 10_000;
/// A request's head: path, query, and headers with their names, bytes.
pub const HEAD_BYTES_MAX: usize = 48 * 1024;
/// Headers of a request.
pub const HEADERS_MAX: usize = 100;
/// Path and query of a request, bytes.
pub const URI_BYTES_MAX: usize = 32 * 1024;
/// Commands in one request over HTTP.
pub const HTTP_COMMANDS_MAX: usize = 1024;
/// Chunks of one stream of events.
pub const EVENT_CHUNKS_MAX: usize = 64;
/// Interval of comments on a stream of events, which make proxies and browsers keep it,
/// milliseconds.
pub const EVENT_KEEP_ALIVE_MS: u64 = 15_000;
/// Interval at which the token of a stream of events is checked again, milliseconds: it may have
/// been denied.
pub const EVENT_TOKEN_CHECK_MS: u64 = 5_000;
/// A connection that accepts no bytes of an answer for this long is closed, milliseconds.
pub const WRITE_TIMEOUT_MS: u64 = 15_000;
/// Time for which a browser may cache the answer to a CORS preflight, seconds.
pub const PREFLIGHT_MAX_AGE_S: u64 = 600;
/// Interval of pings, milliseconds.
pub const PING_INTERVAL_MS: u64 = 10_000;
/// A model call that has not returned after this counts as one that never will, milliseconds.
pub const MODEL_CALL_MS_MAX: u64 = 10_000;
/// A socket whose peer is silent for this long is dead, milliseconds.
pub const DEAD_AFTER_MS: u64 = 25_000;

const _: () = {
    // A command with its envelope fits into a frame, and into a record.
    assert!(COMMAND_BYTES_MAX + CHUNK_ID_BYTES_MAX + 64 < CLIENT_FRAME_BYTES_MAX);
    assert!(COMMAND_BYTES_MAX + CHUNK_ID_BYTES_MAX + AUTHOR_BYTES_MAX + 256 < RECORD_BYTES_MAX);
    // A record of decisions may exceed its target by one effect and its mark.
    assert!(DECISIONS_BYTES_TARGET + EFFECT_BYTES_MAX + COMMAND_BYTES_MAX + AUTHOR_BYTES_MAX + 4096 < RECORD_BYTES_MAX);
    assert!(COMMAND_BYTES_MAX <= EFFECT_BYTES_MAX);
    // Reading stops before a client's chunks are marked as lagging.
    assert!(UNSENT_BYTES_MAX < SOCKET_QUEUE_BYTES_MAX && UNSENT_BYTES_MAX < SERVER_FRAME_BYTES_MAX);
    // A ref with a full ledger fits into a record: an entry takes less than 64 bytes.
    assert!(LEDGER_WRITERS_MAX * 64 + 4096 < RECORD_BYTES_MAX);
    // A whole content fits into a server's frame, even if it does not compress.
    assert!(CONTENT_BYTES_MAX + CONTENT_BYTES_MAX / 64 + 4096 < SERVER_FRAME_BYTES_MAX);
    assert!(GRID_CELLS_MAX * 2 + 64 <= CONTENT_BYTES_MAX);
    // A set of the largest number of cells, guarded, in varints of at most 3 bytes each.
    assert!(GRID_SET_CELLS_MAX * 9 + 64 < COMMAND_BYTES_MAX);
    // A full deny list fits into its file, unless most names are quoted or very long.
    assert!(DENY_ENTRIES_MAX * 64 < DENY_FILE_BYTES_MAX);
    // A user who has rested may send the most expensive command of a grid without waiting. The cost
    // of a whole `set` never exceeds its bytes.
    assert!(GRID_CELLS_MAX <= COST_BURST as usize);
    assert!(COMMAND_BYTES_MAX <= COMMAND_BYTES_BURST as usize);
    assert!(COMMANDS_BURST <= COST_BURST && COMMANDS_PER_SECOND <= COST_PER_SECOND);
    // A socket that comes back with all that it may track is not made to wait.
    assert!(TRACKED_CHUNKS_MAX <= REQUESTS_BURST as usize && CLIENT_FRAME_REQUESTS_MAX <= REQUESTS_BURST as usize);
    assert!(CLIENT_WINDOW < LEDGER_WINDOW);
    // A token and the longest list of chunks with what is had of each fit into a path, slashes and
    // commas escaped.
    assert!(TOKEN_BYTES_MAX + EVENT_CHUNKS_MAX * (CHUNK_ID_BYTES_MAX + 64 + 20 + 16) + 256 < URI_BYTES_MAX);
    // A token and such a path fit into a head.
    assert!(URI_BYTES_MAX + TOKEN_BYTES_MAX + 4096 < HEAD_BYTES_MAX);
    assert!(PING_INTERVAL_MS * 2 < DEAD_AFTER_MS);
};

//! Every limit, in one place, with asserts of how they relate.
//!
//! What a limit refuses gets an answer that names the limit; nothing is cut silently.

/// A chunk id, in bytes.
pub const CHUNK_ID_BYTES_MAX: usize = 96;
/// A family's name, in bytes.
pub const FAMILY_NAME_BYTES_MAX: usize = 32;
/// A world's name, in bytes: topic names start with it.
pub const WORLD_NAME_BYTES_MAX: usize = 64;
/// Coordinates of a chunk id.
pub const COORDINATES_MAX: usize = 3;
/// Families of a world.
pub const FAMILIES_MAX: usize = 256;
/// Partitions of a topic.
pub const PARTITIONS_MAX: i32 = 4096;

/// One command's bytes, as the model understands them.
pub const COMMAND_BYTES_MAX: usize = 16 * 1024;
/// One effect's bytes. A model may make more of a command than it is, but its record must fit.
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
/// What one user's commands may cost a second, sustained, in units of one cell: one whole grid of the largest size. Every replica
/// of the chunk pays it: a fold of so many cells and the hash of their content take it a tenth of a millisecond or so.
pub const COST_PER_SECOND: u32 = 256 * 1024;
/// What one user's commands may cost in a burst: four whole grids, or a picture of 1024×1024 cells at once. `driftless paint`
/// of 512×512 cells takes a quarter of it, however many writers share the token.
pub const COST_BURST: u32 = 1024 * 1024;
/// Track, Untrack, Refresh and DriftReport a second that one user may send to a gateway, sustained; HTTP requests count as one.
pub const REQUESTS_PER_SECOND: u32 = 2_000;
/// The same in a burst: four sockets that track all that they may, after a reconnect.
pub const REQUESTS_BURST: u32 = 16_384;
/// Websockets and event streams of one user to one process, by default. `driftless paint --writers 100` has a hundred of each kind.
pub const CONNECTIONS_PER_USER: usize = 128;
/// Connections of one address on which nobody has said yet who it is, by default: a company behind one address that comes back
/// at once has fewer.
pub const CONNECTIONS_PER_ADDRESS: usize = 1_024;
/// Bytes that wait for one socket before its chunks are marked as lagging.
pub const SOCKET_QUEUE_BYTES_MAX: usize = 1024 * 1024;

/// A record in Kafka: `max.message.bytes` of our topics.
pub const RECORD_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Above this a chunk's decisions of one poll are split into several records.
pub const DECISIONS_BYTES_TARGET: usize = 256 * 1024;

/// A chunk's version. No chunk comes near it; what names a higher one is spoilt, and must not make sums overflow.
pub const VERSION_MAX: u64 = i64::MAX as u64;
/// Writers in a chunk's ledger.
pub const LEDGER_WRITERS_MAX: usize = 1024;
/// Numbers per writer that the ledger remembers.
pub const LEDGER_WINDOW: u64 = 64;
/// Unresolved numbers that a client may have out per chunk; the 64th is for `Settle` alone.
pub const CLIENT_WINDOW: u64 = 63;
/// Refs of a chunk that the index keeps as history.
pub const OLDER_REFS_MAX: usize = 4;

/// What a gateway keeps of the log for resume, bytes, by default.
pub const RINGS_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What the kernel holds of what was sent to one websocket and not taken, bytes: it counts for nobody's memory, and makes what
/// a slow client sees old.
pub const SOCKET_SEND_BYTES: usize = 64 * 1024;

/// How much older than now a session may be, milliseconds: 7 days.
pub const SESSION_AGE_MAX_MS: u64 = 7 * 24 * 3600 * 1000;
/// How far ahead of the server's clock a session may be, milliseconds.
pub const SESSION_AHEAD_MAX_MS: u64 = 60 * 1000;
/// How far ahead of the server's clock a wanted session may be for it to be worth waiting, milliseconds: an hour.
pub const SESSION_WAIT_MS_MAX: u64 = 3600 * 1000;
/// A socket without a Hello is closed after this, milliseconds.
pub const HELLO_TIMEOUT_MS: u64 = 10_000;
/// A request's body that is not here as a whole after this is given up, milliseconds.
pub const BODY_TIMEOUT_MS: u64 = 10_000;
/// Of a body that is too large, so many times the most is read and dropped before it is refused.
pub const BODY_EXCESS_MAX: usize = 8;
/// A request's head that is not here as a whole after this ends the connection, milliseconds.
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
/// A comment goes out on a stream of events this often, so that proxies and browsers keep it, milliseconds.
pub const EVENT_KEEP_ALIVE_MS: u64 = 15_000;
/// The token of a stream of events is looked at again this often, milliseconds: it may have been denied.
pub const EVENT_TOKEN_CHECK_MS: u64 = 5_000;
/// A connection that takes nothing of an answer for this long is ended, milliseconds.
pub const WRITE_TIMEOUT_MS: u64 = 15_000;
/// Browsers may remember what pages may ask for this long, seconds.
pub const PREFLIGHT_MAX_AGE_S: u64 = 600;
/// Pings go out this often, milliseconds.
pub const PING_INTERVAL_MS: u64 = 10_000;
/// A model that has not come back from one call after this is taken for one that never will. Milliseconds.
pub const MODEL_CALL_MS_MAX: u64 = 10_000;
/// Without any message from the other side for this long, a socket is dead. Milliseconds.
pub const DEAD_AFTER_MS: u64 = 25_000;

const _: () = {
    // A command with everything around it fits into a frame, and into a record.
    assert!(COMMAND_BYTES_MAX + CHUNK_ID_BYTES_MAX + 64 < CLIENT_FRAME_BYTES_MAX);
    assert!(COMMAND_BYTES_MAX + CHUNK_ID_BYTES_MAX + AUTHOR_BYTES_MAX + 256 < RECORD_BYTES_MAX);
    // A record of decisions may go over its target by one effect and its mark.
    assert!(DECISIONS_BYTES_TARGET + EFFECT_BYTES_MAX + COMMAND_BYTES_MAX + AUTHOR_BYTES_MAX + 4096 < RECORD_BYTES_MAX);
    assert!(COMMAND_BYTES_MAX <= EFFECT_BYTES_MAX);
    // A ref with a full ledger fits into a record: 64 bytes an entry is more than it takes.
    assert!(LEDGER_WRITERS_MAX * 64 + 4096 < RECORD_BYTES_MAX);
    // A whole content fits into a server's frame, also where it does not compress.
    assert!(CONTENT_BYTES_MAX + CONTENT_BYTES_MAX / 64 + 4096 < SERVER_FRAME_BYTES_MAX);
    assert!(GRID_CELLS_MAX * 2 + 64 <= CONTENT_BYTES_MAX);
    // A set of the largest number of cells, guarded, in varints of at most 3 bytes each.
    assert!(GRID_SET_CELLS_MAX * 9 + 64 < COMMAND_BYTES_MAX);
    // A full deny list of names that need no quotes fits into its file, but for those that are all of the longest.
    assert!(DENY_ENTRIES_MAX * 64 < DENY_FILE_BYTES_MAX);
    // The dearest command of a grid is taken without a wait by a user who has rested; a whole set is no dearer than its bytes.
    assert!(GRID_CELLS_MAX <= COST_BURST as usize);
    assert!(COMMAND_BYTES_MAX <= COMMAND_BYTES_BURST as usize);
    assert!(COMMANDS_BURST <= COST_BURST && COMMANDS_PER_SECOND <= COST_PER_SECOND);
    // A socket that comes back with all that it may track is not made to wait.
    assert!(TRACKED_CHUNKS_MAX <= REQUESTS_BURST as usize && CLIENT_FRAME_REQUESTS_MAX <= REQUESTS_BURST as usize);
    assert!(CLIENT_WINDOW < LEDGER_WINDOW);
    // A token and the longest list of chunks with what is had of each fit into a path, slashes and commas escaped.
    assert!(TOKEN_BYTES_MAX + EVENT_CHUNKS_MAX * (CHUNK_ID_BYTES_MAX + 64 + 20 + 16) + 256 < URI_BYTES_MAX);
    // A token and such a path fit into a head.
    assert!(URI_BYTES_MAX + TOKEN_BYTES_MAX + 4096 < HEAD_BYTES_MAX);
    assert!(PING_INTERVAL_MS * 2 < DEAD_AFTER_MS);
};

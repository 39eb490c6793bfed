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
/// Chunks that one socket may track.
pub const TRACKED_CHUNKS_MAX: usize = 4096;
/// Commands a second that one user may submit, sustained.
pub const COMMANDS_PER_SECOND: u32 = 2_000;
/// Commands that one user may submit in a burst.
pub const COMMANDS_BURST: u32 = 8_000;
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
/// A socket without a Hello is closed after this, milliseconds.
pub const HELLO_TIMEOUT_MS: u64 = 10_000;
/// A request's body that is not here as a whole after this is given up, milliseconds.
pub const BODY_TIMEOUT_MS: u64 = 10_000;
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
    assert!(CLIENT_WINDOW < LEDGER_WINDOW);
    assert!(PING_INTERVAL_MS * 2 < DEAD_AFTER_MS);
};

//! All limits, in one place. Assertions at the end check how the limits relate.
//!
//! The description of each constant names its unit. A component that refuses a value because of a
//! limit names the limit in its message. It never silently uses a part of the value; only texts for
//! people are cut.

/// The largest chunk id, in bytes.
pub const CHUNK_ID_BYTES_MAX: usize = 96;
/// The longest name of a family, in bytes.
pub const FAMILY_NAME_BYTES_MAX: usize = 32;
/// The longest name of a world, in bytes. Topic names start with the world's name.
pub const WORLD_NAME_BYTES_MAX: usize = 64;
/// The largest number of coordinates in a chunk id.
pub const COORDINATES_MAX: usize = 3;
/// The largest number of families in a world.
pub const FAMILIES_MAX: usize = 256;
/// The largest number of partitions of a topic.
pub const PARTITIONS_MAX: i32 = 4096;

/// The largest command, in bytes, as the model reads it.
pub const COMMAND_BYTES_MAX: usize = 16 * 1024;
/// The largest effect, in bytes. An effect may be larger than its command, but its record must fit
/// into [`RECORD_BYTES_MAX`].
pub const EFFECT_BYTES_MAX: usize = 256 * 1024;
/// The longest name of an author (a token's `sub`), in bytes.
pub const AUTHOR_BYTES_MAX: usize = 256;
/// The longest detail of a discard's reason, in bytes. A longer detail is cut.
pub const DETAIL_BYTES_MAX: usize = 256;
/// The largest number of cells in one `set` command of a grid.
pub const GRID_SET_CELLS_MAX: usize = 1024;
/// The largest number of cells in a grid.
pub const GRID_CELLS_MAX: usize = 262_144;
/// The largest canonical encoding of a chunk's content, in bytes.
pub const CONTENT_BYTES_MAX: usize = 1024 * 1024;

/// The largest websocket message from a client, in bytes.
pub const CLIENT_FRAME_BYTES_MAX: usize = 256 * 1024;
/// The largest number of requests in one websocket message from a client.
pub const CLIENT_FRAME_REQUESTS_MAX: usize = 4096;
/// The largest websocket message to a client, in bytes. A message with one large content may come
/// close to this limit.
pub const SERVER_FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The number of bytes that a client may send on a websocket before its Hello is accepted, Hello
/// included. A Hello has at most a token and the models of the largest world.
pub const BEFORE_HELLO_BYTES_MAX: usize = 32 * 1024;
/// The number of requests that a client may send on a websocket before its Hello, such as pings. A
/// client that sends more is closed.
pub const BEFORE_HELLO_REQUESTS_MAX: usize = 16;
/// The number of `Renew` in one websocket message from a client. Each of them verifies a signature.
pub const FRAME_RENEWALS_MAX: usize = 8;
/// The largest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// The longest name of a token (its claim `jti`), in bytes.
pub const TOKEN_ID_BYTES_MAX: usize = 256;
/// The largest file with keys, certificates or a private key, in bytes.
pub const KEY_FILE_BYTES_MAX: usize = 1024 * 1024;
/// The largest file with a deny list, in bytes.
pub const DENY_FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest number of users and tokens in a deny list.
pub const DENY_ENTRIES_MAX: usize = 100_000;
/// The largest number of chunks that one socket may track.
pub const TRACKED_CHUNKS_MAX: usize = 4096;
/// The number of commands per second that one user may submit on average.
pub const COMMANDS_PER_SECOND: u32 = 2_000;
/// The number of commands that one user may submit in a burst.
pub const COMMANDS_BURST: u32 = 8_000;
/// The number of command bytes per second that one user may submit on average.
pub const COMMAND_BYTES_PER_SECOND: u32 = 4 * 1024 * 1024;
/// The number of command bytes that one user may submit in a burst.
pub const COMMAND_BYTES_BURST: u32 = 16 * 1024 * 1024;
/// The cost per second that one user's commands may have on average, in units of one cell. This
/// value is the cost of filling one grid of the largest size. Every replica of the chunk does this
/// work: folding that many cells and hashing their content takes about a tenth of a millisecond.
pub const COST_PER_SECOND: u32 = 256 * 1024;
/// The cost that one user's commands may have in a burst, in units of one cell: four grids of the
/// largest size, or one picture of 1024×1024 cells. `driftless paint` of 512×512 cells takes a
/// quarter of this burst, however many writers share the token.
pub const COST_BURST: u32 = 1024 * 1024;
/// The content that one user's commands may wake a second, in bytes: a thousand chunks of 32 KiB.
pub const WAKE_BYTES_PER_SECOND: u32 = 32 * 1024 * 1024;
/// The content that one user's commands may wake at once after a pause, in bytes.
pub const WAKE_BYTES_BURST: u32 = 256 * 1024 * 1024;
/// How often a gateway whose memory for replicas is used up takes some from the user with the most,
/// milliseconds.
pub const SHARE_INTERVAL_MS: u64 = 1_000;
/// How long a chunk counts as awake after a command at least, in milliseconds.
pub const WAKE_MS: u64 = 60_000;
/// The number of chunks that count as awake at least; twice as many may be remembered.
pub const WAKE_CHUNKS_MAX: usize = 65_536;
/// The least size of a content that a command wakes, in bytes: its entry in the index, its ledger,
/// an object in the store.
pub const WAKE_BYTES_MIN: usize = 1024;
/// The number of Track, Untrack, Refresh and DriftReport requests per second that one user may send
/// to a gateway on average. An HTTP request counts as one such request.
pub const REQUESTS_PER_SECOND: u32 = 2_000;
/// The number of such requests that one user may send in a burst. This value suffices for four
/// sockets that reconnect and each track [`TRACKED_CHUNKS_MAX`] chunks.
pub const REQUESTS_BURST: u32 = 16_384;
/// The number of bytes per second that a gateway's answers to one user's Track and Refresh requests
/// may have on average. Updates do not count.
pub const ANSWER_BYTES_PER_SECOND: u32 = 8 * 1024 * 1024;
/// The number of such bytes in a burst: 4,096 chunks of 32 KiB.
pub const ANSWER_BYTES_BURST: u32 = 128 * 1024 * 1024;
/// The largest number of websockets and event streams that one user may have open to one process,
/// by default. `driftless paint --writers 100` opens a hundred websockets to ingest and a hundred
/// to a gateway.
pub const CONNECTIONS_PER_USER: usize = 128;
/// The largest number of connections of a service, by default. If the process may open fewer files,
/// as many as fit beside [`DESCRIPTORS_RESERVED`].
pub const CONNECTIONS_MAX_DEFAULT: usize = 20_000;
/// Each so many bytes of a content in its canonical encoding, requested over HTTP, count as one
/// request more.
pub const ENCODING_BYTES_PER_REQUEST: usize = 64 * 1024;
/// Each so many bytes of a content whose picture or JSON is requested count as one request more: to
/// make these forms costs much more than to send the encoding.
pub const FORM_BYTES_PER_REQUEST: usize = 2 * 1024;
/// The memory that a connection is expected to take, bytes: a request that is being read, and its
/// answer. An idle websocket takes less than half of it.
pub const CONNECTION_BYTES: usize = 16 * 1024;
/// The memory that a connection with TLS is expected to take, bytes.
pub const TLS_CONNECTION_BYTES: usize = 64 * 1024;
/// The kernel's buffer for bytes of a client that a service has not read yet, in bytes. The default
/// grows to some mebibytes for each connection, and a client that is not read would fill it.
pub const SOCKET_RECEIVE_BYTES: usize = 128 * 1024;
/// The largest number of connections to the internal listener of a service. They count to
/// [`DESCRIPTORS_RESERVED`].
pub const INTERNAL_CONNECTIONS_MAX: usize = 64;
/// The number of file descriptors that a service keeps for the log, the object store and files.
pub const DESCRIPTORS_RESERVED: usize = 512;
/// An address may have at most this part of all connections before they authenticate, so that other
/// addresses find places: one in so many.
pub const CONNECTIONS_PER_ADDRESS_PART: usize = 8;
/// The largest number of connections from one address that have not authenticated yet, by default.
/// A company behind one address has fewer, even if all its clients reconnect at once.
pub const CONNECTIONS_PER_ADDRESS: usize = 1_024;
/// The largest number of addresses and networks in the setting `trusted_proxies`. Each of them is
/// compared with the address of each connection.
pub const TRUSTED_PROXIES_MAX: usize = 256;
/// The time within which the header of the PROXY protocol must arrive, in milliseconds. Its
/// specification asks for at least 3 seconds, because a packet may be lost.
pub const PROXY_HEADER_TIMEOUT_MS: u64 = 10_000;
/// The longest header of version 1 of the PROXY protocol, in bytes, with the end of its line. The
/// specification names this number.
pub const PROXY_LINE_BYTES_MAX: usize = 107;
/// The largest header of version 2 of the PROXY protocol, in bytes, with the fields that are
/// skipped. Its length field would allow 64 KiB.
pub const PROXY_HEADER_BYTES_MAX: usize = 4096;
/// The number of proxies that may stand one behind the other: so many entries of `X-Forwarded-For`
/// or `Forwarded` are read, from the last one on.
pub const FORWARDED_HOPS_MAX: usize = 16;
/// The longest entry of `X-Forwarded-For` or `Forwarded`, in bytes. A longer one names no client.
pub const FORWARDED_ENTRY_BYTES_MAX: usize = 512;
/// The number of HTTP requests per second that one address may send without a token on average.
pub const ANONYMOUS_REQUESTS_PER_SECOND: u32 = 100;
/// The number of such requests that one address may send in a burst.
pub const ANONYMOUS_REQUESTS_BURST: u32 = 1_000;
/// The number of websockets per second that one address may open on average without a valid Hello
/// on them.
pub const STRANGE_SOCKETS_PER_SECOND: u32 = 20;
/// The number of such websockets in a burst.
pub const STRANGE_SOCKETS_BURST: u32 = 400;
/// The number of bytes per second that the responses to such requests may have on average.
pub const ANONYMOUS_BYTES_PER_SECOND: u32 = 8 * 1024 * 1024;
/// The number of bytes that the responses to such requests may have in a burst: the page of
/// `driftless dev` has less than a megabyte.
pub const ANONYMOUS_BYTES_BURST: u32 = 64 * 1024 * 1024;
/// The number of bytes that may be queued for one socket. Above this limit, a gateway marks chunks
/// of the socket as lagging and sends no updates of these chunks.
pub const SOCKET_QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// The number of unsent bytes of one socket above which a server stops reading from that socket. So
/// a client that does not take its answers cannot cause further ones.
pub const UNSENT_BYTES_MAX: usize = 64 * 1024;

/// The largest record in Kafka, in bytes; the setting `max.message.bytes` of the topics.
pub const RECORD_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The size of a record with decisions, in bytes, above which the owner puts a chunk's further
/// decisions of the same poll into another record.
pub const DECISIONS_BYTES_TARGET: usize = 256 * 1024;

/// The highest version of a chunk. No chunk comes near this limit. A higher version in a record
/// means that the record is damaged; such a record is refused, so that sums cannot overflow.
pub const VERSION_MAX: u64 = i64::MAX as u64;
/// The highest epoch that an owner claims. One ownership a second would need eight million years to
/// reach this limit. A fence with a higher epoch was not written by an owner.
pub const EPOCH_MAX: u64 = 1 << 48;
/// An ownership that accepts a loss claims an epoch that is above the newest known one by a random
/// number of 1 to this limit (docs/design.md#rules, R4). Seventeen million losses would reach
/// [`EPOCH_MAX`].
pub const EPOCH_LEAP_MAX: u64 = 1 << 24;
/// The largest number of writers in a chunk's ledger.
pub const LEDGER_WRITERS_MAX: usize = 1024;
/// The number of each writer's newest command numbers for which the ledger remembers whether they
/// were committed.
pub const LEDGER_WINDOW: u64 = 64;
/// The largest span of unresolved command numbers that a client may have in flight per chunk. The
/// 64th number of the ledger's window is reserved for a `Settle`.
pub const CLIENT_WINDOW: u64 = 63;
/// The number of older refs of a chunk that the index keeps as history.
pub const OLDER_REFS_MAX: usize = 4;

/// The size of the log records that a gateway keeps in memory for clients that resume, in bytes,
/// where `memory_max` does not say it.
pub const RINGS_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The memory that a gateway's replicas may take, in bytes, where `memory_max` does not say it.
pub const REPLICAS_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// The bytes that may be queued for all sockets of a gateway together, where `memory_max` does not
/// say it.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// The bytes that one socket may always have queued, although the queues of all sockets together
/// are full. So a client that takes its bytes is served beside many that do not.
pub const OUTPUT_FREE_BYTES: usize = 16 * 1024;
/// The memory that the chunks of an owner may take, in bytes, where `memory_max` does not say it.
pub const CHUNKS_BYTES_MAX: usize = 512 * 1024 * 1024;
/// The bytes of an incomplete message that a socket may hold without counting against the memory
/// for incomplete messages of all connections. Ordinary messages are smaller.
pub const INPUT_FREE_BYTES: usize = 4 * 1024;
/// How long a Track waits for room in a gateway's memory before it is rejected, in milliseconds.
pub const ROOM_WAIT_MS: u64 = 5_000;
/// The size of the kernel's send buffer of one websocket, in bytes. The buffer is small because no
/// memory budget includes it, and because data in a larger buffer would be older when a slow client
/// gets it.
pub const SOCKET_SEND_BYTES: usize = 64 * 1024;

/// The highest age at which servers accept a session, in milliseconds: 7 days.
pub const SESSION_AGE_MAX_MS: u64 = 7 * 24 * 3600 * 1000;
/// How far ahead of the server's clock the time of a session may be, in milliseconds.
pub const SESSION_AHEAD_MAX_MS: u64 = 60 * 1000;
/// How far ahead of the server's clock `Hello.session_after_ms` may be, in milliseconds: an hour.
/// Up to this limit the server asks the client to wait.
pub const SESSION_WAIT_MS_MAX: u64 = 3600 * 1000;
/// The time after which a server closes a socket that has sent no Hello, in milliseconds.
pub const HELLO_TIMEOUT_MS: u64 = 10_000;
/// The time within which the whole body of an HTTP request must arrive, in milliseconds. A slower
/// request is refused.
pub const BODY_TIMEOUT_MS: u64 = 10_000;
/// How much of a request's body that is too large a server reads and drops before it refuses the
/// request, as a multiple of the body's size limit.
pub const BODY_EXCESS_MAX: usize = 8;
/// The time within which the whole head of an HTTP request must arrive, in milliseconds. A slower
/// connection is closed.
pub const HEAD_TIMEOUT_MS: u64 = 10_000;
/// The largest head of an HTTP request, in bytes: its path, its query, and the names and values of
/// its headers.
pub const HEAD_BYTES_MAX: usize = 48 * 1024;
/// The largest number of headers in an HTTP request.
pub const HEADERS_MAX: usize = 100;
/// The largest size of path and query of an HTTP request together, in bytes.
pub const URI_BYTES_MAX: usize = 32 * 1024;
/// The largest number of commands in one HTTP request.
pub const HTTP_COMMANDS_MAX: usize = 1024;
/// The largest number of chunks in one event stream.
pub const EVENT_CHUNKS_MAX: usize = 64;
/// The interval of comments on an event stream, in milliseconds. The comments keep proxies and
/// browsers from closing a stream without events.
pub const EVENT_KEEP_ALIVE_MS: u64 = 15_000;
/// The interval at which a gateway checks the token of an event stream again, in milliseconds,
/// because the token may have been denied since.
pub const EVENT_TOKEN_CHECK_MS: u64 = 5_000;
/// The number of websocket pings that a connection may send within [`PINGS_WINDOW_MS`].
pub const PINGS_MAX: u32 = 100;
/// The window in which websocket pings are counted, milliseconds.
pub const PINGS_WINDOW_MS: u64 = 10_000;
/// The pause after the first [`INPUT_FREE_BYTES`] of the body of a request that is refused already,
/// milliseconds. A client that is refused sends no long bodies one after the other.
pub const REFUSED_BODY_PAUSE_MS: u64 = 250;
/// The number of bytes that a server reads and drops of a websocket that it has closed, so that the
/// peer gets the close frame. Then it closes the connection. Before Hello it is
/// [`BEFORE_HELLO_BYTES_MAX`].
pub const CLOSED_BYTES_MAX: usize = 1024 * 1024;
/// The time after which a server closes a connection that accepts no bytes, in milliseconds.
pub const WRITE_TIMEOUT_MS: u64 = 15_000;
/// The time for which a browser may cache the answer to a CORS preflight request, in seconds.
pub const PREFLIGHT_MAX_AGE_S: u64 = 600;
/// The interval of pings on a websocket, in milliseconds.
pub const PING_INTERVAL_MS: u64 = 10_000;
/// The time after which a call of a model that has not returned counts as one that never returns,
/// in milliseconds.
pub const MODEL_CALL_MS_MAX: u64 = 10_000;
/// The time after which a websocket whose peer sends nothing counts as dead, in milliseconds.
pub const DEAD_AFTER_MS: u64 = 25_000;

const _: () = {
    // A Hello with the largest token and many models fits into what a client may send before it.
    assert!(TOKEN_BYTES_MAX + 16 * 1024 <= BEFORE_HELLO_BYTES_MAX && BEFORE_HELLO_BYTES_MAX < CLIENT_FRAME_BYTES_MAX);
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
    // The largest `set` fits into a command. For each cell it has an index, a value and a guard, in
    // varints of at most 3 bytes each.
    assert!(GRID_SET_CELLS_MAX * 9 + 64 < COMMAND_BYTES_MAX);
    // A full deny list fits into its file, unless most names are quoted or very long.
    assert!(DENY_ENTRIES_MAX * 64 < DENY_FILE_BYTES_MAX);
    // A user with an unused burst may send the most expensive command of a grid, a fill of the
    // whole grid, without waiting. A `set` is cheaper, because its cost never exceeds its bytes.
    assert!(GRID_CELLS_MAX <= COST_BURST as usize);
    assert!(COMMAND_BYTES_MAX <= COMMAND_BYTES_BURST as usize);
    assert!(COMMANDS_BURST <= COST_BURST && COMMANDS_PER_SECOND <= COST_PER_SECOND);
    // A socket that reconnects may track the largest number of chunks again without waiting.
    assert!(TRACKED_CHUNKS_MAX <= REQUESTS_BURST as usize && CLIENT_FRAME_REQUESTS_MAX <= REQUESTS_BURST as usize);
    assert!(CLIENT_WINDOW < LEDGER_WINDOW);
    // Path and query can hold a token and the longest list of chunks of an event stream, each with
    // the version and hash that the client has, slashes and commas escaped.
    assert!(TOKEN_BYTES_MAX + EVENT_CHUNKS_MAX * (CHUNK_ID_BYTES_MAX + 64 + 20 + 16) + 256 < URI_BYTES_MAX);
    // A head can hold the longest path and query, and a token in a header.
    assert!(URI_BYTES_MAX + TOKEN_BYTES_MAX + 4096 < HEAD_BYTES_MAX);
    assert!(PING_INTERVAL_MS * 2 < DEAD_AFTER_MS);
    // The largest addresses of version 2 of the PROXY protocol (two of IPv6, with ports) fit into
    // the buffer for version 1.
    assert!(16 + 36 <= PROXY_LINE_BYTES_MAX && PROXY_LINE_BYTES_MAX < PROXY_HEADER_BYTES_MAX);
};

/* tslint:disable */
/* eslint-disable */

/**
 * A client.
 */
export class Core {
    free(): void;
    [Symbol.dispose](): void;
    cancel(now: number, chunk: number, command: number): void;
    close(now: number): void;
    /**
     * The colours of a family's values, three bytes each (red, green, blue). Empty if the family's
     * model has no colours.
     */
    colors(family: string): Uint8Array;
    connected(now: number, socket: number, token: string): void;
    /**
     * The view in the model's JSON; empty if the chunk is not loaded.
     */
    content_json(chunk: number): string;
    /**
     * Flips a bit of the confirmed replica, as bad memory would, to show that the client finds and
     * heals drift. Returns false if no replica is loaded, or if no flipped bit gives a valid
     * content.
     */
    damage(now: number, chunk: number): boolean;
    /**
     * Describes a chunk as a JSON object: its `status`, with `code` and `message` where the status
     * has them, and the `version` and `hash` of its confirmed replica. Empty if the chunk is not
     * tracked.
     */
    describe(chunk: number): string;
    /**
     * Handles a socket that has closed. `code` is the server's close code; 0 if there was none.
     */
    disconnected(now: number, socket: number, code: number): void;
    /**
     * The canonical encoding of the confirmed replica; `None` until the chunk is loaded.
     */
    encoding(chunk: number): Uint8Array | undefined;
    /**
     * All events since the last call, as a JSON array; an empty string if there are none. The
     * changes of a chunk are merged into one event, which follows all other events.
     */
    events(): string;
    /**
     * The announced families, as a JSON array.
     */
    families(): string;
    /**
     * Five numbers: a grid's sizes X, Y and Z, and the addresses of two arrays in this module's
     * memory. The first array has the cells (u16, x fastest). The second has a u8 per cell, which
     * is 1 if the cell is pending. The addresses are valid until the next call that changes
     * something. `None` if the chunk's view is no grid.
     */
    grid(chunk: number): Uint32Array | undefined;
    /**
     * The BLAKE3-256 hash of some bytes, in hex. The guards of `map` commands name values by this
     * hash.
     */
    static hash(data: Uint8Array | number[]): string;
    /**
     * Whether a map's key has another value in the view than in the confirmed replica.
     */
    is_pending(chunk: number, key: string): boolean;
    /**
     * A map's keys in order, as a JSON array; an empty array if the chunk's view is no map.
     */
    keys(chunk: number): string;
    /**
     * The kind of a chunk's view: `none`, `grid`, `map` or `other`.
     */
    kind(chunk: number): string;
    /**
     * `settings` is a JSON object. Its members `author`, `roles`, `can_renew`, `pending_max`,
     * `undo_max`, `resend_after_ms` and `renew_before_ms` are optional, and mean the fields of
     * [`Settings`] with these names.
     *
     * # Errors
     * `settings`: the text is not a JSON object, or a member has the wrong type.
     */
    constructor(settings: string, decompressor: any);
    /**
     * When [`Self::tick`] must be called next; infinity if no timer is set.
     */
    next_deadline(): number;
    /**
     * The number of commands without an outcome.
     */
    pending(): number;
    /**
     * The next message for a socket; `None` if no request waits.
     */
    poll_send(socket: number): Uint8Array | undefined;
    received(now: number, socket: number, message: Uint8Array | number[]): void;
    renew(now: number, token: string): void;
    /**
     * Submits an encoded command, and returns its id.
     *
     * # Errors
     * `not_tracked`, `too_large`, `too_many`, `closed`: the command was not accepted.
     */
    submit(now: number, chunk: number, command: Uint8Array | number[]): number;
    /**
     * Submits a command in the model's JSON, and returns its id.
     *
     * # Errors
     * The errors of [`Self::submit`]; `invalid_command` if the model refuses the command;
     * `no_model` if no gateway has announced the chunk's family yet, or if this client cannot make
     * the family's model.
     */
    submit_json(now: number, chunk: number, command: string): number;
    /**
     * Submits the inverse of a commit, and returns the ids of the new commands. The list is empty
     * if the commit cannot be taken back.
     *
     * # Errors
     * The errors of [`Self::submit`].
     */
    take_back(now: number, chunk: number, command: number): Float64Array;
    tick(now: number): void;
    /**
     * Tracks a chunk, and returns its number.
     *
     * # Errors
     * `chunk_id`: the text is not a chunk id.
     */
    track(now: number, chunk: string): number;
    untrack(now: number, chunk: number): void;
    /**
     * The value of a map's key; `None` if the view has no such key.
     */
    value(chunk: number, key: string): Uint8Array | undefined;
    /**
     * The version of a chunk's confirmed replica; 0 until the chunk is loaded.
     */
    version(chunk: number): number;
}

export type InitInput = RequestInfo | URL | Response | BufferSource | WebAssembly.Module;

export interface InitOutput {
    readonly memory: WebAssembly.Memory;
    readonly __wbg_core_free: (a: number, b: number) => void;
    readonly core_cancel: (a: number, b: number, c: number, d: number) => void;
    readonly core_close: (a: number, b: number) => void;
    readonly core_colors: (a: number, b: number, c: number) => [number, number];
    readonly core_connected: (a: number, b: number, c: number, d: number, e: number) => void;
    readonly core_content_json: (a: number, b: number) => [number, number];
    readonly core_damage: (a: number, b: number, c: number) => number;
    readonly core_describe: (a: number, b: number) => [number, number];
    readonly core_disconnected: (a: number, b: number, c: number, d: number) => void;
    readonly core_encoding: (a: number, b: number) => [number, number];
    readonly core_events: (a: number) => [number, number];
    readonly core_families: (a: number) => [number, number];
    readonly core_grid: (a: number, b: number) => [number, number];
    readonly core_hash: (a: number, b: number) => [number, number];
    readonly core_is_pending: (a: number, b: number, c: number, d: number) => number;
    readonly core_keys: (a: number, b: number) => [number, number];
    readonly core_kind: (a: number, b: number) => [number, number];
    readonly core_new: (a: number, b: number, c: any) => [number, number, number];
    readonly core_next_deadline: (a: number) => number;
    readonly core_pending: (a: number) => number;
    readonly core_poll_send: (a: number, b: number) => [number, number];
    readonly core_received: (a: number, b: number, c: number, d: number, e: number) => void;
    readonly core_renew: (a: number, b: number, c: number, d: number) => void;
    readonly core_submit: (a: number, b: number, c: number, d: number, e: number) => [number, number, number];
    readonly core_submit_json: (a: number, b: number, c: number, d: number, e: number) => [number, number, number];
    readonly core_take_back: (a: number, b: number, c: number, d: number) => [number, number, number, number];
    readonly core_tick: (a: number, b: number) => void;
    readonly core_track: (a: number, b: number, c: number, d: number) => [number, number, number];
    readonly core_untrack: (a: number, b: number, c: number) => void;
    readonly core_value: (a: number, b: number, c: number, d: number) => [number, number];
    readonly core_version: (a: number, b: number) => number;
    readonly __wbindgen_malloc: (a: number, b: number) => number;
    readonly __wbindgen_realloc: (a: number, b: number, c: number, d: number) => number;
    readonly __wbindgen_free: (a: number, b: number, c: number) => void;
    readonly __wbindgen_exn_store: (a: number) => void;
    readonly __externref_table_alloc: () => number;
    readonly __wbindgen_externrefs: WebAssembly.Table;
    readonly __externref_table_dealloc: (a: number) => void;
    readonly __wbindgen_start: () => void;
}

export type SyncInitInput = BufferSource | WebAssembly.Module;

/**
 * Instantiates the given `module`, which can either be bytes or
 * a precompiled `WebAssembly.Module`.
 *
 * @param {{ module: SyncInitInput }} module - Passing `SyncInitInput` directly is deprecated.
 *
 * @returns {InitOutput}
 */
export function initSync(module: { module: SyncInitInput } | SyncInitInput): InitOutput;

/**
 * If `module_or_path` is {RequestInfo} or {URL}, makes a request and
 * for everything else, calls `WebAssembly.instantiate` directly.
 *
 * @param {{ module_or_path: InitInput | Promise<InitInput> }} module_or_path - Passing `InitInput` directly is deprecated.
 *
 * @returns {Promise<InitOutput>}
 */
export default function __wbg_init (module_or_path: { module_or_path: InitInput | Promise<InitInput> } | InitInput | Promise<InitInput>): Promise<InitOutput>;

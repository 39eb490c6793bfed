/* @ts-self-types="./driftless_core.d.ts" */

/**
 * A client.
 */
export class Core {
    __destroy_into_raw() {
        const ptr = this.__wbg_ptr;
        this.__wbg_ptr = 0;
        CoreFinalization.unregister(this);
        return ptr;
    }
    free() {
        const ptr = this.__destroy_into_raw();
        wasm.__wbg_core_free(ptr, 0);
    }
    /**
     * @param {number} now
     * @param {number} chunk
     * @param {number} command
     */
    cancel(now, chunk, command) {
        wasm.core_cancel(this.__wbg_ptr, now, chunk, command);
    }
    /**
     * @param {number} now
     */
    close(now) {
        wasm.core_close(this.__wbg_ptr, now);
    }
    /**
     * The colours of a family's values, three bytes each (red, green, blue). Empty if the family's
     * model has no colours.
     * @param {string} family
     * @returns {Uint8Array}
     */
    colors(family) {
        const ptr0 = passStringToWasm0(family, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        const ret = wasm.core_colors(this.__wbg_ptr, ptr0, len0);
        var v2 = getArrayU8FromWasm0(ret[0], ret[1]).slice();
        wasm.__wbindgen_free(ret[0], ret[1] * 1, 1);
        return v2;
    }
    /**
     * @param {number} now
     * @param {number} socket
     * @param {string} token
     */
    connected(now, socket, token) {
        const val2 = +now;
        const val3 = +socket;
        const ptr0 = passStringToWasm0(token, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        wasm.core_connected(this.__wbg_ptr, val2, val3, ptr0, len0);
    }
    /**
     * The view in the model's JSON; empty if the chunk is not loaded.
     * @param {number} chunk
     * @returns {string}
     */
    content_json(chunk) {
        let deferred1_0;
        let deferred1_1;
        try {
            const ret = wasm.core_content_json(this.__wbg_ptr, chunk);
            deferred1_0 = ret[0];
            deferred1_1 = ret[1];
            return getStringFromWasm0(ret[0], ret[1]);
        } finally {
            wasm.__wbindgen_free(deferred1_0, deferred1_1, 1);
        }
    }
    /**
     * Flips a bit of the confirmed replica, as bad memory would, to show that the client finds and
     * heals drift. Returns false if no replica is loaded, or if no flipped bit gives a valid
     * content.
     * @param {number} now
     * @param {number} chunk
     * @returns {boolean}
     */
    damage(now, chunk) {
        const ret = wasm.core_damage(this.__wbg_ptr, now, chunk);
        return ret !== 0;
    }
    /**
     * Describes a chunk as a JSON object: its `status`, with `code` and `message` where the status
     * has them, and the `version` and `hash` of its confirmed replica. Empty if the chunk is not
     * tracked.
     * @param {number} chunk
     * @returns {string}
     */
    describe(chunk) {
        let deferred1_0;
        let deferred1_1;
        try {
            const ret = wasm.core_describe(this.__wbg_ptr, chunk);
            deferred1_0 = ret[0];
            deferred1_1 = ret[1];
            return getStringFromWasm0(ret[0], ret[1]);
        } finally {
            wasm.__wbindgen_free(deferred1_0, deferred1_1, 1);
        }
    }
    /**
     * Handles a socket that has closed. `code` is the server's close code; 0 if there was none.
     * @param {number} now
     * @param {number} socket
     * @param {number} code
     */
    disconnected(now, socket, code) {
        wasm.core_disconnected(this.__wbg_ptr, now, socket, code);
    }
    /**
     * The canonical encoding of the confirmed replica; `None` until the chunk is loaded.
     * @param {number} chunk
     * @returns {Uint8Array | undefined}
     */
    encoding(chunk) {
        const ret = wasm.core_encoding(this.__wbg_ptr, chunk);
        let v1;
        if (ret[0] !== 0) {
            v1 = getArrayU8FromWasm0(ret[0], ret[1]).slice();
            wasm.__wbindgen_free(ret[0], ret[1] * 1, 1);
        }
        return v1;
    }
    /**
     * All events since the last call, as a JSON array; an empty string if there are none. The
     * changes of a chunk are merged into one event, which follows all other events.
     * @returns {string}
     */
    events() {
        let deferred1_0;
        let deferred1_1;
        try {
            const ret = wasm.core_events(this.__wbg_ptr);
            deferred1_0 = ret[0];
            deferred1_1 = ret[1];
            return getStringFromWasm0(ret[0], ret[1]);
        } finally {
            wasm.__wbindgen_free(deferred1_0, deferred1_1, 1);
        }
    }
    /**
     * The announced families, as a JSON array.
     * @returns {string}
     */
    families() {
        let deferred1_0;
        let deferred1_1;
        try {
            const ret = wasm.core_families(this.__wbg_ptr);
            deferred1_0 = ret[0];
            deferred1_1 = ret[1];
            return getStringFromWasm0(ret[0], ret[1]);
        } finally {
            wasm.__wbindgen_free(deferred1_0, deferred1_1, 1);
        }
    }
    /**
     * Five numbers: a grid's sizes X, Y and Z, and the addresses of two arrays in this module's
     * memory. The first array has the cells (u16, x fastest). The second has a u8 per cell, which
     * is 1 if the cell is pending. The addresses are valid until the next call that changes
     * something. `None` if the chunk's view is no grid.
     * @param {number} chunk
     * @returns {Uint32Array | undefined}
     */
    grid(chunk) {
        const ret = wasm.core_grid(this.__wbg_ptr, chunk);
        let v1;
        if (ret[0] !== 0) {
            v1 = getArrayU32FromWasm0(ret[0], ret[1]).slice();
            wasm.__wbindgen_free(ret[0], ret[1] * 4, 4);
        }
        return v1;
    }
    /**
     * The BLAKE3-256 hash of some bytes, in hex. The guards of `map` commands name values by this
     * hash.
     * @param {Uint8Array | number[]} data
     * @returns {string}
     */
    static hash(data) {
        let deferred2_0;
        let deferred2_1;
        try {
            const ptr0 = passArray8ToWasm0(data, wasm.__wbindgen_malloc);
            const len0 = WASM_VECTOR_LEN;
            const ret = wasm.core_hash(ptr0, len0);
            deferred2_0 = ret[0];
            deferred2_1 = ret[1];
            return getStringFromWasm0(ret[0], ret[1]);
        } finally {
            wasm.__wbindgen_free(deferred2_0, deferred2_1, 1);
        }
    }
    /**
     * Whether a map's key has another value in the view than in the confirmed replica.
     * @param {number} chunk
     * @param {string} key
     * @returns {boolean}
     */
    is_pending(chunk, key) {
        const val2 = +chunk;
        const ptr0 = passStringToWasm0(key, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        const ret = wasm.core_is_pending(this.__wbg_ptr, val2, ptr0, len0);
        return ret !== 0;
    }
    /**
     * A map's keys in order, as a JSON array; an empty array if the chunk's view is no map.
     * @param {number} chunk
     * @returns {string}
     */
    keys(chunk) {
        let deferred1_0;
        let deferred1_1;
        try {
            const ret = wasm.core_keys(this.__wbg_ptr, chunk);
            deferred1_0 = ret[0];
            deferred1_1 = ret[1];
            return getStringFromWasm0(ret[0], ret[1]);
        } finally {
            wasm.__wbindgen_free(deferred1_0, deferred1_1, 1);
        }
    }
    /**
     * The kind of a chunk's view: `none`, `grid`, `map` or `other`.
     * @param {number} chunk
     * @returns {string}
     */
    kind(chunk) {
        let deferred1_0;
        let deferred1_1;
        try {
            const ret = wasm.core_kind(this.__wbg_ptr, chunk);
            deferred1_0 = ret[0];
            deferred1_1 = ret[1];
            return getStringFromWasm0(ret[0], ret[1]);
        } finally {
            wasm.__wbindgen_free(deferred1_0, deferred1_1, 1);
        }
    }
    /**
     * `settings` is a JSON object. Its members `author`, `roles`, `can_renew`, `pending_max`,
     * `undo_max`, `resend_after_ms` and `renew_before_ms` are optional, and mean the fields of
     * [`Settings`] with these names.
     *
     * # Errors
     * `settings`: the text is not a JSON object, or a member has the wrong type.
     * @param {string} settings
     * @param {any} decompressor
     */
    constructor(settings, decompressor) {
        const ptr0 = passStringToWasm0(settings, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        const ret = wasm.core_new(ptr0, len0, decompressor);
        if (ret[2]) {
            throw takeFromExternrefTable0(ret[1]);
        }
        this.__wbg_ptr = ret[0];
        CoreFinalization.register(this, this.__wbg_ptr, this);
        return this;
    }
    /**
     * When [`Self::tick`] must be called next; infinity if no timer is set.
     * @returns {number}
     */
    next_deadline() {
        const ret = wasm.core_next_deadline(this.__wbg_ptr);
        return ret;
    }
    /**
     * The number of commands without an outcome.
     * @returns {number}
     */
    pending() {
        const ret = wasm.core_pending(this.__wbg_ptr);
        return ret >>> 0;
    }
    /**
     * The next message for a socket; `None` if no request waits.
     * @param {number} socket
     * @returns {Uint8Array | undefined}
     */
    poll_send(socket) {
        const ret = wasm.core_poll_send(this.__wbg_ptr, socket);
        let v1;
        if (ret[0] !== 0) {
            v1 = getArrayU8FromWasm0(ret[0], ret[1]).slice();
            wasm.__wbindgen_free(ret[0], ret[1] * 1, 1);
        }
        return v1;
    }
    /**
     * @param {number} now
     * @param {number} socket
     * @param {Uint8Array | number[]} message
     */
    received(now, socket, message) {
        const val2 = +now;
        const val3 = +socket;
        const ptr0 = passArray8ToWasm0(message, wasm.__wbindgen_malloc);
        const len0 = WASM_VECTOR_LEN;
        wasm.core_received(this.__wbg_ptr, val2, val3, ptr0, len0);
    }
    /**
     * @param {number} now
     * @param {string} token
     */
    renew(now, token) {
        const val2 = +now;
        const ptr0 = passStringToWasm0(token, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        wasm.core_renew(this.__wbg_ptr, val2, ptr0, len0);
    }
    /**
     * Submits an encoded command, and returns its id.
     *
     * # Errors
     * `not_tracked`, `too_large`, `too_many`, `closed`: the command was not accepted.
     * @param {number} now
     * @param {number} chunk
     * @param {Uint8Array | number[]} command
     * @returns {number}
     */
    submit(now, chunk, command) {
        const val2 = +now;
        const val3 = +chunk;
        const ptr0 = passArray8ToWasm0(command, wasm.__wbindgen_malloc);
        const len0 = WASM_VECTOR_LEN;
        const ret = wasm.core_submit(this.__wbg_ptr, val2, val3, ptr0, len0);
        if (ret[2]) {
            throw takeFromExternrefTable0(ret[1]);
        }
        return ret[0];
    }
    /**
     * Submits a command in the model's JSON, and returns its id.
     *
     * # Errors
     * The errors of [`Self::submit`]; `invalid_command` if the model refuses the command;
     * `no_model` if no gateway has announced the chunk's family yet, or if this client cannot make
     * the family's model.
     * @param {number} now
     * @param {number} chunk
     * @param {string} command
     * @returns {number}
     */
    submit_json(now, chunk, command) {
        const val2 = +now;
        const val3 = +chunk;
        const ptr0 = passStringToWasm0(command, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        const ret = wasm.core_submit_json(this.__wbg_ptr, val2, val3, ptr0, len0);
        if (ret[2]) {
            throw takeFromExternrefTable0(ret[1]);
        }
        return ret[0];
    }
    /**
     * Submits the inverse of a commit, and returns the ids of the new commands. The list is empty
     * if the commit cannot be taken back.
     *
     * # Errors
     * The errors of [`Self::submit`].
     * @param {number} now
     * @param {number} chunk
     * @param {number} command
     * @returns {Float64Array}
     */
    take_back(now, chunk, command) {
        const ret = wasm.core_take_back(this.__wbg_ptr, now, chunk, command);
        if (ret[3]) {
            throw takeFromExternrefTable0(ret[2]);
        }
        var v1 = getArrayF64FromWasm0(ret[0], ret[1]).slice();
        wasm.__wbindgen_free(ret[0], ret[1] * 8, 8);
        return v1;
    }
    /**
     * @param {number} now
     */
    tick(now) {
        wasm.core_tick(this.__wbg_ptr, now);
    }
    /**
     * Tracks a chunk, and returns its number.
     *
     * # Errors
     * `chunk_id`: the text is not a chunk id.
     * @param {number} now
     * @param {string} chunk
     * @returns {number}
     */
    track(now, chunk) {
        const val2 = +now;
        const ptr0 = passStringToWasm0(chunk, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        const ret = wasm.core_track(this.__wbg_ptr, val2, ptr0, len0);
        if (ret[2]) {
            throw takeFromExternrefTable0(ret[1]);
        }
        return ret[0] >>> 0;
    }
    /**
     * @param {number} now
     * @param {number} chunk
     */
    untrack(now, chunk) {
        wasm.core_untrack(this.__wbg_ptr, now, chunk);
    }
    /**
     * The value of a map's key; `None` if the view has no such key.
     * @param {number} chunk
     * @param {string} key
     * @returns {Uint8Array | undefined}
     */
    value(chunk, key) {
        const val2 = +chunk;
        const ptr0 = passStringToWasm0(key, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        const ret = wasm.core_value(this.__wbg_ptr, val2, ptr0, len0);
        let v3;
        if (ret[0] !== 0) {
            v3 = getArrayU8FromWasm0(ret[0], ret[1]).slice();
            wasm.__wbindgen_free(ret[0], ret[1] * 1, 1);
        }
        return v3;
    }
    /**
     * The version of a chunk's confirmed replica; 0 until the chunk is loaded.
     * @param {number} chunk
     * @returns {number}
     */
    version(chunk) {
        const ret = wasm.core_version(this.__wbg_ptr, chunk);
        return ret;
    }
}
if (Symbol.dispose) Core.prototype[Symbol.dispose] = Core.prototype.free;
function __wbg_get_imports() {
    const import0 = {
        __proto__: null,
        __wbg_Number_c83fc2c5bac85149: function(arg0, arg1) {
            const ret = Number(getStringFromWasm0(arg0, arg1));
            return ret;
        },
        __wbg_String_8602420c04fdebe7: function(arg0, arg1) {
            const ret = String(arg1);
            const ptr1 = passStringToWasm0(ret, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
            const len1 = WASM_VECTOR_LEN;
            getDataViewMemory0().setInt32((arg0 >>> 0) + 4 * 1, len1, true);
            getDataViewMemory0().setInt32((arg0 >>> 0) + 4 * 0, ptr1, true);
        },
        __wbg___wbindgen_throw_4c88d8bf264fd984: function(arg0, arg1) {
            throw new Error(getStringFromWasm0(arg0, arg1));
        },
        __wbg_unzstd_50507ee5b709901a: function() { return handleError(function (arg0, arg1, arg2, arg3, arg4) {
            const ret = arg1.unzstd(getArrayU8FromWasm0(arg2, arg3), arg4 >>> 0);
            const ptr1 = passArray8ToWasm0(ret, wasm.__wbindgen_malloc);
            const len1 = WASM_VECTOR_LEN;
            getDataViewMemory0().setInt32((arg0 >>> 0) + 4 * 1, len1, true);
            getDataViewMemory0().setInt32((arg0 >>> 0) + 4 * 0, ptr1, true);
        }, arguments); },
        __wbindgen_generic_0000000000000001: function(arg0, arg1) {
            // Cast intrinsic for `Ref(String) -> Externref`.
            const ret = getStringFromWasm0(arg0, arg1);
            return ret;
        },
        __wbindgen_init_externref_table: function() {
            const table = wasm.__wbindgen_externrefs;
            table.set(0, undefined);
            table.set(1024, undefined);
            table.set(1025, null);
            table.set(1026, true);
            table.set(1027, false);
        },
    };
    return {
        __proto__: null,
        "./driftless_core_bg.js": import0,
    };
}

const CoreFinalization = (typeof FinalizationRegistry === 'undefined')
    ? { register: () => {}, unregister: () => {} }
    : new FinalizationRegistry(ptr => wasm.__wbg_core_free(ptr, 1));

function addToExternrefTable0(obj) {
    const idx = wasm.__externref_table_alloc();
    wasm.__wbindgen_externrefs.set(idx, obj);
    return idx;
}

function getArrayF64FromWasm0(ptr, len) {
    ptr = ptr >>> 0;
    return getFloat64ArrayMemory0().subarray(ptr / 8, ptr / 8 + len);
}

function getArrayU32FromWasm0(ptr, len) {
    ptr = ptr >>> 0;
    return getUint32ArrayMemory0().subarray(ptr / 4, ptr / 4 + len);
}

function getArrayU8FromWasm0(ptr, len) {
    ptr = ptr >>> 0;
    return getUint8ArrayMemory0().subarray(ptr / 1, ptr / 1 + len);
}

let cachedDataViewMemory0 = null;
function getDataViewMemory0() {
    if (cachedDataViewMemory0 === null || cachedDataViewMemory0.buffer.detached === true || (cachedDataViewMemory0.buffer.detached === undefined && cachedDataViewMemory0.buffer !== wasm.memory.buffer)) {
        cachedDataViewMemory0 = new DataView(wasm.memory.buffer);
    }
    return cachedDataViewMemory0;
}

let cachedFloat64ArrayMemory0 = null;
function getFloat64ArrayMemory0() {
    if (cachedFloat64ArrayMemory0 === null || cachedFloat64ArrayMemory0.byteLength === 0) {
        cachedFloat64ArrayMemory0 = new Float64Array(wasm.memory.buffer);
    }
    return cachedFloat64ArrayMemory0;
}

function getStringFromWasm0(ptr, len) {
    ptr = ptr >>> 0;
    return decodeText(getUint8ArrayMemory0().subarray(ptr, ptr + len));
}

let cachedUint32ArrayMemory0 = null;
function getUint32ArrayMemory0() {
    if (cachedUint32ArrayMemory0 === null || cachedUint32ArrayMemory0.byteLength === 0) {
        cachedUint32ArrayMemory0 = new Uint32Array(wasm.memory.buffer);
    }
    return cachedUint32ArrayMemory0;
}

let cachedUint8ArrayMemory0 = null;
function getUint8ArrayMemory0() {
    if (cachedUint8ArrayMemory0 === null || cachedUint8ArrayMemory0.byteLength === 0) {
        cachedUint8ArrayMemory0 = new Uint8Array(wasm.memory.buffer);
    }
    return cachedUint8ArrayMemory0;
}

function handleError(f, args) {
    try {
        return f.apply(this, args);
    } catch (e) {
        const idx = addToExternrefTable0(e);
        wasm.__wbindgen_exn_store(idx);
    }
}

function passArray8ToWasm0(arg, malloc) {
    const ptr = malloc(arg.length * 1, 1) >>> 0;
    getUint8ArrayMemory0().set(arg, ptr / 1);
    WASM_VECTOR_LEN = arg.length;
    return ptr;
}

function passStringToWasm0(arg, malloc, realloc) {
    if (realloc === undefined) {
        const buf = cachedTextEncoder.encode(arg);
        const ptr = malloc(buf.length, 1) >>> 0;
        getUint8ArrayMemory0().subarray(ptr, ptr + buf.length).set(buf);
        WASM_VECTOR_LEN = buf.length;
        return ptr;
    }

    let len = arg.length;
    let ptr = malloc(len, 1) >>> 0;

    const mem = getUint8ArrayMemory0();

    let offset = 0;

    for (; offset < len; offset++) {
        const code = arg.charCodeAt(offset);
        if (code > 0x7F) break;
        mem[ptr + offset] = code;
    }
    if (offset !== len) {
        if (offset !== 0) {
            arg = arg.slice(offset);
        }
        ptr = realloc(ptr, len, len = offset + arg.length * 3, 1) >>> 0;
        const view = getUint8ArrayMemory0().subarray(ptr + offset, ptr + len);
        const ret = cachedTextEncoder.encodeInto(arg, view);

        offset += ret.written;
        ptr = realloc(ptr, len, offset, 1) >>> 0;
    }

    WASM_VECTOR_LEN = offset;
    return ptr;
}

function takeFromExternrefTable0(idx) {
    const value = wasm.__wbindgen_externrefs.get(idx);
    wasm.__externref_table_dealloc(idx);
    return value;
}

let cachedTextDecoder = new TextDecoder('utf-8', { ignoreBOM: true });
cachedTextDecoder.decode();
const MAX_SAFARI_DECODE_BYTES = 2146435072;
let numBytesDecoded = 0;
function decodeText(bytes) {
    numBytesDecoded += bytes.length;
    if (numBytesDecoded >= MAX_SAFARI_DECODE_BYTES) {
        cachedTextDecoder = new TextDecoder('utf-8', { ignoreBOM: true });
        cachedTextDecoder.decode();
        numBytesDecoded = bytes.length;
    }
    return cachedTextDecoder.decode(bytes);
}

const cachedTextEncoder = new TextEncoder();

if (!('encodeInto' in cachedTextEncoder)) {
    cachedTextEncoder.encodeInto = function (arg, view) {
        const buf = cachedTextEncoder.encode(arg);
        view.set(buf);
        return {
            read: arg.length,
            written: buf.length
        };
    };
}

let WASM_VECTOR_LEN = 0;

let wasmModule, wasmInstance, wasm;
function __wbg_finalize_init(instance, module) {
    wasmInstance = instance;
    wasm = instance.exports;
    wasmModule = module;
    cachedDataViewMemory0 = null;
    cachedFloat64ArrayMemory0 = null;
    cachedUint32ArrayMemory0 = null;
    cachedUint8ArrayMemory0 = null;
    wasm.__wbindgen_start();
    return wasm;
}

async function __wbg_load(module, imports) {
    if (typeof Response === 'function' && module instanceof Response) {
        if (!module.ok) {
            throw new Error(`failed to fetch Wasm: ${module.status} ${module.statusText} fetching '${module.url}'`);
        }

        if (typeof WebAssembly.instantiateStreaming === 'function') {
            try {
                return await WebAssembly.instantiateStreaming(module, imports);
            } catch (e) {
                const validResponse = expectedResponseType(module.type);

                if (validResponse && module.headers.get('Content-Type') !== 'application/wasm') {
                    console.warn("`WebAssembly.instantiateStreaming` failed because your server does not serve Wasm with `application/wasm` MIME type. Falling back to `WebAssembly.instantiate` which is slower. Original error:\n", e);

                } else { throw e; }
            }
        }

        const bytes = await module.arrayBuffer();
        return await WebAssembly.instantiate(bytes, imports);
    } else {
        const instance = await WebAssembly.instantiate(module, imports);

        if (instance instanceof WebAssembly.Instance) {
            return { instance, module };
        } else {
            return instance;
        }
    }

    function expectedResponseType(type) {
        switch (type) {
            case 'basic': case 'cors': case 'default': return true;
        }
        return false;
    }
}

function initSync(module) {
    if (wasm !== undefined) return wasm;


    if (module !== undefined) {
        if (Object.getPrototypeOf(module) === Object.prototype) {
            ({module} = module)
        } else {
            console.warn('using deprecated parameters for `initSync()`; pass a single object instead')
        }
    }

    const imports = __wbg_get_imports();
    if (!(module instanceof WebAssembly.Module)) {
        module = new WebAssembly.Module(module);
    }
    const instance = new WebAssembly.Instance(module, imports);
    return __wbg_finalize_init(instance, module);
}

let __wbg_init_promise;
async function __wbg_init(module_or_path) {
    if (wasm !== undefined) return wasm;
    if (__wbg_init_promise === undefined) {
        __wbg_init_promise = __wbg_init_once(module_or_path);
        __wbg_init_promise.catch(() => { __wbg_init_promise = undefined; });
    }
    return __wbg_init_promise;
}

async function __wbg_init_once(module_or_path) {

    if (module_or_path !== undefined) {
        if (Object.getPrototypeOf(module_or_path) === Object.prototype) {
            ({module_or_path} = module_or_path)
        } else {
            console.warn('using deprecated parameters for the initialization function; pass a single object instead')
        }
    }


    const imports = __wbg_get_imports();

    if (typeof module_or_path === 'string' || (typeof Request === 'function' && module_or_path instanceof Request) || (typeof URL === 'function' && module_or_path instanceof URL)) {
        module_or_path = fetch(module_or_path);
    }

    const { instance, module } = await __wbg_load(await module_or_path, imports);

    return __wbg_finalize_init(instance, module);
}

export { initSync, __wbg_init as default };

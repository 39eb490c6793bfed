//! The interface through which JavaScript calls the client's core.
//!
//! A socket is 0 (ingest) or 1 (gateway). A chunk is a number (`chunks.rs`). `now` and all other
//! times are milliseconds since 1970, by a clock that never goes backwards. An error is thrown as a
//! string of JSON, `{"code": …, "message": …}`; the sections "Errors" below list the codes.

use crate::chunks::Chunks;
use crate::event_json;
use crate::json::{self, Json};
use crate::read_json::read;
use crate::view_cache::{ViewCache, ViewCopy, find};
use bytes::Bytes;
use driftless_chunk::json::{Members, Problem};
use driftless_client_core::{ClientCore, CommandId, Event, Host, Settings, Socket, SubmitError};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Quoted};
use serde_json::Value;
use std::cell::RefCell;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

#[wasm_bindgen]
extern "C" {
    /// A small zstd decompressor in JavaScript: `unzstd(compressed, bytes_max)` throws if it cannot
    /// decompress the data.
    pub type Decompressor;

    #[wasm_bindgen(method, catch)]
    fn unzstd(this: &Decompressor, data: &[u8], bytes_max: u32) -> Result<Vec<u8>, JsValue>;
}

thread_local! {
    static DECOMPRESSOR: RefCell<Option<Decompressor>> = const { RefCell::new(None) };
}

fn decompress(data: &[u8], bytes_max: usize) -> Result<Vec<u8>, String> {
    DECOMPRESSOR.with(|decompressor| {
        let decompressor = decompressor.borrow();
        let decompressor = decompressor.as_ref().ok_or("no decompressor was passed to the core")?;
        let bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX);
        decompressor.unzstd(data, bytes_max).map_err(|_| "not a zstd frame of a size that is allowed".to_owned())
    })
}

/// A client.
#[wasm_bindgen]
pub struct Core {
    client: ClientCore,
    chunks: Chunks,
}

#[wasm_bindgen]
impl Core {
    /// `settings` is a JSON object. Its members `author`, `roles`, `can_renew`, `pending_max`,
    /// `undo_max`, `resend_after_ms` and `renew_before_ms` are optional, and mean the fields of
    /// [`Settings`] with these names.
    ///
    /// # Errors
    /// `settings`: the text is not a JSON object, or a member has the wrong type.
    #[wasm_bindgen(constructor)]
    pub fn new(settings: &str, decompressor: Decompressor) -> Result<Core, JsValue> {
        DECOMPRESSOR.with(|kept| kept.replace(Some(decompressor)));
        let wrong = |problem: Problem| js_error("settings", &problem.to_string());
        let read = read(settings).map_err(|problem| js_error("settings", &problem))?;
        let mut read = Members::of("", &read).map_err(wrong)?;
        let mut settings = Settings::for_host(crate::models(), Host { decompress, read_json: crate::read_json::read });
        let mut number = |name: &'static str, default: u64| match read.optional(name) {
            None => Ok(default),
            Some(value) => value.as_u64().ok_or_else(|| wrong(Problem::new(name, value, "a whole number"))),
        };
        settings.resend_after_ms = number("resend_after_ms", settings.resend_after_ms)?.max(1);
        settings.renew_before_ms = number("renew_before_ms", settings.renew_before_ms)?;
        let count = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        settings.pending_max = count(number("pending_max", settings.pending_max as u64)?);
        settings.undo_max = count(number("undo_max", settings.undo_max as u64)?);
        settings.can_renew = read.optional("can_renew").and_then(Value::as_bool).unwrap_or(false);
        settings.author = read.optional_text("author").map_err(wrong)?.unwrap_or_default().to_owned();
        let roles = read.optional("roles").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        settings.roles = roles.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        Ok(Self { client: ClientCore::new(settings), chunks: Chunks::default() })
    }

    // ---- the user ----

    /// Tracks a chunk, and returns its number.
    ///
    /// # Errors
    /// `chunk_id`: the text is not a chunk id.
    pub fn track(&mut self, now: f64, chunk: &str) -> Result<u32, JsValue> {
        let id: ChunkId = chunk.parse().map_err(|error| js_error("chunk_id", &format!("{error}")))?;
        let number = self.chunks.number(&id);
        self.client.track(time(now), &id);
        Ok(number)
    }

    pub fn untrack(&mut self, now: f64, chunk: u32) {
        if let Some(id) = self.chunks.id(chunk) {
            self.client.untrack(time(now), id);
        }
    }

    /// Submits an encoded command, and returns its id.
    ///
    /// # Errors
    /// `not_tracked`, `too_large`, `too_many`, `closed`: the command was not accepted.
    pub fn submit(&mut self, now: f64, chunk: u32, command: Vec<u8>) -> Result<f64, JsValue> {
        let id = self.id(chunk)?;
        self.client.submit(time(now), &id, command.into()).map(number).map_err(|error| submit_error(&error))
    }

    /// Submits a command in the model's JSON, and returns its id.
    ///
    /// # Errors
    /// The errors of [`Self::submit`]; `invalid_command` if the model refuses the command;
    /// `no_model` if no gateway has announced the chunk's family yet, or if this client cannot make
    /// the family's model.
    pub fn submit_json(&mut self, now: f64, chunk: u32, command: &str) -> Result<f64, JsValue> {
        let id = self.id(chunk)?;
        let command = self.encode(&id, command)?;
        self.client.submit(time(now), &id, command).map(number).map_err(|error| submit_error(&error))
    }

    pub fn cancel(&mut self, now: f64, chunk: u32, command: f64) {
        if let Some(id) = self.chunks.id(chunk) {
            self.client.cancel(time(now), id, CommandId(whole(command)));
        }
    }

    /// Submits the inverse of a commit, and returns the ids of the new commands. The list is empty
    /// if the commit cannot be taken back.
    ///
    /// # Errors
    /// The errors of [`Self::submit`].
    pub fn take_back(&mut self, now: f64, chunk: u32, command: f64) -> Result<Vec<f64>, JsValue> {
        let id = self.id(chunk)?;
        let taken = self.client.take_back(time(now), &id, CommandId(whole(command)));
        taken.map(|ids| ids.into_iter().map(number).collect()).map_err(|error| submit_error(&error))
    }

    pub fn renew(&mut self, now: f64, token: String) {
        self.client.renew(time(now), token);
    }

    pub fn close(&mut self, now: f64) {
        self.client.close(time(now));
    }

    // ---- sockets and time ----

    pub fn connected(&mut self, now: f64, socket: u8, token: String) {
        self.client.connected(time(now), socket_of(socket), token);
    }

    /// Handles a socket that has closed. `code` is the server's close code; 0 if there was none.
    pub fn disconnected(&mut self, now: f64, socket: u8, code: u16) {
        self.client.disconnected(time(now), socket_of(socket), Some(code).filter(|code| *code > 0));
    }

    pub fn received(&mut self, now: f64, socket: u8, message: Vec<u8>) {
        self.client.received(time(now), socket_of(socket), message.into());
    }

    pub fn tick(&mut self, now: f64) {
        self.client.tick(time(now));
    }

    /// When [`Self::tick`] must be called next; infinity if no timer is set.
    pub fn next_deadline(&self) -> f64 {
        #[allow(clippy::cast_precision_loss)]
        self.client.next_deadline().map_or(f64::INFINITY, |at| at.0 as f64)
    }

    /// The next message for a socket; `None` if no request waits.
    pub fn poll_send(&mut self, socket: u8) -> Option<Vec<u8>> {
        self.client.poll_send(socket_of(socket)).map(Vec::from)
    }

    /// All events since the last call, as a JSON array; an empty string if there are none. The
    /// changes of a chunk are merged into one event, which follows all other events.
    pub fn events(&mut self) -> String {
        let mut out = Json::array();
        let mut changed: Vec<(u32, u64)> = Vec::new();
        while let Some(event) = self.client.poll_event() {
            let chunk = chunk_of(&event).cloned().map_or(0, |id| self.chunks.number(&id));
            if let Event::Changed { version, .. } = event {
                changed.retain(|(of, _)| *of != chunk);
                changed.push((chunk, version.0));
            } else {
                out.raw("", &event_json::event(&event, chunk));
            }
        }
        for (chunk, version) in changed {
            if let Some(change) = self.update(chunk) {
                out.raw("", &event_json::change(chunk, version, &change));
            }
        }
        if out.is_empty() { String::new() } else { out.end() }
    }

    // ---- reading ----

    /// Describes a chunk as a JSON object: its `status`, with `code` and `message` where the status
    /// has them, and the `version` and `hash` of its confirmed replica. Empty if the chunk is not
    /// tracked.
    pub fn describe(&mut self, chunk: u32) -> String {
        let Ok(id) = self.id(chunk) else { return String::new() };
        let Some(status) = self.client.status(&id).cloned() else { return String::new() };
        let mut out = Json::object();
        event_json::status_members(&mut out, &status);
        if let Some(replica) = self.client.confirmed(&id) {
            out.number("version", replica.version().0);
            out.text("hash", &replica.hash().to_string());
        }
        out.end()
    }

    /// The kind of a chunk's view: `none`, `grid`, `map` or `other`.
    pub fn kind(&self, chunk: u32) -> String {
        match self.chunks.view_cache(chunk) {
            None | Some(ViewCache::None) => "none",
            Some(ViewCache::Grid(_)) => "grid",
            Some(ViewCache::Map(_)) => "map",
            Some(ViewCache::Other) => "other",
        }
        .into()
    }

    /// Five numbers: a grid's sizes X, Y and Z, and the addresses of two arrays in this module's
    /// memory. The first array has the cells (u16, x fastest). The second has a u8 per cell, which
    /// is 1 if the cell is pending. The addresses are valid until the next call that changes
    /// something. `None` if the chunk's view is no grid.
    pub fn grid(&self, chunk: u32) -> Option<Vec<u32>> {
        let Some(ViewCache::Grid(grid)) = self.chunks.view_cache(chunk) else { return None };
        let at = |pointer: usize| u32::try_from(pointer).unwrap_or(u32::MAX);
        let size = grid.size.map(at);
        Some(vec![size[0], size[1], size[2], at(grid.cells.as_ptr() as usize), at(grid.pending.as_ptr() as usize)])
    }

    /// A map's keys in order, as a JSON array; an empty array if the chunk's view is no map.
    pub fn keys(&self, chunk: u32) -> String {
        match self.chunks.view_cache(chunk) {
            Some(ViewCache::Map(entries)) => event_json::texts(entries.iter().map(|entry| &entry.key)),
            _ => "[]".into(),
        }
    }

    /// The value of a map's key; `None` if the view has no such key.
    pub fn value(&self, chunk: u32, key: &str) -> Option<Vec<u8>> {
        match self.chunks.view_cache(chunk) {
            Some(ViewCache::Map(entries)) => find(entries, key).map(|entry| entry.value.to_vec()),
            _ => None,
        }
    }

    /// Whether a map's key has another value in the view than in the confirmed replica.
    pub fn is_pending(&self, chunk: u32, key: &str) -> bool {
        match self.chunks.view_cache(chunk) {
            Some(ViewCache::Map(entries)) => find(entries, key).is_some_and(|entry| entry.is_pending),
            _ => false,
        }
    }

    /// The view in the model's JSON; empty if the chunk is not loaded.
    pub fn content_json(&mut self, chunk: u32) -> String {
        let Ok(id) = self.id(chunk) else { return String::new() };
        self.client.view(&id).map_or(String::new(), |(model, view, _)| json::text(&model.content_to_json(view)))
    }

    /// The canonical encoding of the confirmed replica; `None` until the chunk is loaded.
    pub fn encoding(&mut self, chunk: u32) -> Option<Vec<u8>> {
        let id = self.id(chunk).ok()?;
        self.client.confirmed(&id).map(|replica| replica.encoding().into_owned())
    }

    /// The BLAKE3-256 hash of some bytes, in hex. The guards of `map` commands name values by this
    /// hash.
    pub fn hash(data: &[u8]) -> String {
        driftless_schemas::Hash::of(data).to_string()
    }

    /// The version of a chunk's confirmed replica; 0 until the chunk is loaded.
    pub fn version(&mut self, chunk: u32) -> f64 {
        let Some(id) = self.chunks.id(chunk) else { return 0.0 };
        #[allow(clippy::cast_precision_loss)]
        self.client.confirmed(id).map_or(0.0, |replica| replica.version().0 as f64)
    }

    /// The announced families, as a JSON array.
    pub fn families(&self) -> String {
        let mut families = Json::array();
        for family in self.client.families() {
            let mut out = Json::object();
            out.text("name", &family.name);
            out.text("model", &family.model);
            out.number("revision", family.model_revision.into());
            // The parameters stay JSON text within a string.
            out.text("parameters", &family.parameters);
            out.number("coordinates", family.coordinates.into());
            out.text("min", &family.coordinate_min.to_string());
            out.text("max", &family.coordinate_max.to_string());
            families.raw("", &out.end());
        }
        families.end()
    }

    /// The colours of a family's values, three bytes each (red, green, blue). Empty if the family's
    /// model has no colours.
    pub fn colors(&self, family: &str) -> Vec<u8> {
        let model = self.client.model(family).and_then(Result::ok);
        model.and_then(|model| model.colors()).map(|colors| colors.as_flattened().to_vec()).unwrap_or_default()
    }

    /// The number of commands without an outcome.
    pub fn pending(&self) -> u32 {
        u32::try_from(self.client.pending()).unwrap_or(u32::MAX)
    }

    /// Flips a bit of the confirmed replica, as bad memory would, to show that the client finds and
    /// heals drift. Returns false if no replica is loaded, or if no flipped bit gives a valid
    /// content.
    pub fn damage(&mut self, now: f64, chunk: u32) -> bool {
        let Ok(id) = self.id(chunk) else { return false };
        self.client.damage(time(now), &id)
    }
}

impl Core {
    fn id(&self, chunk: u32) -> Result<ChunkId, JsValue> {
        self.chunks
            .id(chunk)
            .cloned()
            .ok_or_else(|| js_error("not_tracked", "no chunk has this number: track it first"))
    }

    fn encode(&self, id: &ChunkId, command: &str) -> Result<Bytes, JsValue> {
        let model = match self.client.model(id.family()) {
            Some(Ok(model)) => model,
            Some(Err(problem)) => return Err(js_error("no_model", problem)),
            None => {
                let message = format!(
                    "no server has announced the family {} yet: wait until the chunk is live",
                    Quoted(id.family())
                );
                return Err(js_error("no_model", &message));
            }
        };
        let json = read(command).map_err(|problem| js_error("invalid_command", &problem))?;
        model.command_from_json(&json).map(Bytes::from).map_err(|refusal| js_error("invalid_command", &refusal.0))
    }

    fn update(&mut self, chunk: u32) -> Option<crate::view_cache::Change> {
        let id = self.chunks.id(chunk)?.clone();
        let next = self.client.view(&id).map(|(_, view, _)| ViewCopy::of(view));
        let view_cache = self.chunks.view_mut(chunk)?;
        match (next, self.client.confirmed(&id)) {
            (Some(next), Some(replica)) => view_cache.update(next, replica.content()),
            _ => view_cache.clear(),
        }
    }
}

fn chunk_of(event: &Event) -> Option<&ChunkId> {
    match event {
        Event::Status { chunk, .. }
        | Event::Changed { chunk, .. }
        | Event::Verified { chunk, .. }
        | Event::Outcome { chunk, .. }
        | Event::Drift { chunk, .. }
        | Event::HistoryChanged { chunk, .. } => Some(chunk),
        _ => None,
    }
}

fn socket_of(number: u8) -> Socket {
    if number == 0 { Socket::Ingest } else { Socket::Gateway }
}

/// Converts a time of JavaScript. The SDK's clock counts from 1970 and never goes backwards, so its
/// value is wall time and monotonic time at once.
fn time(now: f64) -> MonotonicMs {
    MonotonicMs(whole(now))
}

/// Converts a number of JavaScript to an integer. JavaScript's numbers are exact up to 2^53, and
/// times and ids stay below that.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(number: f64) -> u64 {
    number.max(0.0) as u64
}

#[allow(clippy::cast_precision_loss)]
fn number(id: CommandId) -> f64 {
    id.0 as f64
}

fn js_error(code: &str, message: &str) -> JsValue {
    let mut out = Json::object();
    out.text("code", code);
    out.text("message", message);
    out.end().into()
}

fn submit_error(error: &SubmitError) -> JsValue {
    let code = match error {
        SubmitError::NotTracked { .. } => "not_tracked",
        SubmitError::TooLarge { .. } => "too_large",
        SubmitError::TooMany { .. } => "too_many",
        SubmitError::Closed { .. } => "closed",
    };
    js_error(code, &error.to_string())
}

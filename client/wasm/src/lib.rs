//! `client/core` as WebAssembly: browsers predict commands, fold effects, and verify and decode
//! contents with the same code as the servers.
//!
//! Calls between JavaScript and this module are few and large, never one per cell. JavaScript hands
//! in a message, then calls [`Core::events`] once for all events that follow, as JSON, and
//! [`Core::poll_send`] for the messages to send. JavaScript reads a grid's cells in place, in this
//! module's memory. The TypeScript SDK (`client/js`) is the only caller; games use that SDK.
//!
//! An application with its own model builds its own core: a crate that depends on this crate, and
//! calls [`register`] in its `#[wasm_bindgen(start)]` function (`examples/custom-model`).

mod chunks;
mod core;
mod float;
mod json;
mod view_cache;
mod read_json;
mod event_json;

pub use crate::core::Core;
use driftless_chunk::model::Models;
use std::cell::RefCell;

thread_local! {
    static MODELS: RefCell<Models> = RefCell::new(Models::builtin());
}

/// Adds models. Every [`Core`] that is made after this call knows them.
pub fn register(add: impl FnOnce(&mut Models)) {
    MODELS.with(|models| add(&mut models.borrow_mut()));
}

fn models() -> Models {
    MODELS.with(|models| models.borrow().clone())
}

#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

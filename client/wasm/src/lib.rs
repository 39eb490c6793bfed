//! `client/core` for the browser: the very code that decides on the server predicts, folds, verifies and decodes here.
//!
//! The boundary is crossed in whole frames and turns, never per cell: a message in, then [`Core::events`] once for all that
//! followed from it, as JSON; [`Core::poll_send`] for what is to be sent. A grid's cells are read in place, through a view of
//! this module's memory. The TypeScript SDK (`client/js`) is the only caller; nothing here is for games.
//!
//! A studio with a model of its own builds its own core: a crate that depends on this one and calls [`register`] from its
//! `#[wasm_bindgen(start)]` function (`examples/custom-model`).

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

/// Adds models to those that every [`Core`] made afterwards knows.
pub fn register(add: impl FnOnce(&mut Models)) {
    MODELS.with(|models| add(&mut models.borrow_mut()));
}

fn models() -> Models {
    MODELS.with(|models| models.borrow().clone())
}

#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

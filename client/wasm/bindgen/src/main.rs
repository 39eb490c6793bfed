//! Makes the JavaScript glue of a core's WebAssembly: `driftless-wasm-bindgen INPUT.wasm FOLDER
//! NAME`.
//!
//! The result is the same as with `wasm-bindgen --target web --omit-default-module-path`. This
//! crate exists because the program `wasm-bindgen` takes four times as long to build.

use anyhow::{Context, Result};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().context("usage: driftless-wasm-bindgen INPUT.wasm FOLDER NAME");
    let (input, folder, name) = (next()?, next()?, next()?);
    Bindgen::new()
        .input_path(input)
        .web(true)?
        .typescript(true)
        .omit_default_module_path(true)
        .remove_name_section(true)
        .remove_producers_section(true)
        .out_name(&name)
        .generate(folder)
}

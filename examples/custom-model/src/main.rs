//! The server of the example: `driftless` with the model `stock`. To start it:
//! `cargo run -p driftless-example-stock -- dev --world examples/custom-model/world.toml`.

use driftless_chunk::model::Models;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut models = Models::builtin();
    driftless_example_stock::register(&mut models);
    driftless::run(models)
}

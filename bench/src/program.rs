//! Finds the `driftless` program whose services are measured.

use anyhow::{Context, Result, ensure};
use std::path::PathBuf;

/// Returns the path of the program: `DRIFTLESS_BIN`, or else the `driftless` in the folder of this
/// program. One build puts both programs into that folder.
pub(crate) fn driftless() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("DRIFTLESS_BIN").filter(|path| !path.is_empty()) {
        return Ok(named.into());
    }
    let own = std::env::current_exe()?;
    let beside = own.parent().context("this program lies in a folder")?.join("driftless");
    ensure!(
        beside.is_file(),
        "there is no {}: build it with `cargo build --release --package driftless`, or name the program in DRIFTLESS_BIN",
        beside.display()
    );
    Ok(beside)
}

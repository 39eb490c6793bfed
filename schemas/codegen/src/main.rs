//! Makes `schemas/src/generated` out of `schemas/proto`: prost types and their pbjson serde implementations.
//!
//! protox compiles the `.proto` files, so that neither building nor generating needs a protoc. Call it through
//! `cargo xtask codegen [--check]`; with `--check` it writes nothing and fails where the committed code is stale.

use anyhow::{Context, Result, bail};
use prost::Message;
use std::fs;
use std::path::{Path, PathBuf};

const FILES: [&str; 4] = ["log", "store", "wire", "model"];

fn main() -> Result<()> {
    let check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => bail!("unknown argument {other}: the only one is --check"),
    };
    let schemas =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the codegen crate lies in schemas/")?.to_path_buf();
    let fresh = std::env::temp_dir().join(format!("driftless-codegen-{}", std::process::id()));
    fs::create_dir_all(&fresh)?;
    let outcome = generate(&schemas.join("proto"), &fresh)
        .and_then(|()| compare_or_copy(&fresh, &schemas.join("src/generated"), check));
    fs::remove_dir_all(&fresh)?;
    outcome
}

fn generate(proto: &Path, out: &Path) -> Result<()> {
    let files: Vec<PathBuf> = FILES.iter().map(|name| proto.join(format!("driftless/v1/{name}.proto"))).collect();
    let descriptors = protox::compile(&files, [proto])?;
    let encoded = descriptors.encode_to_vec();
    prost_build::Config::new().bytes(["."]).out_dir(out).compile_fds(descriptors)?;
    pbjson_build::Builder::new().register_descriptors(&encoded)?.out_dir(out).build(&[".driftless.v1"])?;
    Ok(())
}

fn compare_or_copy(fresh: &Path, committed: &Path, check: bool) -> Result<()> {
    fs::create_dir_all(committed)?;
    let mut stale = Vec::new();
    for name in ["driftless.v1.rs", "driftless.v1.serde.rs"] {
        let new = fs::read_to_string(fresh.join(name)).with_context(|| format!("no {name} was generated"))?;
        let old = fs::read_to_string(committed.join(name)).unwrap_or_default();
        if new == old {
            continue;
        }
        stale.push(name);
        if !check {
            fs::write(committed.join(name), new)?;
        }
    }
    match (stale.is_empty(), check) {
        (true, _) => println!("codegen: fresh"),
        (false, true) => bail!("{} differ from the .proto files: run `cargo xtask codegen`", stale.join(", ")),
        (false, false) => println!("codegen: wrote {}", stale.join(", ")),
    }
    Ok(())
}

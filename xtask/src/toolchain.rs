//! Checks that the Rust toolchain is complete, and makes cargo's build commands run the lints while
//! they compile.

use anyhow::{Context, Result, bail};
use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::process;
use crate::workspace::Workspace;

/// Checks that all tools are installed, and returns the compiler's version. The error names every
/// missing tool.
pub fn check(workspace: &Workspace) -> Result<String> {
    let mut faults = Vec::new();
    let mut format = workspace.cargo();
    format.args(["fmt", "--version"]);
    if process::ask(format).is_err() {
        faults.push("rustfmt is missing: rustup component add rustfmt");
    }
    if !clippy_driver()?.is_file() {
        faults.push("clippy is missing: rustup component add clippy");
    }
    if process::find("cc").is_none() {
        faults.push("a C compiler is missing (Debian: apt-get install build-essential)");
    }
    if process::find("make").is_none() {
        faults.push("make is missing (Debian: apt-get install build-essential)");
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    let mut version = rustc();
    version.arg("--version");
    process::ask(version)
}

/// Makes the command `build` lint the packages of this workspace while it compiles them.
///
/// Plain rustc still compiles the crates from a registry, so that builds with and without lints
/// share them. `[workspace.lints]` denies lints by name; this function also denies all other
/// warnings.
pub fn lint(build: &mut Command) -> Result<()> {
    build
        .env("RUSTC_WORKSPACE_WRAPPER", clippy_driver()?)
        .env("CLIPPY_ARGS", "-Dwarnings")
        .env("CARGO_INCREMENTAL", "0");
    Ok(())
}

/// Returns the path of clippy in the compiler's own toolchain.
fn clippy_driver() -> Result<PathBuf> {
    let mut sysroot = rustc();
    sysroot.args(["--print", "sysroot"]);
    Ok(PathBuf::from(process::ask(sysroot).context("there is no rustc")?).join("bin/clippy-driver"))
}

fn rustc() -> Command {
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    /// Builds `source` as a crate with our lint tables and the pure crates' `clippy.toml`, by
    /// [`lint`]. Returns the compiler's output if the build failed.
    fn refusal(name: &str, source: &str) -> Option<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
        let tables = manifest.find("[workspace.lints").expect("the workspace has lints");
        let lints = manifest[tables..].replace("[workspace.lints", "[lints");
        let lints = &lints[..lints.find("[profile").unwrap_or(lints.len())];

        let folder = driftless_testbed::RunDir::new(name).unwrap();
        let dir = folder.path();
        fs::create_dir(dir.join("src")).unwrap();
        let package = format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n[workspace]\n{lints}");
        fs::write(dir.join("Cargo.toml"), package).unwrap();
        fs::copy(root.join("chunk/clippy.toml"), dir.join("clippy.toml")).unwrap();
        fs::write(dir.join("src/lib.rs"), source).unwrap();

        let mut build = Command::new(env!("CARGO"));
        build.current_dir(dir).args(["check", "--quiet", "--offline"]).env("CARGO_TARGET_DIR", dir.join("target"));
        lint(&mut build).unwrap();
        let output = build.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (!output.status.success()).then_some(said)
    }

    #[test]
    fn clean_code_passes() {
        assert_eq!(refusal("clean", "pub fn double(n: u32) -> u32 {\n    n * 2\n}\n"), None);
    }

    #[test]
    fn denied_lints_and_all_other_warnings_stop_the_build() {
        for (source, lint) in [
            // Lints that [workspace.lints.rust] and [workspace.lints.clippy] deny.
            ("fn nobody_calls() {}", "function `nobody_calls` is never used"),
            ("pub fn f() { todo!() }", "clippy::todo"),
            ("pub fn f(v: &Vec<u8>) -> usize { v.len() }", "clippy::ptr-arg"),
            // A warning that no lint table mentions.
            ("pub fn NotSnake() {}", "non-snake-case"),
            // A method that clippy.toml of the pure crates bans.
            ("pub fn f() -> std::time::Instant { std::time::Instant::now() }", "R11: time is an argument"),
        ] {
            let said = refusal("planted", source).unwrap_or_else(|| panic!("{lint} was let through"));
            assert!(said.contains(lint), "{lint} is not in: {said}");
        }
    }
}

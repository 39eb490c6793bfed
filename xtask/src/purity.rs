//! Checks that the pure crates are pure (R11). No crate that does I/O is in their dependency trees,
//! they forbid unsafe code, and their `clippy.toml` bans clocks, threads and the environment.
//! Clippy enforces these bans in the build.

use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::Path;

use crate::process;
use crate::workspace::{Package, Workspace};

/// Crates with I/O, an async runtime, or randomness. No pure crate may depend on one of them.
const BANNED: [&str; 12] = [
    "tokio",
    "rdkafka",
    "warp",
    "object_store",
    "hyper",
    "slatedb",
    "mio",
    "reqwest",
    "rusqlite",
    "tokio-tungstenite",
    "rand",
    "getrandom",
];

/// The crate whose `clippy.toml` is the reference. Every pure crate must ban at least the same
/// methods.
const MODEL: &str = "driftless-chunk";

/// Methods that the reference itself must ban.
const ALWAYS_BANNED: [&str; 3] = ["std::time::Instant::now", "std::time::SystemTime::now", "std::thread::spawn"];

/// Checks all pure crates, and returns their number. The error names every fault.
pub fn check(workspace: &Workspace) -> Result<usize> {
    let pure: Vec<&Package> = workspace.packages.iter().filter(|package| is_pure(&package.name)).collect();
    let model = pure.iter().find(|package| package.name == MODEL).context("there is no driftless-chunk")?;
    let bans = bans_of(&model.dir)?;
    let mut faults: Vec<String> = Vec::new();
    for ban in ALWAYS_BANNED.iter().filter(|ban| !bans.iter().any(|known| known == *ban)) {
        faults.push(format!("chunk/clippy.toml does not ban {ban}"));
    }
    for package in &pure {
        let name = &package.name;
        for banned in banned_in(&tree(workspace, name)?) {
            faults.push(format!("{name} depends on {banned}: see `cargo tree -p {name} -e normal -i {banned}`"));
        }
        let library = package.dir.join("src/lib.rs");
        let source = fs::read_to_string(&library).with_context(|| format!("cannot read {}", library.display()))?;
        if !source.lines().any(|line| line == "#![forbid(unsafe_code)]") {
            faults.push(format!("{} lacks #![forbid(unsafe_code)]", library.display()));
        }
        match bans_of(&package.dir) {
            Err(error) => faults.push(format!("{error:#}; link it to chunk/clippy.toml")),
            Ok(own) => {
                let missing = bans.iter().filter(|ban| !own.contains(ban));
                faults.extend(missing.map(|ban| format!("{name}'s clippy.toml does not ban {ban}")));
            }
        }
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    ensure!(pure.len() > 2, "only {} pure crates: are the cores still called *-core?", pure.len());
    Ok(pure.len())
}

fn is_pure(package: &str) -> bool {
    matches!(package, "driftless-schemas" | "driftless-chunk") || package.ends_with("-core")
}

fn tree(workspace: &Workspace, package: &str) -> Result<String> {
    let mut tree = workspace.cargo();
    tree.args(["tree", "--package", package, "--all-features", "--edges", "normal", "--target", "all"]);
    tree.args(["--prefix", "none", "--format", "{p}"]);
    process::ask(tree)
}

/// Returns the banned crates in a dependency tree with lines like `zstd-sys v2.0.16+zstd.1.5.7
/// (*)`.
fn banned_in(tree: &str) -> Vec<&'static str> {
    let is_there = |banned: &&str| tree.lines().any(|line| line.split(' ').next() == Some(banned));
    BANNED.into_iter().filter(is_there).collect()
}

/// Returns the paths that a crate's own `clippy.toml` bans.
fn bans_of(dir: &Path) -> Result<Vec<String>> {
    let file = dir.join("clippy.toml");
    let settings = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(bans_in(&settings))
}

fn bans_in(settings: &str) -> Vec<String> {
    let lines = settings.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.filter_map(|line| line.split_once("path = \"")?.1.split_once('"')).map(|(path, _)| path.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banned_crate_is_found_anywhere_in_the_tree() {
        let tree = "driftless-chunk v0.1.0 (/w/chunk)\nbytes v1.12.2\ntokio v1.54.0 (*)\nrand v0.10.4\n";
        assert_eq!(banned_in(tree), ["tokio", "rand"]);
    }

    #[test]
    fn a_crate_with_a_similar_name_is_not_banned() {
        assert!(banned_in("tokio-util v0.7.0\nrand_core v0.10.1\ndriftless-tokio v1.0.0 (/tokio )\n").is_empty());
    }

    #[test]
    fn bans_are_read_and_comments_are_not() {
        let settings = "disallowed-methods = [\n    { path = \"std::time::Instant::now\", reason = \"R11\" },\n    \
                        # { path = \"std::fs::read\", reason = \"R11\" },\n
                        # \"std::env::var\",\n]\n";
        assert_eq!(bans_in(settings), ["std::time::Instant::now"]);
    }

    #[test]
    fn schemas_chunk_and_cores_are_pure() {
        for pure in ["driftless-schemas", "driftless-chunk", "driftless-client-core"] {
            assert!(is_pure(pure), "{pure}");
        }
        for other in ["driftless", "driftless-client", "driftless-codegen", "xtask"] {
            assert!(!is_pure(other), "{other}");
        }
    }
}

//! Checks that dependencies go one way: which package of the workspace may depend on which
//! (docs/design.md#layers).

use anyhow::{Result, bail};

use crate::workspace::Workspace;

/// Each crate with the crates that it may depend on. All names lack the prefix `driftless-`. Tests
/// (`tests/…`) and dev-dependencies are not restricted.
const LAYERS: [(&str, &[&str]); 24] = [
    ("schemas", &[]),
    ("codegen", &[]),
    ("chunk", &["schemas"]),
    ("runtime-core", &["schemas", "chunk"]),
    ("ingest-core", &["schemas", "chunk", "runtime-core"]),
    ("replayer-core", &["schemas", "chunk", "runtime-core"]),
    ("gateway-core", &["schemas", "chunk", "runtime-core"]),
    ("client-core", &["schemas", "chunk"]),
    ("runtime", &["schemas", "runtime-core"]),
    ("log", &["schemas", "runtime"]),
    ("store", &["schemas", "runtime"]),
    ("auth", &["schemas", "runtime-core", "runtime"]),
    ("web", &["schemas", "runtime-core", "runtime", "auth"]),
    ("ingest", &["schemas", "chunk", "runtime-core", "runtime", "log", "auth", "web", "ingest-core"]),
    ("replayer", &["schemas", "chunk", "runtime-core", "runtime", "log", "store", "replayer-core"]),
    ("gateway", &["schemas", "chunk", "runtime-core", "runtime", "log", "store", "auth", "web", "gateway-core"]),
    ("client", &["schemas", "chunk", "client-core"]),
    ("client-wasm", &["schemas", "chunk", "client-core"]),
    ("local-kafka", &[]),
    ("testbed", &["local-kafka"]),
    (
        "driftless",
        &[
            "schemas",
            "chunk",
            "runtime-core",
            "runtime",
            "log",
            "store",
            "auth",
            "web",
            "ingest",
            "replayer",
            "gateway",
            "client",
            "local-kafka",
        ],
    ),
    (
        "bench",
        &[
            "schemas",
            "chunk",
            "runtime-core",
            "runtime",
            "log",
            "store",
            "auth",
            "web",
            "ingest",
            "replayer",
            "gateway",
            "client-core",
            "testbed",
        ],
    ),
    ("example-stock", &["schemas", "chunk", "client-wasm", "driftless"]),
    ("xtask", &["testbed"]),
];

/// Checks all packages. The error names every forbidden dependency.
pub fn check(workspace: &Workspace) -> Result<()> {
    let mut faults = Vec::new();
    for package in &workspace.packages {
        let name = short(&package.name);
        if package.dir.starts_with(workspace.root.join("tests")) {
            continue;
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == name) else {
            faults.push(format!("{} has no line in LAYERS of xtask/src/layers.rs", package.name));
            continue;
        };
        for other in package.builds_on.iter().filter(|other| !allowed.contains(&short(other))) {
            faults.push(format!("{} must not depend on {other} (LAYERS in xtask/src/layers.rs)", package.name));
        }
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

/// The name of a package without the prefix `driftless-`.
fn short(package: &str) -> &str {
    package.strip_prefix("driftless-").unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Package;

    fn check(packages: Vec<Package>) -> Result<()> {
        super::check(&Workspace { root: "/w".into(), target_dir: "/w/target".into(), packages })
    }

    fn package(name: &str, dir: &str, builds_on: &[&str]) -> Package {
        let builds_on = builds_on.iter().map(|&name| name.to_owned()).collect();
        Package { name: name.into(), dir: dir.into(), builds_on, ..Package::default() }
    }

    #[test]
    fn a_core_cannot_know_a_service() {
        let core = package("driftless-gateway-core", "/w/gateway/core", &["driftless-chunk", "driftless-runtime"]);
        let error = check(vec![core]).unwrap_err().to_string();
        assert!(error.contains("driftless-gateway-core must not depend on driftless-runtime"), "{error}");
        assert!(!error.contains("driftless-chunk"), "{error}");
    }

    #[test]
    fn the_client_knows_no_service() {
        let client = |other| check(vec![package("driftless-client", "/w/client", &["driftless-client-core", other])]);
        client("driftless-chunk").unwrap();
        client("driftless-schemas").unwrap();
        client("driftless-runtime").unwrap_err();
        client("driftless-runtime-core").unwrap_err();
    }

    #[test]
    fn tests_may_use_everything_and_new_crates_need_a_line() {
        let everything = &["driftless", "driftless-runtime", "driftless-client"];
        check(vec![package("driftless-e2e-tests", "/w/tests/e2e", everything)]).unwrap();
        let error = check(vec![package("driftless-novelty", "/w/novelty", &[])]).unwrap_err().to_string();
        assert!(error.contains("driftless-novelty has no line"), "{error}");
    }

    #[test]
    fn every_allowed_dependency_is_a_lower_layer() {
        for (index, (name, allowed)) in LAYERS.iter().enumerate() {
            let below = &LAYERS[..index];
            for other in *allowed {
                assert!(below.iter().any(|(layer, _)| layer == other), "{name} may use {other}, which is not below it");
            }
        }
    }
}

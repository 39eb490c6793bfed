//! What Cargo knows about this workspace.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug)]
pub struct Workspace {
    pub root: PathBuf,
    pub target_dir: PathBuf,
    pub packages: Vec<Package>,
}

/// A member of the workspace.
#[derive(Debug, Default)]
pub struct Package {
    pub name: String,
    pub dir: PathBuf,
    /// Names of the workspace members that it is built on; not those that only its tests need.
    pub builds_on: Vec<String>,
    /// Names of its integration tests, the files and folders in `tests/`.
    pub integration_tests: Vec<String>,
}

impl Workspace {
    pub fn read() -> Result<Self> {
        let mut metadata = cargo();
        metadata.args(["metadata", "--format-version", "1", "--no-deps"]);
        let output = metadata.output().context("cannot run cargo metadata")?;
        ensure!(output.status.success(), "cargo metadata failed:\n{}", String::from_utf8_lossy(&output.stderr));
        let metadata = serde_json::from_slice(&output.stdout).context("cargo metadata gave no JSON")?;
        Self::from_metadata(&metadata).context("cargo metadata has an unknown form")
    }

    fn from_metadata(metadata: &Value) -> Option<Self> {
        let packages = metadata["packages"].as_array()?.iter().map(Package::from_metadata).collect::<Option<_>>()?;
        Some(Self {
            root: metadata["workspace_root"].as_str()?.into(),
            target_dir: metadata["target_directory"].as_str()?.into(),
            packages,
        })
    }

    /// The Cargo that runs us, in the workspace's root.
    pub fn cargo(&self) -> Command {
        let mut cargo = cargo();
        cargo.current_dir(&self.root);
        cargo
    }

    /// A program that `cargo build` has made.
    pub fn program(&self, profile: &str, name: &str) -> PathBuf {
        self.target_dir.join(profile).join(name)
    }
}

impl Package {
    fn from_metadata(package: &Value) -> Option<Self> {
        let is_in_workspace = |dependency: &&Value| !dependency["path"].is_null();
        let is_built_on = |dependency: &&Value| dependency["kind"] != "dev";
        let is_integration_test = |target: &&Value| target["kind"][0] == "test";
        let name = |value: &Value| value["name"].as_str().map(str::to_owned);
        let dependencies = package["dependencies"].as_array()?.iter();
        let targets = package["targets"].as_array()?.iter();
        Some(Self {
            name: name(package)?,
            dir: Path::new(package["manifest_path"].as_str()?).parent()?.to_owned(),
            builds_on: dependencies.filter(is_in_workspace).filter(is_built_on).filter_map(name).collect(),
            integration_tests: targets.filter(is_integration_test).filter_map(name).collect(),
        })
    }
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The files below a folder with their bytes, by their names in it; of a file, itself under the empty name.
pub fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut paths = vec![folder.to_owned()];
    while let Some(path) = paths.pop() {
        let unreadable = || format!("cannot read {}", path.display());
        if path.is_dir() {
            for entry in fs::read_dir(&path).with_context(unreadable)? {
                paths.push(entry?.path());
            }
        } else {
            let name = path.strip_prefix(folder)?.to_string_lossy().into_owned();
            found.insert(name, fs::read(&path).with_context(unreadable)?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metadata_tells_members_what_they_are_built_on_and_their_tests() {
        let workspace = Workspace::from_metadata(&json!({
            "workspace_root": "/w",
            "target_directory": "/w/target",
            "packages": [{
                "name": "driftless-chunk",
                "manifest_path": "/w/chunk/Cargo.toml",
                "dependencies": [
                    { "name": "driftless-schemas", "kind": null, "path": "/w/schemas" },
                    { "name": "driftless-codegen", "kind": "build", "path": "/w/schemas/codegen" },
                    { "name": "driftless-testbed", "kind": "dev", "path": "/w/infra/testbed" },
                    { "name": "blake3", "kind": null },
                ],
                "targets": [
                    { "name": "driftless_chunk", "kind": ["lib"] },
                    { "name": "golden", "kind": ["test"] },
                    { "name": "speed", "kind": ["example"] },
                ],
            }],
        }));
        let workspace = workspace.unwrap();
        assert_eq!(workspace.program("debug", "driftless"), Path::new("/w/target/debug/driftless"));
        let [chunk] = &workspace.packages[..] else { panic!("one package: {workspace:?}") };
        assert_eq!(chunk.name, "driftless-chunk");
        assert_eq!(chunk.dir, Path::new("/w/chunk"));
        assert_eq!(chunk.builds_on, ["driftless-schemas", "driftless-codegen"]);
        assert_eq!(chunk.integration_tests, ["golden"]);
    }

    #[test]
    fn this_workspace_can_be_read() {
        let workspace = Workspace::read().unwrap();
        assert!(workspace.packages.iter().any(|package| package.name == "xtask"));
        assert!(workspace.root.join("xtask").is_dir());
    }

    #[test]
    fn files_are_found_at_any_depth_by_their_names_below_the_folder() {
        let run = driftless_testbed::RunDir::new("xtask").unwrap();
        fs::create_dir_all(run.path().join("a/b")).unwrap();
        fs::write(run.path().join("a/b/c"), "1").unwrap();
        fs::write(run.path().join("d"), "2").unwrap();
        let found = files(run.path()).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a/b/c", "d"]);
        assert!(files(&run.path().join("nowhere")).is_err());
    }
}

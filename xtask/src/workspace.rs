//! The workspace as Cargo knows it: its packages, their dependencies and their tests.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::needs::{self, IntegrationTest};

#[derive(Debug)]
pub struct Workspace {
    pub root: PathBuf,
    pub target_dir: PathBuf,
    pub packages: Vec<Package>,
}

/// A package of the workspace.
#[derive(Debug, Default)]
pub struct Package {
    pub name: String,
    pub dir: PathBuf,
    /// Names of the workspace members on which the package depends, without dev-dependencies.
    pub builds_on: Vec<String>,
    /// The test suites in `tests/`.
    pub integration_tests: Vec<IntegrationTest>,
}

impl Workspace {
    pub fn read() -> Result<Self> {
        let mut metadata = cargo();
        metadata.args(["metadata", "--format-version", "1", "--no-deps"]);
        let output = metadata.output().context("cannot run cargo metadata")?;
        ensure!(output.status.success(), "cargo metadata failed:\n{}", String::from_utf8_lossy(&output.stderr));
        let metadata = serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
        Self::from_metadata(&metadata)
    }

    fn from_metadata(metadata: &Value) -> Result<Self> {
        let packages = array(metadata, "packages")?.iter().map(Package::from_metadata).collect::<Result<_>>()?;
        let root = text(metadata, "workspace_root")?.into();
        Ok(Self { root, target_dir: text(metadata, "target_directory")?.into(), packages })
    }

    /// Returns a command for the Cargo that runs this program, in the root of the workspace.
    pub fn cargo(&self) -> Command {
        let mut cargo = cargo();
        cargo.current_dir(&self.root);
        cargo
    }

    /// Returns the path of a program that `cargo build` makes with this profile.
    pub fn program(&self, profile: &str, name: &str) -> PathBuf {
        self.target_dir.join(profile).join(name)
    }
}

impl Package {
    fn from_metadata(package: &Value) -> Result<Self> {
        let is_in_workspace = |dependency: &&Value| !dependency["path"].is_null();
        let is_built_on = |dependency: &&Value| dependency["kind"] != "dev";
        let is_integration_test = |target: &&Value| target["kind"][0] == "test";
        let name_of = |value: &Value| value["name"].as_str().map(str::to_owned);
        let dependencies = array(package, "dependencies")?.iter();
        let tests = array(package, "targets")?.iter().filter(is_integration_test).filter_map(name_of).collect();
        let name = text(package, "name")?.to_owned();
        let manifest = Path::new(text(package, "manifest_path")?);
        Ok(Self {
            dir: manifest.parent().context("a manifest lies in a folder")?.to_owned(),
            builds_on: dependencies.filter(is_in_workspace).filter(is_built_on).filter_map(name_of).collect(),
            integration_tests: needs::declared(tests, &package["metadata"])
                .with_context(|| format!("the manifest of {name}"))?,
            name,
        })
    }
}

fn array<'a>(metadata: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    metadata[key].as_array().with_context(|| format!("cargo metadata has no list {key}"))
}

fn text<'a>(metadata: &'a Value, key: &str) -> Result<&'a str> {
    metadata[key].as_str().with_context(|| format!("cargo metadata has no text {key}"))
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Returns the files below a folder with their contents, by their paths in the folder. If `folder`
/// is a file, returns this file under the empty path.
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
    use crate::needs::Need;
    use serde_json::json;

    #[test]
    fn metadata_names_dependencies_and_tests_of_each_member() {
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
                "metadata": { "driftless": { "needs": { "golden": ["s3"] } } },
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
        assert_eq!(chunk.integration_tests, [IntegrationTest { name: "golden".into(), needs: vec![Need::S3] }]);
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

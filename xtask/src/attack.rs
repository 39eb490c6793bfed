//! `cargo xtask attack`: builds the services and the attacks (`tests/attack`), runs the tests that
//! the threat model names, and then attacks the services.
//!
//! The build is a debug build like that of `cargo dev`, so that the cores assert their invariants,
//! and so that defences can be switched off. With `--release` it is an optimised build, in which
//! floods are measured.

use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs;
use std::process::{Command, ExitCode};

use crate::process;
use crate::toolchain;
use crate::workspace::Workspace;

/// Flags with which the output does not depend on the tests that the threat model names.
const WITHOUT_TESTS: [&str; 9] =
    ["--no-tests", "--list", "--list-tests", "--tests", "--help", "-h", "--version", "--release", "--without"];

pub fn run(workspace: &Workspace, arguments: Vec<OsString>) -> Result<ExitCode> {
    let has_tests = !arguments.iter().any(|argument| WITHOUT_TESTS.iter().any(|flag| argument == flag));
    let is_release = arguments.iter().any(|argument| argument == "--release");
    let mut build = workspace.cargo();
    if is_release {
        build.args(["build", "--release", "--package", "driftless", "--package", "driftless-attack"]);
    } else {
        // This is the build of `cargo xtask test`. If single packages were built instead, Cargo
        // would choose other features and compile again.
        build.args(["build", "--workspace", "--all-targets"]);
        toolchain::lint(&mut build)?;
    }
    process::check("the build", build)?;
    let profile = if is_release { "release" } else { "debug" };
    let program = || {
        let mut attack = Command::new(workspace.program(profile, "driftless-attack"));
        attack.arg("--program").arg(workspace.program(profile, "driftless")).args(&arguments);
        attack
    };
    let mut attack = program();
    if has_tests {
        let mut list = program();
        list.arg("--list-tests");
        let names = process::ask(list)?;
        let results = workspace.target_dir.join("attack-tests.txt");
        fs::write(&results, tests(workspace, &names)?)
            .with_context(|| format!("cannot write {}", results.display()))?;
        attack.arg("--tests").arg(results);
    }
    Err(process::replace_this_process(attack)).context("cannot run driftless-attack")
}

/// Runs these tests, and returns the output of `cargo test`. `driftless-attack` judges the output,
/// because it knows which defence each test belongs to.
fn tests(workspace: &Workspace, names: &str) -> Result<String> {
    let names: Vec<&str> = names.lines().collect();
    if names.is_empty() {
        return Ok(String::new());
    }
    eprintln!("{} tests that the threat model names …", names.len());
    let mut test = workspace.cargo();
    test.args(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast", "--"]).args(names);
    toolchain::lint(&mut test)?;
    test.env("CARGO_TERM_COLOR", "never").env("RUST_TEST_NOCAPTURE", "0");
    let mut said = String::new();
    process::lines(test, |line| {
        said.push_str(line);
        said.push('\n');
    })?;
    Ok(said)
}

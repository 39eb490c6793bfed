//! The `driftless-testbed` program tells how to reach its servers, and no server outlives it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use driftless_testbed::until;
use serde_json::Value;

/// Starts the S3 server through the program. Returns the program and the server's process id.
fn start() -> (Child, u32) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_driftless-testbed"))
        .args(["s3", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(told["env"]["DRIFTLESS_TEST_S3"], "s3://driftless");
    let pid = told["pids"][0].as_u64().unwrap();
    (program, u32::try_from(pid).unwrap())
}

fn signal(pid: u32, name: &str) -> bool {
    let mut kill = Command::new("kill");
    kill.args([name, &pid.to_string()]).stderr(Stdio::null());
    kill.status().unwrap().success()
}

fn wait_until_gone(pid: u32) {
    until(Duration::from_secs(20), "the server to be gone", || (!signal(pid, "-0")).then_some(())).unwrap();
}

#[test]
fn a_program_that_is_asked_to_stop_ends_its_server_and_succeeds() {
    let (mut program, server) = start();
    assert!(signal(server, "-0"));
    assert!(signal(program.id(), "-TERM"));
    assert!(program.wait().unwrap().success());
    wait_until_gone(server);
}

#[test]
#[cfg(target_os = "linux")]
fn a_program_that_is_killed_takes_its_server_with_it() {
    let (mut program, server) = start();
    program.kill().unwrap();
    program.wait().unwrap();
    wait_until_gone(server);
}

#[test]
fn a_server_that_ends_by_itself_ends_the_program_with_an_error() {
    let (mut program, server) = start();
    assert!(signal(server, "-KILL"));
    assert!(!program.wait().unwrap().success());
}

#[test]
fn help_has_examples() {
    let program = env!("CARGO_BIN_EXE_driftless-testbed");
    let help = Command::new(program).arg("--help").output().unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains("Examples:"));
}

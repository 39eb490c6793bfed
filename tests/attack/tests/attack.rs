//! Runs every row. The tests that rows name run in their own crates.

use driftless_attack::report::Verdict;
use driftless_attack::run::{Options, run};
use driftless_e2e_tests::wait::say;
use std::path::Path;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_attack_of_the_threat_model_gets_anything_or_harms_anybody() {
    let program = Path::new(env!("CARGO_BIN_EXE_driftless-under-attack"));
    let options = Options {
        program,
        helper: Path::new(env!("CARGO_BIN_EXE_driftless-attack")),
        only: &[],
        is_measured: false,
        switched_off: "",
        progress: &|_| {},
    };
    let report = run(&options).await.unwrap();
    assert!(report.failures().is_empty(), "{}\n{}", report.failures().join("\n"), report.table());
    let held = report.lines.iter().filter(|line| line.verdict == Verdict::Held).count();
    say(&format!("{held} of {} rows were attacked and held, in {:.0} s", report.lines.len(), report.seconds));
}

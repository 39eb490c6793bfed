//! The simulator in CI: many seeds in which all rules must hold, and deliberate bugs that must be
//! found.

use driftless_chunk::mutant::Mutant;
use driftless_sim::faults::Fault;
use driftless_sim::mutants::hunt;
use driftless_sim::seeds::{Totals, run, run_many};
use std::thread::available_parallelism;

/// The number of seeds in CI. `cargo xtask sim` runs any number.
const SEEDS: u64 = 2_000;
/// The limit on the seeds within which an oracle must find each mutant in CI; `cargo xtask sim
/// --mutants` allows more.
const MUTANT_SEEDS: u64 = 2_000;

fn threads() -> usize {
    available_parallelism().map_or(2, usize::from)
}

/// R11: a run depends on its seed alone, so that a failure can be replayed.
#[test]
fn r11_one_seed_gives_one_trace_twice() {
    for seed in 0..12 {
        let (first, second) = (run(seed, None), run(seed, None));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!((first.steps, first.edits), (second.steps, second.edits), "seed {seed}");
    }
    assert_ne!(run(1, None).trace, run(2, None).trace);
}

#[test]
fn r1_to_r12_hold_in_every_run() {
    let mut totals = Totals::default();
    run_many(0, threads(), None, |seed| seed < SEEDS, |report| totals.add(&report));
    if let Some((seed, violation)) = &totals.violation {
        panic!("seed {seed}: {violation}\nto repeat it: cargo xtask sim --seed {seed} --trace");
    }
    assert_eq!(totals.seeds, SEEDS);
    // A workload or a fault that never occurs would test nothing, so each kind must occur.
    for fault in Fault::ALL {
        assert!(totals.faults.contains_key(&fault), "{} never occurred", fault.name());
    }
    assert!(totals.outcomes.iter().all(|count| *count > SEEDS), "{:?}", totals.outcomes);
    assert!(totals.seen.list().iter().all(|(_, count)| *count > SEEDS / 4), "{:?}", totals.seen);
    assert!(totals.drifts.iter().all(|count| *count > 0) && totals.reconstructed > 0, "{:?}", totals.drifts);
}

#[test]
fn every_mutant_is_found() {
    let survivors: Vec<String> = Mutant::ALL
        .into_iter()
        .map(|mutant| hunt(mutant, 0, threads(), MUTANT_SEEDS))
        .filter(|hunt| hunt.found.is_none())
        .map(|hunt| hunt.line())
        .collect();
    assert!(survivors.is_empty(), "within {MUTANT_SEEDS} seeds:\n{}", survivors.join("\n"));
}

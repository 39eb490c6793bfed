//! Runs the checks as ordinary tests. The inputs are the fuzzer's seeds, the inputs that the fuzzer
//! found, and some random mutations of the seeds. Each input that once crashed a target is a file
//! in `tests/fuzz/regressions/<target>/`.

use driftless_fuzz_checks::{Check, TARGETS, seeds};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

/// The number of mutated seeds and random scripts that run for each target.
const MUTATIONS: u64 = 200;

/// Held by each test: the checks measure the memory of the whole process, so no two tests may run
/// at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn check_input(target: &str, check: Check, name: &str, input: &[u8]) {
    let checked = catch_unwind(AssertUnwindSafe(|| check(input)));
    assert!(checked.is_ok(), "{target}, {name}: {}", hex::encode(input));
}

#[test]
fn every_seed_holds() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (target, check) in TARGETS {
        let seeds = seeds::of(target);
        assert!(seeds.len() >= 20, "{target} has {} seeds", seeds.len());
        for (name, seed) in seeds {
            check_input(target, check, &name, &seed);
        }
    }
}

#[test]
fn every_input_that_the_fuzzer_found_holds() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = seeds::root().join("tests/fuzz/regressions");
    for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        let target = entry.file_name().unwrap().to_string_lossy().into_owned();
        let (_, check) =
            TARGETS.iter().find(|(name, _)| *name == target).unwrap_or_else(|| panic!("no target {target}"));
        for file in fs::read_dir(&entry).unwrap().map(|file| file.unwrap().path()) {
            check_input(&target, *check, &file.display().to_string(), &fs::read(&file).unwrap());
        }
    }
}

#[test]
fn mutated_seeds_and_random_scripts_hold() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (number, (target, check)) in (0..).zip(TARGETS) {
        let seeds = seeds::of(target);
        for i in 0..MUTATIONS {
            let chance = seeds::script(number << 32 | i, 8);
            let mut input = match i % 4 {
                0 => seeds::script(i, 600),
                _ => seeds[usize::from(chance[0]) * 7 % seeds.len()].1.clone(),
            };
            for change in chance[2..].as_chunks::<3>().0 {
                let at = (usize::from(change[0]) << 8 | usize::from(change[1])) % input.len().max(1);
                if let Some(byte) = input.get_mut(at) {
                    *byte = change[2];
                }
            }
            check_input(target, check, &format!("mutation {i}"), &input);
        }
    }
}

/// Each target has a libFuzzer program, and each program belongs to a target.
#[test]
fn libfuzzer_knows_every_target() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let files = fs::read_dir(seeds::root().join("tests/fuzz/fuzz_targets")).unwrap();
    let mut names: Vec<String> =
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names, TARGETS.map(|(name, _)| name));
}

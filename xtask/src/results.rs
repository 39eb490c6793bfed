//! Counts the results in the output of `cargo test`. Each test program is a suite, and so are each
//! crate's doc tests (docs/decisions/0015-the-test-runner.md says why this program parses text).

use serde_json::{Value, json};
use std::path::Path;

#[derive(Debug, Default)]
pub struct Suites {
    pub suites: Vec<Suite>,
    /// Each failed test as `suite: test`.
    pub failures: Vec<String>,
}

#[derive(Debug, Default, PartialEq)]
pub struct Suite {
    pub name: String,
    pub passed: usize,
    pub failed: usize,
    pub ignored: usize,
    pub seconds: f64,
    /// True if the test program printed its result, and so did not die before.
    pub is_complete: bool,
}

impl Suites {
    /// Reads the next line of the output.
    pub fn line(&mut self, line: &str) {
        let line = line.trim();
        if let Some(name) = suite_name(line) {
            self.suites.push(Suite { name, ..Suite::default() });
        } else if let Some(suite) = self.suites.last_mut() {
            if let Some(test) = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED")) {
                self.failures.push(format!("{}: {test}", suite.name));
            } else if let Some(result) = line.strip_prefix("test result: ") {
                suite.take_result(result);
            }
        }
    }

    pub fn passed(&self) -> usize {
        self.suites.iter().map(|suite| suite.passed).sum()
    }

    pub fn failed(&self) -> usize {
        self.suites.iter().map(|suite| suite.failed).sum()
    }

    pub fn ignored(&self) -> usize {
        self.suites.iter().map(|suite| suite.ignored).sum()
    }

    /// Returns the suites in which at least one test passed.
    pub fn with_tests(&self) -> impl Iterator<Item = &Suite> {
        self.suites.iter().filter(|suite| suite.passed > 0)
    }

    /// Returns the `count` slowest suites, the slowest first.
    pub fn slowest(&self, count: usize) -> Vec<&Suite> {
        let mut suites: Vec<&Suite> = self.suites.iter().collect();
        suites.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        suites.truncate(count);
        suites
    }

    pub fn to_json(&self) -> Value {
        let with_tests = self.suites.iter().filter(|suite| suite.passed + suite.failed + suite.ignored > 0);
        let suite = |suite: &Suite| {
            let Suite { name, passed, failed, ignored, seconds, .. } = suite;
            json!({ "name": name, "passed": passed, "failed": failed, "skipped": ignored, "seconds": seconds })
        };
        with_tests.map(suite).collect()
    }
}

impl Suite {
    /// Adds the counts of a line such as `ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0
    /// filtered out; finished in 0.05s`.
    fn take_result(&mut self, result: &str) {
        for part in result.split([';', '.', ' ']).collect::<Vec<_>>().windows(2) {
            let (Ok(count), what) = (part[0].parse::<usize>(), part[1]) else { continue };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
        let finished = result.rsplit_once("finished in ").and_then(|(_, took)| took.strip_suffix('s')?.parse().ok());
        self.seconds += finished.unwrap_or(0.0);
        self.is_complete = true;
    }
}

/// Returns the suite's name from a line such as `Running tests/golden.rs
/// (target/debug/deps/golden-0123456789abcdef)` or `Doc-tests driftless_chunk`.
fn suite_name(line: &str) -> Option<String> {
    if let Some(library) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{library} (doc)"));
    }
    let program = line.strip_prefix("Running ")?.strip_suffix(')')?.rsplit_once(" (")?.1;
    let (name, _hash) = Path::new(program).file_name()?.to_str()?.rsplit_once('-')?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
   Compiling driftless-chunk v0.1.0 (/w/chunk)
    Finished `test` profile [unoptimized] target(s) in 0.21s
     Running unittests src/lib.rs (target/debug/deps/driftless_chunk-0f3c2a1b4d5e6f70)

running 3 tests
test ledger::tests::r8 ... ok
test grid::tests::fill ... FAILED
test map::tests::slow ... ignored

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.05s

     Running tests/log_kafka.rs (/cache/target/debug/deps/log_kafka-77)

running 2 tests
test a ... ok
test b ... ok

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 4 filtered out; finished in 12.50s

     Running tests/crash.rs (target/debug/deps/crash-78)

running 1 test
   Doc-tests driftless_chunk

running 1 test
test chunk/src/model.rs - model::Model (line 20) ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.30s; merged doctests compilation took 0.25s
";

    fn read(output: &str) -> Suites {
        let mut suites = Suites::default();
        output.lines().for_each(|line| suites.line(line));
        suites
    }

    #[test]
    fn every_suite_is_counted() {
        let suites = read(OUTPUT);
        assert_eq!((suites.passed(), suites.failed(), suites.ignored()), (4, 1, 1));
        assert_eq!(suites.failures, ["driftless_chunk: grid::tests::fill"]);
        let names: Vec<&str> = suites.suites.iter().map(|suite| suite.name.as_str()).collect();
        assert_eq!(names, ["driftless_chunk", "log_kafka", "crash", "driftless_chunk (doc)"]);
        assert_eq!(suites.slowest(1), [&suites.suites[1]]);
        assert_eq!(suites.suites[1].seconds, 12.5);
    }

    #[test]
    fn a_suite_that_died_is_incomplete() {
        let suites = read(OUTPUT);
        let died: Vec<&Suite> = suites.suites.iter().filter(|suite| !suite.is_complete).collect();
        assert_eq!(died.len(), 1);
        assert_eq!(died[0].name, "crash");
    }

    #[test]
    fn only_suites_that_ran_a_test_have_tests() {
        assert_eq!(read(OUTPUT).with_tests().count(), 3);
        let nothing = OUTPUT.replace("2 passed", "0 passed");
        assert_eq!(read(&nothing).with_tests().count(), 2);
    }
}

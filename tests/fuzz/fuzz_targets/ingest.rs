#![no_main]

use driftless_fuzz_checks as checks;

libfuzzer_sys::fuzz_target!(init: checks::seeds::write_if_asked("ingest"), |data: &[u8]| checks::ingest::check(data));

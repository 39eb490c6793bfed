#![no_main]

use driftless_fuzz_checks as checks;

libfuzzer_sys::fuzz_target!(init: checks::seeds::write_if_asked("replayer"), |data: &[u8]| checks::replayer::check(data));

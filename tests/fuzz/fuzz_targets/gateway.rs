#![no_main]

use driftless_fuzz_checks as checks;

libfuzzer_sys::fuzz_target!(init: checks::seeds::write_if_asked("gateway"), |data: &[u8]| checks::gateway::check(data));

#![no_main]

use driftless_fuzz_checks as checks;

libfuzzer_sys::fuzz_target!(init: checks::seeds::write_if_asked("client"), |data: &[u8]| checks::client::check(data));

//! What all services count in the same way, and its descriptions.

use metrics::{counter, describe_counter};

/// Describes them; once per process.
pub fn describe() {
    describe_counter!(
        "driftless_reloads_total",
        "Changes of files that a service keeps up with (keys, deny, tls): taken, or refused because something was wrong with them"
    );
}

pub(crate) fn reload(file: &'static str, outcome: &'static str) {
    counter!("driftless_reloads_total", "file" => file, "outcome" => outcome).increment(1);
}

//! The metrics of this crate, which are the same in every service, with their descriptions.

use metrics::{counter, describe_counter};

/// Describes the metrics to the recorder, once per process.
pub fn describe() {
    describe_counter!(
        "driftless_reloads_total",
        "Changes of reloaded files (keys, deny, tls): taken, or refused because the new content is not usable"
    );
}

pub(crate) fn reload(file: &'static str, outcome: &'static str) {
    counter!("driftless_reloads_total", "file" => file, "outcome" => outcome).increment(1);
}

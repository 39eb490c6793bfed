//! The metrics of a server, with their descriptions.

use metrics::{counter, describe_counter};

pub(crate) fn describe() {
    describe_counter!("driftless_http_refused_total", "Connections that were closed before a request, by reason");
}

pub(crate) fn refused(reason: &'static str) {
    counter!("driftless_http_refused_total", "reason" => reason).increment(1);
}

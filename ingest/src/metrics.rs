//! The metrics of ingest. No label has unbounded values: never a chunk, a user or a session.

use driftless_ingest_core::rejection;
use driftless_schemas::close;
use driftless_schemas::proto::{RefusalCode, RejectCode};
use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

/// Handles to the metrics that are updated often.
pub(crate) struct Metrics {
    pub sockets: Gauge,
    pub in_flight: Gauge,
    pub received_bytes: Counter,
    pub produced: Counter,
    pub receipts: Counter,
    pub unacknowledged: Counter,
    pub back_pressure: Counter,
    pub receipt_seconds: Histogram,
}

impl Metrics {
    /// Takes the handles from the recorder that is installed.
    pub(crate) fn new() -> Self {
        describe();
        Self {
            sockets: gauge!("driftless_ingest_sockets"),
            in_flight: gauge!("driftless_ingest_in_flight"),
            received_bytes: counter!("driftless_ingest_received_bytes_total"),
            produced: counter!("driftless_ingest_produced_total"),
            receipts: counter!("driftless_ingest_receipts_total"),
            unacknowledged: counter!("driftless_ingest_unacknowledged_total"),
            back_pressure: counter!("driftless_ingest_back_pressure_total"),
            receipt_seconds: histogram!("driftless_ingest_receipt_seconds"),
        }
    }

    pub(crate) fn rejected(&self, code: RejectCode) {
        counter!("driftless_ingest_rejected_total", "code" => rejection::name(code)).increment(1);
    }

    pub(crate) fn refused(&self, code: RefusalCode) {
        counter!("driftless_ingest_refused_total", "code" => code.as_str_name()).increment(1);
    }

    pub(crate) fn closed(&self, code: u16) {
        counter!("driftless_ingest_closed_total", "code" => close::name(code)).increment(1);
    }
}

/// Describes the metrics to the recorder that is installed.
pub fn describe() {
    describe_gauge!("driftless_ingest_sockets", "Open websockets.");
    describe_gauge!("driftless_ingest_in_flight", "Commands handed to the log and not yet acknowledged.");
    describe_counter!("driftless_ingest_received_bytes_total", "Bytes of websocket messages and request bodies.");
    describe_counter!("driftless_ingest_produced_total", "Commands accepted and handed to the log.");
    describe_counter!("driftless_ingest_receipts_total", "Receipts: commands that the log acknowledged.");
    describe_counter!("driftless_ingest_rejected_total", "Transmissions of commands that were rejected, by reason.");
    describe_counter!(
        "driftless_ingest_refused_total",
        "Requests on websockets that could not be decoded or were not allowed, by reason."
    );
    describe_counter!("driftless_ingest_closed_total", "Websockets that the server closed, by reason.");
    describe_counter!(
        "driftless_ingest_unacknowledged_total",
        "Commands that the log did not acknowledge in time. They may be in the log; their clients resend them."
    );
    describe_counter!(
        "driftless_ingest_back_pressure_total",
        "How often a socket was not read because the log had no room."
    );
    describe_histogram!(
        "driftless_ingest_receipt_seconds",
        "Time from handing a command to the log until its acknowledgement; one sample at a time per socket."
    );
}

//! The gateway's metrics and their descriptions.

use driftless_gateway_core::{Hub, Standing, Standings};
use driftless_schemas::Partition;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// Describes the metrics; once per process is enough.
pub(crate) fn describe() {
    describe_counter!("driftless_gateway_polls_total", "Batches of records read from updates, by partition");
    describe_gauge!(
        "driftless_gateway_partitions",
        "Partitions by state: catching_up, serving, degraded (this gateway serves none of its chunks)"
    );
    describe_counter!("driftless_drift_total", "Replicas that differed from the log and were rebuilt");
    describe_counter!("driftless_gateway_audits_total", "Requests to an owner to check a chunk");
    describe_counter!("driftless_gateway_drift_reports_total", "Drift reports of clients, which are never trusted");
    describe_counter!("driftless_gateway_lagging_total", "Times that a chunk began to lag for a socket");
    describe_gauge!("driftless_gateway_lagging_chunks", "Chunks that lag now, counted once for each socket");
    describe_histogram!("driftless_gateway_lagging_seconds", Unit::Seconds, "How long a chunk lagged for a socket");
    describe_gauge!("driftless_gateway_ring_bytes", Unit::Bytes, "Memory of the records kept in rings, approximately");
    describe_counter!(
        "driftless_gateway_rereads_total",
        "Chunks for which evicted records were read from the log again"
    );
    describe_counter!("driftless_gateway_closed_total", "Sockets that the gateway closed, by reason");
    describe_counter!(
        "driftless_gateway_silenced_total",
        "Times that a socket was not read for a while because its user exceeded its rate"
    );
    describe_gauge!("driftless_gateway_sockets", "Connected websockets and event streams");
    describe_gauge!("driftless_gateway_chunks", "Chunks of which the hub keeps a replica, records or a ref");
}

pub(crate) fn records(partition: Partition) {
    counter!("driftless_gateway_polls_total", "partition" => partition.to_string()).increment(1);
}

pub(crate) fn partitions(standings: &Standings) {
    for state in Standing::NAMES {
        gauge!("driftless_gateway_partitions", "state" => state).set(standings.count(state) as f64);
    }
}

pub(crate) fn drift() {
    counter!("driftless_drift_total").increment(1);
}

pub(crate) fn audit() {
    counter!("driftless_gateway_audits_total").increment(1);
}

pub(crate) fn drift_reported() {
    counter!("driftless_gateway_drift_reports_total").increment(1);
}

pub(crate) fn lagging_began() {
    counter!("driftless_gateway_lagging_total").increment(1);
}

pub(crate) fn lagging_ended(after_ms: u64) {
    histogram!("driftless_gateway_lagging_seconds").record(after_ms as f64 / 1000.0);
}

pub(crate) fn reread() {
    counter!("driftless_gateway_rereads_total").increment(1);
}

pub(crate) fn closed(code: u16) {
    counter!("driftless_gateway_closed_total", "reason" => driftless_schemas::close::name(code)).increment(1);
}

pub(crate) fn silenced() {
    counter!("driftless_gateway_silenced_total").increment(1);
}

pub(crate) fn levels(hub: &Hub) {
    // A gauge is an f64, which is exact up to 2^53.
    gauge!("driftless_gateway_sockets").set(hub.sockets() as f64);
    gauge!("driftless_gateway_chunks").set(hub.chunks() as f64);
    gauge!("driftless_gateway_lagging_chunks").set(hub.lagging() as f64);
    gauge!("driftless_gateway_ring_bytes").set(hub.ring_bytes() as f64);
}

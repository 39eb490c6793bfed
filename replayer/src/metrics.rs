//! The replayer's metrics and their descriptions.

use driftless_replayer_core::Stats;
use driftless_schemas::Partition;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};

/// Describes all metrics of the replayer. Called once per process.
pub(crate) fn describe() {
    describe_counter!("driftless_replayer_decisions_total", "Decisions by outcome");
    describe_counter!("driftless_replayer_resends_total", "Commands that were resolved already");
    describe_counter!("driftless_replayer_dead_letters_total", "Records of commands copied to dead-letter");
    describe_counter!("driftless_replayer_audits_total", "Audits asked for by gateways");
    describe_counter!("driftless_replayer_checks_total", "Chunks compared with ref and log");
    describe_counter!("driftless_drift_total", "Chunks that differed from the log and were replaced");
    describe_counter!("driftless_replayer_reconstructed_total", "Lost snapshots made again out of the log");
    describe_histogram!("driftless_replayer_takeover_seconds", "From an assignment to deciding: index, fence, log");
    describe_gauge!(
        "driftless_replayer_partitions",
        "Partitions that are assigned to this process, by state: recovering, deciding, failed"
    );
    describe_gauge!(
        "driftless_replayer_partitions_unowned",
        "Partitions that the consumer group has assigned to no replayer"
    );
    describe_gauge!(
        "driftless_clock_skew_seconds",
        "How far this machine's clock was ahead of the object store's when the process started; 0 below 5 s"
    );
    describe_gauge!("driftless_replayer_stuck_chunks", "Chunks that cannot be loaded, by partition");
    describe_counter!("driftless_replayer_records_total", "Records appended to updates");
    describe_counter!(
        "driftless_replayer_foreign_records_total",
        "Records of other processes found in updates while an owner was deciding; none of them counts"
    );
    describe_counter!(
        "driftless_replayer_records_from_the_future_total",
        "Batches of records whose time is more than 5 s ahead of this machine's clock"
    );
    describe_counter!(
        "driftless_replayer_ownerships_ended_total",
        "Ownerships that ended without an order to end, by reason"
    );
    describe_counter!("driftless_replayer_snapshots_total", "Snapshots stored and announced");
    describe_counter!("driftless_replayer_checkpoints_total", "Checkpoints written");
    describe_gauge!("driftless_replayer_chunks", "Chunks in memory, by partition");
    describe_gauge!("driftless_replayer_chunk_bytes", "Estimated memory of the chunks, by partition");
    describe_gauge!("driftless_replayer_dirty_chunks", "Chunks with decisions that no snapshot contains, by partition");
    describe_gauge!(
        "driftless_replayer_commands_open",
        "Commands read and not yet decided and acknowledged, by partition"
    );
}

/// Reports the skew of this machine's clock.
pub(crate) fn clock_skew(skew_ms: i64) {
    // A skew of 285 millennia would be inexact in f64.
    gauge!("driftless_clock_skew_seconds").set(skew_ms as f64 / 1000.0);
}

/// Counts an ownership that ended without an order. `reason` is the name of its outcome.
pub(crate) fn ended(reason: &'static str) {
    counter!("driftless_replayer_ownerships_ended_total", "reason" => reason).increment(1);
}

/// Reports the counters and gauges that changed from `before`, the last reported state, to `now`.
pub(crate) fn report(partition: Partition, before: &Stats, now: &Stats) {
    let decided = |outcome: &'static str, before: u64, now: u64| {
        if now > before {
            counter!("driftless_replayer_decisions_total", "outcome" => outcome).increment(now - before);
        }
    };
    decided("committed", before.committed, now.committed);
    decided("discarded", before.discarded, now.discarded);
    decided("out_of_order", before.out_of_order, now.out_of_order);
    decided("session_expired", before.expired, now.expired);
    let count = |name: &'static str, before: u64, now: u64| {
        if now > before {
            counter!(name).increment(now - before);
        }
    };
    count("driftless_replayer_resends_total", before.resends, now.resends);
    count("driftless_replayer_dead_letters_total", before.dead_letters, now.dead_letters);
    count("driftless_replayer_audits_total", before.audits, now.audits);
    count("driftless_replayer_checks_total", before.checks, now.checks);
    count("driftless_drift_total", before.drifts, now.drifts);
    count("driftless_replayer_reconstructed_total", before.reconstructed, now.reconstructed);
    count("driftless_replayer_records_total", before.records, now.records);
    count("driftless_replayer_foreign_records_total", before.foreign_records, now.foreign_records);
    count("driftless_replayer_snapshots_total", before.snapshots, now.snapshots);
    count("driftless_replayer_checkpoints_total", before.checkpoints, now.checkpoints);
    let level = |name: &'static str, before: usize, now: usize| {
        if now != before {
            // Gauges are f64: exact up to 2^53.
            gauge!(name, "partition" => partition.to_string()).set(now as f64);
        }
    };
    level("driftless_replayer_chunks", before.chunks, now.chunks);
    level("driftless_replayer_chunk_bytes", before.chunk_bytes, now.chunk_bytes);
    level("driftless_replayer_dirty_chunks", before.dirty_chunks, now.dirty_chunks);
    level("driftless_replayer_commands_open", before.commands_open, now.commands_open);
    level("driftless_replayer_stuck_chunks", before.stuck_chunks, now.stuck_chunks);
}

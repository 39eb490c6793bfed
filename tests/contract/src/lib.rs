//! What every log has to do, said once and run against memory, SQLite and a real Apache Kafka (DESIGN.md section 14).
//!
//! [`suite`] holds the claims, one function each, over a [`Subject`]; `tests/log_*.rs` run all of them against one
//! implementation each through [`log_contract!`]. A claim that only one implementation makes stands in its test file.

pub mod harness;
pub mod suite;

use async_trait::async_trait;
use driftless_runtime::log::{Log, QueueLimits};
use driftless_schemas::{Offset, Partition};
use std::sync::Arc;

/// A log under test, with what the seam does not offer.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The log. Several tests may share it: topics have names of their own.
    fn log(&self) -> Arc<dyn Log>;
    /// A handle whose producers hold at most this much.
    fn log_with_queue(&self, queue: QueueLimits) -> Arc<dyn Log>;
    /// Moves a partition's start up to `before`, as retention does.
    async fn truncate_before(&self, topic: &str, partition: Partition, before: Offset);
    /// A record of this many bytes is too large for every topic of [`harness::topic`].
    fn too_large_bytes(&self) -> usize;
}

/// Makes a test of every claim; `$subject` is an expression that makes a [`Subject`].
#[macro_export]
macro_rules! log_contract {
    ($subject:expr) => {
        $crate::log_contract!(@tests $subject,
            topics: [
                a_topic_can_be_created_twice,
                another_partition_count_is_refused,
                a_missing_topic_is_none_and_has_no_watermarks,
            ],
            appends: [
                offsets_are_dense_from_zero_and_acks_come_in_order,
                watermarks_follow_the_appends,
                a_record_too_large_is_refused_alone,
                an_unknown_topic_or_partition_is_refused,
                what_does_not_fit_comes_back_in_order,
                two_producers_interleave_without_loss,
                an_abandoned_producer_acknowledges_all_and_takes_nothing_more,
                a_gapless_producer_ends_with_its_first_failure,
            ],
            reads: [
                reading_starts_at_any_offset_and_waits_at_the_end,
                an_append_wakes_a_waiting_reader,
                keys_values_headers_and_timestamps_come_back,
                one_reader_reads_many_partitions,
                two_readers_do_not_disturb_each_other,
                a_backlog_comes_in_order_and_in_bounded_batches,
                a_paused_partition_is_silent_until_resumed,
                nothing_comes_after_unassign,
                assigning_again_starts_at_the_new_offset,
                an_offset_beyond_the_end_is_out_of_range,
                an_offset_below_the_start_is_out_of_range,
                one_bad_partition_does_not_stop_the_others,
                a_missing_partition_is_an_error_of_its_own,
                dropping_a_call_of_next_loses_nothing,
            ],
            groups: [
                the_only_member_gets_every_partition,
                members_share_without_overlap_and_leaving_gives_back,
                a_revoked_partition_is_nobodys_until_done,
                who_joins_under_a_taken_name_takes_its_place,
            ],
        );
    };
    (@tests $subject:expr, $($area:ident: [$($claim:ident),* $(,)?],)*) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                let subject = $subject;
                $crate::suite::$area::$claim(&subject).await;
            }
        )*)*
    };
}

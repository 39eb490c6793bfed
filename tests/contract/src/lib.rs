//! The contract of logs, object stores and indexes. Each claim of the contract is written once, and
//! runs against every implementation (docs/design.md#the-log-seam, docs/design.md#object-store). A
//! fake is useful only as far as it behaves like the real implementation, so both run the same
//! claims.
//!
//! | seam | fake | real |
//! | --- | --- | --- |
//! | log | simulator ([`partition_contract!`]) | memory, SQLite, Apache Kafka ([`log_contract!`]) |
//! | store | simulator ([`snapshot_contract!`]) | memory, folder, S3 server ([`store_contract!`]) |
//! | index | simulator ([`index_contract!`]) | SlateDB on these three ([`index_contract_on!`]) |
//!
//! [`suite`] holds the claims, one function for each. Each file in `tests/` runs all claims of a
//! seam against one implementation. The file also holds the claims that only this implementation
//! makes.

pub mod harness;
pub mod place;
pub mod suite;

use async_trait::async_trait;
use driftless_log::{Log, QueueLimits};
use driftless_schemas::{Offset, Partition};
use std::sync::Arc;

/// A log under test, with an operation that the product's log trait does not have.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The log. Several tests may share one log, because each test creates topics with unique
    /// names.
    fn log(&self) -> Arc<dyn Log>;
    /// Deletes the records of a partition below `before`, as retention does.
    async fn truncate_before(&self, topic: &str, partition: Partition, before: Offset);
}

/// A log on which services can run. Unlike the simulator's log, it has limits on queues and
/// records.
pub trait FullLog: Subject {
    /// Opens the log again, with these limits for the queues of its producers.
    fn log_with_queue(&self, queue: QueueLimits) -> Arc<dyn Log>;
    /// A record size in bytes that every topic of [`harness::topic`] refuses as too large.
    fn too_large_bytes(&self) -> usize;
}

/// Makes one test for each claim about logs. `$subject` is an expression that makes a [`FullLog`].
#[macro_export]
macro_rules! log_contract {
    ($subject:expr) => {
        $crate::partition_contract!($subject);
        $crate::claims!($subject,
            topics: [
                a_topic_can_be_created_twice,
                another_partition_count_is_refused,
                a_missing_topic_is_none_and_has_no_watermarks,
            ],
            appends: [
                a_record_too_large_is_refused_alone,
                an_unknown_topic_or_partition_is_refused,
                records_that_do_not_fit_come_back_in_order,
                an_abandoned_producer_acknowledges_every_record_and_takes_no_more,
                a_gapless_producer_ends_with_its_first_failure,
            ],
            reads: [
                an_append_wakes_a_waiting_reader,
                keys_values_headers_and_timestamps_come_back,
                a_backlog_comes_in_order_and_in_bounded_batches,
                a_paused_partition_is_silent_until_resumed,
                no_record_comes_after_unassign,
                a_missing_partition_is_an_error_of_its_own,
                dropping_a_call_of_next_loses_no_record,
            ],
            groups: [
                the_only_member_gets_every_partition,
                members_share_without_overlap_and_leaving_gives_back,
                a_revoked_partition_has_no_owner_until_done,
                a_member_that_joins_under_a_taken_name_replaces_the_older_one,
            ],
        );
    };
}

/// Makes one test for each claim about offsets, order and watermarks. The simulator's log keeps
/// these claims too. `$subject` is an expression that makes a [`Subject`].
#[macro_export]
macro_rules! partition_contract {
    ($subject:expr) => {
        $crate::claims!($subject,
            appends: [
                offsets_are_dense_from_zero_and_acks_come_in_order,
                watermarks_follow_the_appends,
                two_producers_interleave_without_loss,
            ],
            reads: [
                reading_starts_at_any_offset_and_waits_at_the_end,
                one_reader_reads_many_partitions,
                two_readers_do_not_disturb_each_other,
                assigning_again_starts_at_the_new_offset,
                an_offset_beyond_the_end_is_out_of_range,
                an_offset_below_the_start_is_out_of_range,
                one_bad_partition_does_not_stop_the_others,
            ],
        );
    };
}

/// Makes one test for each claim about snapshots. The simulator's store keeps these claims too.
/// `$subject` is an expression that makes a [`suite::snapshots::Snapshots`].
#[macro_export]
macro_rules! snapshot_contract {
    ($subject:expr) => {
        $crate::claims!($subject,
            snapshots: [
                r7_a_snapshot_comes_back_as_it_was,
                r7_putting_a_snapshot_again_changes_nothing,
                r7_a_missing_object_is_reported_as_missing,
                r7_an_object_that_does_not_match_its_name_is_never_loaded,
            ],
        );
    };
}

/// Makes one test for each claim about the object store. `$place` is an expression that makes a
/// [`place::Place`].
#[macro_export]
macro_rules! store_contract {
    ($place:expr) => {
        $crate::snapshot_contract!($place);
        $crate::claims!($place,
            store: [
                r7_a_part_of_a_pack_is_verified_as_a_whole_object_is,
                a_world_is_made_once_and_changed_over_its_predecessor_only,
                exactly_one_of_sixteen_creators_of_a_world_wins,
                one_of_sixteen_changes_of_a_world_stays,
                an_unreadable_world_is_not_taken_for_a_missing_one,
                a_list_has_exactly_the_keys_under_a_folder,
                no_key_is_a_folder_of_another,
            ],
        );
    };
}

/// Makes one test for each claim about the index that the simulator's index keeps too. `$subject`
/// is an expression that makes a [`suite::index::Indexes`].
#[macro_export]
macro_rules! index_contract {
    ($subject:expr) => {
        $crate::claims!($subject,
            index: [
                r4_a_claim_gives_a_new_epoch_and_fences_the_writer_before,
                r4_a_fenced_writer_is_refused_and_its_writes_are_never_visible,
                r4_one_of_many_simultaneous_claims_can_write,
                r4_the_next_owner_finds_every_acknowledged_write_and_nothing_else,
                a_batch_is_visible_as_a_whole_or_not_at_all,
                a_view_shows_durable_batches_and_never_goes_back,
                entries_and_checkpoint_survive_reopening,
                an_index_with_two_hundred_checkpoints_can_be_reopened,
                partitions_are_independent,
            ],
        );
    };
}

/// Makes one test for each claim about the index on a real store. `$place` is an expression that
/// makes a [`place::Place`].
#[macro_export]
macro_rules! index_contract_on {
    ($place:expr) => {
        $crate::index_contract!($crate::suite::index::Real::new($place));
        $crate::claims!($place,
            damage: [
                a_view_of_an_empty_index_writes_nothing,
                a_view_follows,
                generations_are_independent,
                a_foreign_value_is_named_and_never_taken_for_an_entry,
                a_foreign_checkpoint_is_named_and_never_taken_for_the_beginning,
            ],
        );
    };
}

/// Makes the tests for a list of claims. The other macros use this one.
#[doc(hidden)]
#[macro_export]
macro_rules! claims {
    ($subject:expr, $($area:ident: [$($claim:ident),* $(,)?],)*) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                let subject = $subject;
                $crate::suite::$area::$claim(&subject).await;
            }
        )*)*
    };
}

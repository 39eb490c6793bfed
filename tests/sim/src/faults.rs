//! The kinds of faults, how often each occurred, and how likely each is in a run.

use crate::rng::Rng;
use std::collections::BTreeMap;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "`Fault::name` says what each is")]
pub enum Fault {
    ReplayerKilled,
    ReplayerPaused,
    HandOver,
    Stolen,
    DeliveryFailed,
    GatewayKilled,
    GatewayPartitionFailed,
    IngestKilled,
    SocketCut,
    HalfOpen,
    StoreAway,
    StoreError,
    IndexError,
    StaleView,
    LogCut,
    ClientDamaged,
    GatewayDamaged,
    OwnerDamaged,
    ObjectLost,
    Strangers,
    Rubbish,
    TimeJump,
    ReadOnly,
    TokenExpired,
    LateRecord,
    UnknownOffset,
    WrittenAgain,
    TornCheckpoint,
    IndexRolledBack,
    IndexLost,
    ForeignFence,
    ForeignRecord,
    UpdatesTruncated,
    UpdatesRemade,
    CommandsRemade,
    MendingCrashed,
    StoreCopied,
}

impl Fault {
    /// All kinds of faults.
    pub const ALL: [Fault; 37] = [
        Self::ReplayerKilled,
        Self::ReplayerPaused,
        Self::HandOver,
        Self::Stolen,
        Self::DeliveryFailed,
        Self::GatewayKilled,
        Self::GatewayPartitionFailed,
        Self::IngestKilled,
        Self::SocketCut,
        Self::HalfOpen,
        Self::StoreAway,
        Self::StoreError,
        Self::IndexError,
        Self::StaleView,
        Self::LogCut,
        Self::ClientDamaged,
        Self::GatewayDamaged,
        Self::OwnerDamaged,
        Self::ObjectLost,
        Self::Strangers,
        Self::Rubbish,
        Self::TimeJump,
        Self::ReadOnly,
        Self::TokenExpired,
        Self::LateRecord,
        Self::UnknownOffset,
        Self::WrittenAgain,
        Self::TornCheckpoint,
        Self::IndexRolledBack,
        Self::IndexLost,
        Self::ForeignFence,
        Self::ForeignRecord,
        Self::UpdatesTruncated,
        Self::UpdatesRemade,
        Self::CommandsRemade,
        Self::MendingCrashed,
        Self::StoreCopied,
    ];

    /// The name of this fault, which tables and JSON show.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReplayerKilled => "replayer_killed",
            Self::ReplayerPaused => "replayer_paused",
            Self::HandOver => "planned_hand_over",
            Self::Stolen => "partition_given_away_unnoticed",
            Self::DeliveryFailed => "delivery_failed",
            Self::GatewayKilled => "gateway_killed",
            Self::GatewayPartitionFailed => "gateway_cannot_read_a_partition",
            Self::IngestKilled => "ingest_killed",
            Self::SocketCut => "socket_cut",
            Self::HalfOpen => "socket_half_open",
            Self::StoreAway => "store_outage",
            Self::StoreError => "store_error",
            Self::IndexError => "index_write_failed",
            Self::StaleView => "gateway_view_renewed",
            Self::LogCut => "log_cut_by_retention",
            Self::ClientDamaged => "client_replica_damaged",
            Self::GatewayDamaged => "gateway_replica_damaged",
            Self::OwnerDamaged => "owner_chunk_damaged",
            Self::ObjectLost => "snapshot_object_damaged",
            Self::Strangers => "strangers_that_evict_writers",
            Self::Rubbish => "rubbish_in_commands",
            Self::TimeJump => "time_jump",
            Self::ReadOnly => "connection_without_write_access",
            Self::TokenExpired => "read_refused_after_the_token_expired",
            Self::LateRecord => "late_record_of_a_dead_producer",
            Self::UnknownOffset => "acknowledged_without_offset",
            Self::WrittenAgain => "records_written_again_by_a_live_producer",
            Self::TornCheckpoint => "checkpoint_written_and_not_heard_of",
            Self::IndexRolledBack => "index_put_back_to_an_older_state",
            Self::IndexLost => "index_deleted",
            Self::ForeignFence => "fence_of_another_program",
            Self::ForeignRecord => "record_of_another_program_in_updates",
            Self::UpdatesTruncated => "updates_lost_its_end",
            Self::UpdatesRemade => "updates_made_anew",
            Self::CommandsRemade => "commands_made_anew",
            Self::MendingCrashed => "recover_apply_crashed",
            Self::StoreCopied => "replayer_with_a_copy_of_the_store",
        }
    }
}

/// The number of occurrences of each fault.
pub type Counts = BTreeMap<Fault, u64>;

/// The likelihood of each fault. A run draws them once at its start, so that different faults
/// dominate different runs.
#[derive(Clone, Debug)]
pub struct Likelihoods {
    /// In 1,000 steps, how often a process is killed, stopped, restarted or moved.
    pub processes: u32,
    /// In 1,000 steps, how often a socket breaks.
    pub sockets: u32,
    /// In 1,000 records that ingest appends to `commands`, how many fail or get an unknown result.
    pub ingest: u32,
    /// How often deliveries of a replayer fail, or are acknowledged without an offset, in
    /// thousandths. Each kind of failure has a fraction of this value.
    pub delivery: u32,
    /// In 1,000 steps, how often a producer appends its unacknowledged records again.
    pub written_again: u32,
    /// In 1,000 operations of the object store, how many fail.
    pub store: u32,
    /// In 1,000 steps of a replayer, how often its records neither land nor are acknowledged.
    pub slow_log: u32,
    /// For each gateway: in 1,000 of its steps, how often it neither reads nor loads.
    pub slow_gateways: [u32; 2],
    /// In 1,000 steps, how often other users write.
    pub strangers: u32,
    /// In 1,000 connections to ingest, how many have no write access.
    pub read_only: u32,
    /// In 1,000 user actions, how many cancel commands.
    pub cancels: u32,
    /// In 1,000 user actions, how many are bursts of edits.
    pub bursts: u32,
    /// In 1,000 steps, how often a replica of a client or of a gateway is damaged.
    pub damage: u32,
    /// In 1,000 steps, how often a chunk in an owner's memory is damaged.
    pub owner_damage: u32,
    /// In 1,000 steps, how often a stored object is damaged. If this is not 0, the run never cuts
    /// the log, so that an owner can reconstruct damaged objects from it.
    pub losses: u32,
    /// The maximum time between two steps, in milliseconds.
    pub pace_ms: usize,
    /// True if ingest has a low rate limit and so rejects many commands.
    pub is_strict: bool,
    /// How long the token of a gateway socket is valid, in seconds; `None` if it outlives the run.
    pub token_life_s: Option<u32>,
    /// In 1,000 steps, how often a client renews the token of its gateway socket.
    pub renewals: u32,
    /// In 1,000 steps, how often the index of a partition is put back to an older state or deleted.
    pub index_rollbacks: u32,
    /// In 1,000 steps, how often another program writes to `updates`.
    pub foreign_updates: u32,
    /// In 1,000 steps, how often a topic loses records of a partition. If this is not 0, no object
    /// and no owner's memory is damaged, and retention deletes nothing.
    pub log_losses: u32,
    /// In 1,000 steps, how often a replayer is restarted with another store, or again with the
    /// world's. If this is not 0, no topic loses records, no owner's memory is damaged, and
    /// retention deletes nothing.
    pub copies: u32,
}

impl Likelihoods {
    /// Draws the likelihoods of a run from `rng`. Some faults have generators of their own, so that
    /// switching one of them on leaves all other draws of a seed as they were: `again` is for
    /// producers that append records again, `tokens` for expiring tokens, `restores` for indexes
    /// that an operator puts back or deletes and for other programs that write to `updates`,
    /// `incidents` for topics that lose records, and `copies` for replayers with another store.
    #[must_use]
    pub fn new(
        rng: &mut Rng,
        again: &mut Rng,
        tokens: &mut Rng,
        restores: &mut Rng,
        incidents: &mut Rng,
        copies: &mut Rng,
    ) -> Self {
        let drawn = Self {
            processes: rng.pick(&[2, 10, 10, 40]),
            sockets: rng.pick(&[0, 4, 20]),
            ingest: rng.pick(&[5, 60, 300]),
            delivery: rng.pick(&[0, 10, 60]),
            written_again: again.pick(&[0, 0, 3, 30]),
            store: rng.pick(&[0, 30, 250]),
            slow_log: rng.pick(&[0, 0, 700, 950]),
            slow_gateways: [rng.pick(&[0, 0, 800]), rng.pick(&[0, 500, 970])],
            strangers: rng.pick(&[0, 0, 8, 40]),
            read_only: rng.pick(&[0, 0, 150]),
            cancels: rng.pick(&[20, 150, 600]),
            bursts: rng.pick(&[0, 20, 150]),
            damage: rng.pick(&[0, 0, 3]),
            owner_damage: rng.pick(&[0, 0, 0, 0, 0, 4]),
            losses: rng.pick(&[0, 0, 0, 5]),
            pace_ms: rng.pick(&[4, 20, 60]),
            is_strict: rng.permille(150),
            token_life_s: tokens.pick(&[None, None, Some(1), Some(5), Some(20)]),
            renewals: tokens.pick(&[0, 5, 50]),
            index_rollbacks: restores.pick(&[0, 0, 0, 1, 6]),
            foreign_updates: restores.pick(&[0, 0, 0, 1, 6]),
            log_losses: incidents.pick(&[0, 0, 4, 12]),
            copies: copies.pick(&[0, 0, 0, 0, 2, 8]),
        };
        match (drawn.log_losses, drawn.copies) {
            (0, 0) => drawn,
            (_, 0) => Self { owner_damage: 0, losses: 0, ..drawn },
            _ => Self { owner_damage: 0, log_losses: 0, ..drawn },
        }
    }
}

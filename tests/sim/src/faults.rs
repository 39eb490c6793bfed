//! What goes wrong: how often in this run, and how often it did.

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
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 27] = [
        Self::ReplayerKilled,
        Self::ReplayerPaused,
        Self::HandOver,
        Self::Stolen,
        Self::DeliveryFailed,
        Self::GatewayKilled,
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
    ];

    /// For people and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReplayerKilled => "replayer_killed",
            Self::ReplayerPaused => "replayer_paused",
            Self::HandOver => "planned_hand_over",
            Self::Stolen => "partition_given_away_unnoticed",
            Self::DeliveryFailed => "delivery_failed",
            Self::GatewayKilled => "gateway_killed",
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
        }
    }
}

/// How often each happened.
pub type Counts = BTreeMap<Fault, u64>;

/// What kind of day it is: drawn once a run, so that some runs are all of one kind.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Faults of processes, in 1,000 steps.
    pub processes: u32,
    /// Faults of sockets, in 1,000 steps.
    pub sockets: u32,
    /// In 1,000 records from ingest to the log.
    pub ingest: u32,
    /// In 1,000 deliveries of a replayer.
    pub delivery: u32,
    /// Of a producer that writes again what is on its way, in 1,000 steps.
    pub written_again: u32,
    /// In 1,000 operations of the store.
    pub store: u32,
    /// In 1,000 steps in which a replayer's records could reach the log and be acknowledged, they do not yet.
    pub slow_log: u32,
    /// In 1,000 steps in which a gateway could read on or load, it does not yet: by gateway.
    pub slow_gateways: [u32; 2],
    /// Strangers' writers per 1,000 steps.
    pub strangers: u32,
    /// In 1,000 connections to ingest.
    pub read_only: u32,
    /// In 1,000 user actions.
    pub cancels: u32,
    /// In 1,000 user actions.
    pub bursts: u32,
    /// Replicas of clients and gateways, in 1,000 steps.
    pub damage: u32,
    /// Chunks of owners, in 1,000 steps.
    pub owner_damage: u32,
    /// Stored objects, in 1,000 steps; then the log is not cut, so that they can be made again.
    pub losses: u32,
    /// Milliseconds between two steps at most.
    pub pace_ms: usize,
    /// Whether ingest refuses many commands for their rate.
    pub is_strict: bool,
    /// How long a gateway socket's token is valid, seconds; `None`: longer than the run.
    pub token_life_s: Option<u32>,
    /// Renewals of gateway sockets' tokens, in 1,000 steps.
    pub renewals: u32,
}

impl Weather {
    /// A day. `again` is the stream of producers that write again, `tokens` that of expiring tokens.
    #[must_use]
    pub fn new(rng: &mut Rng, again: &mut Rng, tokens: &mut Rng) -> Self {
        Self {
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
        }
    }
}

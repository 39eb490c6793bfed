//! Starts a real Apache Kafka and a real S3 server for tests, without containers.
//!
//! Maven fetches Kafka (`driftless-local-kafka`, here under the name [`kafka`]) and Go builds the
//! S3 server; both are installed once into [`cache_dir`] and run as child processes on 127.0.0.1. A
//! server lives as long as its handle ([`kafka::Kafka`], [`s3::S3`]) and never longer than the
//! process that started it, however that process ends.
//!
//! Every function blocks, so that `xtask` and tests without an async runtime can call it. A test
//! that needs *some* server takes [`shared_kafka`] or [`shared_s3`], which also accept servers that
//! run already (`DRIFTLESS_TEST_BROKERS`, `DRIFTLESS_TEST_S3`). A test that breaks servers starts
//! its own.

mod run_dir;
pub mod s3;
mod shared;

pub use driftless_local_kafka as kafka;
pub use driftless_local_kafka::wait::{poll, until};
pub use driftless_local_kafka::{Process, cache_dir};
pub use run_dir::RunDir;
pub use shared::{shared_kafka, shared_s3};

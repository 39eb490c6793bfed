//! How tests start a real Apache Kafka and a real S3 server without containers.
//!
//! Both come from the package clients of their own languages (Maven, Go), are installed once into [`cache_dir`], and run as
//! child processes on 127.0.0.1. A server lives as long as its handle ([`kafka::Kafka`], [`s3::S3`]) and never longer than
//! the process that started it, however that one ends.
//!
//! Everything here blocks: no async runtime is needed, so that `xtask`, tests and `driftless dev --kafka` can all use it.
//! Tests that only need *a* server take [`shared_kafka`] and [`shared_s3`], which also accept servers that run already
//! (`DRIFTLESS_TEST_BROKERS`, `DRIFTLESS_TEST_S3`). Tests that break servers start their own.

mod cache;
pub mod kafka;
mod port;
mod process;
pub mod s3;
mod shared;
mod wait;

pub use cache::cache_dir;
pub use process::Process;
pub use shared::{RunDir, shared_kafka, shared_s3};
pub use wait::{poll, until};

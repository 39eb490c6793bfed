//! Starts a real Apache Kafka on this machine without containers.
//!
//! `driftless dev --kafka` and the tests use it. Maven fetches the jars once into [`cache_dir`]. A
//! [`Kafka`] is one node or several on 127.0.0.1, each a Java process that lives as long as its
//! handle and never longer than the process that started it.
//!
//! The modules [`process`], [`port`], [`cache`] and [`wait`] serve any local server: the test bed
//! starts its S3 server with them. Every function blocks, so that programs without an
//! async runtime can call it.

pub mod wait;
pub mod process;
pub mod port;
pub mod cache;
mod metadata;
mod dist;
mod node;
mod config;
mod cluster;

pub use cache::cache_dir;
pub use cluster::{Kafka, KafkaOptions, install};
pub use dist::KafkaDist;
pub use metadata::{Broker, Metadata, ask_metadata};
pub use process::Process;

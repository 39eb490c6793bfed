//! Chaos tests: real processes are killed, paused and cut off at random while clients edit.
//! Afterwards the rules must hold.
//!
//! A run starts three Apache Kafka brokers, an S3 server and two of each service ([`cluster`]).
//! Clients edit the same few chunks ([`painter`]). Meanwhile the run breaks all parts ([`strike`])
//! by a [`plan`] that is drawn from one seed, and changes what the services rely on
//! ([`environment`]). Then everything heals and comes to rest ([`story`]). The outcomes that
//! clients got are compared with the log (`verdict`), by our own code and by an independent
//! [`checker`] in Python. Real processes are not deterministic, so a seed repeats the faults and
//! not the whole run.

#![forbid(unsafe_code)]

pub mod story;
pub mod plan;
pub mod strike;
pub mod environment;
pub mod remade;
mod index_copy;
pub mod stranger;
mod clock;
pub mod forger;
pub mod painter;
pub mod cluster;
pub mod service;
pub mod gate;
pub mod journal;
mod verdict;
pub mod checker;
pub mod report;

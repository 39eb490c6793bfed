//! Chaos: real processes are killed, paused and cut off at random while clients edit. Afterwards
//! the rules must hold.
//!
//! A run starts three Apache Kafka brokers, an S3 server and two of each service ([`cluster`]),
//! lets clients edit the same few chunks ([`painter`]), and breaks all of it by a [`plan`] that is
//! drawn from one seed ([`strike`]). Then everything heals and comes to rest ([`story`]), and the
//! outcomes that clients were told are compared with the log (`verdict`), by our own code and by an
//! independent [`checker`] in Python. Real processes are not deterministic: a seed repeats the
//! faults, not the run.

#![forbid(unsafe_code)]

pub mod story;
pub mod plan;
pub mod strike;
pub mod painter;
pub mod cluster;
pub mod service;
pub mod gate;
pub mod journal;
mod verdict;
pub mod checker;
pub mod report;

//! Carries out the threat model of [docs/security.md](../../../docs/security.md). Each row attacks
//! real services over real sockets, or the defending code itself where outsiders do not reach it.
//!
//! A defence holds if the attacker got nothing *and* an honest client, which stays connected all
//! along, still has its next edit committed at once. At the end the log is compared with everything
//! that the honest client was told (R2, R8).
//!
//! [`rows`] is the table. The document has the same ids, and a test compares both. [`target`]
//! starts the services under attack.

#![forbid(unsafe_code)]

pub mod rows;
pub mod target;
pub mod honest;
pub mod wire;

pub mod run;
pub mod cited;
pub mod report;

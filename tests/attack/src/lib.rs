//! The threat model of [docs/security.md](../../../docs/security.md), carried out: each row is an attack on real services over real
//! sockets, from outside, or on the part that defends where that is not reached from outside.
//!
//! The one idea: an attack holds if the attacker got nothing *and* an honest client, which is connected all along, still has its edit
//! committed at once. At the end the log itself is asked whether what the honest client was told is what happened (R2, R8).
//!
//! [`rows`] is the table; the document has the same ids, and a test compares them. [`target`] is what is attacked.

#![forbid(unsafe_code)]

pub mod rows;
pub mod target;
pub mod honest;
pub mod wire;

pub mod run;
pub mod cited;
pub mod report;

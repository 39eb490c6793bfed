//! Carries out the attacks of the threat model in [docs/security.md](../../../docs/security.md).
//! Each row of its table attacks real services over real sockets. If outsiders cannot reach a
//! defence, its row attacks the defending code itself.
//!
//! A defence holds if two things are true: the attacker got nothing, *and* an honest client, which
//! stays connected all the time, still has its next edit committed at once. At the end the log is
//! compared with all outcomes that the honest client got (R2, R8).
//!
//! [`rows`] is the table of attacks. The document has the same ids, and a test compares both.
//! [`target`] starts the `driftless dev` that most rows attack. [`floods`] floods the services as
//! operators run them. [`without`] shows that rows fail where their defence is switched off.

#![forbid(unsafe_code)]

pub mod attack;
pub mod rows;
pub mod target;
pub mod honest;
pub mod floods;
pub mod wire;

pub mod run;
pub mod without;
pub mod cited;
pub mod report;

//! The rules of the model, which do not change during an exploration.

use super::ledger::Limits;
use super::mutant::Mutant;

/// The ledger's limits, the size of the client's window, and possibly one broken rule.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub limits: Limits,
    pub window: u8,
    pub mutant: Option<Mutant>,
}

//! How much one user may submit: commands, bytes, and what the commands cost by their model (`Model::cost`).

use crate::policy::Policy;
use driftless_runtime_core::rate::{self, Allowance};

/// The buckets of all users.
pub type Rates = rate::Rates<3>;
/// One user's: (commands, bytes, cost).
pub type Bucket = rate::Bucket<3>;

/// No user has submitted anything.
#[must_use]
pub fn rates(policy: &Policy) -> Rates {
    Rates::new([
        Allowance { per_second: policy.commands_per_second, burst: policy.commands_burst },
        Allowance { per_second: policy.bytes_per_second, burst: policy.bytes_burst },
        Allowance { per_second: policy.cost_per_second, burst: policy.cost_burst },
    ])
}

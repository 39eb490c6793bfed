//! How much one user may submit: commands, bytes, and the cost that the model gives to the commands
//! (`Model::cost`).

use crate::policy::Policy;
use driftless_runtime_core::rate::{self, Allowance};

/// The buckets of all users.
pub type Rates = rate::Rates<3>;
/// One user's bucket: (commands, bytes, cost).
pub type Bucket = rate::Bucket<3>;

/// Buckets with the limits of this policy, from which no user has taken anything.
#[must_use]
pub fn rates(policy: &Policy) -> Rates {
    Rates::new([
        Allowance { per_second: policy.commands_per_second, burst: policy.commands_burst },
        Allowance { per_second: policy.bytes_per_second, burst: policy.bytes_burst },
        Allowance { per_second: policy.cost_per_second, burst: policy.cost_burst },
    ])
}

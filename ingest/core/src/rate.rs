//! Limits how much a user may submit: commands, bytes, the cost that the model gives to the
//! commands (`Model::cost`), and the content of chunks that the commands wake. All sockets of a
//! user share these limits.

use crate::policy::Policy;
use driftless_runtime_core::defences::Defence;
use driftless_runtime_core::rate::{self, Allowance};

/// The buckets of all users.
pub type Rates = rate::Rates<4>;
/// A user's bucket, from which commands take their amounts: [commands, bytes, cost,
/// bytes of woken contents].
pub type Bucket = rate::Bucket<4>;

/// Creates full buckets with the limits of this policy.
#[must_use]
pub fn rates(policy: &Policy) -> Rates {
    let wakes = Allowance { per_second: policy.wake_bytes_per_second, burst: policy.wake_bytes_burst };
    if !Defence::UserCommands.is_on() {
        return Rates::new([Allowance::UNLIMITED, Allowance::UNLIMITED, Allowance::UNLIMITED, wakes]);
    }
    Rates::new([
        Allowance { per_second: policy.commands_per_second, burst: policy.commands_burst },
        Allowance { per_second: policy.bytes_per_second, burst: policy.bytes_burst },
        Allowance { per_second: policy.cost_per_second, burst: policy.cost_burst },
        wakes,
    ])
}

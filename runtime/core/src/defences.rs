//! Defences that a debug build can switch off by name. An attack that still "holds" without its
//! defence proves nothing, so `cargo xtask attack --without` runs the attacks against such builds.
//!
//! In other builds every defence is on, and the compiler removes the question.

use std::sync::atomic::{AtomicU32, Ordering};

/// The switched-off defences of this process, one bit each. They are set once, at the start.
static OFF: AtomicU32 = AtomicU32::new(0);

macro_rules! defences {
    ($($name:literal $defence:ident $(#[$doc:meta])*,)*) => {
        /// A defence against peers that cost too much (docs/security.md).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Defence {
            $($(#[$doc])* $defence,)*
        }

        impl Defence {
            /// All defences that can be switched off.
            pub const ALL: &[Self] = &[$(Self::$defence),*];

            /// The name of the defence.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$defence => $name,)*
                }
            }
        }
    };
}

defences! {
    "before-hello" BeforeHello
        /// Before its Hello a websocket may send little.
        ,
    "body-after-token" BodyAfterToken
        /// A body is held only if its token is good.
        ,
    "input-pool" InputPool
        /// Incomplete messages and bodies of all connections have one budget.
        ,
    "replicas-pool" ReplicasPool
        /// A gateway's replicas have one budget.
        ,
    "address-connections" AddressConnections
        /// An address has a limit of unauthenticated connections.
        ,
    "anonymous-rate" AnonymousRate
        /// Requests without a token have a rate for each address.
        ,
    "user-connections" UserConnections
        /// A user has a limit of websockets and event streams.
        ,
    "user-requests" UserRequests
        /// A user has a rate of requests to a gateway.
        ,
    "user-commands" UserCommands
        /// A user has rates of commands, of their bytes and of their cost.
        ,
    "form-cost" FormCost
        /// Pictures and JSON cost what they cost.
        ,
}

impl Defence {
    /// True unless this is a debug build in which the defence is switched off.
    #[must_use]
    pub fn is_on(self) -> bool {
        !cfg!(debug_assertions) || OFF.load(Ordering::Relaxed) & self.bit() == 0
    }

    /// The limit that the defence sets: `max`, or more than any peer reaches.
    #[must_use]
    pub fn limit(self, max: usize) -> usize {
        if self.is_on() { max } else { usize::MAX / 4 }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Switches off the defences with these names. Only debug builds have an effect of it.
///
/// # Errors
/// An error that names an unknown defence, and all known ones.
pub fn switch_off<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
    for name in names {
        let known = Defence::ALL.iter().find(|defence| defence.name() == name).ok_or_else(|| {
            let names: Vec<_> = Defence::ALL.iter().map(|defence| defence.name()).collect();
            format!("{name:?} is no defence; these are: {}", names.join(", "))
        })?;
        OFF.fetch_or(known.bit(), Ordering::Relaxed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_defence_is_named_and_none_is_off_by_itself() {
        let refused = switch_off(["moat"]).unwrap_err();
        assert!(refused.contains("\"moat\"") && refused.contains("input-pool"), "{refused}");
        assert!(Defence::ALL.iter().all(|defence| defence.is_on() && defence.limit(7) == 7));
        assert!(Defence::ALL.len() <= 32, "a bit for each");
    }
}

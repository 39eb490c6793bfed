//! The properties that a state can violate.

/// A property that a state violates. All variants but [`Fault::ReplicasDiffer`] violate R8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// One command of the user was committed twice.
    CommittedTwice,
    /// The user's commands were committed in another order than they were submitted.
    OutOfTurn,
    /// A later number was decided, so a command that the client has not skipped can never be
    /// decided.
    LostBehind,
    /// A command was refused as out of order although everything before it was resolved.
    RefusedInVain,
    /// The user got an outcome that contradicts the log.
    ToldOtherwise,
    /// The user got the outcome *unknown* although no eviction had made the session expire.
    UnknownInVain,
    /// The decider's ledger differs from the ledger that readers fold from the log.
    ReplicasDiffer,
    /// No message is in flight and no failure happens any more, yet some command never ends.
    Hangs,
}

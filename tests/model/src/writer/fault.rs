//! The properties that a state can violate.

/// A property that a state violates. All but [`Fault::ReplicasDiffer`] break R8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    CommittedTwice,
    OutOfTurn,
    LostBehind,
    RefusedInVain,
    ToldOtherwise,
    UnknownInVain,
    ReplicasDiffer,
    Hangs,
}

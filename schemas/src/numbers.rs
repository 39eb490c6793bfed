//! Newtypes for the numbers that must never be mixed up: a version is not an offset, and a seq is not an epoch.
//!
//! All of them are transparent in memory and in serde. Arithmetic is limited to what the domain does: "the next one".

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number after this one; it stays at the type's maximum instead of wrapping.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

number! {
    /// Of a chunk: the number of commands committed to it so far (R3).
    Version(u64)
}
number! {
    /// Of an ownership of a partition (R4). 0 is "no owner yet".
    Epoch(u64)
}
number! {
    /// A writer's number for one of its commands to one chunk (R8). 0 is "none yet"; the first command is 1.
    Seq(u64)
}
number! {
    /// The place of a record in one partition of one topic of one generation.
    Offset(i64)
}
number! {
    /// A partition's index, from 0.
    Partition(i32)
}

impl Offset {
    /// "Before everything": smaller than every offset of a record.
    pub const NONE: Offset = Offset(-1);
}

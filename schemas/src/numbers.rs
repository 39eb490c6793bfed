//! Newtypes for numbers that must never be mixed up: a version is not an offset, and a seq is not
//! an epoch.
//!
//! In memory and in serde each has the form of the plain number. Their only arithmetic is "the next
//! number". The types of times are in [`crate::time`].

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The next number. For the type's maximum the result is the maximum again, and does
            /// not wrap.
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
    /// A chunk's version: the number of commands committed to it so far (R3).
    Version(u64)
}
number! {
    /// The epoch of one ownership of a partition (R4). 0 means that the partition had no owner yet.
    Epoch(u64)
}
number! {
    /// A writer's number for one of its commands to one chunk (R8). The first command has number 1;
    /// 0 means that there is no command yet.
    Seq(u64)
}
number! {
    /// The offset of a record in one partition of one topic of one generation.
    Offset(i64)
}
number! {
    /// A partition's index, from 0.
    Partition(i32)
}

impl Offset {
    /// An offset before the first record, so it is smaller than the offset of any record.
    pub const NONE: Offset = Offset(-1);
}

//! The identities by which world, store, index and log know each other, and the names of a
//! partition's histories (docs/decisions/0018).

use crate::id16::{id16, time_ms};
use crate::writer::TIME_MS_MAX;

id16! {
    /// The identity of a world: random bytes, which `driftless init` draws. Another world of the
    /// same name has another id. A world of format 1 has none.
    WorldId
}
id16! {
    /// The name of a partition's history. A partition begins with [`HistoryId::FIRST`]. A fence
    /// that accepts a loss begins another one, whose id is higher: 48-bit time in ms, then
    /// randomness. Versions, numbers and outcomes mean something only within one history.
    HistoryId
}

/// The first bytes of the BLAKE3 hash of a record's value. An index notes the print of a record of
/// `commands`, and so recognises the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print(pub [u8; 8]);

impl HistoryId {
    /// The first history of each partition.
    pub const FIRST: Self = Self([0; 16]);

    /// Makes the id of a history that begins now, after the history `after`.
    #[must_use]
    pub fn new(time_ms: u64, random: [u8; 10], after: Self) -> Self {
        let time_ms = time_ms.max(after.time_ms() + 1).min(TIME_MS_MAX);
        let mut id = [0; 16];
        id[..6].copy_from_slice(&time_ms.to_be_bytes()[2..]);
        id[6..].copy_from_slice(&random);
        Self(id)
    }

    /// The time at which the history began, in milliseconds since the Unix epoch: the first 48 bits
    /// of the id. It only orders the histories of one partition.
    #[must_use]
    pub fn time_ms(self) -> u64 {
        time_ms(self.0)
    }

    /// The id as JSON and people see it: 32 hex digits, or an empty text for the first history.
    #[must_use]
    pub fn text(self) -> String {
        if self == Self::FIRST { String::new() } else { self.to_string() }
    }

    /// Reads the id from its [`HistoryId::text`]; `None` for any other text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self::FIRST),
            text => text.parse().ok().filter(|id| *id != Self::FIRST),
        }
    }

    /// Reads the id from a protobuf field: 16 bytes, or none for the first history. `None` for
    /// other bytes.
    #[must_use]
    pub fn from_field(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [] => Some(Self::FIRST),
            bytes => Self::from_slice(bytes).filter(|id| *id != Self::FIRST),
        }
    }

    /// The bytes of a protobuf field from which [`HistoryId::from_field`] reads this id.
    #[must_use]
    pub fn to_field(self) -> bytes::Bytes {
        if self == Self::FIRST { bytes::Bytes::new() } else { self.to_bytes() }
    }
}

impl Default for HistoryId {
    fn default() -> Self {
        Self::FIRST
    }
}

impl std::fmt::Display for Print {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl Print {
    /// The print of a record with this value.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        let mut print = [0; 8];
        print.copy_from_slice(&blake3::hash(value).as_bytes()[..8]);
        Self(print)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_history_has_a_higher_id_even_if_the_clock_went_back() {
        let second = HistoryId::new(1_763_900_000_123, [7; 10], HistoryId::FIRST);
        let third = HistoryId::new(5, [0; 10], second);
        assert!(HistoryId::FIRST < second && second < third);
        assert_eq!((second.time_ms(), third.time_ms()), (1_763_900_000_123, 1_763_900_000_124));
    }

    #[test]
    fn a_field_holds_each_history_in_one_way() {
        let second = HistoryId::new(5, [7; 10], HistoryId::FIRST);
        for id in [HistoryId::FIRST, second] {
            assert_eq!(HistoryId::from_field(&id.to_field()), Some(id));
            assert_eq!(HistoryId::from_text(&id.text()), Some(id));
        }
        assert!(HistoryId::FIRST.to_field().is_empty());
        for bad in [&[0; 16][..], &[1; 15], &[1; 17]] {
            assert_eq!(HistoryId::from_field(bad), None);
        }
        for bad in ["0", "00000000000000000000000000000000", "x"] {
            assert_eq!(HistoryId::from_text(bad), None);
        }
    }
}

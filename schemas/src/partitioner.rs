//! The partitioner (R1): `murmur2(key) & 0x7fffffff % partitions`, like Kafka's default partitioner
//! for keyed records.
//!
//! murmur2 is Austin Appleby's 32-bit hash with Kafka's seed. The test has the vectors of Kafka's
//! own `UtilsTest.testMurmur2`, and the contract tests compare with the Java client on random keys.

use crate::Partition;

/// The partition of a key if there are `partitions` partitions. A count of 0 or less is taken as 1.
#[must_use]
pub fn partition_for(key: &[u8], partitions: i32) -> Partition {
    let positive = (murmur2(key) & 0x7fff_ffff).cast_signed();
    Partition(positive % partitions.max(1))
}

/// Kafka's murmur2: seed 0x9747b28c, little-endian words.
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    // Kafka hashes at most i32::MAX bytes. Keys are far shorter, so the cast loses nothing.
    #[allow(clippy::cast_possible_truncation)]
    let mut h = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r1_murmur2_gives_kafkas_published_vectors() {
        let vectors: [(&str, i32); 7] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
            ("", 275_646_681),
        ];
        for (key, hash) in vectors {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn a_partition_is_always_in_range() {
        for partitions in [-1, 0, 1, 12, i32::MAX] {
            for key in ["", "canvas/0/0", "canvas/0/1"] {
                let Partition(p) = partition_for(key.as_bytes(), partitions);
                assert!((0..partitions.max(1)).contains(&p));
            }
        }
    }
}

//! Random numbers from one seed. Each purpose has a separate stream, so that a change in one stream
//! does not affect the others.

/// A random stream by splitmix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Makes the stream number `stream` of a seed.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        rng.next();
        rng
    }

    /// 64 random bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A random number from 0 to n - 1, or 0 if n is 0.
    pub fn below(&mut self, n: usize) -> usize {
        // The bias of the modulus is too small to matter in a simulation.
        if n == 0 { 0 } else { (self.next() % n as u64) as usize }
    }

    /// True with a probability of `permille` in 1,000.
    pub fn permille(&mut self, permille: u32) -> bool {
        self.below(1000) < permille as usize
    }

    /// A random element of the slice.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

//! Bytes as a script: choices, numbers and texts are taken from the front.
//!
//! Past the end every byte is zero. So every input is a whole script, and a longer input only
//! continues a shorter one.

use bytes::Bytes;

/// The rest of an input.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn u8(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    /// A number below `n`, which is at most 256.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.u8()) % n.max(1)
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// True for one byte value in `n`. Zero, and so the end of the input, gives false.
    pub fn rarely(&mut self, n: u8) -> bool {
        self.u8() % n == n - 1
    }

    /// A number: mostly small, otherwise at the limits of some type.
    pub fn number(&mut self) -> u64 {
        match self.u8() {
            255 => u64::MAX,
            254 => u64::MAX - 1,
            253 => i64::MAX as u64,
            252 => i64::MAX as u64 + 1,
            251 => u64::from(u32::MAX),
            250 => (1 << 48) - 1,
            249 => u64::from_le_bytes(self.array()),
            small => u64::from(small),
        }
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.u8())
    }

    /// Up to 255 bytes, after a byte with their number.
    pub fn short(&mut self) -> &'a [u8] {
        let length = usize::from(self.u8());
        self.take(length)
    }

    /// Up to 65,535 bytes, after two bytes with their number.
    pub fn long(&mut self) -> Bytes {
        let length = usize::from(u16::from_le_bytes(self.array()));
        Bytes::copy_from_slice(self.take(length))
    }

    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.short()).into_owned()
    }

    /// All remaining bytes.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

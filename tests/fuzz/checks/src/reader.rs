//! Reads an input as a script: choices, numbers and texts are taken from its front.
//!
//! Past the end of the input every byte is zero. So every input is a whole script, and appended
//! bytes only continue it.

use bytes::Bytes;

/// A script: the bytes of an input that have not been read yet.
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

    /// Reads one byte as a number below `n`. `n` must be at most 256.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.u8()) % n.max(1)
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Reads one byte. Returns true for one in `n` of the byte values. A zero byte, and so the end
    /// of the input, gives false.
    pub fn rarely(&mut self, n: u8) -> bool {
        self.u8() % n == n - 1
    }

    /// Reads a number. Most are small, and some lie at the limits of an integer type.
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

    /// Reads one byte as a length, and then that many bytes.
    pub fn short(&mut self) -> &'a [u8] {
        let length = usize::from(self.u8());
        self.take(length)
    }

    /// Reads two bytes as a length, and then that many bytes.
    pub fn long(&mut self) -> Bytes {
        let length = usize::from(u16::from_le_bytes(self.array()));
        Bytes::copy_from_slice(self.take(length))
    }

    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.short()).into_owned()
    }

    /// Reads all remaining bytes.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

//! Budgets of bytes. What takes memory because a peer wants it holds a [`Charge`] on a [`Pool`],
//! and gives it back when it goes. The owner of the pool asks for room before it takes more on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A budget of bytes. Clones share it.
#[derive(Clone, Debug)]
pub struct Pool {
    used: Arc<AtomicUsize>,
    max: usize,
}

/// Bytes of a pool that one holder has taken. They go back when this is dropped.
#[derive(Debug)]
pub struct Charge {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl Pool {
    /// Creates an unused budget of `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { used: Arc::default(), max }
    }

    /// A charge of 0 bytes on this pool.
    #[must_use]
    pub fn charge(&self) -> Charge {
        Charge { used: Arc::clone(&self.used), bytes: 0 }
    }

    /// The bytes that all charges have taken. Charges may exceed the budget, because contents grow
    /// after they were taken on.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The budget, in bytes.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }

    /// True if so many more bytes are within the budget.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.used().saturating_add(bytes) <= self.max
    }

    /// True if more than three quarters of the budget are used.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.used() > self.max / 4 * 3
    }
}

impl Charge {
    /// Takes this many bytes instead of those before, whether the pool has room or not.
    pub fn set(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes >= before {
            self.used.fetch_add(bytes - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - bytes, Ordering::Relaxed);
        }
    }

    /// The bytes that this charge has taken.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_are_given_back_when_they_go() {
        let pool = Pool::new(100);
        let mut one = pool.charge();
        let mut two = pool.clone().charge();
        one.set(60);
        assert!(pool.has_room(40) && !pool.has_room(41) && !pool.is_pressed());
        two.set(50);
        assert_eq!((pool.used(), pool.is_pressed(), pool.has_room(0)), (110, true, false), "contents grow");
        one.set(10);
        assert_eq!(pool.used(), 60);
        drop(two);
        assert_eq!((pool.used(), one.bytes()), (10, 10));
        drop(one);
        assert_eq!(pool.used(), 0);
    }
}

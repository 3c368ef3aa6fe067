//! Variables that have one user, for good.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// A variable that somebody takes, once: what is too large for the stack.
pub struct Once<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: only one gets the value, and there is only one thread.
unsafe impl<T> Sync for Once<T> {}

impl<T> Once<T> {
    /// The variable with its first value.
    pub const fn new(value: T) -> Self {
        Self {
            taken: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// The value.
    ///
    /// # Panics
    /// The second time.
    #[expect(clippy::mut_from_ref, reason = "there is one reference: see `taken`")]
    pub fn take(&'static self) -> &'static mut T {
        let taken = self.taken.swap(true, Ordering::Relaxed);
        assert!(!taken, "a variable with one user is taken twice");
        // SAFETY: this is the only reference there ever is.
        unsafe { &mut *self.value.get() }
    }
}

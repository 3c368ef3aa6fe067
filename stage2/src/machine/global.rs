//! Variables of the whole program.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;

/// A variable that is used by one function at a time: the loader is one thread on one CPU, with
/// interrupts off. A fault handler may come in between; it does not return, and only prints.
pub struct Global<T>(UnsafeCell<T>);

// SAFETY: there is only one thread.
unsafe impl<T> Sync for Global<T> {}

impl<T> Global<T> {
    /// The variable with its first value.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Uses the variable. `f` does not use the same one again.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: one thread, and no second use inside the first, as promised above.
        f(unsafe { &mut *self.0.get() })
    }
}

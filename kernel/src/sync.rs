//! Statics that change. There is one CPU, and interrupts stay off: nothing runs at the same time.

// Sharing has to be promised by hand.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;

/// A static that assembly, or a fault handler, writes.
#[repr(transparent)]
pub struct Shared<T>(UnsafeCell<T>);

// SAFETY: one CPU, interrupts off. Only fault handlers interrupt, and only where the kernel
// provokes a fault; there it holds no reference.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Its address. Dereferencing it is `unsafe`: the caller makes sure that references do not
    /// overlap.
    pub const fn get(&self) -> *mut T {
        self.0.get()
    }
}

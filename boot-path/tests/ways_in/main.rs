//! Loaders that start this one.

mod multiboot;

//! See `fuzz::targets::multiboot2`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(multiboot2);

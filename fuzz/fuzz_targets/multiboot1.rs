//! See `fuzz::targets::multiboot1`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(multiboot1);

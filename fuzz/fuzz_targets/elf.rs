//! See `fuzz::targets::elf`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(elf);

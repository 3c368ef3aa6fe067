//! See `fuzz::targets::elf_note`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(elf_note);

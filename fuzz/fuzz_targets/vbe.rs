//! See `fuzz::targets::vbe`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(vbe);

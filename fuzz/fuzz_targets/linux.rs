//! See `fuzz::targets::linux`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(linux);

//! See `fuzz::targets::stage2_header`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(stage2_header);

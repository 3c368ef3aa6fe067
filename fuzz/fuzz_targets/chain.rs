//! See `fuzz::targets::chain`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(chain);

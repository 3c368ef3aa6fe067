//! See `fuzz::targets::fat`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(fat);

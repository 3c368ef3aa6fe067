//! See `fuzz::targets::entries`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(entries);

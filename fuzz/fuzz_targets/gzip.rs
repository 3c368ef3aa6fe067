//! See `fuzz::targets::gzip`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(gzip);

//! See `fuzz::targets::limine`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(limine);

//! See `fuzz::targets::boot_path`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(boot_path);

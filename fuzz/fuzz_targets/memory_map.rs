//! See `fuzz::targets::memory_map`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(memory_map);

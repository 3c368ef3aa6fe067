//! See `fuzz::targets::mbr`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(mbr);

//! See `fuzz::targets::command_line`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(command_line);

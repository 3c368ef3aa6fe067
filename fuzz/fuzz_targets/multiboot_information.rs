//! See `fuzz::targets::multiboot_information`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(multiboot_information);

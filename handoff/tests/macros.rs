//! The macros work where `unsafe` is forbidden.
#![forbid(unsafe_code)]

handoff::wish! {
    stack_size: 16 * 1024 * 1024,
    physical_map_base: 0xFFFF_9000_0000_0000,
    allow_writable_code: true,
}

#[test]
fn wishes_compile_without_unsafe() {}

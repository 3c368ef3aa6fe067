//! A test: a kernel that checks something, and ends by reporting success. For another test, add a
//! file here, and a `[[test]]` to Cargo.toml.
#![no_std]
#![no_main]

use kernel::{EXIT_SUCCESS, boot, exit, println};
use limine::memory_map::EntryType;

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    assert!(
        boot::is_supported(),
        "the loader does not know base revision 3 of the Limine protocol"
    );
    memory_map_is_sorted();
    memory_map_knows_the_kernel();
    exit(EXIT_SUCCESS)
}

fn memory_map_is_sorted() {
    let mut end = 0;
    for entry in boot::memory_map() {
        let start = entry.base;
        assert!(start >= end, "{start:#x} is in front of {end:#x}");
        end = start + entry.length;
    }
    println!("memory map is sorted: ok");
}

fn memory_map_knows_the_kernel() {
    let mut kinds = boot::memory_map().iter().map(|entry| entry.entry_type);
    assert!(kinds.any(|kind| kind == EntryType::EXECUTABLE_AND_MODULES));
    println!("memory map knows the kernel: ok");
}

//! A test: a kernel that checks something, and ends by reporting success. For another test, add a
//! file here, and a `[[test]]` to Cargo.toml.
#![no_std]
#![no_main]

use handoff::{BootInfo, MemoryKind};
use kernel::{EXIT_SUCCESS, exit, println};

handoff::entry_point!(main);

fn main(boot: &'static BootInfo) -> ! {
    memory_map_is_sorted(boot);
    memory_map_knows_the_kernel(boot);
    exit(EXIT_SUCCESS)
}

fn memory_map_is_sorted(boot: &BootInfo) {
    let mut end = 0;
    for region in boot.memory_map() {
        let start = region.start;
        assert!(start >= end, "{start:#x} is in front of {end:#x}");
        end = start + region.length;
    }
    println!("memory map is sorted: ok");
}

fn memory_map_knows_the_kernel(boot: &BootInfo) {
    let region = boot.region_of(boot.kernel.physical_base);
    let kind = region.and_then(|region| region.kind());
    assert_eq!(kind, Some(MemoryKind::Kernel));
    println!("memory map knows the kernel: ok");
}

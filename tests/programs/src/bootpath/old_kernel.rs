//! **A kernel that was built long ago**: with the first version of the crate handoff, which is
//! frozen in `tests/programs/handoff-0.1`. Whatever the loader has become, this kernel finds what it
//! was promised then.
//!
//! On COM1 it writes one line for each thing that it was told, and compares what can be compared;
//! then `OKAY`. It leaves QEMU through isa-debug-exit.
#![no_std]
#![no_main]
// Physical memory is read by its address.
#![allow(unsafe_code)]

// The functions that the ready-made `core` expects of its program.
#[path = "../../../../kernel/src/mem.rs"]
mod mem;
#[path = "../report/mod.rs"]
mod report;

use core::hint::spin_loop;

use handoff_0_1::{
    BOOTPATH_MAGIC, BOOTPATH_VERSION, BootInfo, EXIT_FAILURE, EXIT_PORT, EXIT_SUCCESS, MemoryKind,
    MemoryRegion, Module,
};
use report::{output, say};

/// Neither the default nor a value that another kernel of the tests wishes.
const STACK_SIZE: u64 = 96 * 1024;
/// Likewise.
const PHYSICAL_MAP_BASE: u64 = 0xFFFF_A000_0000_0000;

handoff_0_1::entry_point!(main);
handoff_0_1::wish! {
    stack_size: STACK_SIZE,
    physical_map_base: PHYSICAL_MAP_BASE,
    fault_reports: true,
}

fn main(boot: &'static BootInfo) -> ! {
    assert_eq!(
        (boot.magic, boot.version),
        (BOOTPATH_MAGIC, BOOTPATH_VERSION)
    );
    assert!(boot.size as usize >= size_of::<BootInfo>());
    let loader = boot.loader().split(' ').next();
    say!("started by {}", loader.unwrap_or_default());
    say!("command line: {}", boot.command_line());
    say!("stack of {} bytes", boot.kernel.stack_size);
    say!("physical map at {:x}", boot.physical_map_base);
    check_memory(boot);
    check_kernel(boot);
    for module in boot.modules() {
        check_module(boot, module);
    }
    say!("display: {:?}", boot.display.kind());
    let disk = &boot.boot_disk;
    say!(
        "disk {:x}h, {} bytes a sector",
        disk.drive,
        disk.sector_size
    );
    say!("TLS: {}", boot.tls().is_some());
    assert!(boot.rsdp != 0 && boot.physical_to_virtual(boot.rsdp).is_some());
    assert!(boot.time_of_step(1) < boot.time_of_step(12));
    assert!(boot.time_of_step(13).is_none());
    say!("OKAY");
    stop(EXIT_SUCCESS)
}

/// The map is sorted, its kinds are known, and the kernel's own memory is in it.
fn check_memory(boot: &BootInfo) {
    let map = boot.memory_map();
    let in_order = |pair: &[MemoryRegion]| pair[0].end() <= pair[1].start;
    assert!(map.windows(2).all(in_order) && map.iter().all(|region| region.kind().is_some()));
    let usable = |region: &&MemoryRegion| region.kind() == Some(MemoryKind::Usable);
    let usable: u64 = map.iter().filter(usable).map(|region| region.length).sum();
    say!("usable: more than {} MiB", usable >> 26 << 6);
    let own = boot.region_of(boot.kernel.physical_base);
    assert_eq!(own.and_then(MemoryRegion::kind), Some(MemoryKind::Kernel));
}

/// This function is in an executable segment, and each segment is the same in the physical map.
fn check_kernel(boot: &BootInfo) {
    let here = check_kernel as fn(&BootInfo) as usize as u64;
    let kernel = &boot.kernel;
    let own = kernel.segments().iter().find(|segment| {
        (segment.virtual_start..segment.virtual_start + segment.length).contains(&here)
    });
    assert!(own.is_some_and(|segment| segment.is_executable() && !segment.is_writable()));
    for segment in kernel.segments() {
        if let Some(bytes) = segment.bytes() {
            let physical = boot.physical_to_virtual(segment.physical_start);
            assert!(is_at(bytes, physical));
        }
    }
    say!("segments: as they are in physical memory");
}

fn check_module(boot: &BootInfo, module: &Module) {
    let texts = [module.path.as_str(), module.string.as_str()];
    report::bytes("module", module.bytes(), &texts);
    assert!(is_at(
        module.bytes(),
        boot.physical_to_virtual(module.physical_start)
    ));
}

/// Are these bytes there, too?
fn is_at(bytes: &[u8], place: Option<*mut u8>) -> bool {
    let Some(place) = place else { return false };
    // SAFETY: the place is in the physical map, which covers all of a segment and of a module;
    // nobody writes to either.
    bytes == unsafe { core::slice::from_raw_parts(place, bytes.len()) }
}

fn stop(value: u32) -> ! {
    output(EXIT_PORT, value as u8);
    loop {
        spin_loop();
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    say!("FAILED: {info}");
    stop(EXIT_FAILURE)
}

//! **A kernel that reports exactly what it got**: the machine tests boot it from disks with a wrong
//! bit.
//!
//! On COM1, as the loader has set it up, it writes one line each for its own place, each of its
//! segments, the command line and each module, with a checksum of every byte; then `OKAY`. It
//! leaves QEMU through isa-debug-exit. It omits values that differ from boot to boot without
//! anything being wrong (times, the number of reads, the random seed).
#![no_std]
#![no_main]
// Segments are accessed by their addresses.
#![allow(unsafe_code)]

// The functions that the ready-made `core` expects of its program.
#[path = "../../../../kernel/src/mem.rs"]
mod mem;
#[path = "../report/mod.rs"]
mod report;

use core::hint::spin_loop;

use handoff::{BootInfo, EXIT_PORT, EXIT_SUCCESS, KernelSegment};
use report::{output, say};

handoff::entry_point!(main);

fn main(boot: &'static BootInfo) -> ! {
    let kernel = &boot.kernel;
    let (base, size, entry) = (kernel.virtual_base, kernel.size, kernel.entry);
    say!("kernel at {base:x}, {size} bytes, entered at {entry:x}");
    say!("stack of {} bytes", kernel.stack_size);
    let (base, size) = (boot.physical_map_base, boot.physical_map_size);
    say!("map at {base:x}, {size:x} bytes");
    let disk = &boot.boot_disk;
    say!("partition {} at LBA {}", disk.partition, disk.partition_lba);
    for segment in kernel.segments() {
        let KernelSegment {
            virtual_start,
            length,
            flags,
            ..
        } = *segment;
        say!("segment at {virtual_start:x}, flags {flags:x}");
        // SAFETY: the loader says that the segment is there, and nothing writes to any.
        let bytes =
            unsafe { core::slice::from_raw_parts(virtual_start as *const u8, length as usize) };
        report::bytes("segment", bytes, &[]);
    }
    say!("command line: {}", boot.command_line());
    for module in boot.modules() {
        let texts = [module.path.as_str(), module.string.as_str()];
        report::bytes("module", module.bytes(), &texts);
    }
    say!("OKAY");
    output(EXIT_PORT, EXIT_SUCCESS as u8);
    loop {
        spin_loop();
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    say!("FAILED: {info}");
    loop {
        spin_loop();
    }
}

//! **A kernel that checks what Multiboot promises**, of version 1 and 2: registers and segments at
//! its first instruction, every part of the boot information, and that no two of its parts overlap.
//!
//! It has both headers; EAX tells which version started it. It prints its findings on COM1, one per
//! line, and at the end `OKAY` or `FAIL`; it leaves QEMU through isa-debug-exit. If it was moved
//! away from its linked address, it only compares the address with the one in the boot information.
//!
//! The unmodified crate `multiboot2` reads version 2.
#![no_std]
#![no_main]
// The entry is assembly, and everything is at addresses from the loader.
#![allow(unsafe_code)]

#[path = "../../../../../kernel/src/mem.rs"]
mod mem;
#[path = "../../report/mod.rs"]
mod report;
#[path = "../../screen/mod.rs"]
mod screen;

mod headers;
mod exit;
mod entry;
mod memory;
mod outcome;
mod machine;
mod parts;
mod memory_map;
mod video;
mod version_1;
mod version_2;

use core::sync::atomic::Ordering::Relaxed;

use exit::{EXIT_FAIL, EXIT_OKAY, EXIT_PORT};
use memory::{Uses, address, bytes};
use outcome::Checks;
use report::{output, say};
use video::STAY;

/// The value in EAX.
const LOADER_1: u32 = 0x2BAD_B002;

const LOADER_2: u32 = multiboot2::MAGIC;

/// Bytes of the loader's stack that a kernel may use.
const STACK: u64 = 4096;

/// The end of conventional memory.
const LOW_END: u64 = 640 * 1024;

extern "C" fn main() -> ! {
    let state = &raw const entry::STATE;
    // SAFETY: nobody writes to it any more.
    let state = unsafe { &*state };
    let mut checks = Checks { failed: false };
    let mut uses = Uses::NONE;
    machine::check_machine(state, &mut checks);
    let (start, end) = (
        address(&raw const memory::image_start),
        address(&raw const memory::image_end),
    );
    checks.check("kernel's place", uses.add(start, end - start));
    let loaded = address(&raw const memory::_edata) - start;
    report::bytes("kernel", bytes(start, loaded), &[]);
    // Some KiB of stack, apart from all that follows.
    let stack = u64::from(state.esp).saturating_sub(STACK);
    checks.check("stack's place", uses.add(stack, STACK) && stack < LOW_END);
    let info = u64::from(state.ebx);
    checks.check("information is low", info < LOW_END);
    match state.eax {
        LOADER_2 => version_2::check_2(info, &mut checks, &mut uses),
        LOADER_1 => version_1::check_1(info, &mut checks, &mut uses),
        eax => {
            say!("EAX {eax:x}");
            checks.failed = true;
        }
    }
    say!("{}", if checks.failed { "FAIL" } else { "OKAY" });
    while STAY.load(Relaxed) {
        core::hint::spin_loop();
    }
    output(EXIT_PORT, if checks.failed { EXIT_FAIL } else { EXIT_OKAY });
    loop {
        core::hint::spin_loop();
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    say!("{info}");
    output(EXIT_PORT, EXIT_FAIL);
    loop {
        core::hint::spin_loop();
    }
}

//! The jump to a kernel of the loader's own protocol: masks both PICs, sets the last control register
//! bits, switches the tables and jumps, to the state that `docs/handoff.md` promises.
#![allow(unsafe_code)]

use boot_path::ways_out::bootpath::Start;
use x86_64::registers::control::{Cr4, Cr4Flags, Efer, EferFlags};

use crate::machine::{console, faults, pic, switch};
use crate::real::real_mode_faults;

/// Starts the kernel.
pub fn start(start: &Start) -> ! {
    faults::check_stack();
    console::drain();
    console::without_bios();
    real_mode_faults::give_back();
    pic::mask();
    // SAFETY: the features are there, and change nothing for the loader's own tables.
    unsafe {
        if start.cpu_features & handoff::CPU_NX != 0 {
            Efer::update(|flags| flags.insert(EferFlags::NO_EXECUTE_ENABLE));
        }
        Cr4::update(|flags| flags.insert(Cr4Flags::PAGE_GLOBAL));
        let mxcsr = 0x1F80u32; // its value after a reset
        core::arch::asm!("fninit", "ldmxcsr [{}]", in(reg) &mxcsr, options(nostack));
    }
    if start.fault_reports {
        faults::kernel_starts();
    } else {
        switch::uninstall();
    }
    // SAFETY: the tables were made for exactly this.
    unsafe {
        switch::to_kernel(
            start.root,
            start.stack_top,
            start.entry,
            start.physical_map_base.wrapping_add(start.boot_info),
            start.physical_map_base,
        )
    }
}

//! The jump to a kernel of the loader's own protocol: masks both PICs, sets the last control
//! register bits, switches the tables and jumps, to the state that `docs/handoff.md` promises.

use boot_path::devices::interrupts;
use boot_path::ways_out::handover::BootpathStart;

use crate::machine::console::CONSOLE;
use crate::machine::{Machine, faults, instructions, switch};
use crate::ways_out::leave;

/// Starts the kernel.
pub fn start(start: &BootpathStart) -> ! {
    leave::prepare();
    CONSOLE.without_bios();
    interrupts::mask_8259(Machine);
    instructions::prepare_for_kernel(start.cpu_features & handoff::CPU_NX != 0);
    if start.fault_reports {
        faults::kernel_starts();
    } else {
        // A fault resets the machine.
        instructions::without_handlers();
    }
    switch::to_kernel(start)
}

//! Starts a Limine kernel: sets up the machine as it asks, and makes the last switch.

mod processors;
mod switch;

use boot_path::devices::{cpu, interrupts};
use boot_path::ways_out::handover::LimineStart;
use boot_path::ways_out::limine::LimineError;
use boot_path::ways_out::limine::platform::{Common, Info, Platform};

use crate::machine::{Machine, physical};
use crate::ways_out::leave;

impl Platform<'static> for Machine {
    fn apic_id(self) -> u32 {
        cpu::apic_id(self)
    }

    fn prepare_switch(self, start: &LimineStart) {
        switch::prepare(start);
    }

    fn prepare_first(self, common: Common<'static>) -> Result<(), LimineError> {
        processors::prepare_first(common)
    }

    fn start_processors(self, infos: &mut [Info]) {
        processors::start(infos);
    }
}

/// Starts the kernel: quietens interrupt controllers and switches.
#[inline(never)]
pub fn start_kernel(start: &LimineStart) -> ! {
    leave::prepare();
    interrupts::mask_8259(Machine);
    processors::quieten_first(start.uid);
    let memory = &physical::firmware_bytes;
    interrupts::mask_io_apics(Machine, start.rsdp, memory, start.quiet);
    if start.quiet && !start.keep_iommus {
        interrupts::disable_iommus(Machine, start.rsdp, memory);
    }
    switch::to_kernel()
}

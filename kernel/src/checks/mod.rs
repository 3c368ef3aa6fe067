//! Every promise of the handoff, one function each. They check what `docs/handoff.md` promises.

mod outcome;
mod processor;
mod boot_info;
mod firmware;
mod memory_map;
mod loaded;
mod mapped;
mod protection;

use handoff::{BootInfo, KernelSegment};

use crate::entry::{Registers, SystemState};
use crate::paging::PageMap;
use outcome::{Outcome, ensure};

/// Everything that the checks look at.
pub struct Machine {
    pub boot: &'static BootInfo,
    pub registers: Registers,
    pub state: SystemState,
    pub map: PageMap,
}

impl Machine {
    fn has_nx(&self) -> bool {
        self.boot.cpu_features & handoff::CPU_NX != 0
    }

    /// The segment that a virtual address lies in.
    fn segment_of(&self, address: u64) -> Option<&'static KernelSegment> {
        let mut segments = self.boot.kernel.segments().iter();
        segments.find(|segment| address.wrapping_sub(segment.virtual_start) < segment.length)
    }
}

type Check = fn(&Machine) -> Outcome;

/// The checks, in the order in which they run.
pub const CHECKS: &[(&str, Check)] = &[
    ("privilege and flags", processor::flags),
    ("general registers", processor::registers),
    ("stack at entry", processor::stack),
    ("CR0, CR4, EFER", processor::control_registers),
    ("segments, GDT, IDT", processor::descriptors),
    ("x87 and SSE", processor::floating_point),
    ("interrupt controllers", processor::interrupt_controllers),
    ("BootInfo", boot_info::boot_info),
    ("memory map", memory_map::memory_map),
    ("memory kinds", memory_map::memory_kinds),
    ("kernel segments", loaded::kernel_segments),
    ("kernel bytes", loaded::kernel_bytes),
    ("bss", loaded::bss),
    ("TLS template", loaded::tls),
    ("modules", boot_info::modules),
    ("page tables", mapped::page_tables),
    ("nothing else mapped", mapped::nothing_else_mapped),
    ("physical map", mapped::physical_map),
    ("physical map is memory", mapped::physical_map_is_memory),
    ("page 0", protection::page_0),
    ("guard page", protection::guard_page),
    ("write to code", protection::write_to_code),
    ("write to constants", protection::write_to_constants),
    ("execute data", protection::execute_data),
    ("outside the kernel", protection::outside_the_kernel),
    ("hole in the physical map", protection::hole),
    ("firmware tables", firmware::firmware_tables),
    ("interrupt vectors", firmware::interrupt_vectors),
    ("boot disk", boot_info::boot_disk),
    ("CPU features", processor::cpu_features),
    ("timeline", boot_info::timeline),
    ("random seed", boot_info::random_seed),
];

/// Fails if the command line asks for it.
pub fn pass(good: bool) -> Outcome {
    ensure!(good, "as the command line says");
    Ok(())
}

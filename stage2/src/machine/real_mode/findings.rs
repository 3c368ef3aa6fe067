//! What the 16-bit steps leave for the 64-bit ones: their findings, and when each step began.

use core::cell::Cell;

use ::handoff::TIMELINE_LENGTH;
use boot_path::devices::cpu::Cpu as _;

use crate::machine::Machine;
use crate::machine::variables::{OneThread, placed};

/// Written by the 16-bit steps, read by the 64-bit ones.
#[repr(C)]
pub struct Findings {
    /// Time-stamp counter at the start of each step, by number; 0: not taken.
    pub timeline: Cell<[u64; TIMELINE_LENGTH]>,
    /// The drive that stage2 was read from.
    pub drive: Cell<u8>,
    /// What the BIOS had passed to stage1 in DL.
    pub bios_drive: Cell<u8>,
    /// How stage2 was read: see [`disk_layout::mbr::frame::WAY`].
    pub way: Cell<u16>,
    /// What another loader left, if one has started the program; zero otherwise.
    pub multiboot: Cell<Multiboot>,
}

/// What a Multiboot loader leaves in the registers.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Multiboot {
    /// EAX.
    pub magic: u32,
    /// EBX: the address of its information.
    pub information: u32,
}

/// The BIOS's values of the control registers. The BIOS gets them back for each call, and so does a
/// program that begins in real mode.
#[repr(C)]
pub struct BiosControl {
    /// With caches on: where the BIOS had left them off, switching them off and on again for each
    /// call would lose their contents. 0 until step 4 fills it in; until then the register still
    /// holds the value.
    pub cr0: Cell<u32>,
    /// As the BIOS left it after the last call.
    pub cr4: Cell<u32>,
}

placed! {
    in ".real_mode.data"
    pub static FINDINGS: OneThread<Findings> = OneThread::new(Findings {
        timeline: Cell::new([0; TIMELINE_LENGTH]),
        drive: Cell::new(0),
        bios_drive: Cell::new(0),
        way: Cell::new(0),
        multiboot: Cell::new(Multiboot { magic: 0, information: 0 }),
    });

    /// Filled in by step 4 and the [gate](crate::machine::bios).
    in ".real_mode.data"
    pub static BIOS_CONTROL: OneThread<BiosControl> = OneThread::new(BiosControl {
        cr0: Cell::new(0),
        cr4: Cell::new(0),
    });
}

/// Notes the time-stamp counter at the start of a step.
pub fn step(number: usize) {
    if let Some(stamp) = FINDINGS.timeline.as_array_of_cells().get(number) {
        stamp.set(Machine.tsc());
    }
}

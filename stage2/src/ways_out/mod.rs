//! The last instructions of the loader, one file per way out.

pub mod leave;
mod last_copies;
pub mod bootpath;
pub mod limine;

use core::sync::atomic::AtomicBool;

use boot_path::machine::Machine as _;
use boot_path::ways_out::chain::boot::PARTITION_ENTRY;
use boot_path::ways_out::handover::{Handover, Jump};
use disk_layout::parts::Part;

use crate::machine::variables::first_time;
use crate::machine::{Machine, faults, physical};

/// Leaves the loader. Only the code of the ways out is still needed.
pub fn leave(mut handover: Handover<'static>) -> ! {
    static LEFT: AtomicBool = AtomicBool::new(false);

    first_time(&LEFT);
    physical::hand_over(&handover.moves);
    match handover.jump {
        Jump::Bootpath(start) => bootpath::start(&start),
        Jump::Limine(start) => {
            let known = Machine.of_part(Part::Limine, limine::start_kernel as fn(&_) -> !);
            known.unwrap_or_else(|failure| faults::fail(&failure))(&start)
        }
        Jump::Protected(state) => leave::to_protected_mode(&match &mut handover.last {
            Some(copies) => copies.before(&state, last_copies::instructions()),
            None => state,
        }),
        Jump::Real(state) => leave::to_real_mode(&state),
        Jump::Linux64 { entry, parameters } => leave::to_64_bit_code(entry, parameters),
        Jump::BootSector {
            state,
            bytes,
            partition,
        } => {
            if let Some(entry) = partition {
                physical::write(PARTITION_ENTRY.into(), entry);
            }
            leave::to_boot_sector(&state, bytes)
        }
    }
}

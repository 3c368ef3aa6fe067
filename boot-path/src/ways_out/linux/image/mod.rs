//! Step 10, for a Linux kernel: its setup header, the places of its parts in memory, and its
//! parameters.
//!
//! A bzImage begins with a boot sector and setup code for real mode; behind them lies the
//! protected-mode kernel. The setup header at 1F1h of the file describes how to load both, and has
//! fields for the loader to fill in. A kernel that is entered in real mode finds them there.
//! Entered in protected or in long mode, it gets a page of [`BootParams`] with a copy of the header
//! in the same place, and with the data that the setup code would have got from the BIOS.
//!
//! Source: Linux, Documentation/arch/x86/boot.rst and zero-page.rst, for protocols 2.02 to 2.15;
//! the structures as in arch/x86/include/uapi/asm/bootparam.h and include/uapi/linux/screen_info.h.

use crate::memory::layout::{FILE_CACHE, PAGE_SIZE};

mod errors;
mod header;
mod parameters;
mod placement;

pub use errors::LinuxError;
pub use header::{HEADER, HEADER_ROOM, LinuxImage, MAX_SETUP, SetupHeader, checks_itself};
pub use parameters::{BootParams, E820_ENTRIES, E820Entry, ScreenInfo, e820, fill_memory_map};
pub use placement::{Initrd, KERNEL_START, PlaceError, Placed, initrd_size};

/// Places of the kernel's data when it starts. All of them are in the file system's windows, which
/// are unused by then: below 640 KiB, above the loader.
pub mod place {
    use super::{FILE_CACHE, PAGE_SIZE};
    use crate::memory::address::PhysAddr;

    /// The [`BootParams`](super::BootParams), or boot sector and setup code with their stack.
    pub const PARAMETERS: PhysAddr = PhysAddr::new(FILE_CACHE.start);
    /// Offset there of the end of the setup code's stack and heap.
    pub const HEAP_END: u16 = 0xE000;
    /// The command line and a zero byte.
    pub const COMMAND_LINE: PhysAddr = PARAMETERS.plus(0x1_0000);
    /// The `setup_data` with the part of the memory map that does not fit into the parameters.
    pub const SETUP_DATA: PhysAddr = COMMAND_LINE.plus(0x5000);
    /// Room for it.
    pub const SETUP_DATA_SIZE: u64 = 3 * PAGE_SIZE;

    const _: () = {
        assert!(PARAMETERS.is_aligned(PAGE_SIZE) && PARAMETERS.as_u64() >= 0x1_0000);
        assert!(crate::entry::entry_file::MAX_FILE < 0x5000);
        assert!(SETUP_DATA.as_u64() + SETUP_DATA_SIZE <= FILE_CACHE.end);
        assert!(crate::memory::map::CAPACITY * 20 + 16 <= SETUP_DATA_SIZE as usize);
    };
}

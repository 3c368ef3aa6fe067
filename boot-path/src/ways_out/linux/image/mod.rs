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

use crate::memory::layout::{PAGE_SIZE, TRANSFER_BUFFER};

mod errors;
mod header;
mod parameters;
mod placement;
mod video;

pub use errors::LinuxError;
pub use header::{HEADER, HEADER_ROOM, LinuxImage, MAX_SETUP, SetupHeader, checks_itself};
pub use parameters::{BootParams, E820_ENTRIES, E820Entry, ScreenInfo, e820, fill_memory_map};
pub use placement::{Initrd, KERNEL_START, PlaceError, Placed, initrd_size};
pub use video::{VIDEO_NORMAL, video_mode};

/// Places of the kernel's data when it starts. All of them are in the transfer buffer, which is
/// unused by then: a segment of its own below 640 KiB.
pub mod place {
    use super::{PAGE_SIZE, TRANSFER_BUFFER};
    use crate::memory::address::PhysAddr;

    /// The [`BootParams`](super::BootParams), or boot sector and setup code with their stack.
    pub const PARAMETERS: PhysAddr = PhysAddr::new(TRANSFER_BUFFER.start);
    /// The `setup_data` with the part of the memory map that does not fit into the parameters.
    pub const SETUP_DATA: PhysAddr = PARAMETERS.plus(PAGE_SIZE);
    /// Room for it.
    pub const SETUP_DATA_SIZE: u64 = 3 * PAGE_SIZE;
    /// Offset in [`PARAMETERS`] of the end of the setup code's stack and heap. boot.rst proposes
    /// E000h; here the command line has the end of the segment, and more than 12 KiB are left
    /// behind the longest setup code.
    pub const HEAP_END: u16 = 0xB000;
    /// The command line and a zero byte.
    pub const COMMAND_LINE: PhysAddr = PARAMETERS.plus(HEAP_END as u64);

    const _: () = {
        assert!(PARAMETERS.is_aligned(PAGE_SIZE) && PARAMETERS.as_u64() >= 0x1_0000);
        assert!(super::MAX_SETUP + 0x3000 <= HEAP_END as usize);
        let room = TRANSFER_BUFFER.size() - HEAP_END as u64;
        assert!((crate::entry::entry_file::MAX_FILE as u64) < room);
        assert!(PAGE_SIZE + SETUP_DATA_SIZE <= HEAP_END as u64);
        assert!(crate::memory::map::CAPACITY * 20 + 16 <= SETUP_DATA_SIZE as usize);
    };
}

//! `bootpath.elf`: the loader as a program that other loaders start, by Multiboot 1 or 2.
//!
//! ```text
//! 0x100000  the way in (stage1/src/multiboot.rs), which ends with its Parameters
//!           stage2, as in an image
//! 0x140000  what was in memory from 0 to 0xA0000 before stage2 went there
//! ```

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Where the program is loaded (physical address, bytes).
pub const LOAD_ADDRESS: u32 = 0x10_0000;

/// Where it keeps a copy of low memory, in which the other loader left strings, lists and perhaps
/// modules.
pub const SAVED: u32 = 0x14_0000;
/// Length of this copy in bytes; it begins at address 0.
pub const SAVED_BYTES: u32 = 0xA_0000;

/// Maximum length of the way in, in bytes.
pub const MAX_CODE: usize = 0x1000;

/// Offset at which stage2 is entered, in real mode with CS = 0: behind the jump of
/// [`crate::stage2::ENTRY_OFFSET`].
pub const ENTRY_OFFSET: usize = crate::stage2::ENTRY_OFFSET + 2;

/// What is left on the stack, as offsets from [`crate::mbr::LOAD_ADDRESS`].
pub mod frame {
    /// What was in EAX: the magic number (u32).
    pub const MAGIC: i16 = -4;
    /// What was in EBX: the address of the information (u32).
    pub const INFORMATION: i16 = -8;
}

/// EAX, when a Multiboot 1 loader starts a program.
pub const MAGIC_1: u32 = 0x2BAD_B002;
/// EAX, when a Multiboot 2 loader does.
pub const MAGIC_2: u32 = 0x36D7_6289;

/// The last bytes of the way in; `disk-builder` fills them and puts stage2 behind.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Parameters {
    /// Length of stage2 in bytes.
    pub stage2_bytes: U32,
    /// Zero.
    pub reserved: [u8; 12],
}

const _: () = assert!(size_of::<Parameters>() == 16);
const _: () =
    assert!(LOAD_ADDRESS as usize + MAX_CODE + crate::stage2::MAX_LENGTH <= SAVED as usize);

//! The holes in memory that the option ROM reports.

/// The holes in memory: their number, the continuation value of the first one, and where they are.
/// Each has a page, and so has the memory between two of them.
pub const HOLES: u16 = 140;
pub const FIRST_HOLE: u16 = 0x1000;
pub const HOLES_START: u32 = 0x200_0000;
pub const HOLE_SHIFT: u8 = 13;
pub const PAGE_BYTES: u32 = 0x1000;
/// What INT 15h E820h returns in EAX: "SMAP".
pub const SMAP: u32 = 0x534D_4150;

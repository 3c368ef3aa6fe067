//! The kernel's ELF file: which bytes go where, and whether it can be booted at all.
//!
//! The loader first reads three small parts: the file header, the program headers and the notes.
//! These give the [`KernelImage`] (checked: no segment overlaps another, wraps or leaves the file)
//! and the kernel's [`Wishes`]. From both follows the plan: which segments have to be adjacent in
//! physical memory ([`Group`]), where a position-independent kernel goes
//! ([`KernelImage::choose_slide`]) and which page gets which permissions
//! ([`KernelImage::page_ranges`]). [`crate::kernel::relocate`] applies relocations, once the bytes
//! are in memory.
//!
//! No field is trusted: the arithmetic is checked, the tables are bounded, and each reason to
//! refuse a kernel has its own error. On the host, [`check_file`] does the same for a file that is
//! not loaded.
//!
//! Sources: System V ABI, chapters 4 and 5 (object files, program loading), and its AMD64
//! supplement; `PT_GNU_RELRO` and the 8-byte aligned notes as GNU ld and LLVM's lld write them.

use alloc::vec::Vec;

use crate::memory::address::VirtAddr;
use crate::memory::layout::{self, PAGE_SIZE};
use crate::memory::map::MIB;

mod errors;
mod headers;
mod segment;
mod parse;
mod plan;
mod wishes;
mod foreign;
mod file;

pub use errors::{KernelError, Table};
pub(crate) use file::{Unloaded, read_file};
pub use file::{check_file, read};
pub use foreign::Foreign;
pub(crate) use foreign::foreign;
pub(crate) use headers::{FileHeader, ProgramHeader, ReadAt, check_in_file};
pub use headers::{
    HEADER_BYTES, MAX_PROGRAM_HEADERS, PROGRAM_HEADER_BYTES, TableLocation, program_headers,
};
pub use plan::{Group, PageRange};
pub(crate) use segment::segment_at;
pub use segment::{AddressRange, Segment, Tls};
pub use wishes::Wishes;

/// Where the lowest segment of a position-independent kernel goes: the last 2 GiB, which the code
/// models `kernel` and `small` (position-independent) require.
pub const PREFERRED_BASE: VirtAddr = VirtAddr::new(0xFFFF_FFFF_8000_0000);

const LARGE_PAGE: u64 = 2 << 20;
const GIB: u64 = 1 << 30;

/// The largest `p_align`: that of the largest page. [`PREFERRED_BASE`] is a multiple of it.
pub const MAX_ALIGNMENT: u64 = GIB;
const _: () = assert!(PREFERRED_BASE.is_aligned(MAX_ALIGNMENT));

/// End of the lower half of the canonical address space.
const LOWER_HALF_END: VirtAddr = VirtAddr::new(1 << 47);
const UPPER_HALF: VirtAddr = VirtAddr::new(!(LOWER_HALF_END.as_u64() - 1));
/// The last page stays unused, so that the end of every segment fits into a u64.
const LAST_PAGE: VirtAddr = VirtAddr::new(!(PAGE_SIZE - 1));

/// A kernel with checked headers.
///
/// Holding one proves that it has at least one segment, that the segments are sorted, do not
/// overlap, and are canonical where they will lie, and that the entry point is in one of them.
#[derive(Clone, Debug)]
pub struct KernelImage {
    position_independent: bool,
    entry: VirtAddr,
    segments: Vec<Segment>,
    tls: Option<Tls>,
    relro: Option<AddressRange>,
    dynamic: Option<AddressRange>,
}

impl KernelImage {
    /// Checks what depends on the kernel's wishes: that no page is writable and executable, unless
    /// the kernel asks for that, and that the kernel, the loader's page and the physical map do not
    /// overlap. (The size of the physical map depends on the machine; its first MiB is certain.)
    ///
    /// # Errors
    /// 10K, 11A.
    pub fn check(&self, wishes: &Wishes) -> Result<(), KernelError> {
        let slide = self.choose_slide();
        for range in self.page_ranges(slide) {
            if range.writable && range.executable && !wishes.allow_writable_code() {
                return Err(KernelError::WritableCode {
                    address: range.virtual_start.wrapping_before(slide),
                    size: range.size,
                });
            }
            let last = range.virtual_start + (range.size - 1);
            for (start, size) in [
                (VirtAddr::new(layout::STAGE2.start), PAGE_SIZE),
                (wishes.physical_map_base, MIB),
            ] {
                if range.virtual_start < start.saturating_add(size) && start <= last {
                    return Err(KernelError::Conflict {
                        address: range.virtual_start.max(start),
                    });
                }
            }
        }
        Ok(())
    }

    /// Can the kernel run at any virtual address (ET_DYN)?
    pub const fn position_independent(&self) -> bool {
        self.position_independent
    }

    /// Virtual address of the entry point, without the slide.
    pub const fn entry(&self) -> VirtAddr {
        self.entry
    }

    /// The segments, sorted by virtual address; at least one.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The initial image of thread-local storage.
    pub const fn tls(&self) -> Option<Tls> {
        self.tls
    }

    /// PT_GNU_RELRO: the addresses that become read-only after relocation. [`Self::page_ranges`]
    /// takes it into account.
    pub const fn relro(&self) -> Option<AddressRange> {
        self.relro
    }

    /// Removes PT_GNU_RELRO, for a protocol that takes permissions from PT_LOAD alone.
    pub fn forget_relro(&mut self) {
        self.relro = None;
    }

    /// The dynamic section.
    pub const fn dynamic(&self) -> Option<AddressRange> {
        self.dynamic
    }

    /// Lowest virtual address of the segments, without the slide.
    pub fn virtual_start(&self) -> VirtAddr {
        let first = self.segments().first();
        first.map_or(VirtAddr::default(), |first| first.virtual_start)
    }

    /// The byte behind the last segment, without the slide.
    pub fn virtual_end(&self) -> VirtAddr {
        let last = self.segments().last();
        last.map_or(VirtAddr::default(), Segment::virtual_end)
    }
}

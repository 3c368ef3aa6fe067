//! Segments, and the contents of other program headers.

use elf::abi;

use crate::kernel::image::headers::{ProgramHeader, check_in_file};
use crate::kernel::image::{KernelError, LAST_PAGE, MAX_ALIGNMENT};
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::layout::PAGE_SIZE;
use crate::position::FileOffset;

/// One PT_LOAD with bytes in memory.
///
/// Getting one from a [`KernelImage`](super::KernelImage) proves that `file_size <= memory_size`, that its bytes are
/// within the file, and that its addresses do not wrap, not even when rounded up to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First byte in the file (`p_offset`).
    pub file_offset: FileOffset,
    /// Bytes in the file (`p_filesz`).
    pub file_size: u64,
    /// First byte in memory (`p_vaddr`), without the slide.
    pub virtual_start: VirtAddr,
    /// Bytes in memory (`p_memsz`), never 0; those beyond `file_size` are zero.
    pub memory_size: u64,
    /// The load address, in the linker script's terms (`p_paddr`).
    pub load_address: PhysAddr,
    /// `p_align`, a power of two from 1 to 1 GiB.
    pub alignment: u64,
    /// `p_flags`: 1 executable, 2 writable, 4 readable.
    pub flags: u32,
    /// Number of its program header, from 0.
    pub number: u16,
}

impl Segment {
    /// The byte behind its last one.
    pub const fn virtual_end(&self) -> VirtAddr {
        self.virtual_start.plus(self.memory_size)
    }

    /// Start of its first page.
    pub const fn first_page(&self) -> VirtAddr {
        self.virtual_start.align_down(PAGE_SIZE)
    }

    /// End of its last page.
    pub const fn page_end(&self) -> VirtAddr {
        self.virtual_end().align_up(PAGE_SIZE)
    }

    /// Is it writable?
    pub const fn writable(&self) -> bool {
        self.flags & abi::PF_W != 0
    }

    /// Is it executable?
    pub const fn executable(&self) -> bool {
        self.flags & abi::PF_X != 0
    }

    pub(super) fn contains(&self, address: VirtAddr) -> bool {
        address.wrapping_sub(self.virtual_start) < self.memory_size
    }

    /// Checks one PT_LOAD by itself.
    pub(super) fn new(
        header: &ProgramHeader,
        number: u16,
        file_size: u64,
    ) -> Result<Self, KernelError> {
        let segment = Self {
            file_offset: FileOffset::new(header.offset.get()),
            file_size: header.file_size.get(),
            virtual_start: VirtAddr::new(header.virtual_address.get()),
            memory_size: header.memory_size.get(),
            load_address: PhysAddr::new(header.physical_address.get()),
            alignment: header.alignment.get().max(1),
            flags: header.flags.get(),
            number,
        };
        if segment.file_size > segment.memory_size {
            return Err(KernelError::Sizes {
                segment: number,
                file_size: segment.file_size,
                memory_size: segment.memory_size,
            });
        }
        if segment.file_size > 0 {
            check_in_file(segment.file_offset, segment.file_size, file_size)?;
        }
        let end = segment.virtual_start.checked_add(segment.memory_size);
        if end.is_none_or(|end| end > LAST_PAGE) {
            return Err(segment.wraps());
        }
        // The bytes are copied, so offset and address need to agree only modulo the page size. A
        // file that does not meet even that was patched by hand.
        let within = segment.alignment.min(PAGE_SIZE) - 1;
        let disagree = segment
            .file_offset
            .as_u64()
            .wrapping_sub(segment.virtual_start.as_u64())
            & within
            != 0;
        if !segment.alignment.is_power_of_two()
            || segment.alignment > MAX_ALIGNMENT
            || disagree && segment.file_size > 0
        {
            return Err(KernelError::Alignment {
                segment: number,
                alignment: segment.alignment,
                virtual_address: segment.virtual_start,
                offset: segment.file_offset.as_u64(),
            });
        }
        Ok(segment)
    }

    pub(super) fn wraps(&self) -> KernelError {
        KernelError::Wraps {
            segment: self.number,
            address: self.virtual_start,
            size: self.memory_size,
        }
    }
}

/// The last segment that begins at an address or before it, and its index. If any segment contains the
/// address, it is this one: they are sorted, and do not overlap.
pub(crate) fn segment_at(segments: &[Segment], address: VirtAddr) -> Option<(usize, &Segment)> {
    let behind = segments.partition_point(|segment| segment.virtual_start <= address);
    let index = behind.checked_sub(1)?;
    Some((index, segments.get(index)?))
}

/// PT_TLS: the initial image of thread-local storage; it is part of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tls {
    /// First byte of the initialised part, without the slide.
    pub virtual_start: VirtAddr,
    /// Bytes of the initialised part.
    pub file_size: u64,
    /// Bytes in all.
    pub memory_size: u64,
    /// A power of two.
    pub alignment: u64,
}

/// Some virtual addresses, without the slide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    /// First byte.
    pub start: VirtAddr,
    /// Length in bytes.
    pub size: u64,
}

//! Where the segments go: groups that stay together in physical memory, the slide of a
//! position-independent kernel, and pages with their permissions.

use elf::abi;

use crate::kernel::image::{
    AddressRange, KernelImage, LARGE_PAGE, LOWER_HALF_END, PREFERRED_BASE, Segment,
};
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::layout::PAGE_SIZE;
use crate::memory::map::{MIB, PHYSICAL_END};

/// Segments so close to each other that they keep their distances in physical memory too: they may
/// share pages, and a large page may hold several of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The first of its segments, as an index into [`KernelImage::segments`].
    pub first: usize,
    /// The segment behind its last one.
    pub end: usize,
    /// First byte in memory, without the slide; aligned to 4 KiB.
    pub virtual_start: VirtAddr,
    /// Length in bytes, a multiple of 4 KiB.
    pub size: u64,
    /// The alignment of the physical address minus `offset`: 4 KiB, or more if a segment asks for
    /// it, and at least 2 MiB if the group is as large as a large page.
    pub alignment: u64,
    /// The physical address modulo `alignment`.
    pub offset: u64,
    /// The place that the linker script asks for: the load addresses, if they are usable and
    /// intended. The kernel runs anywhere, so this is a preference only.
    pub preferred_physical: Option<PhysAddr>,
}

impl Group {
    /// Does the group contain a virtual address, without the slide?
    pub const fn contains(&self, address: VirtAddr) -> bool {
        address.wrapping_sub(self.virtual_start) < self.size
    }
}

/// Pages of the kernel that have the same permissions; they are in one [`Group`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRange {
    /// First byte, with the slide; aligned to 4 KiB.
    pub virtual_start: VirtAddr,
    /// Length in bytes, a multiple of 4 KiB.
    pub size: u64,
    /// May it be written to?
    pub writable: bool,
    /// May it be executed?
    pub executable: bool,
}

impl KernelImage {
    /// The groups of segments, by address.
    pub fn groups(&self) -> impl Iterator<Item = Group> {
        let mut first = 0;
        core::iter::from_fn(move || {
            let group = self.group(first)?;
            first = group.end;
            Some(group)
        })
    }

    /// The group that begins with a segment.
    fn group(&self, first: usize) -> Option<Group> {
        let segments = self.segments().get(first..)?;
        let lowest = segments.first()?;
        let near = |[before, behind]: &&[Segment; 2]| {
            // If two segments share a page, the difference is negative.
            behind.first_page().saturating_sub(before.page_end()) < LARGE_PAGE
        };
        let count = 1 + segments.array_windows().take_while(near).count();
        let segments = segments.get(..count)?;
        let virtual_start = lowest.first_page();
        let size = segments.last()?.page_end() - virtual_start;

        let asked = segments
            .iter()
            .map(|s| s.alignment)
            .fold(PAGE_SIZE, u64::max);
        let alignment = if size >= LARGE_PAGE {
            asked.max(LARGE_PAGE)
        } else {
            asked
        };
        Some(Group {
            first,
            end: first + count,
            virtual_start,
            size,
            alignment,
            offset: virtual_start.as_u64() % alignment,
            preferred_physical: self.load_address(segments, size),
        })
    }

    /// The physical address that the linker script gives a group, if that was intended.
    fn load_address(&self, segments: &[Segment], size: u64) -> Option<PhysAddr> {
        let lowest = segments.first()?;
        let distance = |s: &Segment| {
            s.load_address
                .as_u64()
                .wrapping_sub(s.virtual_start.as_u64())
        };
        let moved = distance(lowest);
        let same = segments.iter().all(|s| distance(s) == moved);
        // Without AT(), p_paddr merely repeats p_vaddr. That is intended only if the kernel was
        // linked for this address and it could be a physical one.
        let meant =
            moved != 0 || !self.position_independent && lowest.virtual_start < LOWER_HALF_END;
        let start = PhysAddr::new(lowest.first_page().as_u64().wrapping_add(moved));
        let usable = start.is_aligned(PAGE_SIZE)
            && (PhysAddr::new(MIB)..PHYSICAL_END).contains(&start)
            && size <= PHYSICAL_END - start;
        (same && meant && usable).then_some(start)
    }

    /// The largest alignment of all groups.
    fn alignment(&self) -> u64 {
        self.groups()
            .map(|group| group.alignment)
            .fold(PAGE_SIZE, u64::max)
    }

    /// The address that is moved to [`PREFERRED_BASE`]: that of the lowest segment, rounded down to
    /// the alignment.
    pub(super) fn slide_origin(&self) -> VirtAddr {
        self.virtual_start().align_down(self.alignment())
    }

    /// The number to add (wrapping) to the addresses of a position-independent kernel, so that it
    /// begins at [`PREFERRED_BASE`]; 0 for other kernels. A multiple of every [`Group::alignment`].
    pub fn choose_slide(&self) -> u64 {
        if self.position_independent {
            PREFERRED_BASE.wrapping_sub(self.slide_origin())
        } else {
            0
        }
    }

    /// The pages of the segments with their final permissions, by address, in as few ranges as
    /// possible.
    ///
    /// A page that several segments share gets the permissions of all of them. PT_GNU_RELRO removes
    /// write permission from its pages; both its start and its end are rounded down to pages, as C
    /// libraries do.
    pub fn page_ranges(&self, slide: u64) -> impl Iterator<Item = PageRange> {
        let mut page = Some(self.virtual_start());
        core::iter::from_fn(move || {
            let mut run: Option<PageRange> = None;
            while let Some(start) = page {
                let (flags, next) = self.permissions(start);
                if let (Some(flags), Some(end)) = (flags, next) {
                    let piece = PageRange {
                        virtual_start: start.align_down(PAGE_SIZE).wrapping_add(slide),
                        size: end - start.align_down(PAGE_SIZE),
                        writable: flags & abi::PF_W != 0,
                        executable: flags & abi::PF_X != 0,
                    };
                    match &mut run {
                        None => run = Some(piece),
                        Some(run)
                            if (run.writable, run.executable)
                                == (piece.writable, piece.executable) =>
                        {
                            run.size += piece.size;
                        }
                        Some(_) => break,
                    }
                    page = next;
                } else {
                    page = next;
                    if run.is_some() {
                        break;
                    }
                }
            }
            run
        })
    }

    /// The permissions of the page at an address, if it belongs to a segment, and the next address
    /// at which they may change.
    fn permissions(&self, address: VirtAddr) -> (Option<u32>, Option<VirtAddr>) {
        let page = address.align_down(PAGE_SIZE);
        let mut flags = None;
        let mut next = None;
        let mut within = |start: VirtAddr, end: VirtAddr| {
            let inside = start <= page && page < end;
            let edge = if inside { end } else { start };
            if edge > page {
                next = Some(next.map_or(edge, |next: VirtAddr| next.min(edge)));
            }
            inside
        };
        // No segment in front of these ends behind the page, and none behind these begins in it.
        let segments = self.segments();
        let first = segments.partition_point(|segment| segment.page_end() <= page);
        for segment in segments.get(first..).unwrap_or_default() {
            if within(segment.first_page(), segment.page_end()) {
                flags = Some(flags.unwrap_or(0) | segment.flags);
            } else {
                break;
            }
        }
        if let Some(AddressRange { start, size }) = self.relro
            && within(
                start.align_down(PAGE_SIZE),
                (start + size).align_down(PAGE_SIZE),
            )
        {
            flags = flags.map(|flags| flags & !abi::PF_W);
        }
        (flags, next)
    }
}

//! A kernel's segments, and their memory.

use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;

use disk_layout::parts::Part;

use crate::disk::stream::Range;
use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::facts;
use crate::kernel::image::{KernelError, check_in_file};
use crate::memory::address::PhysAddr;
use crate::memory::layout::{self, EARLY_REACH, PAGE_SIZE};
use crate::memory::list;
use crate::memory::map::{MIB, MemoryKind, MemoryMap, OutOfMemory, Region, Request};
use crate::memory::placement::allocate_high;
use crate::memory::ram::Allocation;
use crate::position::FileOffset;
use crate::ways_out::multiboot::elf::SectionTable;

/// Interrupt vectors and BIOS data are here, whatever the BIOS says of it.
const BIOS_DATA: Region = Region {
    start: PhysAddr::new(0),
    end: PhysAddr::new(layout::BIOS_DATA_END),
    kind: MemoryKind::Reserved,
};

/// The loader itself, and the memory in front of it, which some BIOSes use.
const LOADER: Region = Region {
    start: BIOS_DATA.end,
    end: PhysAddr::new(layout::END),
    kind: MemoryKind::Reclaimable,
};

/// Up to so many segments, each has its own region in the memory map.
const FEW: usize = 64;

/// If there are more, those closer to each other than this share one: there are no more than 128 such
/// regions below 4 GiB.
const GAP: u64 = 32 * MIB;
const _: () = assert!(EARLY_REACH.as_u64() / GAP <= 128);

/// Why the kernel's memory is not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what Display prints")]
pub enum MemoryConflict {
    /// A segment would end behind 4 GiB, beyond the reach of 32-bit code.
    Beyond {
        segment: u16,
        start: PhysAddr,
        size: u64,
    },
    /// Another region is there; `None`: there is no RAM.
    Taken {
        segment: u16,
        start: PhysAddr,
        end: PhysAddr,
        by: Option<Region>,
    },
    /// A relocatable kernel does not fit anywhere between its limits.
    NoRoom {
        size: u64,
        min: PhysAddr,
        max: PhysAddr,
        largest: u64,
    },
}

impl Named for MemoryConflict {
    fn entry(&self) -> &'static Entry {
        &catalogue::KERNEL_MEMORY
    }

    fn part(&self) -> Option<Part> {
        Some(Part::Texts)
    }
}

impl fmt::Display for MemoryConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Beyond {
                segment,
                start,
                size,
            } => facts(
                f,
                "segment # at 0x#, 0x# bytes: beyond 4 GiB",
                &[segment.into(), start.as_u64(), size],
            ),
            Self::Taken {
                segment,
                start,
                end,
                by,
            } => {
                facts(
                    f,
                    "segment #, 0x# to 0x#: ",
                    &[segment.into(), start.as_u64(), end.as_u64()],
                )?;
                let Some(by) = by else {
                    return f.write_str("no RAM");
                };
                facts(f, "0x# to 0x# is ", &[by.start.as_u64(), by.end.as_u64()])?;
                f.write_str(match by.kind {
                    MemoryKind::Usable => "free",
                    MemoryKind::Reclaimable | MemoryKind::Kernel => "the loader's",
                    MemoryKind::Module => "a module's",
                    MemoryKind::AcpiReclaimable | MemoryKind::AcpiNvs => "ACPI's",
                    MemoryKind::Framebuffer => "the screen's",
                    MemoryKind::Reserved => "reserved",
                    MemoryKind::Bad => "faulty",
                })
            }
            Self::NoRoom {
                size,
                min,
                max,
                largest,
            } => facts(
                f,
                "0x# bytes between 0x# and 0x#, free in one piece: 0x#",
                &[size, min.as_u64(), max.as_u64(), largest],
            ),
        }
    }
}

impl core::error::Error for MemoryConflict {}

/// Bytes of the file and their destination.
///
/// Getting one from a [`PhysicalImage`] proves that `file_size <= memory_size`, that its bytes are
/// within the file, and that it ends at 4 GiB at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First byte in the file.
    pub file_offset: FileOffset,
    /// Bytes in the file.
    pub file_size: u64,
    /// First byte in memory.
    pub start: PhysAddr,
    /// Bytes in memory, never 0; those beyond `file_size` are zero.
    pub memory_size: u64,
    /// How many of its first bytes are only the file's headers. If the memory for them is not
    /// there, they are left out.
    pub unneeded: u64,
    /// Number of its program header, from 0.
    pub number: u16,
    /// Where its bytes are until the loader is left, if the loader uses the memory where they belong:
    /// a physical address, within the loader's reach.
    pub waiting: Option<NonZeroU32>,
}

impl Segment {
    /// The byte behind its last one.
    pub const fn end(&self) -> PhysAddr {
        self.start.plus(self.memory_size)
    }

    /// Where its bytes are loaded to.
    pub fn loaded_at(&self) -> PhysAddr {
        let place = self.waiting.map(|place| PhysAddr::from(place.get()));
        place.unwrap_or(self.start)
    }

    /// The memory to which it is loaded: its own, or what its bytes need.
    pub fn allocation(&self) -> Allocation {
        let size = match self.waiting {
            Some(_) => self.file_size,
            None => self.memory_size,
        };
        Allocation::new(self.loaded_at(), size)
    }
}

/// Where a relocatable kernel may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Lowest address.
    pub min: PhysAddr,
    /// The highest address for the byte behind its last one.
    pub max: PhysAddr,
    /// The alignment of its address; a power of two.
    pub align: u64,
    /// Which of the possible addresses to choose.
    pub preference: Preference,
}

/// The address that a relocatable kernel prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// No preference: the address that it was linked for if possible, else the lowest one from 1
    /// MiB on.
    None,
    /// The lowest one.
    Lowest,
    /// The highest one.
    Highest,
}

/// A kernel: which parts go where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PhysicalImage {
    /// Sorted by address.
    segments: Vec<Segment>,
    entry: PhysAddr,
    pub(super) sections: Option<SectionTable>,
    pub(super) is_64_bit: bool,
}

impl PhysicalImage {
    /// Takes an empty list, which has room for all segments.
    pub(in crate::ways_out::multiboot) fn use_list(&mut self, list: Vec<Segment>) {
        self.segments = list;
    }

    /// Inserts a segment by address; skips one without memory.
    pub(in crate::ways_out::multiboot) fn add<E: From<KernelError> + From<MemoryConflict>>(
        &mut self,
        segment: Segment,
        file_size: u64,
    ) -> Result<(), E> {
        let number = segment.number;
        if segment.memory_size < segment.file_size {
            Err(KernelError::Sizes {
                segment: number,
                file_size: segment.file_size,
                memory_size: segment.memory_size,
            })?;
        }
        if segment.memory_size == 0 {
            return Ok(());
        }
        // Of a segment without bytes in the file, the offset says nothing.
        if segment.file_size != 0 {
            check_in_file(segment.file_offset, segment.file_size, file_size)?;
        }
        let end = segment.start.checked_add(segment.memory_size);
        if end.is_none_or(|end| end > EARLY_REACH) {
            Err(MemoryConflict::Beyond {
                segment: number,
                start: segment.start,
                size: segment.memory_size,
            })?;
        }
        let index = self
            .segments
            .partition_point(|other| other.start < segment.start);
        let neighbours = [index.checked_sub(1), Some(index)];
        let neighbours = neighbours.into_iter().flatten();
        for other in neighbours.filter_map(|index| self.segments.get(index)) {
            if other.start < segment.end() && segment.start < other.end() {
                Err(KernelError::Overlap {
                    first: other.number,
                    second: number,
                    address: other.start.max(segment.start).as_u64(),
                })?;
            }
        }
        list::insert(&mut self.segments, index, segment);
        Ok(())
    }

    /// Sets an entry point other than that of the ELF header.
    ///
    /// # Errors
    /// 10G, 10J.
    pub fn enter_at(&mut self, entry: PhysAddr) -> Result<(), KernelError> {
        if self.segments.is_empty() {
            return Err(KernelError::NoLoad);
        }
        let mut segments = self.segments.iter_mut();
        let Some(segment) =
            segments.find(|segment| (segment.start..segment.end()).contains(&entry))
        else {
            let entry = entry.as_u64();
            return Err(KernelError::Entry { entry });
        };
        if entry < segment.contents().start {
            segment.unneeded = 0; // there is code in it
        }
        self.entry = entry;
        Ok(())
    }

    /// The segments, by address; there is at least one.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub(super) fn segments_mut(&mut self) -> &mut [Segment] {
        &mut self.segments
    }

    /// The entry point, which is in a segment.
    pub const fn entry(&self) -> PhysAddr {
        self.entry
    }

    /// The section headers, if there are any.
    pub const fn sections(&self) -> Option<SectionTable> {
        self.sections
    }

    /// Is it an ELF64 file?
    pub const fn is_64_bit(&self) -> bool {
        self.is_64_bit
    }

    /// The first byte in memory.
    pub fn start(&self) -> PhysAddr {
        let first = self.segments.first();
        first.map_or(PhysAddr::default(), |segment| segment.start)
    }

    /// The byte behind the last one in memory.
    pub fn end(&self) -> PhysAddr {
        // The segments are sorted and do not overlap.
        let last = self.segments.last();
        last.map_or(PhysAddr::default(), Segment::end)
    }

    /// Bytes that come from the file.
    pub fn file_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.file_size).sum()
    }

    /// Allocates the memory of the segments: any RAM. Segments that go where the loader is get other
    /// memory as well, in which their bytes wait. Headers in the file that would lie where there is
    /// no RAM are left out.
    ///
    /// # Errors
    /// 10U: with nothing allocated and nothing left out, unless there is no memory in which bytes
    /// could wait.
    pub fn place(&mut self, memory: &mut MemoryMap) -> Result<(), MemoryConflict> {
        for segment in &self.segments {
            segment.possible(memory)?;
        }
        for segment in &mut self.segments {
            *segment = segment.possible(memory)?;
            segment.waiting = segment.is_over_loader(memory).then_some(NonZeroU32::MAX);
        }
        self.segments.retain(|segment| segment.memory_size > 0);
        self.claim(memory);
        for segment in &mut self.segments {
            if segment.waiting.is_some() {
                let place = allocate_high(memory, segment.file_size);
                let place = place.map_err(|_| segment.taken(Some(LOADER)))?;
                segment.waiting = NonZeroU32::new(place.as_u64() as u32);
            }
        }
        Ok(())
    }

    /// Takes the memory of the segments, even where the loader has it now. If there are many, takes
    /// what is between them, as well: the map has no room for so many regions.
    pub fn claim(&self, memory: &mut MemoryMap) {
        let gap = if self.segments.len() > FEW { GAP } else { 0 };
        let mut start = self.start();
        for (index, segment) in self.segments.iter().enumerate() {
            let next = self.segments.get(index + 1);
            if next.is_none_or(|next| next.start - segment.end() > gap) {
                memory.claim(start, segment.end(), MemoryKind::Kernel);
                start = next.map_or(start, |next| next.start);
            }
        }
    }

    /// Moves the image to a permitted address, and allocates its memory, gaps between segments
    /// included. Returns the new address of its first byte.
    ///
    /// # Errors
    /// 10U, with nothing allocated and nothing moved.
    pub fn place_within(
        &mut self,
        limits: &Limits,
        memory: &mut MemoryMap,
    ) -> Result<PhysAddr, MemoryConflict> {
        let (linked, size) = (self.start(), self.end() - self.start());
        let max = limits.max.min(EARLY_REACH);
        let mut request = Request {
            size,
            align: limits.align.max(PAGE_SIZE),
            offset: 0,
            min: limits.min,
            max,
            kind: MemoryKind::Kernel,
        };
        let may_stay =
            linked >= limits.min && self.end() <= max && linked.is_aligned(limits.align.max(1));
        let as_linked = may_stay
            && limits.preference == Preference::None
            && memory.allocate_at(linked, size, MemoryKind::Kernel);
        let base = if as_linked {
            Ok(linked)
        } else if limits.preference == Preference::Highest {
            memory.allocate_highest(&request)
        } else {
            if limits.preference == Preference::None {
                request.min = request.min.max(PhysAddr::new(MIB));
            }
            memory.allocate(&request)
        };
        let base = match base {
            Ok(base) => base,
            // There is room only where the loader is.
            Err(_) if may_stay && self.place(memory).is_ok() => return Ok(linked),
            Err(OutOfMemory { largest, .. }) => {
                return Err(MemoryConflict::NoRoom {
                    size,
                    min: limits.min,
                    max: limits.max,
                    largest,
                });
            }
        };
        for segment in &mut self.segments {
            segment.start = base + (segment.start - linked);
        }
        self.entry = base + (self.entry - linked);
        Ok(base)
    }

    /// The reads from the kernel's file, one for each segment.
    pub fn reads(&self) -> impl Iterator<Item = Range> {
        self.segments.iter().map(|segment| Range {
            file_offset: segment.file_offset,
            length: segment.file_size,
            destination: segment.loaded_at(),
        })
    }

    /// Calls `zero` with start and end of the bytes that are zero in each segment whose place is
    /// free. If there are none, the end is the start.
    pub fn zeroes(&self, mut zero: impl FnMut(PhysAddr, PhysAddr)) {
        for segment in self.segments.iter().filter(|it| it.waiting.is_none()) {
            zero(segment.start + segment.file_size, segment.end());
        }
    }
}

impl Region {
    /// Does the loader use it, and nobody after it? A kernel that was given such memory and then
    /// failed has left its name on it.
    const fn is_loaders(&self) -> bool {
        matches!(self.kind, MemoryKind::Reclaimable | MemoryKind::Kernel)
    }
}

impl Segment {
    /// The part of the segment for which there is memory: all, or all but its headers.
    #[inline(never)] // there is more than one caller
    fn possible(&self, memory: &MemoryMap) -> Result<Self, MemoryConflict> {
        let mut part = *self;
        while let Some((address, by)) = part.in_the_way(memory) {
            let page = address.align_down(PAGE_SIZE);
            part = part.behind_page(page).ok_or(self.taken(by))?;
        }
        Ok(part)
    }

    /// The first byte that is not in RAM or belongs to somebody else than the loader, and the region
    /// there; none for a segment that is empty.
    fn in_the_way(&self, memory: &MemoryMap) -> Option<(PhysAddr, Option<Region>)> {
        if self.memory_size == 0 {
            return None;
        }
        let mut next = self.start;
        if next < BIOS_DATA.end {
            return Some((next, Some(BIOS_DATA)));
        }
        for region in memory.regions() {
            if region.end <= next || next >= self.end() {
                continue;
            }
            if region.start > next {
                break; // a gap
            }
            if region.kind != MemoryKind::Usable && !region.is_loaders() {
                return Some((next, Some(*region)));
            }
            next = region.end;
        }
        (next < self.end()).then_some((next, None))
    }

    /// Does it go to memory that the loader uses, or the BIOS as long as it is called?
    fn is_over_loader(&self, memory: &MemoryMap) -> bool {
        let mut used = memory.regions().iter();
        self.start < LOADER.end
            || used.any(|region| {
                region.is_loaders() && region.start < self.end() && self.start < region.end
            })
    }

    const fn taken(&self, by: Option<Region>) -> MemoryConflict {
        MemoryConflict::Taken {
            segment: self.number,
            start: self.start,
            end: self.end(),
            by,
        }
    }
}

//! Step 6: one sorted memory map, made from whatever the firmware reports, and the allocator that
//! hands out pieces of it.
//!
//! Firmware reports regions unsorted, overlapping, empty, wrapping or twice (ACPI specification
//! 6.5, section 15, says how it should be). In this map, a byte has the most restrictive kind that
//! was reported for it, and a byte that nobody reported is not there. The map is sorted and free of
//! overlap after every single call, so no state of it can be misread.
//!
//! The order of use: [`MemoryMap::add`] all that is reported, [`MemoryMap::finish`] once, then
//! [`MemoryMap::claim`], [`MemoryMap::mark`] and [`MemoryMap::allocate`]. All of these take whole
//! pages, but the borders that the firmware has reported stay where they are, to the byte: some
//! kernels are told of them. For all others, [`MemoryMap::round_to_pages`] follows.

use core::cmp::Ordering;
use core::fmt;

use arrayvec::ArrayVec;
pub use handoff::MemoryKind;
use handoff::MemoryRegion;
use zerocopy::FromBytes;
use zerocopy::little_endian::{U32, U64};

use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::facts;
use crate::memory::address::PhysAddr;
use crate::memory::layout::PAGE_SIZE;

/// End of the memory that PCs treat specially, in bytes.
pub const MIB: u64 = 1 << 20;

/// End of the physical address space: no CPU has more than 52 bits (SDM volume 3, section 4.1.4).
/// Memory that is reported beyond it cannot be reached and is dropped.
pub const PHYSICAL_END: PhysAddr = PhysAddr::new(1 << 52);

/// Maximum number of regions in the map.
pub const CAPACITY: usize = 512;

/// Maximum number of regions that [`MemoryMap::add`] makes. The rest is left for `mark` and
/// `allocate`, which must not fail because of a talkative firmware.
const REPORTED: usize = CAPACITY - 128;

/// One range of physical memory. It is empty unless `start < end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First byte.
    pub start: PhysAddr,
    /// The byte behind the last one.
    pub end: PhysAddr,
    /// What it holds.
    pub kind: MemoryKind,
}

impl From<Region> for MemoryRegion {
    fn from(region: Region) -> Self {
        MemoryRegion {
            start: region.start.as_u64(),
            length: region.end.saturating_sub(region.start),
            kind: region.kind as u32,
            reserved: 0,
        }
    }
}

/// The content of the buffer before INT 15h E820: zeros, but the attributes say "enabled". Some
/// BIOSes return 24 bytes but write 20, and without this all their memory would be ignored.
pub const E820_BUFFER: [u8; 24] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0,
];

/// An entry as INT 15h E820 writes it. Source: ACPI specification 6.5, table 15.5.
#[derive(FromBytes)]
#[repr(C)]
struct E820Entry {
    base: U64,
    length: U64,
    kind: U32,
    attributes: U32,
}

/// Reads one entry that INT 15h E820 returned; `size` is the number of bytes that it claims to have
/// written (ECX). `None`: the entry is empty, too short, or to be ignored (bit 0 of the ACPI 3.0
/// attributes is clear, which only counts if they were written). Unknown types are reserved.
pub fn e820_region(bytes: &[u8; 24], size: u32) -> Option<Region> {
    let entry: E820Entry = zerocopy::transmute!(*bytes);
    let (start, length) = (PhysAddr::new(entry.base.get()), entry.length.get());
    let ignored = size >= 24 && entry.attributes.get() & 1 == 0;
    if size < 20 || ignored || length == 0 {
        return None;
    }
    let kind = match entry.kind.get() {
        1 => MemoryKind::Usable,
        3 => MemoryKind::AcpiReclaimable,
        4 => MemoryKind::AcpiNvs,
        5 => MemoryKind::Bad,
        _ => MemoryKind::Reserved,
    };
    Some(Region {
        start,
        end: start.saturating_add(length),
        kind,
    })
}

/// The end of the usable memory below 1 MiB, in bytes: the lower one of two values in the BIOS data
/// area, the one at 413h (KiB of memory) and the one at 40Eh (segment of the extended BIOS data
/// area, which some machines forget to reserve). Values outside 128 KiB to 640 KiB are ignored; if
/// both are, 512 KiB.
pub fn low_memory_end(word_413_kib: u16, word_40e_segment: u16) -> u64 {
    let sane = |end: &u64| (0x2_0000..=0xA_0000).contains(end);
    let size = Some(u64::from(word_413_kib) * 1024).filter(sane);
    let ebda = Some(u64::from(word_40e_segment) * 16).filter(sane);
    match (size, ebda) {
        (Some(size), Some(ebda)) => size.min(ebda),
        (Some(end), None) | (None, Some(end)) => end,
        (None, None) => 0x8_0000,
    }
}

/// A request to [`MemoryMap::allocate`].
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Bytes, at least 1; rounded up to whole pages.
    pub size: u64,
    /// A power of two, in bytes; 0 counts as 1.
    pub align: u64,
    /// The remainder when the address is divided by `align`; less than `align`.
    pub offset: u64,
    /// Lowest address that is acceptable.
    pub min: PhysAddr,
    /// The last byte lies below this address.
    pub max: PhysAddr,
    /// The kind that the memory gets.
    pub kind: MemoryKind,
}

/// No free piece of memory fits; all in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// The size that was asked for.
    pub needed: u64,
    /// The largest free piece in the range that was asked for.
    pub largest: u64,
    /// All RAM of the machine.
    pub present: u64,
}

impl Named for OutOfMemory {
    fn entry(&self) -> &'static Entry {
        &catalogue::MEMORY_TOO_LITTLE
    }
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The need is rounded up, the others down: memory must never look sufficient when it is
        // not.
        let mut size = |bytes: u64, up: bool, text: &str| {
            let (unit, name) = if bytes < 16 * MIB {
                (1024, "# KiB ")
            } else {
                (MIB, "# MiB ")
            };
            let number = if up {
                bytes.div_ceil(unit)
            } else {
                bytes / unit
            };
            facts(f, name, &[number])?;
            f.write_str(text)
        };
        size(self.needed, true, "needed in one piece, ")?;
        size(self.largest, false, "free in one piece, ")?;
        size(self.present, false, "of RAM in all")
    }
}

/// The physical memory of the machine: regions sorted by address that do not overlap; neighbours
/// that touch are of different kinds.
#[derive(Debug)]
pub struct MemoryMap {
    regions: ArrayVec<Region, CAPACITY>,
    /// Some region did not fit and was left out: see [`MemoryMap::add`].
    overflowed: bool,
    /// Bytes from the end of low memory to 1 MiB. (Not that end itself: a map without memory is all
    /// zero, and takes no room in the image.)
    upper_memory: u64,
}

impl Default for MemoryMap {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryMap {
    /// A map of a machine without memory.
    pub const fn new() -> Self {
        MemoryMap {
            regions: ArrayVec::new_const(),
            overflowed: false,
            upper_memory: 0,
        }
    }

    /// Adds a region that the firmware reports, in any order and with any overlap: the more
    /// restrictive kind wins (the order is that of [`MemoryKind`]).
    ///
    /// A full map never gets more usable memory: it ignores free regions, and a restriction of a
    /// part of a region becomes one of the whole region.
    pub fn add(&mut self, region: Region) {
        self.restrict(region, REPORTED);
    }

    /// As [`MemoryMap::add`], up to another number of regions.
    fn restrict(&mut self, region: Region, limit: usize) {
        let mut wanted = region.kind;
        if self.overflowed {
            // A restrictive region may have been left out just here.
            if wanted == MemoryKind::Usable {
                return;
            }
            wanted = wanted.max(MemoryKind::Reserved);
        }
        let end = region.end.min(PHYSICAL_END);
        let mut start = region.start;
        while start < end {
            // One piece of the new region: over a single old one, or in the gap before it.
            let old = self
                .regions
                .get(self.regions.partition_point(|old| old.end <= start));
            let old = old.copied().filter(|old| old.start < end);
            let covered = old.filter(|old| old.start <= start);
            let piece = Region {
                start,
                end: match (old, covered) {
                    (_, Some(old)) => end.min(old.end),
                    (Some(old), None) => old.start,
                    (None, None) => end,
                },
                kind: covered.map_or(wanted, |old| wanted.max(old.kind)),
            };
            start = piece.end;
            if covered.is_some_and(|old| old.kind == piece.kind) || self.set(piece, limit) {
                continue;
            }
            self.overflowed = true;
            if wanted == MemoryKind::Usable {
                return;
            }
            if let Some(old) = covered {
                // Replaces single regions, which always fits.
                self.set(
                    Region {
                        kind: piece.kind,
                        ..old
                    },
                    limit,
                );
            }
        }
    }

    /// Adds the memory below 1 MiB, up to `end` (see [`low_memory_end`]): for firmware without
    /// E820.
    pub fn add_low_memory(&mut self, end: u64) {
        self.add(Region {
            start: PhysAddr::new(0),
            end: PhysAddr::new(end.min(MIB)),
            kind: MemoryKind::Usable,
        });
    }

    /// Adds what INT 15h E801 reports: KiB from 1 MiB to 16 MiB in AX or CX, blocks of 64 KiB from
    /// 16 MiB on in BX or DX. CX and DX count unless both are 0. Returns whether there was any
    /// memory.
    pub fn add_e801(&mut self, ax: u16, bx: u16, cx: u16, dx: u16) -> bool {
        let (kib, blocks) = if cx | dx != 0 { (cx, dx) } else { (ax, bx) };
        // Less than 15 MiB means a hole below 16 MiB, and some BIOSes then miscount the memory
        // above it.
        let kib = kib.min(15 * 1024);
        let blocks = if kib == 15 * 1024 {
            u64::from(blocks)
        } else {
            0
        };
        self.add_extended(u64::from(kib) * 1024 + blocks * 0x1_0000)
    }

    /// Adds what INT 15h 88h reports: KiB from 1 MiB on, less than 64 MiB. Returns whether there
    /// was any memory.
    pub fn add_88h(&mut self, kib: u16) -> bool {
        self.add_extended(u64::from(kib) * 1024)
    }

    /// Adds `size` bytes of free memory from 1 MiB on.
    fn add_extended(&mut self, size: u64) -> bool {
        self.add(Region {
            start: PhysAddr::new(MIB),
            end: PhysAddr::new(MIB + size),
            kind: MemoryKind::Usable,
        });
        size != 0
    }

    /// Makes the map ready for use, once everything is added: what the firmware calls free from
    /// `low_memory_end` to 1 MiB is reserved.
    pub fn finish(&mut self, low_memory_end: u64) {
        self.upper_memory = MIB - low_memory_end;
        let mut next = PhysAddr::new(low_memory_end);
        while let Some(piece) = self.piece(next, const { PhysAddr::new(MIB) }) {
            next = piece.end;
            if piece.kind == MemoryKind::Usable {
                let kind = MemoryKind::Reserved;
                self.add(Region { kind, ..piece });
            }
        }
    }

    /// The first part of a region in a range.
    fn piece(&self, start: PhysAddr, end: PhysAddr) -> Option<Region> {
        let index = self.regions.partition_point(|region| region.end <= start);
        let region = self.regions.get(index)?;
        let piece = Region {
            start: region.start.max(start),
            end: region.end.min(end),
            kind: region.kind,
        };
        (piece.start < piece.end).then_some(piece)
    }

    /// Reserves page 0 (interrupt vectors and BIOS data) and everything from the end of low memory
    /// to 1 MiB, then moves all region borders to pages. A page that is not entirely free is not
    /// free; a page with several kinds gets the most restrictive one.
    pub fn round_to_pages(&mut self) {
        let edges = [(0, PAGE_SIZE), (MIB - self.upper_memory, MIB)];
        for (start, end) in edges {
            let [start, end] = [start, end].map(PhysAddr::new);
            let kind = MemoryKind::Reserved;
            self.restrict(Region { start, end, kind }, CAPACITY);
        }

        // Every region becomes at most one, so the result only overwrites regions that were already
        // read.
        let regions = self.regions.as_mut_slice();
        let mut length = 0;
        for index in 0..regions.len() {
            let mut region = regions[index];
            (region.start, region.end) = match region.kind {
                MemoryKind::Usable => (page_up(region.start), page_down(region.end)),
                _ => (page_down(region.start), page_up(region.end)),
            };
            // Borders moved outwards on both sides: at most one page belongs to two regions.
            while let Some(last) = regions.get_mut(..length).and_then(|done| done.last_mut()) {
                if last.end > region.start && last.kind >= region.kind {
                    region.start = last.end;
                }
                last.end = last.end.min(region.start);
                if last.start < last.end {
                    break;
                }
                length -= 1;
            }
            if region.start >= region.end {
                continue;
            }
            match regions.get_mut(..length).and_then(|done| done.last_mut()) {
                Some(last) if last.end == region.start && last.kind == region.kind => {
                    last.end = region.end;
                }
                _ => {
                    if let Some(free) = regions.get_mut(length) {
                        *free = region;
                        length += 1;
                    }
                }
            }
        }
        self.regions.truncate(length);
    }

    /// The regions: sorted, without overlap, none empty.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Free memory in bytes.
    pub fn usable(&self) -> u64 {
        self.free().map(|free| free.end - free.start).sum()
    }

    fn sum(&self, wanted: impl Fn(MemoryKind) -> bool) -> u64 {
        let wanted = self.regions.iter().filter(|region| wanted(region.kind));
        wanted.map(|region| region.end - region.start).sum()
    }

    /// Takes the lowest free piece that fits the request.
    ///
    /// # Errors
    /// [`OutOfMemory`] when there is none; nothing is taken then.
    pub fn allocate(&mut self, request: &Request) -> Result<PhysAddr, OutOfMemory> {
        let size = request.size.max(1);
        let mask = request.align.max(1) - 1;
        let fit = self.free().find_map(|free| {
            let low = free.start.max(request.min);
            let start = low.checked_add(request.offset.wrapping_sub(low.as_u64()) & mask)?;
            let end = start.checked_add(size)?;
            (end <= free.end.min(request.max)).then_some((start, end, free))
        });
        if let Some((start, end, free)) = fit
            && self.take(start, end, free, request.kind)
        {
            return Ok(start);
        }
        Err(self.out_of_memory(request))
    }

    /// As [`MemoryMap::allocate`], but takes the highest piece.
    ///
    /// # Errors
    /// As there.
    pub fn allocate_highest(&mut self, request: &Request) -> Result<PhysAddr, OutOfMemory> {
        let size = request.size.max(1);
        let mask = request.align.max(1) - 1;
        let fit = self.free().rev().find_map(|free| {
            let top = free.end.min(request.max).checked_before(size)?;
            let start = top.checked_before(top.as_u64().wrapping_sub(request.offset) & mask)?;
            (start >= free.start.max(request.min)).then_some((start, start + size, free))
        });
        if let Some((start, end, free)) = fit
            && self.take(start, end, free, request.kind)
        {
            return Ok(start);
        }
        Err(self.out_of_memory(request))
    }

    fn out_of_memory(&self, request: &Request) -> OutOfMemory {
        let largest = self.free().map(|free| {
            let end = free.end.min(request.max);
            end.saturating_sub(free.start.max(request.min))
        });
        OutOfMemory {
            needed: request.size.max(1),
            largest: largest.max().unwrap_or(0),
            present: self.sum(|kind| {
                !matches!(
                    kind,
                    MemoryKind::Framebuffer | MemoryKind::Reserved | MemoryKind::Bad
                )
            }),
        }
    }

    /// Takes the pages of the `size` bytes at `start` if all of them are free; returns whether they
    /// were.
    pub fn allocate_at(&mut self, start: PhysAddr, size: u64, kind: MemoryKind) -> bool {
        let Some(end) = start.checked_add(size.max(1)) else {
            return false;
        };
        let free = self
            .free()
            .find(|free| free.start <= start && end <= free.end);
        free.is_some_and(|free| self.take(start, end, free, kind))
    }

    /// Whether all bytes from `start` to `end` are free.
    pub fn is_free(&self, start: PhysAddr, end: PhysAddr) -> bool {
        self.free()
            .any(|free| free.start <= start && end <= free.end)
    }

    /// The whole pages that can be allocated. Page 0, with interrupt vectors and BIOS data, cannot.
    pub fn free(&self) -> impl DoubleEndedIterator<Item = Region> {
        self.regions.iter().filter_map(|region| {
            let pages = Region {
                start: page_up(region.start).max(const { PhysAddr::new(PAGE_SIZE) }),
                end: page_down(region.end),
                kind: region.kind,
            };
            let free = pages.kind == MemoryKind::Usable && pages.start < pages.end;
            free.then_some(pages)
        })
    }

    /// Takes the pages from `start` to `end` out of `free`, the region around them.
    fn take(&mut self, start: PhysAddr, end: PhysAddr, free: Region, kind: MemoryKind) -> bool {
        let start = page_down(start).max(free.start);
        let end = page_up(end).min(free.end);
        self.set(Region { start, end, kind }, CAPACITY)
    }

    /// Gives the pages from `start` to `end` the kind `kind`, whatever they were. (If the map is
    /// full, the rules of [`MemoryMap::add`] hold.)
    pub fn mark(&mut self, start: PhysAddr, end: PhysAddr, kind: MemoryKind) {
        let end = end.min(PHYSICAL_END);
        let region = Region {
            start: page_down(start),
            end: page_up(end),
            kind,
        };
        if start < end && !self.set(region, CAPACITY) {
            self.add(region);
        }
    }

    /// Gives a kind to the pages from `start` to `end`, which were in use before there was a map.
    /// If the firmware reported a more restrictive kind, that one stays; a page that the firmware
    /// did not report stays absent. A page of several kinds is left alone: nobody can allocate it.
    pub fn claim(&mut self, start: PhysAddr, end: PhysAddr, kind: MemoryKind) {
        let (mut next, end) = (page_down(start), page_up(end.min(PHYSICAL_END)));
        while let Some(piece) = self.piece(next, end) {
            next = piece.end;
            let (start, end) = (page_up(piece.start), page_down(piece.end));
            if start < end && piece.kind < kind {
                self.mark(start, end, kind);
            }
        }
    }

    /// Puts a region (not empty) in place of whatever is there, and merges it with neighbours of
    /// its kind. Returns `false` and does nothing if the map would grow beyond `limit` (at most
    /// `CAPACITY`) regions.
    fn set(&mut self, mut new: Region, limit: usize) -> bool {
        // The old regions that overlap or touch it. Only the outer ends of the first and the last
        // of them remain: left, new, right.
        let first = self.regions.partition_point(|old| old.end < new.start);
        let from = self.regions.get(first..).unwrap_or_default();
        let touched = from.partition_point(|old| old.start <= new.end);
        let old = from.get(..touched).unwrap_or_default();
        let (mut left, mut right) = (None, None);
        if let [outer, ..] = *old
            && outer.start < new.start
        {
            if outer.kind == new.kind {
                new.start = outer.start;
            } else {
                left = Some(Region {
                    end: new.start,
                    ..outer
                });
            }
        }
        if let [.., outer] = *old
            && outer.end > new.end
        {
            if outer.kind == new.kind {
                new.end = outer.end;
            } else {
                right = Some(Region {
                    start: new.end,
                    ..outer
                });
            }
        }
        let count = 1 + usize::from(left.is_some()) + usize::from(right.is_some());
        if !self.make_room(first, touched, count, limit) {
            return false;
        }
        let pieces = [left, Some(new), right].into_iter().flatten();
        for (slot, piece) in self.regions.iter_mut().skip(first).zip(pieces) {
            *slot = piece;
        }
        true
    }

    /// Makes room for `count` regions, at least one, in place of `touched` regions from `first` on.
    /// Returns `false` and does nothing if the map would grow beyond `limit`.
    fn make_room(&mut self, first: usize, touched: usize, count: usize, limit: usize) -> bool {
        const NOTHING: Region = Region {
            start: PhysAddr::new(0),
            end: PhysAddr::new(0),
            kind: MemoryKind::Usable,
        };

        let old_length = self.regions.len();
        let length = old_length - touched + count;
        if length > old_length && length > limit.min(CAPACITY) {
            return false;
        }
        for _ in old_length..length {
            if self.regions.try_push(NOTHING).is_err() {
                return false;
            }
        }
        // The regions behind move, starting from the end at which none is overwritten.
        let regions = self.regions.as_mut_slice();
        let shift = |index: usize| {
            if let Some(&region) = regions.get(index)
                && let Some(slot) = regions.get_mut(index - touched + count)
            {
                *slot = region;
            }
        };
        let behind = first + touched..old_length;
        match count.cmp(&touched) {
            Ordering::Greater => behind.rev().for_each(shift),
            Ordering::Less => behind.for_each(shift),
            Ordering::Equal => {}
        }
        self.regions.truncate(length);
        true
    }
}

/// The page boundary at or below an address.
const fn page_down(address: PhysAddr) -> PhysAddr {
    address.align_down(PAGE_SIZE)
}

/// The page boundary at or above an address, which is at most `PHYSICAL_END`.
const fn page_up(address: PhysAddr) -> PhysAddr {
    page_down(address.saturating_add(PAGE_SIZE - 1))
}

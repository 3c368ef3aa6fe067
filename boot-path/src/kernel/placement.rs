//! Step 10, the pure half: where the kernel and its modules go in physical memory, which of their
//! bytes come from the disk and which become zero.
//!
//! A [`Kernel`] is the plan. The owner of the memory carries it out: reads [`Kernel::reads`],
//! clears [`Kernel::zeroes`], and relocates ([`crate::kernel::relocate`]). Decision 7 explains the
//! choice of the addresses.

use alloc::vec::Vec;

use arrayvec::ArrayVec;

use crate::disk::stream::Range;
use crate::entry::entry_file::MAX_MODULES;
use crate::kernel::image::{Group, KernelImage, Segment, Wishes};
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::layout::{EARLY_REACH, PAGE_SIZE};
use crate::memory::list;
use crate::memory::map::{MIB, MemoryKind, MemoryMap, OutOfMemory};
use crate::memory::placement::allocate;
use crate::position::FileOffset;

/// The most groups that go where the linker script wants them. If there are more, all go anywhere.
const FEW: usize = 64;

/// A module with its place in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadedModule {
    /// First byte, a multiple of 4 KiB.
    pub start: PhysAddr,
    /// Length in bytes.
    pub length: u64,
}

impl LoadedModule {
    /// Allocates memory for a module of `length` bytes.
    ///
    /// # Errors
    /// 6B.
    pub fn place(length: u64, memory: &mut MemoryMap) -> Result<Self, OutOfMemory> {
        let mut module = Self {
            start: PhysAddr::new(0),
            length,
        };
        let size = module.memory_size();
        module.start = allocate(memory, size, PAGE_SIZE, 0, MemoryKind::Module)?;
        Ok(module)
    }

    /// The bytes of the file, and their place in memory.
    pub const fn read(&self) -> Range {
        Range {
            file_offset: FileOffset::ZERO,
            length: self.length,
            destination: self.start,
        }
    }

    /// Bytes of its memory: whole pages, and at least one. The bytes behind the module must be
    /// zero.
    pub const fn memory_size(&self) -> u64 {
        let last = self.length.saturating_sub(1) / PAGE_SIZE;
        (last + 1) * PAGE_SIZE
    }
}

/// A kernel, and its place.
#[derive(Debug)]
pub struct Kernel {
    /// Its headers.
    pub image: KernelImage,
    /// Its wishes.
    pub wishes: Wishes,
    /// The number to add to the addresses in `image`.
    pub slide: u64,
    /// Where each segment is.
    addresses: Vec<PhysAddr>,
    modules: ArrayVec<LoadedModule, MAX_MODULES>,
}

impl Kernel {
    /// A kernel that is not [placed](Self::place) yet.
    pub fn new(image: KernelImage, wishes: Wishes) -> Self {
        Self {
            slide: image.choose_slide(),
            image,
            wishes,
            addresses: Vec::new(),
            modules: ArrayVec::new(),
        }
    }

    /// Allocates memory for every group of segments: where the linker script wants it, or anywhere.
    /// `addresses` is an empty list with room for the address of each segment.
    ///
    /// # Errors
    /// 6B.
    pub fn place(
        &mut self,
        mut addresses: Vec<PhysAddr>,
        memory: &mut MemoryMap,
    ) -> Result<(), OutOfMemory> {
        // The memory map has no room for the regions of many that are apart.
        let are_few = self.image.groups().nth(FEW).is_none();
        for group in self.image.groups() {
            let wanted = group.preferred_physical.filter(|&start| {
                are_few
                    && start.as_u64() >= MIB
                    && start.saturating_add(group.size) <= EARLY_REACH
                    && memory.allocate_at(start, group.size, MemoryKind::Kernel)
            });
            let start = match wanted {
                Some(start) => start,
                None => allocate(
                    memory,
                    group.size,
                    group.alignment,
                    group.offset,
                    MemoryKind::Kernel,
                )?,
            };
            // The groups come in the order of the segments.
            let segments = self.image.segments().get(group.first..group.end);
            for segment in segments.unwrap_or_default() {
                let address = start + (segment.virtual_start - group.virtual_start);
                list::put(&mut addresses, address);
            }
        }
        self.addresses = addresses;
        Ok(())
    }

    /// Allocates memory for one more module, of `length` bytes. There is room for as many as an
    /// entry file can name.
    ///
    /// # Errors
    /// 6B.
    pub fn place_module(
        &mut self,
        length: u64,
        memory: &mut MemoryMap,
    ) -> Result<LoadedModule, OutOfMemory> {
        let module = LoadedModule::place(length, memory)?;
        self.add_module(module);
        Ok(module)
    }

    /// Adds a module that already has its place.
    pub fn add_module(&mut self, module: LoadedModule) {
        debug_assert!(!self.modules.is_full());
        let _ = self.modules.try_push(module);
    }

    /// Allocates one piece of memory for the whole kernel, in which all addresses keep their
    /// distances: its start and size. `None`: the kernel is in one piece already.
    ///
    /// # Errors
    /// 6B.
    pub fn place_as_one(
        &self,
        memory: &mut MemoryMap,
    ) -> Result<Option<(PhysAddr, u64)>, OutOfMemory> {
        let mut groups = self.image.groups();
        let (Some(first), Some(mut last)) = (groups.next(), groups.next()) else {
            return Ok(None);
        };
        let mut alignment = first.alignment.max(last.alignment);
        for group in groups {
            alignment = alignment.max(group.alignment);
            last = group;
        }
        let size = last.virtual_start + last.size - first.virtual_start;
        let offset = first.virtual_start.as_u64() & (alignment - 1);
        let start = allocate(memory, size, alignment, offset, MemoryKind::Kernel)?;
        Ok(Some((start, size)))
    }

    /// The copies to one piece of memory, all pages of all segments: source, destination, and number of
    /// bytes.
    pub fn moves(&self, start: PhysAddr) -> impl Iterator<Item = (PhysAddr, PhysAddr, u64)> {
        let lowest = self.image.virtual_start().align_down(PAGE_SIZE);
        self.image.groups().map(move |group| {
            let to = start + (group.virtual_start - lowest);
            (self.group(&group), to, group.size)
        })
    }

    /// Records that the kernel is in one piece now, and frees the memory where it was.
    pub fn moved(&mut self, start: PhysAddr, memory: &mut MemoryMap) {
        for (old, _, size) in self.moves(start) {
            memory.mark(old, old + size, MemoryKind::Usable);
        }
        let lowest = self.image.virtual_start().align_down(PAGE_SIZE);
        let segments = self.image.segments().iter();
        for (address, segment) in self.addresses.iter_mut().zip(segments) {
            *address = start + (segment.virtual_start - lowest);
        }
    }

    /// The segments, and the physical address of each.
    pub fn segments(&self) -> impl Iterator<Item = (&Segment, PhysAddr)> {
        let addresses = self.addresses.iter().copied();
        self.image.segments().iter().zip(addresses)
    }

    /// A segment by its index, and its physical address.
    pub fn segment(&self, index: usize) -> Option<(&Segment, PhysAddr)> {
        let address = self.addresses.get(index)?;
        Some((self.image.segments().get(index)?, *address))
    }

    /// Where the first segment is.
    pub fn physical_start(&self) -> PhysAddr {
        self.addresses.first().copied().unwrap_or_default()
    }

    /// Where a page of a segment is, by its virtual address with the slide.
    pub fn physical_page(&self, address: VirtAddr) -> Option<PhysAddr> {
        let address = address.wrapping_before(self.slide);
        let segments = self.image.segments();
        let index = segments.partition_point(|segment| segment.page_end() <= address);
        let (segment, place) = self.segment(index)?;
        let is_inside = segment.first_page() <= address;
        is_inside.then(|| place.wrapping_add(address.wrapping_sub(segment.virtual_start)))
    }

    /// The modules, in the order of the entry.
    pub fn modules(&self) -> &[LoadedModule] {
        &self.modules
    }

    /// The reads from the kernel's file, one for each segment.
    pub fn reads(&self) -> impl Iterator<Item = Range> {
        self.segments().map(|(segment, address)| Range {
            file_offset: segment.file_offset,
            length: segment.file_size,
            destination: address,
        })
    }

    /// Calls `zero` with start and end of every other range in the segments' pages: `.bss`, and
    /// bytes that would otherwise still hold data of a former user of the memory. Sometimes the end
    /// is not behind the start. Pages between two segments are nobody's.
    pub fn zeroes(&self, mut zero: impl FnMut(PhysAddr, PhysAddr)) {
        for group in self.image.groups() {
            let mut position = self.group(&group);
            let mut pages_end = position;
            for index in group.first..group.end {
                let Some((segment, address)) = self.segment(index) else {
                    break;
                };
                let first_page = address.align_down(PAGE_SIZE);
                if first_page > pages_end {
                    zero(position, pages_end);
                    position = first_page;
                }
                zero(position, address);
                position = address + segment.file_size;
                pages_end = address + (segment.page_end() - segment.virtual_start);
            }
            zero(position, pages_end);
        }
    }

    /// Where the groups of segments are: first byte and size of each.
    pub fn group_places(&self) -> impl Iterator<Item = (PhysAddr, u64)> {
        let groups = self.image.groups();
        groups.map(|group| (self.group(&group), group.size))
    }

    /// Where a group of segments is.
    fn group(&self, group: &Group) -> PhysAddr {
        self.segment(group.first)
            .map_or(PhysAddr::default(), |(segment, address)| {
                address.wrapping_before(segment.virtual_start - group.virtual_start)
            })
    }
}

//! The memory map.

use core::iter::FusedIterator;
use core::ops::Range;
use core::slice;

use crate::access::list;
use crate::{BootInfo, MemoryKind, MemoryRegion};

impl BootInfo {
    /// The memory map: sorted by address, no overlap.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) -> u64 {
    /// let megabytes = |length: u64| length >> 20;
    /// boot.memory_map().iter().map(|region| megabytes(region.length)).sum()
    /// # }
    /// ```
    #[must_use]
    pub fn memory_map(&self) -> &'static [MemoryRegion] {
        // SAFETY: the loader's promise, see the head of access.rs.
        unsafe { list(self.memory_map, self.memory_map_count) }
    }

    /// The regions that are free from the start, in the order of their addresses. Each is of whole
    /// pages of 4 KiB.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// // The addresses of all free pages, as a frame allocator hands them out.
    /// let mut pages = boot.usable().flat_map(|region| region.range().step_by(4096));
    /// let page: Option<u64> = pages.next();
    /// # let _ = page;
    /// # }
    /// ```
    #[must_use]
    pub fn usable(&self) -> Regions {
        self.regions_of_kind(MemoryKind::Usable)
    }

    /// The regions of one kind, in the order of their addresses.
    ///
    /// ```
    /// use handoff::MemoryKind;
    ///
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// // Once the kernel has tables and a stack of its own, these are free, too.
    /// for region in boot.regions_of_kind(MemoryKind::Reclaimable) { /* … */ }
    /// # }
    /// ```
    #[must_use]
    pub fn regions_of_kind(&self, kind: MemoryKind) -> Regions {
        let rest = self.memory_map().iter();
        Regions { rest, kind }
    }

    /// The region that a physical address lies in.
    ///
    /// ```
    /// use handoff::MemoryRegion;
    ///
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// let kind = boot.region_of(0x10_0000).and_then(MemoryRegion::kind);
    /// # let _ = kind;
    /// # }
    /// ```
    #[must_use]
    pub fn region_of(&self, address: u64) -> Option<&'static MemoryRegion> {
        region_of(self.memory_map(), address)
    }
}

/// The region of a sorted map that an address lies in.
pub fn region_of(map: &[MemoryRegion], address: u64) -> Option<&MemoryRegion> {
    let after = map.partition_point(|region| region.start <= address);
    let region = map.get(after.checked_sub(1)?)?;
    region.contains(address).then_some(region)
}

/// The regions of one kind: see [`BootInfo::regions_of_kind`].
///
/// It may be kept, as in a frame allocator:
///
/// ```
/// use handoff::Regions;
///
/// struct FrameAllocator {
///     regions: Regions,
///     free: core::ops::Range<u64>,
/// }
///
/// impl FrameAllocator {
///     fn allocate(&mut self) -> Option<u64> {
///         while self.free.is_empty() {
///             self.free = self.regions.next()?.range();
///         }
///         let frame = self.free.start;
///         self.free.start += 4096;
///         Some(frame)
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Regions {
    rest: slice::Iter<'static, MemoryRegion>,
    kind: MemoryKind,
}

impl Iterator for Regions {
    type Item = &'static MemoryRegion;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest.find(|region| region.kind() == Some(self.kind))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.rest.len()))
    }
}

impl DoubleEndedIterator for Regions {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.rest.rfind(|region| region.kind() == Some(self.kind))
    }
}

impl FusedIterator for Regions {}

impl MemoryKind {
    /// The kind with this number.
    ///
    /// ```
    /// use handoff::MemoryKind;
    ///
    /// assert_eq!(MemoryKind::from_number(1), Some(MemoryKind::Usable));
    /// assert_eq!(MemoryKind::from_number(77), None);
    /// ```
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Usable,
            2 => Self::Reclaimable,
            3 => Self::Kernel,
            4 => Self::Module,
            5 => Self::AcpiReclaimable,
            6 => Self::AcpiNvs,
            7 => Self::Framebuffer,
            8 => Self::Reserved,
            9 => Self::Bad,
            _ => return None,
        })
    }

    /// Whether the loader puts such memory into the physical map.
    ///
    /// ```
    /// use handoff::MemoryKind;
    ///
    /// assert!(MemoryKind::AcpiNvs.is_mapped() && !MemoryKind::Reserved.is_mapped());
    /// ```
    #[must_use]
    pub const fn is_mapped(self) -> bool {
        !matches!(self, Self::Reserved | Self::Bad)
    }
}

impl MemoryRegion {
    /// First byte behind it (physical address).
    ///
    /// ```
    /// # fn kernel(region: &handoff::MemoryRegion) {
    /// assert_eq!(region.end(), region.start + region.length);
    /// # }
    /// ```
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start.saturating_add(self.length)
    }

    /// Its addresses.
    ///
    /// ```
    /// # fn kernel(region: &handoff::MemoryRegion) {
    /// for page in region.range().step_by(4096) { /* … */ }
    /// # }
    /// ```
    #[must_use]
    pub const fn range(&self) -> Range<u64> {
        self.start..self.end()
    }

    /// Is the address in it?
    ///
    /// ```
    /// # fn kernel(region: &handoff::MemoryRegion) {
    /// assert!(region.contains(region.start) && !region.contains(region.end()));
    /// # }
    /// ```
    #[must_use]
    pub const fn contains(&self, address: u64) -> bool {
        self.start <= address && address - self.start < self.length
    }

    /// What it holds; `None`: a kind that this crate does not know, to be treated as reserved.
    ///
    /// ```
    /// # fn kernel(region: &handoff::MemoryRegion) {
    /// let may_hold_tables = region.kind() == Some(handoff::MemoryKind::AcpiReclaimable);
    /// # let _ = may_hold_tables;
    /// # }
    /// ```
    #[must_use]
    pub const fn kind(&self) -> Option<MemoryKind> {
        MemoryKind::from_number(self.kind)
    }

    /// Whether the kernel may use it from the start.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// let pieces = boot.memory_map().iter().filter(|region| region.is_usable()).count();
    /// # let _ = pieces;
    /// # }
    /// ```
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        matches!(self.kind(), Some(MemoryKind::Usable))
    }

    /// Whether the loader has put it into the physical map.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo, region: &handoff::MemoryRegion) {
    /// assert_eq!(region.is_mapped(), boot.physical_map().covers(region.range()));
    /// # }
    /// ```
    #[must_use]
    pub const fn is_mapped(&self) -> bool {
        match self.kind() {
            Some(kind) => kind.is_mapped(),
            None => false,
        }
    }
}

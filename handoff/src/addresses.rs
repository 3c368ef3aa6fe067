//! Addresses and frames in the types of the crate `x86_64` (feature `x86_64`).

use core::iter::FusedIterator;

use x86_64::structures::paging::frame::PhysFrameRange;
use x86_64::structures::paging::{PageSize, PhysFrame, Size4KiB};
use x86_64::{PhysAddr, VirtAddr};

use crate::{BootInfo, KernelSegment, MemoryRegion, Module, PhysicalMap, Regions};

/// The last frame of the physical address space of any CPU (52 bits).
const LAST_FRAME: u64 = (1 << 52) - Size4KiB::SIZE;

impl BootInfo {
    /// Where physical address 0 is mapped, as `OffsetPageTable::new` wants it.
    ///
    /// ```
    /// # #![allow(unsafe_code)]
    /// use handoff::BootInfo;
    /// use x86_64::structures::paging::{OffsetPageTable, PageTable, PhysFrame};
    ///
    /// /// The loader's page tables. `root` is what `Cr3::read` says.
    /// fn tables(boot: &BootInfo, root: PhysFrame) -> Option<OffsetPageTable<'static>> {
    ///     let root = root.start_address().as_u64();
    ///     let mut root = boot.physical_map().pointer::<PageTable>(root, 1)?;
    ///     // SAFETY: nobody else uses the tables, and all of them are in the physical map.
    ///     Some(unsafe { OffsetPageTable::new(root.as_mut(), boot.physical_memory_offset()) })
    /// }
    /// ```
    #[must_use]
    pub const fn physical_memory_offset(&self) -> VirtAddr {
        // The loader's base is canonical, so nothing is truncated.
        VirtAddr::new_truncate(self.physical_map_base)
    }

    /// The frames that are free from the start, region by region.
    ///
    /// ```
    /// use x86_64::structures::paging::PhysFrame;
    ///
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// // One by one, as a frame allocator hands them out.
    /// let frame: Option<PhysFrame> = boot.usable_frames().flatten().next();
    /// // How many there are.
    /// let count: u64 = boot.usable_frames().map(|frames| frames.len()).sum();
    /// # let _ = (frame, count);
    /// # }
    /// ```
    #[must_use]
    pub fn usable_frames(&self) -> UsableFrames {
        UsableFrames(self.usable())
    }

    /// Physical address of the ACPI root pointer (RSDP), if it was found.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// assert_eq!(boot.rsdp_address().map(|address| address.as_u64()), boot.rsdp());
    /// # }
    /// ```
    #[must_use]
    pub fn rsdp_address(&self) -> Option<PhysAddr> {
        PhysAddr::try_new(self.rsdp()?).ok()
    }
}

/// The frames that are free from the start: see [`BootInfo::usable_frames`].
///
/// ```
/// use handoff::UsableFrames;
/// use x86_64::structures::paging::frame::PhysFrameRange;
///
/// fn largest(frames: UsableFrames) -> Option<PhysFrameRange> {
///     frames.max_by_key(|frames| frames.len())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct UsableFrames(Regions);

impl Iterator for UsableFrames {
    type Item = PhysFrameRange;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(MemoryRegion::frames)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for UsableFrames {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(MemoryRegion::frames)
    }
}

impl FusedIterator for UsableFrames {}

impl MemoryRegion {
    /// The frames of 4 KiB that lie in it as a whole.
    ///
    /// ```
    /// # fn kernel(region: &handoff::MemoryRegion) {
    /// assert!(region.frames().len() <= region.length / 4096);
    /// # }
    /// ```
    #[must_use]
    pub fn frames(&self) -> PhysFrameRange {
        let first = self.start.checked_next_multiple_of(Size4KiB::SIZE);
        let first = first.unwrap_or(LAST_FRAME).min(LAST_FRAME);
        let frame = |address| PhysFrame::containing_address(PhysAddr::new_truncate(address));
        PhysFrame::range(frame(first), frame(self.end().clamp(first, LAST_FRAME)))
    }
}

impl KernelSegment {
    /// Its first byte (virtual address).
    ///
    /// ```
    /// # fn kernel(segment: &handoff::KernelSegment) {
    /// assert_eq!(segment.virtual_address().as_u64(), segment.virtual_start);
    /// # }
    /// ```
    #[must_use]
    pub const fn virtual_address(&self) -> VirtAddr {
        VirtAddr::new_truncate(self.virtual_start)
    }

    /// Its first byte (physical address).
    ///
    /// ```
    /// # fn kernel(segment: &handoff::KernelSegment) {
    /// assert_eq!(segment.physical_address().as_u64(), segment.physical_start);
    /// # }
    /// ```
    #[must_use]
    pub const fn physical_address(&self) -> PhysAddr {
        PhysAddr::new_truncate(self.physical_start)
    }
}

impl Module {
    /// Its first byte (physical address).
    ///
    /// ```
    /// # fn kernel(module: &handoff::Module) {
    /// assert_eq!(module.physical_address().as_u64(), module.physical_start);
    /// # }
    /// ```
    #[must_use]
    pub const fn physical_address(&self) -> PhysAddr {
        PhysAddr::new_truncate(self.physical_start)
    }
}

impl PhysicalMap {
    /// Where the map shows a physical address; `None` if it does not.
    ///
    /// ```
    /// use x86_64::{PhysAddr, VirtAddr};
    ///
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// let screen: Option<VirtAddr> = boot.physical_map().to_virtual(PhysAddr::new(0xB_8000));
    /// # let _ = screen;
    /// # }
    /// ```
    #[must_use]
    pub fn to_virtual(&self, address: PhysAddr) -> Option<VirtAddr> {
        let pointer = self.pointer::<u8>(address.as_u64(), 1)?;
        VirtAddr::try_new(pointer.addr().get() as u64).ok()
    }

    /// The physical address of what the map shows at a virtual one; `None` if it shows nothing there.
    ///
    /// ```
    /// use x86_64::{PhysAddr, VirtAddr};
    ///
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// let here = VirtAddr::from_ptr(boot);
    /// let frame: Option<PhysAddr> = boot.physical_map().to_phys(here);
    /// # let _ = frame;
    /// # }
    /// ```
    #[must_use]
    pub fn to_phys(&self, address: VirtAddr) -> Option<PhysAddr> {
        PhysAddr::try_new(self.to_physical(address.as_u64())?).ok()
    }
}

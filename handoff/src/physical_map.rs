//! The physical map: physical memory, as the kernel can reach it.

use core::ops::Range;
use core::ptr::{self, NonNull};

use crate::memory_map::region_of;
use crate::{BootInfo, MemoryRegion};

/// End of the part of the physical address space that is mapped whatever it holds: 1 MiB.
const LOW_MEMORY_END: u64 = 1 << 20;

/// The physical map, as the loader has made it: all regions of the memory map but those of the kinds
/// [`Reserved`](crate::MemoryKind::Reserved) and [`Bad`](crate::MemoryKind::Bad), and the first MiB,
/// whatever it holds. It is writable and never executable.
///
/// It gives out pointers to what it covers, and to nothing else. **Reading and writing through them
/// is `unsafe` nevertheless**, because the map shows all of memory: the kernel's code and stack, page
/// tables, what a `&mut` somewhere else stands for, devices in the first MiB. Only the caller knows
/// that nobody else uses these bytes, that they are a `T`, and that the map is still there: it lasts
/// until the kernel switches to other page tables. For memory of devices, as the VGA text at
/// B8000h, use [`read_volatile`](NonNull::read_volatile) and
/// [`write_volatile`](NonNull::write_volatile).
///
/// ```
/// # #![allow(unsafe_code)]
/// /// The signature of an ACPI table, if the loader has mapped it.
/// fn signature(boot: &handoff::BootInfo, table: u64) -> Option<[u8; 4]> {
///     let signature = boot.physical_map().pointer::<[u8; 4]>(table, 1)?;
///     // SAFETY: firmware's tables do not change, and any four bytes are a value.
///     Some(unsafe { signature.read() })
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PhysicalMap {
    base: u64,
    regions: &'static [MemoryRegion],
}

impl BootInfo {
    /// The physical map.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// assert!(boot.physical_map().covers(0xB_8000..0xC_0000));
    /// # }
    /// ```
    #[must_use]
    pub fn physical_map(&self) -> PhysicalMap {
        PhysicalMap {
            base: self.physical_map_base,
            regions: self.memory_map(),
        }
    }

    /// Where the byte at a physical address can be read and written: in the physical map. `None`
    /// if it is not mapped there.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// let screen: Option<*mut u8> = boot.physical_to_virtual(0xB_8000);
    /// # let _ = screen;
    /// # }
    /// ```
    #[must_use]
    pub fn physical_to_virtual(&self, address: u64) -> Option<*mut u8> {
        let pointer = self.physical_map().pointer(address, 1)?;
        Some(pointer.as_ptr())
    }
}

impl PhysicalMap {
    /// The virtual address of physical address 0.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// assert_eq!(boot.physical_map().base(), boot.physical_map_base);
    /// # }
    /// ```
    #[must_use]
    pub const fn base(&self) -> u64 {
        self.base
    }

    /// Whether all of these physical addresses are mapped. No addresses always are.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// for region in boot.usable() {
    ///     assert!(boot.physical_map().covers(region.range()));
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn covers(&self, addresses: Range<u64>) -> bool {
        let mut at = addresses.start;
        // Regions of several kinds may adjoin.
        while at < addresses.end {
            let mapped = |region: &&MemoryRegion| region.is_mapped();
            at = match region_of(self.regions, at).filter(mapped) {
                _ if at < LOW_MEMORY_END => LOW_MEMORY_END,
                Some(region) => region.end(),
                None => return false,
            };
        }
        true
    }

    /// A pointer to `count` values of type `T` from a physical address on. `None` if it would not be
    /// aligned for them, or if not all of them are mapped.
    ///
    /// ```
    /// use core::ptr::NonNull;
    ///
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// // The cells of VGA text: 80 columns, 25 rows.
    /// let cells: Option<NonNull<u16>> = boot.physical_map().pointer(0xB_8000, 80 * 25);
    /// # let _ = cells;
    /// # }
    /// ```
    #[must_use]
    pub fn pointer<T>(&self, address: u64, count: usize) -> Option<NonNull<T>> {
        let length = size_of::<T>().checked_mul(count)? as u64;
        if length > isize::MAX as u64 || !self.covers(address..address.checked_add(length)?) {
            return None;
        }
        let start = self.base.checked_add(address)?;
        start.checked_add(length.saturating_sub(1))?; // the last byte is not beyond the end, either
        let pointer = ptr::with_exposed_provenance_mut::<T>(usize::try_from(start).ok()?);
        NonNull::new(pointer).filter(|pointer| pointer.is_aligned())
    }

    /// The bytes at these physical addresses. `None` if not all of them are mapped.
    ///
    /// # Safety
    /// As long as the result is used, nobody writes to these bytes, and the map is there. It is no
    /// memory of a device.
    ///
    /// ```
    /// # #![allow(unsafe_code)]
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// for module in boot.modules() {
    ///     // SAFETY: this kernel does not change modules.
    ///     let bytes = unsafe { boot.physical_map().bytes(module.physical_range()) };
    ///     assert_eq!(bytes, Some(module.bytes()));
    /// }
    /// # }
    /// ```
    #[must_use]
    pub unsafe fn bytes(&self, addresses: Range<u64>) -> Option<&'static [u8]> {
        let length = addresses.end.checked_sub(addresses.start)?;
        let length = usize::try_from(length).ok()?;
        let start = self.pointer::<u8>(addresses.start, length)?;
        // SAFETY: all of them are mapped, and the caller promises the rest.
        Some(unsafe { NonNull::slice_from_raw_parts(start, length).as_ref() })
    }

    /// The physical address of what the map shows at a virtual one. `None` if the map shows nothing
    /// there: the kernel's segments and stack have addresses of their own.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// let here = core::ptr::from_ref(boot) as u64;
    /// let frame = boot.physical_map().to_physical(here);
    /// # let _ = frame;
    /// # }
    /// ```
    #[must_use]
    pub fn to_physical(&self, address: u64) -> Option<u64> {
        let physical = address.checked_sub(self.base)?;
        let next = physical.checked_add(1)?;
        self.covers(physical..next).then_some(physical)
    }
}

//! The memory of a kernel and its initial RAM disk.

use crate::memory::address::PhysAddr;
use crate::memory::layout::{EARLY_REACH, PAGE_SIZE};
use crate::memory::map::{MIB, MemoryKind, MemoryMap, OutOfMemory, Request};
use crate::memory::placement::allocate;
use crate::ways_out::linux::image::{LinuxError, LinuxImage};

/// Where a kernel goes that has no other preference, or that cannot be moved.
pub const KERNEL_START: PhysAddr = PhysAddr::new(MIB);
/// The highest byte of an initial RAM disk, for kernels that do not specify one.
const OLD_INITRD_MAX: u32 = 0x37FF_FFFF;
/// Memory that a kernel needs if it does not specify that, as a multiple of its size in the file.
const UNPACKED: u64 = 3;

/// Where a kernel is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// First byte of the protected-mode code.
    pub start: PhysAddr,
    /// Its length in bytes.
    pub length: u64,
    /// The value for its field `kernel_alignment`.
    pub(super) alignment: u32,
}

/// The initial RAM disk: all modules, one behind the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Initrd {
    /// First byte, a multiple of 4 KiB; 0 without one.
    pub start: PhysAddr,
    /// Bytes; 0 without one.
    pub size: u64,
}

impl LinuxImage {
    /// Bytes that it needs from its run-time address on, before it reads the memory map.
    fn init_bytes(&self) -> u64 {
        match self.has(0x020A) {
            true => u64::from(self.header().init_size.get()),
            false => self.kernel_bytes().saturating_mul(UNPACKED),
        }
    }

    /// The run-time address that it prefers.
    fn preferred(&self) -> PhysAddr {
        match self.header().pref_address.get() {
            address if self.has(0x020A) && address != 0 => PhysAddr::new(address),
            _ => KERNEL_START,
        }
    }

    /// Allocates memory for the protected-mode kernel, both for its bytes and for unpacking.
    ///
    /// # Errors
    /// 10U when it cannot be moved, 6B when it can.
    pub fn place(&self, memory: &mut MemoryMap) -> Result<Placed, PlaceError> {
        if self.relocatable() {
            return Ok(self.place_anywhere(memory)?);
        }
        let placed = Placed {
            start: KERNEL_START,
            length: self.kernel_bytes(),
            alignment: self.header().kernel_alignment.get(),
        };
        // The kernel moves itself to where it runs. If the two ranges touch, they are taken as one.
        let loaded = (placed.start, placed.start.saturating_add(placed.length));
        let running = (
            self.preferred(),
            self.preferred().saturating_add(self.init_bytes()),
        );
        if running.0 <= loaded.1 && loaded.0 <= running.1 {
            take(memory, (loaded.0.min(running.0), loaded.1.max(running.1)))?;
        } else {
            take(memory, loaded)?;
            take(memory, running)?;
        }
        Ok(placed)
    }

    /// At the preferred address, or at the lowest one with its alignment. If that fails, tries
    /// smaller and smaller alignments, down to the kernel's minimum.
    fn place_anywhere(&self, memory: &mut MemoryMap) -> Result<Placed, OutOfMemory> {
        let size = self.init_bytes().max(self.kernel_bytes());
        let mut alignment = self.header().kernel_alignment.get();
        let length = self.kernel_bytes();
        let preferred = self.preferred();
        if preferred.is_aligned(alignment.into()) && is_free(memory, preferred, size) {
            memory.allocate_at(preferred, size, MemoryKind::Kernel);
            return Ok(Placed {
                start: preferred,
                length,
                alignment,
            });
        }
        let least = match self.header().min_alignment {
            bits @ 1..32 if self.has(0x020A) => 1 << bits,
            _ => alignment,
        };
        loop {
            let align = u64::from(alignment).max(PAGE_SIZE);
            let error = match allocate(memory, size, align, 0, MemoryKind::Kernel) {
                Ok(start) => {
                    return Ok(Placed {
                        start,
                        length,
                        alignment,
                    });
                }
                Err(error) => error,
            };
            alignment /= 2;
            if alignment < least || alignment < PAGE_SIZE as u32 {
                return Err(error);
            }
        }
    }

    /// Allocates `size` bytes of memory for an initial RAM disk, as high as the kernel allows and
    /// the loader can reach.
    ///
    /// # Errors
    /// 6B.
    pub fn place_initrd(&self, size: u64, memory: &mut MemoryMap) -> Result<Initrd, OutOfMemory> {
        if size == 0 {
            return Ok(Initrd::default());
        }
        let max = match self.has(0x0203) {
            true => self.header().initrd_addr_max.get(),
            false => OLD_INITRD_MAX,
        };
        let max = (PhysAddr::from(max) + 1).min(EARLY_REACH);
        let start = memory.allocate_highest(&Request {
            size,
            align: PAGE_SIZE,
            offset: 0,
            min: PhysAddr::new(MIB),
            max,
            kind: MemoryKind::Module,
        })?;
        Ok(Initrd { start, size })
    }
}

/// Why a kernel cannot be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceError {
    /// There is no room anywhere.
    Memory(OutOfMemory),
    /// The only possible place is taken.
    NotFree(LinuxError),
}

impl From<OutOfMemory> for PlaceError {
    fn from(error: OutOfMemory) -> Self {
        Self::Memory(error)
    }
}

/// Takes a range for the kernel, which must be free, above 1 MiB and within reach.
fn take(memory: &mut MemoryMap, (start, end): (PhysAddr, PhysAddr)) -> Result<(), PlaceError> {
    let size = end.saturating_sub(start);
    if is_free(memory, start, size) && memory.allocate_at(start, size, MemoryKind::Kernel) {
        return Ok(());
    }
    let (start, end) = (start.as_u64(), end.as_u64());
    Err(PlaceError::NotFree(LinuxError::NotFree { start, end }))
}

/// Is a range free, above 1 MiB and within reach?
fn is_free(memory: &MemoryMap, start: PhysAddr, size: u64) -> bool {
    let Some(end) = start.checked_add(size.max(1)) else {
        return false;
    };
    let mut regions = memory.regions().iter();
    start.as_u64() >= MIB
        && end <= EARLY_REACH
        && regions.any(|region| {
            region.kind == MemoryKind::Usable && region.start <= start && end <= region.end
        })
}

/// Bytes of an initial RAM disk made of files of these sizes: each is padded to a multiple of four.
pub fn initrd_size(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, |sum: u64, size| {
        sum.saturating_add(size.saturating_add(3) & !3)
    })
}

//! Safe access to what [`BootInfo`] points to.
//!
//! The methods dereference the structure's pointers, and are safe nevertheless: the loader makes
//! the only `BootInfo`, a kernel gets it by [`BootInfo::from_loader`], which is `unsafe`, and what
//! it points to is valid until the kernel itself gives that memory away. A program that fills in a
//! `BootInfo` of its own (the loader; a test) takes over the loader's promise: every pointer in it
//! is valid for as many elements as are counted beside it.

use core::slice;

use crate::{
    BootInfo, Display, DisplayKind, Kernel, KernelSegment, MemoryKind, MemoryRegion, Module, Text,
    TlsTemplate,
};

/// End of the part of the physical address space that is mapped whatever it holds: 1 MiB.
const LOW_MEMORY_END: u64 = 1 << 20;

/// The slice of `count` elements at `start`.
///
/// # Safety
/// If `count` is not 0, `start` is valid for this many elements, for good.
const unsafe fn list<T>(start: *const T, count: u64) -> &'static [T] {
    if count == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(start, count as usize) }
}

impl BootInfo {
    /// The memory map: sorted by address, no overlap.
    #[must_use]
    pub fn memory_map(&self) -> &'static [MemoryRegion] {
        // SAFETY: the loader's promise, see the head of this file.
        unsafe { list(self.memory_map, self.memory_map_count) }
    }

    /// The modules, in the order of the boot entry.
    #[must_use]
    pub fn modules(&self) -> &'static [Module] {
        // SAFETY: as above.
        unsafe { list(self.modules, self.module_count) }
    }

    /// The kernel's command line; may be empty.
    #[must_use]
    pub fn command_line(&self) -> &'static str {
        self.command_line.as_str()
    }

    /// Name and version of the loader.
    #[must_use]
    pub fn loader(&self) -> &'static str {
        self.loader.as_str()
    }

    /// The template of thread-local storage, if the kernel has a PT_TLS.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsTemplate> {
        (self.tls.start != 0).then_some(&self.tls)
    }

    /// The time-stamp counter at the start of a step of the boot path (1 to 12), if it was taken.
    #[must_use]
    pub fn time_of_step(&self, step: usize) -> Option<u64> {
        self.timeline.get(step).copied().filter(|&ticks| ticks != 0)
    }

    /// The region that a physical address lies in.
    #[must_use]
    pub fn region_of(&self, address: u64) -> Option<&'static MemoryRegion> {
        let map = self.memory_map();
        let after = map.partition_point(|region| region.start <= address);
        map[..after].last().filter(|region| address < region.end())
    }

    /// Where the byte at a physical address can be read and written: in the physical map. `None`
    /// if it is not mapped there.
    #[must_use]
    pub fn physical_to_virtual(&self, address: u64) -> Option<*mut u8> {
        let mapped = address < LOW_MEMORY_END
            || self
                .region_of(address)
                .and_then(MemoryRegion::kind)
                .is_some_and(MemoryKind::is_mapped);
        mapped.then(|| (self.physical_map_base + address) as *mut u8)
    }
}

impl MemoryKind {
    /// The kind with this number.
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
    #[must_use]
    pub const fn is_mapped(self) -> bool {
        !matches!(self, Self::Reserved | Self::Bad)
    }
}

impl MemoryRegion {
    /// First byte behind it (physical address).
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start.saturating_add(self.length)
    }

    /// What it holds; `None`: a kind that this crate does not know, to be treated as reserved.
    #[must_use]
    pub const fn kind(&self) -> Option<MemoryKind> {
        MemoryKind::from_number(self.kind)
    }
}

impl Kernel {
    /// The kernel's PT_LOADs, sorted by address.
    #[must_use]
    pub fn segments(&self) -> &'static [KernelSegment] {
        // SAFETY: the loader's promise, see the head of this file.
        unsafe { list(self.segments, self.segment_count) }
    }
}

impl KernelSegment {
    /// Its bytes in memory; `None` if it is writable, because then they may change.
    #[must_use]
    pub fn bytes(&self) -> Option<&'static [u8]> {
        let start = self.virtual_start as *const u8;
        // SAFETY: the loader's promise, see the head of this file: the segment is mapped, and
        // nobody can write it.
        (!self.is_writable()).then(|| unsafe { list(start, self.length) })
    }

    /// It may be executed (`PF_X`).
    #[must_use]
    pub const fn is_executable(&self) -> bool {
        self.flags & 1 != 0
    }

    /// It may be written (`PF_W`).
    #[must_use]
    pub const fn is_writable(&self) -> bool {
        self.flags & 2 != 0
    }
}

impl Module {
    /// The file's bytes.
    #[must_use]
    pub fn bytes(&self) -> &'static [u8] {
        // SAFETY: the loader's promise, see the head of this file.
        unsafe { list(self.start, self.length) }
    }
}

impl Text {
    /// The text; empty if it is not UTF-8, which the loader never passes.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        // SAFETY: the loader's promise, see the head of this file.
        let bytes = unsafe { list(self.start.cast::<u8>(), self.length) };
        str::from_utf8(bytes).unwrap_or("")
    }
}

impl Display {
    /// What it is; `None`: a kind that this crate does not know.
    #[must_use]
    pub const fn kind(&self) -> Option<DisplayKind> {
        Some(match self.kind {
            0 => DisplayKind::None,
            1 => DisplayKind::Text,
            2 => DisplayKind::Framebuffer,
            _ => return None,
        })
    }
}

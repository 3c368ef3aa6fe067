//! Safe access to what [`BootInfo`] points to.
//!
//! The methods dereference the structure's pointers, and are safe nevertheless: the loader makes
//! the only `BootInfo`, a kernel gets it by [`BootInfo::from_loader`], which is `unsafe`, and what
//! it points to is valid until the kernel itself gives that memory away. A program that fills in a
//! `BootInfo` of its own (the loader; a test) takes over the loader's promise: every pointer in it
//! is valid for as many elements as are counted beside it.

use core::fmt;
use core::ops::Range;
use core::slice;

use crate::{BootDisk, BootInfo, Display, DisplayKind, Kernel, KernelSegment};
use crate::{Module, Text, TlsTemplate};

/// The slice of `count` elements at `start`. It is empty if there can be no such slice: a null or
/// misaligned pointer, or more bytes than half the address space.
///
/// # Safety
/// If `count` is not 0, `start` is null, misaligned, or valid for this many elements, for good.
pub unsafe fn list<T>(start: *const T, count: u64) -> &'static [T] {
    let most = isize::MAX as u64 / size_of::<T>() as u64;
    if count > most || start.is_null() || !start.is_aligned() {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(start, count as usize) }
}

impl BootInfo {
    /// The modules, in the order of the boot entry.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// for module in boot.modules() {
    ///     let (name, bytes): (&str, &'static [u8]) = (module.name(), module.bytes());
    ///     # let _ = (name, bytes);
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn modules(&self) -> &'static [Module] {
        // SAFETY: the loader's promise, see the head of this file.
        unsafe { list(self.modules, self.module_count) }
    }

    /// The first module whose path, or the last name of its path, is this.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// let root = boot.module("initrd.tar").map(handoff::Module::bytes);
    /// # let _ = root;
    /// # }
    /// ```
    #[must_use]
    pub fn module(&self, name: &str) -> Option<&'static Module> {
        let mut modules = self.modules().iter();
        modules.find(|module| module.path() == name || module.name() == name)
    }

    /// Name and version of the loader.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) -> bool {
    /// boot.loader().starts_with("Bootpath ")
    /// # }
    /// ```
    #[must_use]
    pub fn loader(&self) -> &'static str {
        self.loader.as_str()
    }

    /// The template of thread-local storage, if the kernel has a PT_TLS.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// let bytes_of_each_thread = boot.tls().map_or(0, |template| template.memory_size);
    /// # let _ = bytes_of_each_thread;
    /// # }
    /// ```
    #[must_use]
    pub fn tls(&self) -> Option<&TlsTemplate> {
        (self.tls.start != 0).then_some(&self.tls)
    }

    /// The disk that the machine was booted from, if there was one.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// let partition = boot.disk().map(|disk| disk.partition);
    /// # let _ = partition;
    /// # }
    /// ```
    #[must_use]
    pub fn disk(&self) -> Option<&BootDisk> {
        (self.boot_disk.sector_size != 0).then_some(&self.boot_disk)
    }

    /// Physical address of the ACPI root pointer (RSDP), if it was found.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// let rsdp = boot.rsdp().and_then(|address| boot.physical_map().pointer::<u8>(address, 36));
    /// # let _ = rsdp;
    /// # }
    /// ```
    #[must_use]
    pub fn rsdp(&self) -> Option<u64> {
        (self.rsdp != 0).then_some(self.rsdp)
    }

    /// Physical address of the SMBIOS entry point, if it was found: that of SMBIOS 3.x (`_SM3_`) if
    /// there are both.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// let has_smbios = boot.smbios().is_some();
    /// # let _ = has_smbios;
    /// # }
    /// ```
    #[must_use]
    pub fn smbios(&self) -> Option<u64> {
        let mut found = [self.smbios3, self.smbios].into_iter();
        found.find(|&address| address != 0)
    }

    /// Whether the CPU has all of these features: a sum of `CPU_…`.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// let random = boot.cpu_has(handoff::CPU_RDRAND | handoff::CPU_RDSEED);
    /// # let _ = random;
    /// # }
    /// ```
    #[must_use]
    pub const fn cpu_has(&self, features: u64) -> bool {
        self.cpu_features & features == features
    }

    /// The time-stamp counter at the start of a step of the boot path (1 to 12), if it was taken.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) -> Option<u64> {
    /// let ticks = boot.time_of_step(12)? - boot.time_of_step(1)?;
    /// # Some(ticks)
    /// # }
    /// ```
    #[must_use]
    pub fn time_of_step(&self, step: usize) -> Option<u64> {
        self.timeline.get(step).copied().filter(|&ticks| ticks != 0)
    }
}

impl Kernel {
    /// The kernel's PT_LOADs, sorted by address.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// let code = boot.kernel.segments().iter().filter(|segment| segment.is_executable());
    /// # let _ = code;
    /// # }
    /// ```
    #[must_use]
    pub fn segments(&self) -> &'static [KernelSegment] {
        // SAFETY: the loader's promise, see the head of this file.
        unsafe { list(self.segments, self.segment_count) }
    }

    /// The segment that a virtual address lies in.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// static COUNTER: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(0);
    /// let data = boot.kernel.segment_of(&raw const COUNTER as u64);
    /// # let _ = data;
    /// # }
    /// ```
    #[must_use]
    pub fn segment_of(&self, address: u64) -> Option<&'static KernelSegment> {
        let mut segments = self.segments().iter();
        segments.find(|segment| segment.contains(address))
    }

    /// The virtual addresses of the stack. The page below them is not mapped.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// let on_the_stack = 0;
    /// assert!(boot.kernel.stack().contains(&(&raw const on_the_stack as u64)));
    /// # }
    /// ```
    #[must_use]
    pub const fn stack(&self) -> Range<u64> {
        self.stack_bottom..self.stack_bottom.saturating_add(self.stack_size)
    }
}

impl KernelSegment {
    /// Its bytes in memory; `None` if it is writable, because then they may change.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// // To check that nothing has damaged the kernel.
    /// for bytes in boot.kernel.segments().iter().filter_map(handoff::KernelSegment::bytes) {
    ///     let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    ///     # let _ = sum;
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn bytes(&self) -> Option<&'static [u8]> {
        let start = core::ptr::with_exposed_provenance(self.virtual_start as usize);
        // SAFETY: the loader's promise, see the head of this file: the segment is mapped, and
        // nobody can write it.
        (!self.is_writable()).then(|| unsafe { list(start, self.length) })
    }

    /// Its virtual addresses. The last one of the address space is left out, if the segment has it.
    ///
    /// ```
    /// # fn kernel(segment: &handoff::KernelSegment) {
    /// assert_eq!(segment.virtual_range().start, segment.virtual_start);
    /// # }
    /// ```
    #[must_use]
    pub const fn virtual_range(&self) -> Range<u64> {
        self.virtual_start..self.virtual_start.saturating_add(self.length)
    }

    /// Its physical addresses.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo, segment: &handoff::KernelSegment) {
    /// assert!(boot.physical_map().covers(segment.physical_range()));
    /// # }
    /// ```
    #[must_use]
    pub const fn physical_range(&self) -> Range<u64> {
        self.physical_start..self.physical_start.saturating_add(self.length)
    }

    /// Is the virtual address in it?
    ///
    /// ```
    /// # fn kernel(segment: &handoff::KernelSegment) {
    /// assert!(segment.length == 0 || segment.contains(segment.virtual_start));
    /// # }
    /// ```
    #[must_use]
    pub const fn contains(&self, address: u64) -> bool {
        self.virtual_start <= address && address - self.virtual_start < self.length
    }

    /// It may be executed (`PF_X`).
    ///
    /// ```
    /// # fn kernel(segment: &handoff::KernelSegment) {
    /// assert!(!(segment.is_executable() && segment.is_writable()));
    /// # }
    /// ```
    #[must_use]
    pub const fn is_executable(&self) -> bool {
        self.flags & 1 != 0
    }

    /// It may be written (`PF_W`). See [`is_executable`](Self::is_executable) for an example.
    #[must_use]
    pub const fn is_writable(&self) -> bool {
        self.flags & 2 != 0
    }
}

impl Module {
    /// The file's bytes.
    ///
    /// ```
    /// # fn kernel(module: &handoff::Module) {
    /// let text = str::from_utf8(module.bytes());
    /// # let _ = text;
    /// # }
    /// ```
    #[must_use]
    pub fn bytes(&self) -> &'static [u8] {
        // SAFETY: the loader's promise, see the head of this file.
        unsafe { list(self.start, self.length) }
    }

    /// Its path in the boot partition.
    ///
    /// ```
    /// # fn kernel(module: &handoff::Module) {
    /// assert!(module.path().ends_with(module.name()));
    /// # }
    /// ```
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.path.as_str()
    }

    /// The last name of its path.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// let fonts = boot.modules().iter().filter(|module| module.name().ends_with(".psf"));
    /// # let _ = fonts;
    /// # }
    /// ```
    #[must_use]
    pub fn name(&self) -> &'static str {
        let path = self.path();
        path.rsplit_once('/').map_or(path, |(_, name)| name)
    }

    /// The string that was given with it; may be empty.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// let root = boot.modules().iter().find(|module| module.string() == "root");
    /// # let _ = root;
    /// # }
    /// ```
    #[must_use]
    pub fn string(&self) -> &'static str {
        self.string.as_str()
    }

    /// Its physical addresses. They are the kernel's to use when it is done with the module.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo, module: &handoff::Module) {
    /// assert!(boot.physical_map().covers(module.physical_range()));
    /// # }
    /// ```
    #[must_use]
    pub const fn physical_range(&self) -> Range<u64> {
        self.physical_start..self.physical_start.saturating_add(self.length)
    }
}

impl Text {
    /// The text; empty if it is not UTF-8, which the loader never passes.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// assert_eq!(boot.loader.as_str(), boot.loader());
    /// # }
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        // SAFETY: the loader's promise, see the head of this file.
        let bytes = unsafe { list(self.start.cast::<u8>(), self.length) };
        str::from_utf8(bytes).unwrap_or("")
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Display {
    /// What it is; `None`: a kind that this crate does not know.
    ///
    /// ```
    /// use handoff::DisplayKind;
    ///
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// let has_text = boot.display.kind() == Some(DisplayKind::Text);
    /// # let _ = has_text;
    /// # }
    /// ```
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

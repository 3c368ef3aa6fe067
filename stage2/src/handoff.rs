//! Step 12: the handoff.
//!
//! **On entry**: kernel and tables are ready. **This step**: puts together [`BootInfo`] and what it
//! points to, masks both PICs, sets the last control register bits, switches the tables and jumps.
//! **On exit**: the kernel runs, in the state that `docs/handoff.md` promises.
#![allow(unsafe_code)]

use core::arch::x86_64::_rdtsc;
use core::convert::Infallible;

use ::handoff::{
    BOOTPATH_MAGIC, BOOTPATH_VERSION, BootDisk, BootInfo, Display, DisplayKind, KernelSegment,
    MemoryRegion, Module, Text, TlsTemplate,
};
use boot_path::disk::block_device::BlockDevice;
use boot_path::disk::int13::Drive;
use boot_path::disk::partition::Partition;
use boot_path::errors::text::copy;
use boot_path::kernel::placement::{Kernel, allocate};
use boot_path::memory::layout::{self, PAGE_SIZE};
use boot_path::memory::map::{MemoryKind, MemoryMap, OutOfMemory};
use x86_64::instructions::port::Port;
use x86_64::registers::control::{Cr4, Cr4Flags, Efer, EferFlags};

use crate::entry::BootEntry;
use crate::files::Files;
use crate::machine::console;
use crate::machine::faults::{self, Failure};
use crate::machine::findings;
use crate::machine::physical;
use crate::machine::switch;
use crate::paging::Tables;
use crate::real::real_mode_faults;
use crate::say;

/// What the loader calls itself.
pub const LOADER: &str = concat!("Bootpath ", env!("CARGO_PKG_VERSION"));

/// Regions that the memory map may grow by when the memory for the boot information is taken.
const SPARE_REGIONS: usize = 4;

/// Everything that the jump needs.
pub struct Jump {
    tables: Tables,
    stack_top: u64,
    entry: u64,
    /// Physical address of the boot information.
    boot_info: u64,
    physical_map_base: u64,
    fault_reports: bool,
}

/// A piece of memory that is filled from the front, for objects that the kernel will see in the
/// physical map.
struct Arena {
    start: u64,
    next: u64,
    end: u64,
    /// Virtual address of physical address 0.
    base: u64,
}

impl Arena {
    fn new(memory: &mut MemoryMap, size: usize, base: u64) -> Result<Self, OutOfMemory> {
        let size = (size as u64).next_multiple_of(PAGE_SIZE);
        let start = allocate(memory, size, PAGE_SIZE, 0, MemoryKind::Reclaimable)?;
        // SAFETY: just allocated.
        unsafe { physical::bytes_mut(start, size) }.fill(0);
        Ok(Self {
            start,
            next: start,
            end: start + size,
            base,
        })
    }

    /// Room for `count` values; returns its physical address.
    fn reserve<T>(&mut self, count: usize) -> u64 {
        let start = self.next.next_multiple_of(align_of::<T>() as u64);
        self.next = start + (size_of::<T>() * count) as u64;
        assert!(
            self.next <= self.end,
            "the boot information is larger than was computed"
        );
        start
    }

    /// Stores values; returns the virtual address of the first.
    fn store<T>(&mut self, values: impl Iterator<Item = T>, count: usize) -> *const T {
        let start = self.reserve::<T>(count);
        for (index, value) in (0..count as u64).zip(values) {
            let address = start + index * size_of::<T>() as u64;
            // SAFETY: within the arena, aligned, and written once.
            unsafe { core::ptr::with_exposed_provenance_mut::<T>(address as usize).write(value) };
        }
        self.virtual_address(start)
    }

    /// Stores a text and a zero byte.
    fn text(&mut self, text: &str) -> Text {
        let (room, start) = self.bytes(text.len() + 1);
        Text {
            start,
            length: copy(text.as_bytes(), room) as u64,
        }
    }

    /// Room for bytes, all of them zero; the second one is the address that the kernel sees.
    fn bytes<T>(&mut self, length: usize) -> (&'static mut [u8], *const T) {
        let start = self.reserve::<u8>(length);
        // SAFETY: reserved for this alone.
        let room = unsafe { physical::bytes_mut(start, length as u64) };
        (room, self.virtual_address(start))
    }

    fn virtual_address<T>(&self, physical: u64) -> *const T {
        core::ptr::without_provenance(self.base.wrapping_add(physical) as usize)
    }
}

/// Puts the boot information together.
///
/// # Errors
/// 6B.
pub fn prepare(
    files: &Files,
    partition: &Partition,
    entry: &BootEntry,
    kernel: &Kernel,
    tables: Tables,
    memory: &mut MemoryMap,
) -> Result<Jump, Failure> {
    let segments = kernel.image.segments();
    let regions = memory.regions().len() + SPARE_REGIONS;
    let command_line = entry.text.command_line_length();
    let module_texts: usize = entry
        .text
        .modules()
        .map(|module| module.path.len() + module.string.len() + 2)
        .sum();
    let size = size_of::<BootInfo>()
        + regions * size_of::<MemoryRegion>()
        + segments.len() * size_of::<KernelSegment>()
        + kernel.modules().len() * size_of::<Module>()
        + module_texts
        + command_line
        + LOADER.len()
        + 128; // zero bytes and alignment
    let base = kernel.wishes.physical_map_base;
    let mut arena = Arena::new(memory, size, base)?;
    let boot_info = arena.reserve::<BootInfo>(1);

    let entry_point = kernel.image.entry().wrapping_add(kernel.slide);
    let kernel_segments = arena.store(
        kernel.segments().map(|(segment, address)| KernelSegment {
            virtual_start: segment.virtual_start.wrapping_add(kernel.slide),
            physical_start: address,
            length: segment.memory_size,
            flags: segment.flags,
            reserved: 0,
        }),
        segments.len(),
    );
    faults::kernel_is_at(kernel.segments().map(|(segment, _)| {
        let start = segment.virtual_start.wrapping_add(kernel.slide);
        (start, segment.memory_size, segment.flags)
    }));
    let modules = store_modules(&mut arena, entry, kernel);
    let loader = arena.text(LOADER);
    let command_line = store_command_line(&mut arena, entry, command_line);
    let tables_found = firmware_tables();
    // Last, so that it is complete.
    let memory_map_count = memory.regions().len();
    let memory_map = arena.store(
        memory.regions().iter().map(|&region| region.into()),
        memory_map_count,
    );

    say!("12 handoff  to #h"; entry_point);
    console::show_cursor();
    let info = BootInfo {
        magic: BOOTPATH_MAGIC,
        version: BOOTPATH_VERSION,
        size: size_of::<BootInfo>() as u32,
        loader,
        command_line,
        memory_map,
        memory_map_count: memory_map_count as u64,
        physical_map_base: base,
        physical_map_size: tables.space.physical_map_size,
        kernel: ::handoff::Kernel {
            virtual_base: kernel.image.virtual_start().wrapping_add(kernel.slide),
            physical_base: kernel.physical_start(),
            size: kernel.image.virtual_end() - kernel.image.virtual_start(),
            slide: kernel.slide,
            entry: entry_point,
            segments: kernel_segments,
            segment_count: segments.len() as u64,
            stack_bottom: tables.space.stack_bottom,
            stack_size: kernel.wishes.stack_size,
        },
        modules,
        module_count: kernel.modules().len() as u64,
        display: display(),
        rsdp: tables_found.rsdp,
        smbios: tables_found.smbios,
        smbios3: tables_found.smbios3,
        boot_disk: boot_disk(files, partition),
        tls: kernel.image.tls().map_or(
            TlsTemplate {
                start: 0,
                file_size: 0,
                memory_size: 0,
                alignment: 0,
            },
            |tls| TlsTemplate {
                start: tls.virtual_start.wrapping_add(kernel.slide),
                file_size: tls.file_size,
                memory_size: tls.memory_size,
                alignment: tls.alignment,
            },
        ),
        cpu_features: tables.cpu_features,
        timeline: findings::stamps(),
        random_seed: random_seed(tables.cpu_features),
    };
    // SAFETY: reserved for it, aligned, and written once.
    unsafe { core::ptr::with_exposed_provenance_mut::<BootInfo>(boot_info as usize).write(info) };
    debug_assert!(boot_info >= arena.start);

    Ok(Jump {
        stack_top: tables.space.stack_bottom + kernel.wishes.stack_size,
        tables,
        entry: entry_point,
        boot_info,
        physical_map_base: base,
        fault_reports: kernel.wishes.fault_reports(),
    })
}

fn store_modules(arena: &mut Arena, entry: &BootEntry, kernel: &Kernel) -> *const Module {
    let count = kernel.modules().len();
    let start = arena.reserve::<Module>(count);
    let loaded = kernel.modules().iter().zip(entry.text.modules());
    for (index, (loaded, line)) in (0u64..).zip(loaded) {
        let module = Module {
            start: arena.virtual_address(loaded.start),
            physical_start: loaded.start,
            length: loaded.length,
            path: arena.text(line.path),
            string: arena.text(line.string),
        };
        let address = start + index * size_of::<Module>() as u64;
        // SAFETY: reserved for it, aligned, and written once.
        unsafe { core::ptr::with_exposed_provenance_mut::<Module>(address as usize).write(module) };
    }
    arena.virtual_address(start)
}

fn store_command_line(arena: &mut Arena, entry: &BootEntry, length: usize) -> Text {
    let (room, start) = arena.bytes(length + 1);
    let length = entry.text.copy_command_line(room).unwrap_or(0);
    Text {
        start,
        length: length as u64,
    }
}

fn display() -> Display {
    match console::screen_row() {
        Some(row) => Display {
            kind: DisplayKind::Text as u32,
            bits_per_pixel: 16,
            address: layout::VGA_TEXT,
            width: console::COLUMNS as u32,
            height: console::ROWS as u32,
            pitch: 2 * console::COLUMNS as u32,
            cursor_row: row as u32,
        },
        None => Display {
            kind: DisplayKind::None as u32,
            bits_per_pixel: 0,
            address: 0,
            width: 0,
            height: 0,
            pitch: 0,
            cursor_row: 0,
        },
    }
}

fn boot_disk(files: &Files, partition: &Partition) -> BootDisk {
    let (_, bios_drive) = findings::drives();
    BootDisk {
        drive: files.disk().map_or(0, Drive::number),
        bios_drive,
        partition: partition.number,
        reserved: 0,
        signature: partition.signature,
        partition_lba: partition.first_lba,
        partition_sectors: partition.sectors,
        sector_size: files.disk().map_or(0, |disk| disk.sector_size() as u32),
        reads: files.disk().map_or(0, Drive::reads),
    }
}

/// Physical addresses of what the firmware left in memory; 0: not found.
#[derive(Default)]
pub struct FirmwareTables {
    /// ACPI.
    pub rsdp: u64,
    /// SMBIOS 2.1 and later, 32-bit entry point.
    pub smbios: u64,
    /// SMBIOS 3.0 and later, 64-bit entry point.
    pub smbios3: u64,
}

/// Looks through the first KiB of the EBDA and the BIOS ROM, every 16 bytes (ACPI specification
/// 5.2.5.1, SMBIOS specification 5.2). A structure counts only when its checksum is right.
pub fn firmware_tables() -> FirmwareTables {
    /// BIOS data area: segment of the extended BIOS data area (u16).
    const BDA_EBDA_SEGMENT: u64 = 0x40E;
    let ebda = u64::from(physical::read::<u16>(BDA_EBDA_SEGMENT)) << 4;

    let mut found = FirmwareTables::default();
    let areas = [(ebda, ebda + 0x400), (0xE_0000, 0x10_0000)];
    for (start, end) in areas.into_iter().filter(|&(start, _)| start >= 0x400) {
        // SAFETY: the first MiB is mapped, and nothing of the loader is written meanwhile.
        let area = unsafe { physical::bytes(start, end - start) };
        for (index, paragraph) in area.as_chunks::<16>().0.iter().enumerate() {
            let at = index * 16;
            let sums_up = |length: usize| {
                area.get(at..at + length).is_some_and(|bytes| {
                    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0
                })
            };
            let address = start + at as u64;
            match paragraph {
                [b'R', b'S', b'D', b' ', b'P', b'T', b'R', b' ', ..]
                    if found.rsdp == 0 && sums_up(20) =>
                {
                    found.rsdp = address;
                }
                [b'_', b'S', b'M', b'_', _, length, ..]
                    if found.smbios == 0 && *length >= 0x1E && sums_up(usize::from(*length)) =>
                {
                    found.smbios = address;
                }
                [b'_', b'S', b'M', b'3', b'_', _, length, ..]
                    if found.smbios3 == 0 && *length >= 0x18 && sums_up(usize::from(*length)) =>
                {
                    found.smbios3 = address;
                }
                _ => {}
            }
        }
    }
    found
}

/// 256 bits: from RDSEED or RDRAND where there is one, mixed with the time-stamp counter and a timer
/// that runs by another clock.
pub fn random_seed(features: u64) -> [u8; 32] {
    let mut words = [0u64; 4];
    let mut state = 0x9E37_79B9_7F4A_7C15;
    for word in &mut words {
        // SAFETY: reading the PIT's channel 0 as it runs; its two bytes need not belong together.
        let pit = unsafe { Port::<u8>::new(0x40).read() };
        // SAFETY: a CPU with long mode has RDTSC.
        state = mix(state ^ unsafe { _rdtsc() } ^ u64::from(pit) << 56);
        *word = state ^ hardware_random(features).unwrap_or(0);
    }
    zerocopy::transmute!(words)
}

/// SplitMix64's finaliser: every input bit changes about half of the output bits.
fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    value = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ value >> 31
}

/// RDSEED, else RDRAND; both may have nothing at the moment (SDM vol. 1, 7.3.17).
fn hardware_random(features: u64) -> Option<u64> {
    for _ in 0..10 {
        let mut value = 0u64;
        let ready: u8;
        // SAFETY: only executed where CPUID says that the instruction exists.
        unsafe {
            if features & ::handoff::CPU_RDSEED != 0 {
                core::arch::asm!("rdseed {}", "setc {}", inout(reg) value, out(reg_byte) ready);
            } else if features & ::handoff::CPU_RDRAND != 0 {
                core::arch::asm!("rdrand {}", "setc {}", inout(reg) value, out(reg_byte) ready);
            } else {
                return None;
            }
        }
        if ready != 0 {
            return Some(value);
        }
    }
    None
}

impl Jump {
    /// Leaves the loader. Nothing can fail any more: the result type only lets the path end in `?`.
    pub fn go(self) -> Result<Infallible, Failure> {
        faults::check_stack();
        console::drain();
        console::without_bios();
        real_mode_faults::give_back();
        mask_interrupt_controllers();
        // SAFETY: the features are there, and change nothing for the loader's own tables.
        unsafe {
            if self.tables.cpu_features & ::handoff::CPU_NX != 0 {
                Efer::update(|flags| flags.insert(EferFlags::NO_EXECUTE_ENABLE));
            }
            Cr4::update(|flags| flags.insert(Cr4Flags::PAGE_GLOBAL));
            let mxcsr = 0x1F80u32; // its value after a reset
            core::arch::asm!("fninit", "ldmxcsr [{}]", in(reg) &mxcsr, options(nostack));
        }
        if self.fault_reports {
            faults::kernel_starts();
        } else {
            switch::uninstall();
        }
        // SAFETY: the tables were made for exactly this.
        unsafe {
            switch::to_kernel(
                self.tables.space.root,
                self.stack_top,
                self.entry,
                self.physical_map_base.wrapping_add(self.boot_info),
                self.physical_map_base,
            )
        }
    }
}

/// Masks all lines of both interrupt controllers: the BIOS's timer would arrive as vector 8, a
/// double fault to a kernel that enables interrupts early.
pub fn mask_interrupt_controllers() {
    // SAFETY: the mask registers of the two 8259A.
    unsafe {
        Port::<u8>::new(0x21).write(0xFF);
        Port::<u8>::new(0xA1).write(0xFF);
    }
}

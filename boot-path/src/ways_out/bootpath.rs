//! Steps 11 and 12 for a kernel of the loader's own protocol.
//!
//! **On entry**: the kernel is loaded and relocated. **This way out**: loads the modules; builds
//! the page tables; writes [`BootInfo`] and the data that it points to. **On exit**: all is ready
//! for the jump, after which the kernel finds what `docs/handoff.md` promises.

use handoff::bytes::{Plain, bytes};
use handoff::{
    BOOTPATH_MAGIC, BOOTPATH_VERSION, BootDisk, BootInfo, Display, DisplayKind, KernelSegment,
    MemoryRegion, Module, Text, TlsTemplate,
};

use crate::disk::block_device::BlockDevice as _;
use crate::disk::int13::Drive;
use crate::disk::partition::Partition;
use crate::entry::choose::BootEntry;
use crate::errors::text::copy;
use crate::files::access::Files;
use crate::kernel::loading::{Loaded, load_module};
use crate::kernel::placement::Kernel;
use crate::machine::{Machine, Run};
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::layout::{self, PAGE_SIZE};
use crate::memory::list;
use crate::memory::map::{MemoryKind, MemoryMap};
use crate::memory::ram::{Allocation, Block};
use crate::paging::address_space::{self, AddressSpace};
use crate::paging::page_tables::{Capabilities, TablePages};
use crate::say;
use crate::ways_out::failure::OutMachine;
use crate::ways_out::handover::{BootpathStart, Handover, Jump};
use crate::ways_out::way::{LOADER, Way, firmware_tables};

/// Regions that allocating the boot information may add to the memory map.
const SPARE_REGIONS: usize = 4;

/// Prepares everything for the kernel.
///
/// # Errors
/// 10I, 10K, 10L, 10R, 11A, 11B, 9B, 8C, 8B, 7A, 6B.
#[inline(never)]
pub fn boot<'m, M: OutMachine<'m>>(
    way: Way<'_, 'm, M>,
    loaded: &mut Loaded<'m>,
) -> Result<Handover<'m>, M::Failure> {
    let Way {
        files,
        partition,
        entry,
        memory,
        ..
    } = way;
    let machine = files.machine();
    let kernel = &mut loaded.kernel;
    kernel.image.check(&kernel.wishes)?;
    for module in entry.text.modules() {
        kernel.add_module(load_module(files, &module, memory)?);
    }

    machine.step(11);
    let cpu_features = machine.cpu_features();
    let space = address_space::build(
        kernel,
        memory,
        Tables(machine),
        capabilities(cpu_features),
        machine.switch_page(),
    )?;
    say!(
        machine, "11 paging   stack # KiB, physical map at #h";
        kernel.wishes.stack_size >> 10,
        kernel.wishes.physical_map_base.as_u64()
    );

    machine.step(12);
    let kernel = &*kernel;
    let mut segments = machine.list(kernel.image.segments().len(), memory)?;
    let placed = kernel.image.segments().iter().map(|segment| {
        let start = segment.virtual_start.wrapping_add(kernel.slide);
        (start, segment.memory_size, segment.flags)
    });
    list::put_all(&mut segments, placed);
    machine.note_segments(segments);
    let boot_info = information(files, partition, entry, kernel, &space, memory)?;
    let entry = kernel.image.entry().wrapping_add(kernel.slide);
    Ok(Handover::from(Jump::Bootpath(BootpathStart {
        root: space.root,
        stack_top: space.stack_bottom + kernel.wishes.stack_size,
        entry,
        boot_info,
        physical_map_base: kernel.wishes.physical_map_base,
        cpu_features,
        fault_reports: kernel.wishes.fault_reports(),
    })))
}

/// The page tables in the machine's memory.
pub struct Tables<M>(pub M);

impl<'m, M: OutMachine<'m>> TablePages for Tables<M> {
    fn clear(&mut self, table: PhysAddr) {
        self.0.new_table(Allocation::new(table, PAGE_SIZE));
    }

    fn read(&self, table: PhysAddr, index: usize) -> u64 {
        self.0.table_entry(table, index)
    }

    fn write(&mut self, table: PhysAddr, index: usize, value: u64) {
        self.0.set_table_entry(table, index, value);
    }

    fn fill(&mut self, run: Run) -> Result<(), usize> {
        self.0.fill_table(run)
    }
}

/// The paging features of the CPU.
pub fn capabilities(cpu_features: u64) -> Capabilities {
    let has = |flag| cpu_features & flag != 0;
    Capabilities {
        nx: has(handoff::CPU_NX),
        gib_pages: has(handoff::CPU_1GIB_PAGES),
    }
}

/// A piece of memory that is filled from the front with objects that the kernel will see in the
/// physical map.
struct Arena<'m> {
    block: Block<'m>,
    used: usize,
    /// The virtual address of physical address 0.
    base: VirtAddr,
}

impl<'m> Arena<'m> {
    fn new<M: Machine<'m>>(
        machine: M,
        memory: &mut MemoryMap,
        size: usize,
        base: VirtAddr,
    ) -> Result<Self, M::Failure> {
        let size = (size as u64).next_multiple_of(PAGE_SIZE);
        let mut block = machine.pages(size, MemoryKind::Reclaimable, memory)?;
        block.fill(0);
        Ok(Self {
            block,
            used: 0,
            base,
        })
    }

    /// Reserves room for `count` values; returns its offset.
    fn reserve<T>(&mut self, count: usize) -> usize {
        let start = self.used.next_multiple_of(align_of::<T>());
        self.used = start + size_of::<T>() * count;
        assert!(
            self.used <= self.block.len(),
            "the boot information is larger than was computed"
        );
        start
    }

    fn put<T: Plain>(&mut self, offset: usize, value: &T) {
        copy(
            bytes(value),
            self.block.get_mut(offset..).unwrap_or_default(),
        );
    }

    /// Stores values; returns the virtual address of the first.
    fn store<T: Plain>(&mut self, values: impl Iterator<Item = T>, count: usize) -> *const T {
        let start = self.reserve::<T>(count);
        for (index, value) in (0..count).zip(values) {
            self.put(start + index * size_of::<T>(), &value);
        }
        self.address(start)
    }

    /// Stores a text and a zero byte.
    fn text(&mut self, text: &str) -> Text {
        self.fill(text.len(), |room| copy(text.as_bytes(), room))
    }

    /// Reserves room for a text of `length` bytes, which `fill` writes, and for a zero byte.
    fn fill(&mut self, length: usize, fill: impl FnOnce(&mut [u8]) -> usize) -> Text {
        let start = self.reserve::<u8>(length + 1);
        let room = self.block.get_mut(start..=start + length);
        Text {
            length: fill(room.unwrap_or_default()) as u64,
            start: self.address(start),
        }
    }

    /// The address at which the kernel sees it.
    fn address<T>(&self, offset: usize) -> *const T {
        let place = self.block.start() + offset as u64;
        core::ptr::without_provenance(self.base.wrapping_add(place.as_u64()).as_u64() as usize)
    }
}

/// Writes the boot information; returns its address.
#[inline(never)]
fn information<'m, M: OutMachine<'m>>(
    files: &Files<'m, M>,
    partition: &Partition,
    entry: &BootEntry<'m>,
    kernel: &Kernel,
    space: &AddressSpace,
    memory: &mut MemoryMap,
) -> Result<PhysAddr, M::Failure> {
    let machine = files.machine();
    let base = kernel.wishes.physical_map_base;
    let size = size(entry, kernel, memory);
    let mut arena = Arena::new(machine, memory, size, base)?;
    let boot_info = arena.reserve::<BootInfo>(1);
    let placed = placed(&mut arena, kernel, space);
    let modules = store_modules(&mut arena, entry, kernel);
    let loader = arena.text(LOADER);
    let length = entry.text.command_line_length();
    let command_line = arena.fill(length, |room| {
        entry.text.copy_command_line(room).unwrap_or(0)
    });
    let tables = firmware_tables(machine);
    let cpu_features = machine.cpu_features();
    // The memory map is stored last, so that it is complete.
    let regions = memory.regions();
    let memory_map = arena.store(
        regions.iter().map(|&region| MemoryRegion::from(region)),
        regions.len(),
    );
    say!(machine, "12 handoff  to #h"; placed.entry);
    machine.show_cursor();
    let info = BootInfo {
        magic: BOOTPATH_MAGIC,
        version: BOOTPATH_VERSION,
        size: size_of::<BootInfo>() as u32,
        loader,
        command_line,
        memory_map,
        memory_map_count: regions.len() as u64,
        physical_map_base: base.as_u64(),
        physical_map_size: space.physical_map_size,
        kernel: placed,
        modules,
        module_count: kernel.modules().len() as u64,
        display: display(machine),
        rsdp: tables.rsdp,
        smbios: tables.smbios,
        smbios3: tables.smbios3,
        boot_disk: boot_disk(files, partition),
        tls: tls(kernel),
        cpu_features,
        timeline: machine.stamps(),
        random_seed: machine.random_seed(),
    };
    arena.put(boot_info, &info);
    Ok(arena.block.start() + boot_info as u64)
}

/// Bytes of the boot information and of the data that it points to.
fn size(entry: &BootEntry<'_>, kernel: &Kernel, memory: &MemoryMap) -> usize {
    let texts =
        |module: crate::entry::entry_file::Module<'_>| module.path.len() + module.string.len() + 2;
    size_of::<BootInfo>()
        + (memory.regions().len() + SPARE_REGIONS) * size_of::<MemoryRegion>()
        + kernel.image.segments().len() * size_of::<KernelSegment>()
        + kernel.modules().len() * size_of::<Module>()
        + entry.text.modules().map(texts).sum::<usize>()
        + entry.text.command_line_length()
        + LOADER.len()
        + 128 // zero bytes and alignment
}

/// Where the kernel and its stack are.
fn placed(arena: &mut Arena<'_>, kernel: &Kernel, space: &AddressSpace) -> handoff::Kernel {
    let count = kernel.image.segments().len();
    let segments = kernel.segments().map(|(segment, address)| KernelSegment {
        virtual_start: segment.virtual_start.wrapping_add(kernel.slide).as_u64(),
        physical_start: address.as_u64(),
        length: segment.memory_size,
        flags: segment.flags,
        reserved: 0,
    });
    handoff::Kernel {
        virtual_base: kernel
            .image
            .virtual_start()
            .wrapping_add(kernel.slide)
            .as_u64(),
        physical_base: kernel.physical_start().as_u64(),
        size: kernel.image.virtual_end() - kernel.image.virtual_start(),
        slide: kernel.slide,
        entry: kernel.image.entry().wrapping_add(kernel.slide).as_u64(),
        segments: arena.store(segments, count),
        segment_count: count as u64,
        stack_bottom: space.stack_bottom.as_u64(),
        stack_size: kernel.wishes.stack_size,
    }
}

fn store_modules(arena: &mut Arena<'_>, entry: &BootEntry<'_>, kernel: &Kernel) -> *const Module {
    let count = kernel.modules().len();
    let list = arena.reserve::<Module>(count);
    let loaded = kernel.modules().iter().zip(entry.text.modules());
    for (index, (loaded, line)) in loaded.enumerate() {
        let start = arena.base.wrapping_add(loaded.start.as_u64());
        let module = Module {
            start: core::ptr::without_provenance(start.as_u64() as usize),
            physical_start: loaded.start.as_u64(),
            length: loaded.length,
            path: arena.text(line.path),
            string: arena.text(line.string),
        };
        arena.put(list + index * size_of::<Module>(), &module);
    }
    arena.address(list)
}

fn tls(kernel: &Kernel) -> TlsTemplate {
    let none = TlsTemplate {
        start: 0,
        file_size: 0,
        memory_size: 0,
        alignment: 0,
    };
    kernel.image.tls().map_or(none, |tls| TlsTemplate {
        start: tls.virtual_start.wrapping_add(kernel.slide).as_u64(),
        file_size: tls.file_size,
        memory_size: tls.memory_size,
        alignment: tls.alignment,
    })
}

fn display<'m>(machine: impl Machine<'m>) -> Display {
    match machine.cursor() {
        Some((_, row)) => Display {
            kind: DisplayKind::Text as u32,
            bits_per_pixel: 16,
            address: layout::VGA_TEXT,
            width: layout::TEXT_COLUMNS as u32,
            height: layout::TEXT_ROWS as u32,
            pitch: 2 * layout::TEXT_COLUMNS as u32,
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

fn boot_disk<'m, M: OutMachine<'m>>(files: &Files<'m, M>, partition: &Partition) -> BootDisk {
    let (_, bios_drive) = files.machine().drives();
    BootDisk {
        drive: files.disk().map_or(0, Drive::number),
        bios_drive,
        partition: partition.number,
        reserved: 0,
        signature: partition.signature,
        partition_lba: partition.first_lba.as_u64(),
        partition_sectors: partition.sectors,
        sector_size: files.disk().map_or(0, |disk| disk.sector_size() as u32),
        reads: files.disk().map_or(0, Drive::reads),
    }
}

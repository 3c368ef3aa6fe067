//! The whole path, from the bytes of a disk to the page tables of a kernel, by the code that boots;
//! and then what was promised to the kernel, seen through a software MMU.
//!
//! What stage2's machine half does in between (it reads, clears and writes memory) is done here on a
//! model of physical memory that is full of junk at first and refuses whatever was not allocated.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use boot_path::disk::fat::{Cache, File, Volume};
use boot_path::disk::partition;
use boot_path::disk::stream::{self, Range};
use boot_path::entry::entries::{
    self, DIRECTORY, Entries, LoaderConf, MAX_CANDIDATES, PATH_LOADER,
};
use boot_path::entry::entry_file::{self, MAX_FILE, PATH_ENTRY, PATH_KERNEL};
use boot_path::kernel::image::{self, KernelImage, Wishes};
use boot_path::kernel::placement::Kernel;
use boot_path::kernel::relocate::{LoadedKernel, relocate};
use boot_path::memory::layout::{EARLY_REACH, PAGE_SIZE, STAGE2};
use boot_path::memory::map::{MIB, MemoryKind, MemoryMap, Region};
use boot_path::paging::address_space::{self, AddressSpace, TablePages};
use boot_path::paging::page_tables::Capabilities;

use super::show;
use crate::disk::SparseDisk;
use crate::input::Input;
use crate::kernels;
use crate::mmu::{self, Page};
use crate::tiny::{Tiny, checksum, entry, long_entries};

/// What memory holds before anybody wrote to it.
const JUNK: u8 = 0xA5;

/// Kernels, and modules, that need more memory are placed and mapped, but not loaded.
const MOST: u64 = 4 << 20;

/// The input: the machine, then the disk (see `Machine` and `Image`).
pub fn run(bytes: &[u8]) {
    let _ = outcome(bytes);
}

/// As [`run`]; says whether the kernel would have been started, or what the loader would have shown.
///
/// # Errors
/// The report.
pub fn outcome(bytes: &[u8]) -> Result<(), String> {
    let mut input = Input::new(bytes);
    let mut machine = Machine::new(&mut input);
    let image = Image::new(&mut input);
    let mut disk = SparseDisk::new(
        &image.bytes,
        machine.sector_size,
        machine.sectors,
        machine.max_transfer,
    );
    let regions = machine.memory.regions().to_vec();
    let mut headers = None;
    let kernel_file = image.kernel.as_deref();
    let booted = boot(&mut disk, &mut machine, kernel_file, &mut headers);
    if let Err(report) = &booted
        && image.kernel.is_some()
        && machine.sectors >= 1 << 20
    {
        let of_disk = report.starts_with("error 7") || report.starts_with("error 8");
        assert!(!of_disk, "a good volume: {report}");
    }
    booted?.check(&regions, &machine);
    Ok(())
}

/// What the disk is in.
struct Machine {
    memory: MemoryMap,
    cpu: Capabilities,
    sector_size: usize,
    sectors: u64,
    max_transfer: usize,
    windows: usize,
}

impl Machine {
    fn new(input: &mut Input<'_>) -> Self {
        let how = input.u8();
        let mut memory = MemoryMap::new();
        let mut add = |start, end, kind| memory.add(Region { start, end, kind });
        add(0, 0x9_FC00, MemoryKind::Usable);
        add(0x9_FC00, 0xA_0000, MemoryKind::Reserved);
        add(0xF_0000, MIB, MemoryKind::Reserved);
        let size = input.choose(&[64 << 20, 2 << 20, 3 << 20, 17 << 20, 1 << 30, 3 << 30]);
        add(MIB, MIB + size, MemoryKind::Usable);
        if how & 1 != 0 {
            add(4 << 30, 6 << 30, MemoryKind::Usable);
        }
        for _ in 0..how >> 1 & 7 {
            let start = u64::from(input.u16()) << 12 << (input.u8() % 8);
            let kind = input.choose(&[
                MemoryKind::Reserved,
                MemoryKind::Usable,
                MemoryKind::AcpiReclaimable,
                MemoryKind::AcpiNvs,
                MemoryKind::Bad,
            ]);
            add(start, start + (u64::from(input.u16()) << 9), kind);
        }
        memory.finish(0x9_FC00);
        let cpu = input.u8();
        Self {
            memory,
            cpu: Capabilities {
                nx: cpu & 1 == 0,
                gib_pages: cpu & 2 == 0,
            },
            sector_size: [512, 512, 2048, 4096][usize::from(cpu >> 2 & 3)],
            sectors: [1 << 20, u64::MAX, 300, 1 << 32][usize::from(cpu >> 4 & 3)],
            max_transfer: [127, 1, 16, 64][usize::from(cpu >> 6)],
            windows: [64, 16, 4, 128][usize::from(how >> 4 & 3)] * 1024,
        }
    }
}

/// What is on the disk.
struct Image {
    bytes: Vec<u8>,
    /// The kernel's file, when nothing was damaged on purpose.
    kernel: Option<Vec<u8>>,
}

impl Image {
    /// The disk as the input has it; or a disk with a partition, a FAT volume in it, and a kernel,
    /// a `kernel.conf` or an entry, and a module in that, all of which is then damaged in some places.
    fn new(input: &mut Input<'_>) -> Self {
        let how = input.u8();
        if how & 3 == 0 {
            let bytes = input.rest().to_vec();
            return Self {
                bytes,
                kernel: None,
            };
        }
        let layout = input.u8();
        let length = usize::from(input.u8());
        let config = input.bytes(length);
        let module_size = usize::from(input.u16()) % 0x2800;
        let damages: Vec<_> = (0..how >> 3 & 3)
            .map(|_| (input.u8(), input.u16(), input.u8(), input.u32()))
            .collect();
        let kernel = if how & 4 == 0 {
            kernels::make(input)
        } else {
            input.rest().to_vec()
        };

        let bits = [32, 12, 16][usize::from(layout & 3) % 3];
        let is_entry = how & 0x20 != 0;
        let order = layout >> 2 & 3;
        let volume = volume(bits, order, &kernel, config, is_entry, module_size);
        let lba = if layout & 0x40 == 0 { 0 } else { 8 };
        let mut bytes = vec![0; lba * 512];
        bytes.extend(volume);
        if lba > 0 {
            bytes[440..444].copy_from_slice(b"disk");
            let entry = &mut bytes[446 + 16 * usize::from(layout >> 4 & 3)..][..16];
            entry[0] = layout & 0x80;
            entry[4] = 0x0C;
            entry[8] = lba as u8;
            entry[12..16].copy_from_slice(&0x10_0000u32.to_le_bytes());
            bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
        }
        for &(place, offset, width, value) in &damages {
            // The sectors with the headers, or anything.
            let start = match place % 8 {
                0 => 0,
                1 | 2 => lba * 512,
                3 => (lba + 1) * 512,
                4 => usize::from(place) * 512,
                _ => usize::from(place >> 3) * 4096,
            };
            let at = (start + usize::from(offset) % 4096) % bytes.len();
            let width = (usize::from(width) % 4 + 1).min(bytes.len() - at);
            bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
        let kernel = damages.is_empty().then_some(kernel);
        Self { bytes, kernel }
    }
}

/// A volume with the files; `order`: how their clusters are spread.
fn volume(
    bits: u32,
    order: u8,
    kernel: &[u8],
    config: &[u8],
    is_entry: bool,
    module_size: usize,
) -> Vec<u8> {
    const BOOT: u32 = 3;
    const LOADER: u32 = 4;
    const ENTRIES: u32 = 5;
    const FIRST: u32 = 6;

    let module: Vec<u8> = (0..module_size)
        .map(|at| (at * 13 + at / 256) as u8)
        .collect();
    let files = [kernel, config, &module];
    let count: usize = files.iter().map(|bytes| bytes.len().div_ceil(512)).sum();

    let mut tiny = Tiny::new(bits);
    let mut clusters: Vec<u32> = (FIRST..FIRST + 2 * count as u32).collect();
    let used = match order {
        0 => clusters[..count].to_vec(),
        1 => clusters.drain(..count).rev().collect(),
        2 => clusters.into_iter().step_by(2).collect(),
        // Neighbours change places.
        _ => (0..count as u32).map(|n| FIRST + (n ^ 1)).collect(),
    };
    let highest = used.iter().copied().max().unwrap_or(FIRST).max(FIRST) as usize;
    let entries = (highest + 1).max(tiny.fat.len());
    tiny.fat.resize(entries, 0);
    tiny.data = vec![0; (highest - 1) * 512];

    tiny.entry(0, b"BOOT       ", 0x10, BOOT, 0);
    let (mut directory, mut entries) = (Vec::new(), Vec::new());
    let mut rest = &used[..];
    let config_name = match is_entry {
        true => ("an entry.conf", b"ANENTR~1CON"),
        false => ("kernel.conf", b"KERNEL~1CON"),
    };
    let names = [
        ("kernel.elf", b"KERNEL  ELF"),
        config_name,
        ("module", b"MODULE     "),
    ];
    for (index, ((long, short), bytes)) in names.into_iter().zip(files).enumerate() {
        let directory = match index {
            1 if is_entry => &mut entries,
            _ => &mut directory,
        };
        let (chain, behind) = rest.split_at(bytes.len().div_ceil(512));
        rest = behind;
        tiny.chain(chain, bytes);
        if long.len() > 10 {
            directory.extend(long_entries(long, checksum(short)));
        }
        let first = chain.first().copied().unwrap_or(0);
        directory.push(entry(short, 0x20, first, bytes.len() as u32));
    }
    tiny.chain(&[BOOT], &directory.concat());
    if is_entry {
        tiny.entry(1, b"LOADER     ", 0x10, LOADER, 0);
        tiny.chain(&[LOADER], &entry(b"ENTRIES    ", 0x10, ENTRIES, 0));
        tiny.chain(&[ENTRIES], &entries.concat());
    }
    tiny.image()
}

/// What was loaded and mapped.
struct Booted<'h> {
    kernel: Kernel<'h>,
    /// The file, if it is small and can be read.
    file: Option<Vec<u8>>,
    modules: Vec<Option<Vec<u8>>>,
    space: AddressSpace,
    memory: Memory,
}

/// Steps 7 to 11, in the order and by the calls of stage2's `main.rs`.
fn boot<'h>(
    disk: &mut SparseDisk<'_>,
    machine: &mut Machine,
    expected_file: Option<&[u8]>,
    headers: &'h mut Option<(KernelImage, Wishes)>,
) -> Result<Booted<'h>, String> {
    let map = &mut machine.memory;
    let partition = partition::find(disk).map_err(|e| show(&e))?;

    let mut windows = vec![0; 3 * machine.windows];
    let mut cache = Cache::new(&mut windows);
    let cache = &mut cache;
    let volume = Volume::open_any(disk, cache, &partition);
    let (volume, _) = volume.map_err(|e| show(&e))?;

    let texts = entries(disk, cache, &volume)?;
    let mut found = Entries::default();
    for (path, text) in &texts {
        let _ = found.add(path, text);
    }
    let bytes;
    let config = if found.is_empty() {
        bytes = match volume.find(disk, cache, PATH_ENTRY).map_err(|e| show(&e))? {
            Some(file) => text(disk, cache, &volume, &file)?,
            None => Vec::new(),
        };
        entry_file::parse(&bytes).map_err(|e| show(&e))?
    } else {
        let conf = match volume
            .find(disk, cache, PATH_LOADER)
            .map_err(|e| show(&e))?
        {
            Some(file) => text(disk, cache, &volume, &file)?,
            None => Vec::new(),
        };
        let (conf, _) = LoaderConf::parse(&conf);
        let choice = found.choose(conf.default_entry());
        choice.map_err(|e| show(&e))?.item.text
    };
    if let Some(target) = config.chain() {
        return Err(format!("another program is started: {target}"));
    }
    let path = config.kernel().unwrap_or(PATH_KERNEL);
    let found = volume.find(disk, cache, path).map_err(|e| show(&e))?;
    let file = found.ok_or("error 9A: no kernel")?;
    let expected_file = expected_file.filter(|_| path == PATH_KERNEL);

    image::read(headers, file.size, |offset, out| {
        let read = volume.read_at(disk, cache, &file, offset, out);
        read.map_err(|e| show(&e)).map_err(Shown)
    })
    .map_err(|Shown(text)| text)?;
    let (image, wishes) = headers.as_mut().expect("they were read");
    image.check(wishes).map_err(|e| show(&e))?;
    let mut kernel = Kernel::new(image, *wishes);
    kernel.place(map).map_err(|e| show(&e))?;
    let mut memory = Memory::new(&kernel, map);
    kernel.zeroes(|start, end| memory.zero(start, end));
    load(&mut memory, disk, cache, &volume, &file, &kernel.reads())?;
    let content = content(disk, cache, &volume, &file);
    if let (Some(expected), true) = (expected_file, file.size <= MOST) {
        assert_eq!(content.as_deref(), Some(expected), "another file was read");
    }
    if memory.is_loaded() {
        if let Some(content) = &content {
            let unrelocated = kernels::unrelocated(kernel.image, content);
            assert!(memory.segments(&kernel) == unrelocated, "loaded wrongly");
        }
        let mut loaded = InMemory {
            kernel: &kernel,
            memory: &mut memory,
        };
        relocate(kernel.image, &mut loaded, kernel.slide).map_err(|e| show(&e))?;
    }

    let mut modules = Vec::new();
    for module in config.modules() {
        let found = volume
            .find(disk, cache, module.path)
            .map_err(|e| show(&e))?;
        let file = found.ok_or("error 9B: a module is missing")?;
        let placed = kernel.place_module(file.size, map).map_err(|e| show(&e))?;
        let pages = file.size.div_ceil(PAGE_SIZE).max(1);
        assert_eq!(placed.memory_end(), placed.start + pages * PAGE_SIZE);
        memory.add(
            placed.start,
            placed.memory_end() - placed.start,
            MemoryKind::Module,
            map,
        );
        load(&mut memory, disk, cache, &volume, &file, &[placed.read()])?;
        memory.zero(placed.start + placed.length, placed.memory_end());
        modules.push(self::content(disk, cache, &volume, &file));
    }

    let tables = memory.tables.clone();
    let space = address_space::build(&kernel, map, Tables(tables), machine.cpu, STAGE2.start);
    Ok(Booted {
        space: space.map_err(|e| show(&e))?,
        kernel,
        file: content,
        modules,
        memory,
    })
}

/// The files in the directory of entries: paths and bytes.
fn entries(
    disk: &mut SparseDisk<'_>,
    cache: &mut Cache<'_>,
    volume: &Volume,
) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut texts = Vec::new();
    let directory = volume.directory(disk, cache, DIRECTORY);
    let Some(mut directory) = directory.map_err(|e| show(&e))? else {
        return Ok(texts);
    };
    let mut count = 0;
    while let Some(listed) = directory.next(disk, cache).map_err(|e| show(&e))? {
        count += 1;
        assert!(count <= 65_536, "a directory without end");
        let name = listed.name.as_str();
        if entries::is_entry(name) && texts.len() <= MAX_CANDIDATES {
            let bytes = text(disk, cache, volume, &listed.file)?;
            texts.push((format!("{DIRECTORY}/{name}"), bytes));
        }
    }
    Ok(texts)
}

/// The bytes of a file for people, and one more than it may have.
fn text(
    disk: &mut SparseDisk<'_>,
    cache: &mut Cache<'_>,
    volume: &Volume,
    file: &File,
) -> Result<Vec<u8>, String> {
    let mut buffer = vec![0; MAX_FILE + 1];
    let read = volume.read_at(disk, cache, file, 0, &mut buffer);
    buffer.truncate(read.map_err(|e| show(&e))?);
    Ok(buffer)
}

/// An error that was shown.
struct Shown(String);

impl From<image::KernelError> for Shown {
    fn from(error: image::KernelError) -> Self {
        Self(show(&error))
    }
}

/// Loads pieces of a file.
fn load(
    memory: &mut Memory,
    disk: &mut SparseDisk<'_>,
    cache: &mut Cache<'_>,
    volume: &Volume,
    file: &File,
    ranges: &[Range],
) -> Result<(), String> {
    // Files that are mostly holes of the disk take time and say nothing.
    let total: u64 = ranges.iter().map(|range| range.length).sum();
    if total > MOST || file.size > 2 * MOST {
        return Ok(());
    }
    stream::stream(disk, cache, volume, file, ranges, &mut |at, bytes| {
        memory.write(at, bytes)
    })
    .map_err(|e| show(&e))
}

/// All of a small file, read in the other way. `None` where that fails: the loader may have needed
/// less of it.
fn content(
    disk: &mut SparseDisk<'_>,
    cache: &mut Cache<'_>,
    volume: &Volume,
    file: &File,
) -> Option<Vec<u8>> {
    if file.size > MOST {
        return None;
    }
    let mut bytes = vec![0; file.size as usize];
    let length = volume.read_at(disk, cache, file, 0, &mut bytes).ok()?;
    (length == bytes.len()).then_some(bytes)
}

/// A table's entries, by its address; two owners look at them: who builds, and the MMU.
type SharedTables = Rc<RefCell<BTreeMap<u64, [u64; 512]>>>;

/// Page tables in the model.
struct Tables(SharedTables);

impl TablePages for Tables {
    fn clear(&mut self, table: u64) {
        assert_eq!(table % PAGE_SIZE, 0);
        let old = self.0.borrow_mut().insert(table, [0; 512]);
        assert!(old.is_none(), "a page was allocated twice");
    }

    fn read(&self, table: u64, index: usize) -> u64 {
        self.0.borrow()[&table][index]
    }

    fn write(&mut self, table: u64, index: usize, value: u64) {
        self.0.borrow_mut().get_mut(&table).expect("a table")[index] = value;
    }
}

/// Physical memory, as far as it was allocated.
struct Memory {
    blocks: Vec<Block>,
    tables: SharedTables,
}

/// A piece of memory that was allocated at once.
struct Block {
    start: u64,
    size: u64,
    kind: MemoryKind,
    /// Empty: too large for the model.
    bytes: Vec<u8>,
}

impl Memory {
    fn new(kernel: &Kernel<'_>, map: &MemoryMap) -> Self {
        let mut memory = Self {
            blocks: Vec::new(),
            tables: SharedTables::default(),
        };
        let total: u64 = kernel.image.groups().map(|group| group.size).sum();
        for group in kernel.image.groups() {
            let (segment, address) = kernel.segment(group.first).expect("it was placed");
            let start = address - (segment.virtual_start - group.virtual_start);
            let aligned = start.wrapping_sub(group.offset) % group.alignment == 0;
            assert!(
                aligned || group.preferred_physical == Some(start),
                "alignment"
            );
            memory.add(start, group.size, MemoryKind::Kernel, map);
            if total > MOST {
                memory.blocks.last_mut().expect("just added").bytes.clear();
            }
        }
        memory
    }

    /// What was allocated is what it was allocated for, and nobody else's.
    fn add(&mut self, start: u64, size: u64, kind: MemoryKind, map: &MemoryMap) {
        let end = start + size;
        assert!(start >= MIB && end <= EARLY_REACH && (start | size).is_multiple_of(PAGE_SIZE));
        let inside = |r: &Region| r.kind == kind && r.start <= start && end <= r.end;
        assert!(map.regions().iter().any(inside), "not allocated");
        for other in &self.blocks {
            assert!(
                end <= other.start || other.start + other.size <= start,
                "twice"
            );
        }
        let bytes = match size {
            0..=MOST => vec![JUNK; size as usize],
            _ => Vec::new(),
        };
        self.blocks.push(Block {
            start,
            size,
            kind,
            bytes,
        });
    }

    /// Whether all of the kernel is there.
    fn is_loaded(&self) -> bool {
        let kernel = self.blocks.iter().filter(|b| b.kind == MemoryKind::Kernel);
        kernel.clone().count() > 0 && kernel.clone().all(|block| !block.bytes.is_empty())
    }

    /// The bytes of a range that was allocated; `None` where the model has none.
    fn range(&mut self, start: u64, end: u64) -> Option<&mut [u8]> {
        let block = self
            .blocks
            .iter_mut()
            .find(|block| block.start <= start && end <= block.start + block.size)
            .unwrap_or_else(|| panic!("{start:x} to {end:x} was not allocated"));
        let offset = (start - block.start) as usize;
        block.bytes.get_mut(offset..offset + (end - start) as usize)
    }

    fn zero(&mut self, start: u64, end: u64) {
        if start < end
            && let Some(bytes) = self.range(start, end)
        {
            bytes.fill(0);
        }
    }

    fn write(&mut self, start: u64, bytes: &[u8]) {
        if let Some(room) = self.range(start, start + bytes.len() as u64) {
            room.copy_from_slice(bytes);
        }
    }

    /// The kernel's segments, by their physical addresses.
    fn segments(&mut self, kernel: &Kernel<'_>) -> kernels::Memory {
        kernel
            .segments()
            .map(|(segment, address)| {
                let bytes = self.range(address, address + segment.memory_size);
                bytes.expect("it is loaded").to_vec()
            })
            .collect()
    }
}

/// As in stage2's `kernel.rs`.
struct InMemory<'a> {
    kernel: &'a Kernel<'a>,
    memory: &'a mut Memory,
}

impl LoadedKernel for InMemory<'_> {
    fn bytes(&self, segment: usize) -> &[u8] {
        let (segment, address) = self.kernel.segment(segment).expect("a segment");
        let blocks = self.memory.blocks.iter();
        let block = blocks
            .rev()
            .find(|block| (block.start..block.start + block.size).contains(&address));
        let block = block.expect("it was placed");
        &block.bytes[(address - block.start) as usize..][..segment.file_size as usize]
    }

    fn memory(&mut self, segment: usize) -> Option<&mut [u8]> {
        let (segment, address) = self.kernel.segment(segment).expect("a segment");
        self.memory.range(address, address + segment.memory_size)
    }
}

/// What a part of the address space is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Switch,
    Kernel,
    Stack,
    PhysicalMap,
}

impl Booted<'_> {
    /// Everything that was promised. `regions`: the memory before anything was allocated.
    fn check(mut self, regions: &[Region], machine: &Machine) {
        let tables = self.memory.tables.clone();
        let table = |address| tables.borrow()[&address].to_vec();
        let pages = mmu::all_pages(&table, self.space.root, machine.cpu);
        self.check_memory(regions, machine);

        let base = self.kernel.wishes.physical_map_base;
        let stack_size = self.kernel.wishes.stack_size;
        let mut mapped = [0; 4];
        for page in &pages {
            let last = page.virtual_start + (page.size - 1);
            assert!(page.virtual_start >= PAGE_SIZE, "page 0 is mapped");
            let below = self.space.stack_bottom - 1;
            assert!(
                !(page.virtual_start..=last).contains(&below),
                "no guard page"
            );
            let in_stack = page.virtual_start.wrapping_sub(self.space.stack_bottom);
            let in_map = page.virtual_start.wrapping_sub(base);
            let kernel =
                kernels::permissions(&self.kernel.image, self.kernel.slide, page.virtual_start);
            let purpose = if page.virtual_start == STAGE2.start {
                self.check_switch(page);
                Use::Switch
            } else if in_stack < stack_size {
                self.check_stack(page, in_stack, machine);
                Use::Stack
            } else if kernel.is_some() {
                self.check_kernel(page, machine);
                Use::Kernel
            } else if in_map < self.space.physical_map_size {
                assert_eq!(page.physical_start, in_map);
                check_ram(page, regions);
                assert!(
                    page.writable && (!page.executable || !machine.cpu.nx),
                    "{page:x?}"
                );
                Use::PhysicalMap
            } else {
                panic!("nobody asked for {page:x?}")
            };
            mapped[purpose as usize] += page.size;
            assert!(
                !(page.writable && page.executable && machine.cpu.nx)
                    || purpose == Use::Kernel && self.kernel.wishes.allow_writable_code(),
                "writable and executable: {page:x?}"
            );
        }

        // And all of it: pages do not overlap, so their sum tells.
        let kernel: u64 = self
            .kernel
            .image
            .page_ranges(self.kernel.slide)
            .map(|r| r.size)
            .sum();
        let ram: u64 = merged_ram(regions)
            .iter()
            .map(|(start, end)| end - start)
            .sum();
        assert_eq!(mapped, [PAGE_SIZE, kernel, stack_size, ram]);
        self.check_content(&pages);
    }

    /// The memory map afterwards: what was taken was free.
    fn check_memory(&self, regions: &[Region], machine: &Machine) {
        let kind_before = |address: u64| {
            let there = regions.iter().find(|r| (r.start..r.end).contains(&address));
            there.map(|region| region.kind)
        };
        for region in machine.memory.regions() {
            let is_new = matches!(
                region.kind,
                MemoryKind::Kernel | MemoryKind::Module | MemoryKind::Reclaimable
            );
            for address in [region.start, region.end - 1] {
                let before = kind_before(address);
                let expected = if is_new {
                    MemoryKind::Usable
                } else {
                    region.kind
                };
                assert_eq!(before, Some(expected), "{region:x?}");
            }
        }
        for &table in self.memory.tables.borrow().keys() {
            assert!((MIB..EARLY_REACH).contains(&table));
            self.assert_nobodys(table, PAGE_SIZE);
            assert!(self.kind(machine, table) == Some(MemoryKind::Reclaimable));
        }
    }

    fn kind(&self, machine: &Machine, address: u64) -> Option<MemoryKind> {
        let mut regions = machine.memory.regions().iter();
        let region = regions.find(|r| (r.start..r.end).contains(&address));
        region.map(|region| region.kind)
    }

    /// Neither the kernel's nor a module's.
    fn assert_nobodys(&self, start: u64, size: u64) {
        for block in &self.memory.blocks {
            assert!(start + size <= block.start || block.start + block.size <= start);
        }
    }

    fn check_switch(&self, page: &Page) {
        assert_eq!((page.physical_start, page.size), (STAGE2.start, PAGE_SIZE));
        assert!(page.executable && !page.writable && !page.global);
    }

    fn check_stack(&self, page: &Page, offset: u64, machine: &Machine) {
        assert!(
            page.size <= self.kernel.wishes.stack_size - offset,
            "behind the stack"
        );
        assert!(page.writable && (!page.executable || !machine.cpu.nx));
        self.assert_nobodys(page.physical_start, page.size);
        for address in (page.physical_start..page.physical_start + page.size).step_by(4096) {
            assert_eq!(self.kind(machine, address), Some(MemoryKind::Reclaimable));
            assert!(
                !self.memory.tables.borrow().contains_key(&address),
                "a table"
            );
        }
    }

    /// The memory of the right group, with the right permissions, all over the page.
    fn check_kernel(&self, page: &Page, machine: &Machine) {
        let (image, slide) = (&self.kernel.image, self.kernel.slide);
        let last = page.virtual_start + (page.size - 1);
        let edges = kernels::edges(image, slide);
        let edges = edges
            .iter()
            .filter(|edge| (page.virtual_start..=last).contains(edge));
        for &address in edges.chain([&page.virtual_start, &last]) {
            let expected = kernels::permissions(image, slide, address);
            let executable = expected.is_some_and(|(_, executable)| executable);
            assert_eq!(
                expected.map(|(writable, _)| writable),
                Some(page.writable),
                "{page:x?}"
            );
            assert_eq!(page.executable, executable || !machine.cpu.nx, "{page:x?}");
        }
        let unslid = page.virtual_start.wrapping_sub(slide);
        let group = image
            .groups()
            .find(|group| group.contains(unslid))
            .expect("a group");
        let (segment, address) = self.kernel.segment(group.first).expect("a segment");
        let start = address - (segment.virtual_start - group.virtual_start);
        assert_eq!(page.physical_start - start, unslid - group.virtual_start);
        assert!(page.size <= group.size - (unslid - group.virtual_start));
    }

    /// Every byte of every segment is where it should be and what it should be; what else is in the
    /// same memory is zero; and so for the modules.
    fn check_content(&mut self, pages: &[Page]) {
        for (module, content) in self.kernel.modules().to_vec().iter().zip(&self.modules) {
            let bytes = self.memory.range(module.start, module.memory_end());
            if let (Some(bytes), Some(content)) = (bytes, content) {
                let (start, rest) = bytes.split_at(content.len());
                assert!(start == content, "a module's bytes");
                assert!(rest.iter().all(|&byte| byte == 0), "junk behind a module");
            }
        }
        let (Some(file), true) = (&self.file, self.memory.is_loaded()) else {
            return;
        };
        let (image, slide) = (&self.kernel.image, self.kernel.slide);
        let mut expected = kernels::unrelocated(image, file);
        let relocated = kernels::relocate(image, &mut expected, slide);
        assert!(relocated.is_some(), "relocations that the model refuses");
        for (segment, expected) in image.segments().iter().zip(&expected) {
            let start = segment.virtual_start.wrapping_add(slide);
            let mut done = 0;
            while done < segment.memory_size {
                let address = start + done;
                let index = pages.partition_point(|page| page.virtual_start <= address);
                let page = index.checked_sub(1).map(|index| pages[index]);
                let page = page.expect("a page below");
                let offset = address - page.virtual_start;
                assert!(offset < page.size, "{address:x} is not mapped");
                let length = (page.size - offset).min(segment.memory_size - done);
                let physical = page.physical_start + offset;
                let bytes = self.memory.range(physical, physical + length);
                let wanted = &expected[done as usize..][..length as usize];
                assert!(
                    bytes.as_deref() == Some(wanted),
                    "wrong bytes at {address:x}"
                );
                done += length;
            }
        }
        // The rest.
        for (segment, address) in self.kernel.segments() {
            let bytes = self.memory.range(address, address + segment.memory_size);
            bytes.expect("it is loaded").fill(0);
        }
        let kernel = self
            .memory
            .blocks
            .iter()
            .filter(|b| b.kind == MemoryKind::Kernel);
        for block in kernel {
            assert!(
                block.bytes.iter().all(|&byte| byte == 0),
                "junk around the kernel"
            );
        }
    }
}

/// All RAM, and the first MiB, in as few pieces as possible.
fn merged_ram(regions: &[Region]) -> Vec<(u64, u64)> {
    let mut ram = vec![(0, MIB)];
    let is_ram = |r: &&Region| !matches!(r.kind, MemoryKind::Reserved | MemoryKind::Bad);
    for region in regions.iter().filter(is_ram) {
        match ram.last_mut() {
            Some((_, end)) if region.start <= *end => *end = region.end.max(*end),
            _ => ram.push((region.start, region.end)),
        }
    }
    ram
}

fn check_ram(page: &Page, regions: &[Region]) {
    let (start, end) = (page.physical_start, page.physical_start + page.size);
    let inside = |&(from, to): &(u64, u64)| from <= start && end <= to;
    assert!(merged_ram(regions).iter().any(inside), "not RAM: {page:x?}");
}

//! What is promised to a kernel, checked through a software MMU.

use std::mem::offset_of;

use boot_path::kernel::image::{KernelImage, check_file};
use boot_path::memory::layout::{END, PAGE_SIZE, STAGE2};
use boot_path::memory::map::{MIB, MemoryKind, MemoryMap, Region};
use boot_path::paging::page_tables::Capabilities;
use boot_path::ways_out::handover::{BootpathStart, Jump};
use handoff::{BootInfo, Kernel, KernelSegment, MemoryRegion, Module};
use host_machine::Pc;

use crate::kernels;
use crate::mmu::{self, Page};
use crate::whole_disk::Files;

/// Checks everything that was promised. `regions`: the memory before anything was allocated.
pub fn check(
    pc: &Pc,
    regions: &[Region],
    (jump, moves): (&Jump, &[(u64, Vec<u8>)]),
    files: Option<&Files>,
) {
    match jump {
        Jump::Bootpath(start) => Booted::new(pc, regions, start, files).check(),
        Jump::Limine(start) => {
            let pages = pages(pc, start.root.as_u64());
            let page = page_of(&pages, start.entry.as_u64());
            let page = page.expect("the entry point is mapped");
            assert!(page.executable, "the entry point: {page:x?}");
            let at = page.physical_start + (start.entry.as_u64() - page.virtual_start);
            assert!(is_taken(pc, at), "the entry point at {at:x}");
            let below = page_of(&pages, start.stack.as_u64() - 8);
            let below = below.expect("the stack is mapped");
            assert!(below.writable, "the stack: {below:x?}");
        }
        Jump::Protected(state) => {
            let entry = u64::from(state.eip);
            let moved = moves.iter().any(|(to, bytes)| {
                let end = to + bytes.len() as u64;
                (*to..end).contains(&entry)
            });
            assert!(moved || is_taken(pc, entry), "{state:x?}");
            // The boot information, or Linux's parameters, which are moved to where the loader was.
            assert!(state.ebx == 0 || is_taken(pc, state.ebx.into()));
            assert!(state.esi == 0 || u64::from(state.esi) < END);
        }
        Jump::Linux64 { entry, parameters } => {
            assert!(is_taken(pc, entry.as_u64()) && parameters.as_u64() < END);
        }
        Jump::Real(state) => {
            assert!((u64::from(state.cs) << 4) + u64::from(state.ip) < END);
        }
        Jump::BootSector { bytes, .. } => assert!(*bytes >= 512),
    }
}

/// Checks what is moved to where the loader was: it goes there, one piece apart from the other.
/// Pieces of a Multiboot kernel go to any RAM behind the BIOS's data.
pub fn check_moves(memory: &MemoryMap, jump: &Jump, moves: &[(u64, Vec<u8>)]) {
    let multiboot = match jump {
        Jump::Protected(state) if state.eax != 0 => Some(state),
        _ => None,
    };
    for (index, (to, bytes)) in moves.iter().enumerate() {
        let end = to + bytes.len() as u64;
        match multiboot {
            Some(state) => {
                assert!(
                    *to >= 0x500 && is_ram(memory, *to, end),
                    "{to:x} to {end:x}"
                );
                assert!(!(*to..end).contains(&state.ebx.into()), "the information");
                assert!(
                    !(*to..end).contains(&(u64::from(state.esp) - 4)),
                    "the stack"
                );
            }
            None => assert!(*to >= 0x1000 && end <= END, "{to:x} to {end:x}"),
        }
        for (other, bytes) in &moves[..index] {
            assert!(end <= *other || other + bytes.len() as u64 <= *to);
        }
    }
}

/// Does the firmware call all of it free?
fn is_ram(memory: &MemoryMap, start: u64, end: u64) -> bool {
    let mut regions = memory.regions().iter();
    regions.any(|region| {
        region.kind == MemoryKind::Usable
            && region.start.as_u64() <= start
            && end <= region.end.as_u64()
    })
}

fn is_taken(pc: &Pc, address: u64) -> bool {
    let mut taken = pc.memory.taken().into_iter();
    taken.any(|(start, size)| (start..start + size).contains(&address))
}

fn capabilities(pc: &Pc) -> Capabilities {
    Capabilities {
        nx: pc.cpu_features & handoff::CPU_NX != 0,
        gib_pages: pc.cpu_features & handoff::CPU_1GIB_PAGES != 0,
    }
}

fn pages(pc: &Pc, root: u64) -> Vec<Page> {
    let table = |address| {
        assert!(pc.memory.is_table(address), "{address:x} is no table");
        let bytes = bytes(pc, address, PAGE_SIZE);
        let entries = bytes.as_chunks().0.iter();
        entries.map(|&entry| u64::from_le_bytes(entry)).collect()
    };
    mmu::all_pages(&table, root, capabilities(pc))
}

fn page_of(pages: &[Page], address: u64) -> Option<Page> {
    let index = pages.partition_point(|page| page.virtual_start <= address);
    let page = pages[index.checked_sub(1)?];
    (address - page.virtual_start < page.size).then_some(page)
}

fn bytes(pc: &Pc, start: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    pc.memory.read(start, &mut bytes);
    bytes
}

/// A kernel of the loader's own protocol.
struct Booted<'a> {
    pc: &'a Pc,
    regions: &'a [Region],
    start: &'a BootpathStart,
    nx: bool,
    image: Option<(KernelImage, &'a [u8])>,
    module: Option<&'a [u8]>,
}

/// What a part of the address space is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Switch,
    Kernel,
    Stack,
    PhysicalMap,
}

impl<'a> Booted<'a> {
    fn new(
        pc: &'a Pc,
        regions: &'a [Region],
        start: &'a BootpathStart,
        files: Option<&'a Files>,
    ) -> Self {
        // If the kernel is compressed, this is not its ELF file.
        let image = files.and_then(|files| {
            let (image, _) = check_file(&files.kernel[..]).ok()?;
            Some((image, &files.kernel[..]))
        });
        Self {
            pc,
            regions,
            start,
            nx: capabilities(pc).nx,
            image,
            module: files.map(|files| &files.module[..]),
        }
    }

    /// A number in the boot information.
    fn info(&self, offset: usize) -> u64 {
        self.u64(self.start.boot_info.as_u64() + offset as u64)
    }

    fn kernel(&self, offset: usize) -> u64 {
        self.info(offset_of!(BootInfo, kernel) + offset)
    }

    fn u64(&self, address: u64) -> u64 {
        let mut bytes = [0; 8];
        self.pc.memory.read(address, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn u32(&self, address: u64) -> u32 {
        self.u64(address) as u32
    }

    /// The physical address of what the boot information points to.
    fn physical(&self, pointer: u64) -> u64 {
        pointer.wrapping_sub(self.start.physical_map_base.as_u64())
    }

    /// Start and end of each region in the map that the kernel gets, and the region's kind.
    fn memory_map(&self) -> Vec<(u64, u64, u32)> {
        let first = self.physical(self.info(offset_of!(BootInfo, memory_map)));
        let count = self.info(offset_of!(BootInfo, memory_map_count));
        let regions = (0..count).map(|n| first + n * size_of::<MemoryRegion>() as u64);
        regions
            .map(|at| {
                let start = self.u64(at + offset_of!(MemoryRegion, start) as u64);
                let length = self.u64(at + offset_of!(MemoryRegion, length) as u64);
                let kind = self.u32(at + offset_of!(MemoryRegion, kind) as u64);
                (start, start + length, kind)
            })
            .collect()
    }

    fn check(&self) {
        assert_eq!(self.info(0), handoff::BOOTPATH_MAGIC);
        let pages = pages(self.pc, self.start.root.as_u64());
        self.check_memory_map();
        let stack_size = self.kernel(offset_of!(Kernel, stack_size));
        let stack = self.kernel(offset_of!(Kernel, stack_bottom));
        let map_size = self.info(offset_of!(BootInfo, physical_map_size));
        assert_eq!(self.start.stack_top.as_u64(), stack + stack_size);

        let mut mapped = [0; 4];
        for page in &pages {
            let last = page.virtual_start + (page.size - 1);
            assert!(page.virtual_start >= PAGE_SIZE, "page 0 is mapped");
            let guard = page.virtual_start..=last;
            assert!(!guard.contains(&(stack - 1)), "no guard page");
            let in_stack = page.virtual_start.wrapping_sub(stack);
            let in_map = self.physical(page.virtual_start);
            let purpose = if page.virtual_start == STAGE2.start {
                self.check_switch(page);
                Use::Switch
            } else if in_stack < stack_size {
                self.check_stack(page, stack_size - in_stack);
                Use::Stack
            } else if self.in_kernel(page.virtual_start) {
                self.check_kernel(page);
                Use::Kernel
            } else if in_map < map_size {
                assert_eq!(page.physical_start, in_map);
                self.check_ram(page);
                assert!(page.writable && (!page.executable || !self.nx), "{page:x?}");
                Use::PhysicalMap
            } else {
                panic!("nobody asked for {page:x?}")
            };
            mapped[purpose as usize] += page.size;
        }

        // Nothing is missing: pages do not overlap, so the sum of their sizes shows it.
        let ram = self.merged_ram();
        let ram: u64 = ram.iter().map(|(start, end)| end - start).sum();
        let kernel = self.image.as_ref().map(|(image, _)| {
            let ranges = image.page_ranges(self.slide());
            ranges.map(|range| range.size).sum()
        });
        let kernel = kernel.unwrap_or(mapped[Use::Kernel as usize]);
        assert_eq!(mapped, [PAGE_SIZE, kernel, stack_size, ram]);
        self.check_segments(&pages);
        self.check_content(&pages);
        self.check_modules();
    }

    fn slide(&self) -> u64 {
        self.kernel(offset_of!(Kernel, slide))
    }

    /// Checks that only free memory was taken.
    fn check_memory_map(&self) {
        let kind_before = |address: u64| {
            let mut regions = self.regions.iter();
            let there = regions.find(|r| (r.start.as_u64()..r.end.as_u64()).contains(&address));
            there.map(|region| region.kind as u32)
        };
        let new = [
            MemoryKind::Kernel,
            MemoryKind::Module,
            MemoryKind::Reclaimable,
        ];
        let mut before = 0;
        for (start, end, kind) in self.memory_map() {
            assert!(before <= start && start < end, "{start:x} to {end:x}");
            before = end;
            // The loader knows where the screen is, whatever the BIOS says.
            if kind == MemoryKind::Framebuffer as u32 {
                continue;
            }
            let is_new = new.iter().any(|&new| new as u32 == kind);
            let expected = if is_new {
                MemoryKind::Usable as u32
            } else {
                kind
            };
            // The loader knows where it is itself, whatever the BIOS says.
            let own = is_new && start < END;
            for address in [start.max(if own { END } else { 0 }), end - 1] {
                let is_same = kind_before(address) == Some(expected);
                assert!(
                    is_same || own && address <= END,
                    "{start:x} to {end:x}: {kind}"
                );
            }
        }
    }

    fn kind(&self, address: u64) -> Option<u32> {
        let mut regions = self.memory_map().into_iter();
        let region = regions.find(|(start, end, _)| (*start..*end).contains(&address));
        region.map(|(_, _, kind)| kind)
    }

    fn check_switch(&self, page: &Page) {
        assert_eq!((page.physical_start, page.size), (STAGE2.start, PAGE_SIZE));
        assert!(page.executable && !page.writable && !page.global);
    }

    fn check_stack(&self, page: &Page, left: u64) {
        assert!(page.size <= left, "behind the stack");
        assert!(page.writable && (!page.executable || !self.nx));
        for address in (page.physical_start..page.physical_start + page.size).step_by(4096) {
            assert_eq!(self.kind(address), Some(MemoryKind::Reclaimable as u32));
            assert!(!self.pc.memory.is_table(address), "a table");
        }
    }

    fn in_kernel(&self, address: u64) -> bool {
        match &self.image {
            Some((image, _)) => kernels::permissions(image, self.slide(), address).is_some(),
            None => {
                let base = self.kernel(offset_of!(Kernel, virtual_base)) & !(PAGE_SIZE - 1);
                let end = self.kernel(offset_of!(Kernel, virtual_base))
                    + self.kernel(offset_of!(Kernel, size));
                address.wrapping_sub(base) < end.wrapping_sub(base).next_multiple_of(PAGE_SIZE)
            }
        }
    }

    /// Checks that the page is the kernel's memory, with the right permissions all over it.
    fn check_kernel(&self, page: &Page) {
        let kernel = Some(MemoryKind::Kernel as u32);
        for address in [page.physical_start, page.physical_start + page.size - 1] {
            assert_eq!(self.kind(address), kernel, "{page:x?}");
        }
        let Some((image, _)) = &self.image else {
            return;
        };
        let slide = self.slide();
        let last = page.virtual_start + (page.size - 1);
        let edges = kernels::edges(image, slide);
        let inside = edges.iter();
        let inside = inside.filter(|edge| (page.virtual_start..=last).contains(edge));
        for &address in inside.chain([&page.virtual_start, &last]) {
            let (writable, executable) =
                kernels::permissions(image, slide, address).expect("the kernel's page");
            assert_eq!(page.writable, writable, "{page:x?}");
            assert_eq!(page.executable, executable || !self.nx, "{page:x?}");
        }
    }

    /// Checks that the kernel sees segments where the boot information says that they are.
    fn check_segments(&self, pages: &[Page]) {
        let first = self.physical(self.kernel(offset_of!(Kernel, segments)));
        for n in 0..self.kernel(offset_of!(Kernel, segment_count)) {
            let at = first + n * size_of::<KernelSegment>() as u64;
            let start = self.u64(at + offset_of!(KernelSegment, virtual_start) as u64);
            let physical = self.u64(at + offset_of!(KernelSegment, physical_start) as u64);
            let length = self.u64(at + offset_of!(KernelSegment, length) as u64);
            for offset in [0, length - 1] {
                let address = start + offset;
                let page = page_of(pages, address).expect("a segment is mapped");
                let seen = page.physical_start + (address - page.virtual_start);
                assert_eq!(seen, physical + offset, "{address:x}");
                assert!(is_taken(self.pc, seen), "{seen:x} was not allocated");
            }
        }
    }

    /// Checks that every byte of every segment is in its place and has its value, and that the rest
    /// of the kernel's pages is zero.
    fn check_content(&self, pages: &[Page]) {
        let Some((image, file)) = &self.image else {
            return;
        };
        let slide = self.slide();
        let mut expected = kernels::unrelocated(image, file);
        let relocated = kernels::relocate(image, &mut expected, slide);
        assert!(relocated.is_some(), "relocations that the model refuses");
        let segments = image.segments().iter().zip(&expected);
        for page in pages
            .iter()
            .filter(|page| self.in_kernel(page.virtual_start))
        {
            let mut wanted = vec![0; page.size as usize];
            for (segment, bytes) in segments.clone() {
                // The offset of the page in the segment, and that of the segment in the page.
                let start = segment.virtual_start.wrapping_add(slide).as_u64();
                let skip = page.virtual_start.saturating_sub(start) as usize;
                let at = start.saturating_sub(page.virtual_start) as usize;
                let bytes = bytes.get(skip..).unwrap_or_default();
                if let Some(room) = wanted.get_mut(at..) {
                    let length = bytes.len().min(room.len());
                    room[..length].copy_from_slice(&bytes[..length]);
                }
            }
            let found = bytes(self.pc, page.physical_start, page.size);
            let wrong = found
                .iter()
                .zip(&wanted)
                .position(|(one, other)| one != other);
            if let Some(wrong) = wrong {
                panic!("wrong bytes at {:x}", page.virtual_start + wrong as u64);
            }
        }
    }

    /// Checks the bytes of the modules, and the zeroes behind them.
    fn check_modules(&self) {
        let first = self.physical(self.info(offset_of!(BootInfo, modules)));
        for n in 0..self.info(offset_of!(BootInfo, module_count)) {
            let at = first + n * size_of::<Module>() as u64;
            let start = self.u64(at + offset_of!(Module, physical_start) as u64);
            let length = self.u64(at + offset_of!(Module, length) as u64);
            assert_eq!(self.kind(start), Some(MemoryKind::Module as u32));
            let end = (start + length.max(1)).next_multiple_of(PAGE_SIZE);
            let found = bytes(self.pc, start, end - start);
            let (file, rest) = found.split_at(length as usize);
            assert!(rest.iter().all(|&byte| byte == 0), "junk behind a module");
            if let Some(module) = self.module.filter(|module| module.len() == file.len()) {
                assert!(file == module, "a module's bytes");
            }
        }
    }

    /// All RAM, and the first MiB, in as few pieces as possible.
    fn merged_ram(&self) -> Vec<(u64, u64)> {
        let mut ram = vec![(0, MIB)];
        let is_ram = |r: &&Region| !matches!(r.kind, MemoryKind::Reserved | MemoryKind::Bad);
        for region in self.regions.iter().filter(is_ram) {
            let (first, behind) = (region.start.as_u64(), region.end.as_u64());
            match ram.last_mut() {
                Some((_, end)) if first <= *end => *end = behind.max(*end),
                _ => ram.push((first, behind)),
            }
        }
        ram
    }

    fn check_ram(&self, page: &Page) {
        let (start, end) = (page.physical_start, page.physical_start + page.size);
        let inside = |&(from, to): &(u64, u64)| from <= start && end <= to;
        let ram = self.merged_ram();
        assert!(ram.iter().any(inside), "not RAM: {page:x?}");
    }
}

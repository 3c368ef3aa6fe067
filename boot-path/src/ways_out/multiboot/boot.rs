//! Steps 10 to 12 for kernels with a Multiboot header, of version 1 or 2.
//!
//! **On entry**: the header is read, memory can be allocated. **This way out**: loads segments,
//! sections and modules; writes the boot information. **On exit**: all is ready for the jump. The
//! kernel runs in 32-bit protected mode, without paging and interrupts, with EAX = the magic
//! number, EBX = the boot information, and a stack. Interrupt vectors and interrupt controllers are
//! as the BIOS left them.

use arrayvec::ArrayVec;

use crate::bios::vbe::{self, Adapter, Mode, Wish};
use crate::disk::int13::Drive;
use crate::disk::stream::Range;
use crate::entry::choose::BootEntry;
use crate::entry::entry_file::MAX_MODULES;
use crate::files::access::{Files, Plan};
use crate::files::integrity::{Expected, Sums};
use crate::kernel::loading::{load_module, zero};
use crate::kernel::placement::LoadedModule;
use crate::machine::Machine;
use crate::memory::address::PhysAddr;
use crate::memory::layout::{self, PAGE_SIZE};
use crate::memory::list;
use crate::memory::map::{MemoryKind, MemoryMap};
use crate::memory::placement::{allocate, allocate_low};
use crate::memory::ram::{Allocation, Block, bytes_at};
use crate::say;
use crate::ways_out::failure::OutMachine;
use crate::ways_out::graphics;
use crate::ways_out::handover::{Handover, Jump, LastCopies, LastCopy, ProtectedMode};
use crate::ways_out::multiboot::elf::{self, PhysicalImage, Span};
use crate::ways_out::multiboot::header::{Header, Version};
use crate::ways_out::multiboot::information::{self, Apm, Information, Screen, Sections};
use crate::ways_out::way::{LOADER, Way, firmware_tables};

/// Regions that allocating the boot information may add to the memory map.
const SPARE_REGIONS: usize = 4;

/// Bytes of the stack of a kernel that goes to where the stack usually is.
const STACK_SIZE: u64 = 4 * PAGE_SIZE;

/// A kernel with its headers.
pub struct Opened<'m> {
    /// The version of its header.
    pub version: Version,
    /// The header.
    pub header: Header,
    /// Which parts of the file go where.
    pub image: PhysicalImage,
    /// Its section headers.
    pub sections: Option<Block<'m>>,
    /// The part of the file that contains all sections that are not loaded: symbols, names, debug
    /// information. First byte, and the one behind the last.
    pub unloaded: Option<Span>,
    /// The checksums that it must have.
    pub expected: Option<Expected<'m>>,
}

impl Opened<'_> {
    /// The section headers, for the information.
    fn sections(&self) -> Option<Sections<'_>> {
        let table = self.image.sections()?;
        let headers = self.sections.as_deref()?;
        Some(Sections { table, headers })
    }
}

/// The screen of a kernel that does not ask for graphics.
const VGA_TEXT: Screen<'_> = Screen::Text {
    address: layout::VGA_TEXT,
    columns: layout::TEXT_COLUMNS as u32,
    rows: layout::TEXT_ROWS as u32,
};

/// What the checksums of a kernel cover.
pub const fn sums(version: Version) -> Sums {
    match version {
        Version::One => Sums::Multiboot1,
        Version::Two => Sums::Multiboot2,
    }
}

/// Loads the kernel, and prepares everything for it.
///
/// # Errors
/// 10A to 10H, 10J, 10Q to 10U, 9B, 8C, 8B, 7A, 6B.
#[inline(never)]
pub fn boot<'m, M: OutMachine<'m>>(
    way: Way<'_, 'm, M>,
    opened: &mut Opened<'m>,
) -> Result<Handover<'m>, M::Failure> {
    let Way {
        files,
        partition,
        entry,
        memory,
        rooms,
    } = way;
    let machine = files.machine();
    let header = &opened.header;
    let has_text = machine.cursor().is_some();
    header.check_screen(has_text, header.graphics.is_some())?;
    let load_base = load(files, entry, opened, memory)?;
    let header = &opened.header;
    let mut modules = ArrayVec::<LoadedModule, MAX_MODULES>::new();
    for module in entry.text.modules() {
        // An entry file does not have more modules than that.
        let _ = modules.try_push(load_module(files, &module, memory)?);
    }
    // Not asked earlier, though it may end in an error: the BIOS's answers overwrite the buffer
    // into which files are read.
    let mut graphics = Graphics::ask(machine, header, rooms.adapter, memory)?;
    header.check_screen(has_text, graphics.is_some())?;

    machine.step(11);
    say!(machine, "11 paging   off");

    machine.step(12);
    let tables = firmware_tables(machine);
    let firmware = |start, length| machine.firmware(PhysAddr::new(start), length);
    let mut information = Information {
        loader: LOADER,
        entry: &entry.text,
        modules: &modules,
        memory: &[],
        drive: files.disk().map(Drive::number),
        partition: partition.number,
        sections: opened.sections(),
        screen: has_text.then_some(VGA_TEXT),
        apm: match header.apm {
            true => Apm::connect(&mut { machine }),
            false => None,
        },
        rsdp: tables.rsdp(&firmware),
        smbios: tables.smbios(&firmware),
        load_base: load_base.map(|base| base.as_u64() as u32),
    };
    let esp = stack(machine, &opened.image, memory)?;
    let last = last_copies(machine, &opened.image, memory)?;
    let ebx = finish(machine, opened, &mut information, &mut graphics, memory)?;
    Ok(Handover {
        last,
        ..Handover::from(state(opened, ebx, esp.as_u64() as u32))
    })
}

/// The state in which the kernel begins.
fn state(opened: &Opened<'_>, ebx: u32, esp: u32) -> Jump {
    Jump::Protected(ProtectedMode {
        eip: opened.image.entry().as_u64() as u32,
        eax: opened.version.boot_magic(),
        ebx,
        esp,
        ..ProtectedMode::default()
    })
}

/// ESP at the first instruction. The specifications leave it undefined, but many kernels call
/// before they load it, and other loaders let them. Below it is the transfer buffer, of which
/// only the first bytes are needed any more; or other memory, if a segment goes there.
fn stack<'m, M: OutMachine<'m>>(
    machine: M,
    image: &PhysicalImage,
    memory: &mut MemoryMap,
) -> Result<PhysAddr, M::Failure> {
    let [start, end] = const {
        let buffer = layout::TRANSFER_BUFFER;
        [PhysAddr::new(buffer.start), PhysAddr::new(buffer.end)]
    };
    let mut segments = image.segments().iter();
    if segments.all(|segment| segment.end() <= start || end <= segment.start) {
        return Ok(end);
    }
    Ok(room(machine, STACK_SIZE, memory)?.end())
}

/// The copies of the segments whose bytes wait because the loader is where they go.
fn last_copies<'m, M: OutMachine<'m>>(
    machine: M,
    image: &PhysicalImage,
    memory: &mut MemoryMap,
) -> Result<Option<LastCopies<'m>>, M::Failure> {
    let segments = image.segments();
    if segments.iter().all(|segment| segment.waiting.is_none()) {
        return Ok(None);
    }
    let room = machine.high(LastCopies::size(segments.len()), memory)?;
    let mut copies = LastCopies::new(room);
    for segment in segments.iter().filter(|it| it.waiting.is_some()) {
        copies.add(LastCopy {
            from: segment.loaded_at().as_u64() as u32,
            to: segment.start.as_u64() as u32,
            bytes: segment.file_size as u32,
            zeroes: (segment.memory_size - segment.file_size) as u32,
        });
    }
    Ok(Some(copies))
}

/// Sets the graphics mode, as the last action that can fail, and writes the information; returns
/// its physical address.
fn finish<'i, 'm: 'i, M: OutMachine<'m>>(
    machine: M,
    opened: &Opened<'m>,
    information: &mut Information<'i>,
    graphics: &mut Option<Graphics<'_>>,
    memory: &'i mut MemoryMap,
) -> Result<u32, M::Failure> {
    let header = &opened.header;
    let regions = memory.regions().len() + SPARE_REGIONS;
    let size = information::size(information, regions) as u64;
    let mut block = room(machine, size, memory)?;
    say!(machine, "12 handoff  to #h, in protected mode"; opened.image.entry().as_u64());
    machine.show_cursor();
    if let Some(graphics) = graphics {
        let mode = graphics.set(machine)?;
        header.check_screen(information.screen.is_some(), mode.is_some())?;
        if let Some(mode) = mode {
            information.screen = Some(drawn(machine, mode));
        }
    }
    information.memory = memory.regions();
    let start = block.start().as_u64() as u32;
    let length = match opened.version {
        Version::One => information::multiboot1(information, &mut block, start),
        Version::Two => information::multiboot2(information, &mut block),
    };
    assert!(
        length.is_some(),
        "the boot information is larger than was computed"
    );
    Ok(start)
}

/// Memory for the information, or for a stack: below 640 KiB if it fits there, else above 1 MiB. Some
/// kernels map only what is below their own end before they read the information.
fn room<'m, M: OutMachine<'m>>(
    machine: M,
    size: u64,
    memory: &mut MemoryMap,
) -> Result<Block<'m>, M::Failure> {
    match allocate_low(memory, size) {
        Ok(start) => Ok(machine.block(Allocation::new(start, size))),
        Err(_) => machine.pages(size, MemoryKind::Reclaimable, memory),
    }
}

/// The wishes of a kernel that wants graphics, and the available modes.
struct Graphics<'a> {
    adapter: &'a mut Adapter,
    wish: Wish,
}

impl<'a> Graphics<'a> {
    /// `None`: the kernel does not want graphics, or the machine has none.
    fn ask<'m, M: Machine<'m>>(
        machine: M,
        header: &Header,
        adapter: &'a mut Adapter,
        memory: &MemoryMap,
    ) -> Result<Option<Self>, M::Failure> {
        let Some(wish) = header.graphics else {
            return Ok(None);
        };
        graphics::ask(machine, adapter, memory)?;
        let has_modes = !adapter.modes().is_empty();
        Ok(has_modes.then_some(Self { adapter, wish }))
    }

    fn set<'m, M: Machine<'m>>(&mut self, machine: M) -> Result<Option<Mode>, M::Failure> {
        let within = PhysAddr::new(0)..layout::EARLY_REACH;
        graphics::set(machine, self.adapter, &self.wish, &within)
    }
}

/// The screen in the mode that was set.
fn drawn<'m>(machine: impl Machine<'m>, mode: Mode) -> Screen<'m> {
    let (controller, info) = graphics::blocks(machine);
    Screen::Graphics {
        mode,
        controller,
        info,
        interface: vbe::protected_mode_interface(&mut { machine }),
    }
}

/// Loads the segments. Returns their new address, if they may be moved.
fn load<'m, M: OutMachine<'m>>(
    files: &mut Files<'m, M>,
    entry: &BootEntry<'m>,
    opened: &mut Opened<'m>,
    memory: &mut MemoryMap,
) -> Result<Option<PhysAddr>, M::Failure> {
    let machine = files.machine();
    let image = &mut opened.image;
    let mut load_base = None;
    match &opened.header.limits {
        Some(limits) => load_base = Some(image.place_within(limits, memory)?),
        None => image.place(memory)?,
    }
    let segments = image.segments().len();
    // And one for the sections.
    let mut blocks = machine.list(segments + 1, memory)?;
    let mut ranges = machine.list(segments + 1, memory)?;
    let in_memory = image.segments().iter();
    let in_memory = in_memory.map(|segment| machine.block(segment.allocation()));
    list::put_all(&mut blocks, in_memory);
    image.zeroes(|start, end| zero(machine, &mut blocks, start, end));
    list::put_all(&mut ranges, image.reads());
    let sections = place_sections(
        machine,
        &mut opened.sections,
        image,
        opened.unloaded,
        memory,
    )?;
    if let Some((range, block)) = sections {
        list::put(&mut ranges, range);
        list::put(&mut blocks, block);
    }
    let plan = Plan {
        ranges: &ranges,
        checked: &|blocks, sum| {
            for segment in image.segments() {
                let contents = segment.contents();
                sum(bytes_at(blocks, contents.loaded_at(), contents.file_size));
            }
            if let Some(range) = ranges.get(segments) {
                sum(bytes_at(blocks, range.destination, range.length));
            }
        },
    };
    files.load(&entry.kernel, opened.expected, &plan, &mut blocks)?;
    files.forget(memory);
    image.claim(memory); // some of what was freed may be in it
    tell(machine, opened);
    Ok(load_base)
}

/// Says what is loaded; and that the end of its header is unsound, if it is.
fn tell<'m>(machine: impl Machine<'m>, opened: &Opened<'_>) {
    let image = &opened.image;
    say!(
        machine,
        "10 kernel   ",
        opened.version.name(),
        if image.is_64_bit() { ", ELF64" } else { ", 32 bits" },
        ", # segments, # KiB at #h";
        image.segments().len() as u64,
        image.file_bytes().div_ceil(1024),
        image.start().as_u64()
    );
    if opened.header.unsound_end {
        say!(
            machine,
            "            its header's length or end tag is wrong"
        );
    }
}

/// Finds room, in one piece, for the part of the file with all sections that are not loaded, and
/// writes their addresses into the section headers. Returns the range to read, and its memory.
fn place_sections<'m, M: OutMachine<'m>>(
    machine: M,
    headers: &mut Option<Block<'m>>,
    image: &PhysicalImage,
    unloaded: Option<Span>,
    memory: &mut MemoryMap,
) -> Result<Option<(Range, Block<'m>)>, M::Failure> {
    let (Some(headers), Some(table), Some((start, end))) = (headers, image.sections(), unloaded)
    else {
        return Ok(None);
    };
    // The same offset in a page as in the file keeps all alignments.
    let kind = MemoryKind::Reclaimable;
    let size = end - start;
    let address = allocate(memory, size, PAGE_SIZE, start.as_u64() % PAGE_SIZE, kind)?;
    elf::place_sections(headers, table.entry_size, start, address);
    let range = Range {
        file_offset: start,
        length: size,
        destination: address,
    };
    let block = machine.block(Allocation::new(address, size));
    Ok(Some((range, block)))
}

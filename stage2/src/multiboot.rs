//! Steps 10 to 12 for kernels with a Multiboot header, of version 1 or 2.
//!
//! **On entry**: the files are known, memory can be allocated. **This step**: reads the header;
//! loads segments, sections and modules; puts the boot information together; leaves long mode. **On
//! exit**: the kernel runs in 32-bit protected mode, without paging and interrupts, with EAX = the
//! magic number and EBX = the boot information. Interrupt vectors and interrupt controllers are as
//! the BIOS left them.
#![allow(unsafe_code)]

use core::convert::Infallible;

use arrayvec::ArrayVec;
use boot_path::bios::vbe::{self, Mode};
use boot_path::disk::int13::Drive;
use boot_path::disk::stream::Range;
use boot_path::entry::entry_file::MAX_MODULES;
use boot_path::files::integrity::{Expected, Sums};
use boot_path::kernel::placement::{LoadedModule, allocate};
use boot_path::memory::layout::{self, PAGE_SIZE};
use boot_path::memory::map::{MemoryKind, MemoryMap};
use boot_path::ways_out::multiboot::elf::{self, PhysicalImage};
use boot_path::ways_out::multiboot::header::{Header, Version};
use boot_path::ways_out::multiboot::information::{self, Apm, Information, Screen, Sections};

use crate::Way;
use crate::entry::{BootEntry, Missing};
use crate::files::Files;
use crate::handoff::{FirmwareTables, LOADER, firmware_tables};
use crate::kernel;
use crate::machine::bios::Machine;
use crate::machine::console;
use crate::machine::crc::crc32c;
use crate::machine::faults::Failure;
use crate::machine::findings;
use crate::machine::graphics;
use crate::machine::leave::{self, ProtectedMode};
use crate::machine::physical;
use crate::recognise;
use crate::say;

/// Regions that the memory map may grow by when the memory for the boot information is taken.
const SPARE_REGIONS: usize = 4;

/// Loads the kernel and starts it.
///
/// # Errors
/// 10A to 10H, 10J, 10S to 10U, 9B, 8B, 7A, 6B.
pub fn boot(way: Way<'_>, version: Version) -> Result<Infallible, Failure> {
    let Way {
        files,
        partition,
        entry,
        memory,
    } = way;
    let header = recognise::with_head(files, entry, memory, |head| Header::parse(version, head))??;
    let has_text = console::screen_row().is_some();
    header.check_screen(has_text, header.graphics.is_some())?;
    let file = &entry.kernel;
    let sums = match version {
        Version::One => Sums::Multiboot1,
        Version::Two => Sums::Multiboot2,
    };
    let expected = entry.expected(files, sums)?;
    let mut image = read_headers(files, entry, &header, expected)?;
    let load_base = match header.limits {
        Some(limits) => Some(image.place_within(&limits, memory)?),
        None => {
            image.place(memory)?;
            None
        }
    };
    image.zeroes(kernel::zero);
    files.attempt(Some(file), &mut |files| {
        files.load(file, &image.reads())?;
        let Some(expected) = expected else {
            return Ok(());
        };
        let segments = image.segments().iter();
        let crc = segments.fold(0, |crc, segment| {
            kernel::checksum(crc, segment.start, segment.file_size)
        });
        Ok(expected.bytes(crc)?)
    })?;
    say!(
        "10 kernel   ",
        version.name(),
        if image.is_64_bit() { ", ELF64" } else { ", 32 bits" },
        ", # segments, # KiB at #h";
        image.segments().len() as u64,
        image.file_bytes().div_ceil(1024),
        image.start()
    );
    let sections = load_sections(files, entry, &image, memory)?;
    let modules = load_modules(files, entry, memory)?;
    // Not earlier, though it may end in an error: what the BIOS says lies where files are read to.
    let graphics = header
        .graphics
        .map(|wish| (graphics::ask(memory), wish))
        .filter(|(adapter, _)| !adapter.modes().is_empty());
    header.check_screen(has_text, graphics.is_some())?;

    findings::step(11);
    say!("11 paging   off");

    findings::step(12);
    let tables = firmware_tables();
    let mut information = Information {
        loader: LOADER,
        entry: &entry.text,
        modules: &modules,
        memory: &[],
        drive: files.disk().map(Drive::number),
        partition: partition.number,
        sections,
        screen: has_text.then_some(Screen::Text {
            address: layout::VGA_TEXT,
            columns: console::COLUMNS as u32,
            rows: console::ROWS as u32,
        }),
        apm: if header.apm {
            Apm::connect(&mut Machine)
        } else {
            None
        },
        rsdp: rsdp(&tables),
        smbios: smbios(&tables),
        load_base: load_base.map(|base| base as u32),
    };
    let regions = memory.regions().len() + SPARE_REGIONS;
    let size = information::size(&information, regions) as u64;
    let start = allocate(memory, size, PAGE_SIZE, 0, MemoryKind::Reclaimable)?;
    say!("12 handoff  to #h, in protected mode"; image.entry());
    console::show_cursor();
    if let Some((adapter, wish)) = graphics {
        let mode = graphics::set(adapter, &wish, &(0..layout::EARLY_REACH));
        header.check_screen(has_text, mode.is_some())?;
        if let Some(mode) = mode {
            information.screen = Some(drawn(mode));
        }
    }
    information.memory = memory.regions();
    // SAFETY: just allocated.
    let bytes = unsafe { physical::bytes_mut(start, size) };
    let length = match version {
        Version::One => information::multiboot1(&information, bytes, start as u32),
        Version::Two => information::multiboot2(&information, bytes),
    };
    assert!(
        length.is_some(),
        "the boot information is larger than was computed"
    );

    let state = ProtectedMode {
        eip: image.entry() as u32,
        eax: version.boot_magic(),
        ebx: start as u32,
        ..ProtectedMode::default()
    };
    // SAFETY: the entry point is in a segment, which is loaded.
    unsafe { leave::to_protected_mode(&state) }
}

/// The screen in a mode that was set.
fn drawn(mode: Mode) -> Screen<'static> {
    let (controller, info) = graphics::blocks();
    Screen::Graphics {
        mode,
        controller,
        info,
        interface: vbe::protected_mode_interface(&mut Machine),
    }
}

/// Reads what tells where the kernel goes.
fn read_headers(
    files: &mut Files,
    entry: &BootEntry,
    header: &Header,
    expected: Option<Expected<'static>>,
) -> Result<PhysicalImage, Failure> {
    let file = &entry.kernel;
    let mut image = None;
    files.attempt(Some(file), &mut |files| {
        let mut crc = 0;
        let read = header.image::<Failure>(file.size, |offset, out| {
            let length = files.read_at(file, offset, out)?;
            crc = crc32c(crc, out.get(..length).unwrap_or_default());
            Ok(length)
        })?;
        if let Some(expected) = expected {
            expected.headers(crc)?;
        }
        image = Some(read);
        Ok(())
    })?;
    // It was set, or there was a failure.
    image.ok_or(Missing::Kernel(entry.path).into())
}

/// Loads the section headers and, in one piece, the part of the file with all sections that are not
/// in memory yet; enters their addresses into the headers.
fn load_sections(
    files: &mut Files,
    entry: &BootEntry,
    image: &PhysicalImage,
    memory: &mut MemoryMap,
) -> Result<Option<Sections<'static>>, Failure> {
    let Some(table) = image.sections() else {
        return Ok(None);
    };
    let file = &entry.kernel;
    let size = u64::from(table.count) * u64::from(table.entry_size);
    let start = allocate(memory, size, PAGE_SIZE, 0, MemoryKind::Reclaimable)?;
    // SAFETY: just allocated.
    let headers = unsafe { physical::bytes_mut(start, size) };
    files.read_at(file, table.offset, headers)?;
    if let Some((start, end)) = elf::unloaded_sections(headers, table.entry_size, file.size)? {
        // At the same place in a page as in the file: alignments stay what they are.
        let address = allocate(
            memory,
            end - start,
            PAGE_SIZE,
            start % PAGE_SIZE,
            MemoryKind::Reclaimable,
        )?;
        let range = Range {
            file_offset: start,
            length: end - start,
            destination: address,
        };
        files.load(file, &[range])?;
        elf::place_sections(headers, table.entry_size, start, address);
    }
    Ok(Some(Sections { table, headers }))
}

/// Loads the modules, each from the start of a page on.
fn load_modules(
    files: &mut Files,
    entry: &BootEntry,
    memory: &mut MemoryMap,
) -> Result<ArrayVec<LoadedModule, MAX_MODULES>, Failure> {
    let mut modules = ArrayVec::new();
    for module in entry.text.modules() {
        let module = kernel::load_module(files, module.path, memory)?;
        // There are no more than that in an entry file.
        let _ = modules.try_push(module);
    }
    Ok(modules)
}

/// The RSDP: 20 bytes of revision 0, else as many as it says, if they sum up to 0.
fn rsdp(tables: &FirmwareTables) -> &'static [u8] {
    const REVISION: u64 = 15;
    const LENGTH: u64 = 20;
    /// Version 2.0 has 36 bytes; what is much longer is none.
    const LENGTHS: core::ops::RangeInclusive<u64> = 36..=256;

    let start = tables.rsdp;
    if start == 0 {
        return &[];
    }
    let old = information::RSDP_1_BYTES as u64;
    // SAFETY: the firmware's, in the first MiB, and nobody writes to it.
    let bytes = |length| unsafe { physical::bytes(start, length) };
    let length = u64::from(physical::read::<u32>(start + LENGTH));
    if physical::read::<u8>(start + REVISION) >= 2 && LENGTHS.contains(&length) {
        let new = bytes(length);
        if new.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) == 0 {
            return new;
        }
    }
    bytes(old)
}

/// The entry point structure of SMBIOS, whose checksum is right: the 64-bit one where there is one.
fn smbios(tables: &FirmwareTables) -> &'static [u8] {
    let (start, length) = match (tables.smbios3, tables.smbios) {
        (0, 0) => return &[],
        (0, start) => (start, 5),
        (start, _) => (start, 6),
    };
    let length = physical::read::<u8>(start + length);
    // SAFETY: as above.
    unsafe { physical::bytes(start, length.into()) }
}

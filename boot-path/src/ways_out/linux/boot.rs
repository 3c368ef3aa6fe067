//! Steps 10 to 12 for a Linux kernel: the Linux x86 boot protocol.
//!
//! **On entry**: the setup header is read, memory can be allocated. **This way out**: loads the
//! protected-mode kernel where it prefers to be, and all modules, one behind the other, as its
//! initial RAM disk; writes command line, memory map and parameters. **On exit**: all is ready for
//! the jump: to the setup code in real mode, to the 32-bit entry, or to the 64-bit entry, with the
//! interrupt vectors and controllers as the BIOS left them.
//!
//! Linux, Documentation/arch/x86/boot.rst.

use arrayvec::ArrayVec;
use zerocopy::FromBytes as _;

use crate::entry::choose::BootEntry;
use crate::entry::entry_file::MAX_MODULES;
use crate::entry::protocol::LinuxEntry;
use crate::errors::text::copy;
use crate::files::access::{File, Files, Plan};
use crate::files::integrity::{Expected, Role};
use crate::kernel::loading::load_whole;
use crate::machine::Machine;
use crate::memory::address::PhysAddr;
use crate::memory::layout::{self, PAGE_SIZE};
use crate::memory::map::{MemoryKind, MemoryMap};
use crate::memory::ram::{Allocation, Block, bytes_at};
use crate::say;
use crate::ways_out::failure::OutMachine;
use crate::ways_out::handover::{Handover, Jump, ProtectedMode, RealMode};
use crate::ways_out::linux::image::{
    self, BootParams, Initrd, LinuxError, LinuxImage, PlaceError, Placed, place,
};
use crate::ways_out::way::{Way, firmware_tables};

/// BIOS data area: state of the keyboard's shift keys (u8).
const BDA_KEYBOARD: PhysAddr = PhysAddr::new(0x417);
/// BIOS data area: rows of pixels in a character (u16).
const BDA_CHARACTER_HEIGHT: PhysAddr = PhysAddr::new(0x485);

/// A kernel whose setup header is read.
pub struct Opened<'m> {
    /// The header.
    pub image: LinuxImage,
    /// The entry that an entry file demands.
    pub wanted: Option<LinuxEntry>,
    /// The checksums that it must have.
    pub expected: Option<Expected<'m>>,
}

/// A kernel in memory.
struct Loaded<'m> {
    setup: Block<'m>,
    placed: Placed,
    initrd: Initrd,
    /// The chosen entry.
    entry: LinuxEntry,
}

/// Loads the kernel, and prepares everything for it.
///
/// # Errors
/// 10E, 10Q, 10R, 10U, 10V, 9B, 8B, 7A, 6B.
#[inline(never)]
pub fn boot<'m, M: OutMachine<'m>>(
    way: Way<'_, 'm, M>,
    opened: &Opened<'m>,
) -> Result<Handover<'m>, M::Failure> {
    let Way {
        files,
        entry,
        memory,
        ..
    } = way;
    let machine = files.machine();
    let image = &opened.image;
    let video = image::video_mode(entry.text.options());
    let bits = image.entry(opened.wanted, video)?;
    image.check_command_line(entry.text.command_line_length())?;
    let loaded = load(files, entry, opened, bits, memory)?;

    machine.step(12);
    let how = match bits {
        LinuxEntry::Bits16 => "real mode",
        LinuxEntry::Bits32 => "protected mode",
        LinuxEntry::Bits64 => "long mode",
    };
    say!(machine, "12 handoff  to #h in ", how; image.entry_point(bits, &loaded.placed).as_u64());
    machine.show_cursor();
    let command_line = command_line(machine, entry, memory)?;
    let mut handover = match bits {
        LinuxEntry::Bits16 => to_setup_code(machine, image, loaded, video, memory)?,
        _ => to_entry(machine, image, loaded, memory)?,
    };
    // There is room: neither way moves three blocks.
    let _ = handover.moves.try_push((command_line, place::COMMAND_LINE));
    Ok(handover)
}

/// Loads the kernel and its initial RAM disk.
#[inline(never)]
fn load<'m, M: OutMachine<'m>>(
    files: &mut Files<'m, M>,
    entry: &BootEntry<'m>,
    opened: &Opened<'m>,
    bits: LinuxEntry,
    memory: &mut MemoryMap,
) -> Result<Loaded<'m>, M::Failure> {
    let (machine, image) = (files.machine(), &opened.image);
    let placed = image.place(memory).map_err(|error| match error {
        PlaceError::Memory(error) => M::Failure::from(error),
        PlaceError::NotFree(error) => M::Failure::from(error),
    })?;
    // The final place of the setup code is still in use.
    let size = image.setup_bytes() as u64;
    let setup = machine.pages(size, MemoryKind::Reclaimable, memory)?;
    let kernel = machine.block(Allocation::new(placed.start, placed.length));
    let start = setup.start();
    let mut blocks = [setup, kernel];
    let plan = Plan {
        ranges: &[image.read_setup(start), image.read_kernel(&placed)],
        checked: &|blocks, sum| {
            for (start, length) in checked(image, blocks, start, &placed) {
                sum(bytes_at(blocks, start, length));
            }
        },
    };
    files.load(&entry.kernel, opened.expected, &plan, &mut blocks)?;
    let [setup, _] = blocks;
    let [minor, major] = image.header().version.get().to_le_bytes();
    say!(
        machine,
        "10 kernel   Linux, protocol #.",
        if minor < 10 { "0#" } else { "#" },
        ", # KiB at #h";
        major.into(),
        minor.into(),
        placed.length.div_ceil(1024),
        placed.start.as_u64()
    );
    let initrd = load_initrd(files, entry, image, memory)?;
    Ok(Loaded {
        setup,
        placed,
        initrd,
        entry: bits,
    })
}

/// The parts of a loaded kernel that its checksum covers, as start and length in memory: all but a
/// payload that has its own check. The payload is most of the kernel, which will read and check it
/// anyway.
fn checked(
    image: &LinuxImage,
    blocks: &[Block<'_>],
    setup: PhysAddr,
    placed: &Placed,
) -> [(PhysAddr, u64); 3] {
    let size = image.setup_bytes() as u64;
    let end = size + placed.length;
    let address = |offset| placed.start + (offset - size);
    let payload =
        image.unchecked(|head| bytes_at(blocks, address(head.start), head.end - head.start));
    [
        (setup, size),
        (placed.start, payload.start - size),
        (address(payload.end), end - payload.end),
    ]
}

/// Loads all modules to the place where the kernel expects its initial RAM disk.
#[inline(never)]
fn load_initrd<'m, M: OutMachine<'m>>(
    files: &mut Files<'m, M>,
    entry: &BootEntry<'m>,
    image: &LinuxImage,
    memory: &mut MemoryMap,
) -> Result<Initrd, M::Failure> {
    let machine = files.machine();
    // Each file is found once, so the file that is loaded is the one that was measured.
    let mut found = ArrayVec::<(&'m str, File<'m>), MAX_MODULES>::new();
    for module in entry.text.modules() {
        let file = files.find(Role::Module, module.path)?;
        // A power cut leaves such files. Where nothing else can be booted, Linux may do without.
        if file.size == 0 && entry.has_others {
            return Err(LinuxError::EmptyInitrd.into());
        }
        // An entry file does not have more modules than that.
        let _ = found.try_push((module.path, file));
    }
    let size = image::initrd_size(found.iter().map(|(_, file)| file.size));
    let initrd = image.place_initrd(size, memory)?;
    if size == 0 {
        return Ok(initrd);
    }
    say!(machine, "10 modules  initrd, # KiB at #h"; size.div_ceil(1024), initrd.start.as_u64());
    let mut block = machine.block(Allocation::new(initrd.start, size));
    let mut position = 0;
    for (path, file) in &found {
        load_whole(files, path, file, &mut block, position)?;
        let end = position + file.size;
        position = end.next_multiple_of(4);
        let gap = block.get_mut(end as usize..position as usize);
        gap.unwrap_or_default().fill(0);
    }
    Ok(initrd)
}

/// A block of zeroes for data that is moved to its own place in the end.
fn zeroed<'m, M: Machine<'m>>(
    machine: M,
    size: u64,
    memory: &mut MemoryMap,
) -> Result<Block<'m>, M::Failure> {
    let mut block = machine.pages(size, MemoryKind::Reclaimable, memory)?;
    block.fill(0);
    Ok(block)
}

fn command_line<'m, M: Machine<'m>>(
    machine: M,
    entry: &BootEntry<'m>,
    memory: &mut MemoryMap,
) -> Result<Block<'m>, M::Failure> {
    let length = entry.text.command_line_length() as u64;
    let mut block = zeroed(machine, length + 1, memory)?;
    entry.text.copy_command_line(&mut block);
    Ok(block)
}

/// Prepares the jump to the setup code in real mode, which asks the BIOS for everything itself.
fn to_setup_code<'m, M: Machine<'m>>(
    machine: M,
    image: &LinuxImage,
    loaded: Loaded<'m>,
    video: u16,
    memory: &mut MemoryMap,
) -> Result<Handover<'m>, M::Failure> {
    let segment = (place::PARAMETERS.as_u64() >> 4) as u16;
    let mut room = zeroed(machine, place::HEAP_END.into(), memory)?;
    copy(&loaded.setup, &mut room);
    image.fill_header(&loaded.placed, loaded.initrd, false, video, &mut room);
    let mut handover = Handover::from(Jump::Real(RealMode {
        ip: 0,
        cs: segment + 0x20,
        flags: 1 << 1,
        sp: place::HEAP_END,
        ss: segment,
        ds: segment,
        es: segment,
        fs: segment,
        gs: segment,
        ..RealMode::default()
    }));
    let _ = handover.moves.try_push((room, place::PARAMETERS)); // there is room: this is the first
    Ok(handover)
}

/// Prepares the jump to the 32-bit or the 64-bit entry, with all parameters.
fn to_entry<'m, M: Machine<'m>>(
    machine: M,
    image: &LinuxImage,
    loaded: Loaded<'m>,
    memory: &mut MemoryMap,
) -> Result<Handover<'m>, M::Failure> {
    let mut room = zeroed(machine, PAGE_SIZE, memory)?;
    let mut more = zeroed(machine, place::SETUP_DATA_SIZE, memory)?;
    let mut length = 0;
    if let Ok(parameters) = BootParams::mut_from_bytes(&mut room) {
        image.copy_header(&loaded.setup, parameters);
        length = image::fill_memory_map(memory, parameters, &mut more);
        parameters.acpi_rsdp_addr = firmware_tables(machine).rsdp.into();
        let shift_keys = machine.firmware(BDA_KEYBOARD, 1);
        parameters.kbd_status = shift_keys.and_then(|it| it.first()).copied().unwrap_or(0);
        fill_screen(machine, parameters);
    }
    // Only the setup code would look at a video mode.
    let (more_map, video) = (length != 0, image::VIDEO_NORMAL);
    image.fill_header(&loaded.placed, loaded.initrd, more_map, video, &mut room);

    let entry = image.entry_point(loaded.entry, &loaded.placed);
    let parameters = place::PARAMETERS;
    let mut handover = Handover::from(match loaded.entry {
        LinuxEntry::Bits64 => Jump::Linux64 { entry, parameters },
        _ => Jump::Protected(ProtectedMode {
            eip: entry.as_u64() as u32,
            esi: parameters.as_u64() as u32,
            esp: parameters.as_u64() as u32,
            ..ProtectedMode::default()
        }),
    });
    // There is room: this is the first block.
    let _ = handover.moves.try_push((room, place::PARAMETERS));
    let _ = handover.moves.try_push((more, place::SETUP_DATA));
    Ok(handover)
}

/// Describes VGA text, if there is a screen; otherwise all stays zero.
fn fill_screen<'m>(machine: impl Machine<'m>, parameters: &mut BootParams) {
    let Some((column, row)) = machine.cursor() else {
        return;
    };
    let height = machine.firmware(BDA_CHARACTER_HEIGHT, 2);
    let height = height.and_then(|bytes| bytes.first_chunk());
    let screen = &mut parameters.screen_info;
    screen.orig_x = column as u8;
    screen.orig_y = row as u8;
    screen.orig_video_mode = 3;
    screen.orig_video_cols = layout::TEXT_COLUMNS as u8;
    screen.orig_video_lines = layout::TEXT_ROWS as u8;
    screen.orig_video_is_vga = 1;
    // The answer of INT 10h AH=12h BL=10h on every VGA: colour (BH = 0), 256 KiB (BL = 3).
    screen.orig_video_ega_bx = 3.into();
    screen.orig_video_points = u16::from_le_bytes(*height.unwrap_or(&[0; 2])).into();
}

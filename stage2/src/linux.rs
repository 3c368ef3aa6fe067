//! Steps 10 to 12 for a Linux kernel: the Linux x86 boot protocol.
//!
//! **On entry**: the kernel's file is a bzImage, memory can be allocated. **This way out**: checks
//! the setup header; loads the protected-mode kernel where it wants to be, and all modules, one
//! behind the other, as its initial RAM disk; puts command line, memory map and parameters together.
//! **On exit**: the kernel runs, from its setup code in real mode, from its 32-bit entry, or from its
//! 64-bit entry on, with the interrupt vectors and controllers as the BIOS left them.
//!
//! Linux, Documentation/arch/x86/boot.rst.
#![allow(unsafe_code)]

use core::convert::Infallible;

use asm_lines::naked_asm;
use boot_path::entry::protocol::LinuxEntry;
use boot_path::errors::text::copy;
use boot_path::files::integrity::{Role, Sums};
use boot_path::kernel::placement::allocate;
use boot_path::memory::layout::PAGE_SIZE;
use boot_path::memory::map::{MemoryKind, MemoryMap};
use boot_path::ways_out::linux::image::{
    self, BootParams, HEADER_ROOM, Initrd, LinuxImage, PlaceError, Placed, place,
};
use x86_64::structures::gdt::DescriptorFlags;
use zerocopy::{FromZeros as _, IntoBytes as _};

use crate::Way;
use crate::entry::{BootEntry, Missing};
use crate::files::{File, Files};
use crate::handoff;
use crate::kernel;
use crate::machine::console;
use crate::machine::faults::Failure;
use crate::machine::findings;
use crate::machine::leave::{self, ProtectedMode, RealMode};
use crate::machine::physical;
use crate::real::long_mode::DescriptorPointer;
use crate::say;

/// BIOS data area: state of the keyboard's shift keys (u8).
const BDA_KEYBOARD: u64 = 0x417;
/// BIOS data area: rows of pixels in a character (u16).
const BDA_CHARACTER_HEIGHT: u64 = 0x485;

/// What the kernel finds as its selectors 10h and 18h when it is entered in long mode.
static GDT: [u64; 4] = [
    0,
    0,
    DescriptorFlags::KERNEL_CODE64.bits(),
    DescriptorFlags::KERNEL_DATA.bits(),
];
/// The first of them: 64-bit code.
const BOOT_CS: u16 = 0x10;
/// The second one: flat data.
const BOOT_DS: u16 = 0x18;

/// Loads and starts the kernel, at the entry that is wanted.
///
/// # Errors
/// 10E, 10Q, 10R, 10U, 10V, 9B, 8B, 7A, 6B.
pub fn boot(way: Way<'_>, wanted: Option<LinuxEntry>) -> Result<Infallible, Failure> {
    let Way {
        files,
        entry,
        memory,
        ..
    } = way;
    let file = &entry.kernel;
    let mut head = [0; HEADER_ROOM];
    let length = files.read_at(file, 0, &mut head)?;
    let head = head.get(..length).unwrap_or_default();
    let image = LinuxImage::read(head, file.size)?;
    let bits = image.entry(wanted)?;
    image.check_command_line(entry.text.command_line_length())?;
    let placed = image.place(memory)?;
    // The setup code's own place is still in use.
    let size = image.setup_bytes() as u64;
    let setup = allocate(memory, size, PAGE_SIZE, 0, MemoryKind::Reclaimable)?;
    let ranges = [image.read_setup(setup), image.read_kernel(&placed)];
    let kind = (Role::Kernel, Sums::Linux);
    let checked = || checked(&image, setup, &placed);
    kernel::load_checked(files, kind, entry.path, file, &ranges, &checked)?;
    // SAFETY: just allocated and filled.
    let setup = unsafe { physical::bytes(setup, size) };
    let [minor, major] = image.header().version.get().to_le_bytes();
    say!(
        "10 kernel   Linux, protocol #.",
        if minor < 10 { "0#" } else { "#" },
        ", # KiB at #h";
        major.into(),
        minor.into(),
        placed.length.div_ceil(1024),
        placed.start
    );
    let initrd = load_initrd(files, entry, &image, memory)?;

    findings::step(12);
    say!(
        "12 handoff  to #h in ",
        match bits {
            LinuxEntry::Bits16 => "real mode",
            LinuxEntry::Bits32 => "protected mode",
            LinuxEntry::Bits64 => "long mode",
        };
        image.entry_point(bits, &placed)
    );
    console::show_cursor();
    // From here on the file system's windows are what the kernel gets.
    store_command_line(entry);
    match bits {
        LinuxEntry::Bits16 => start_setup_code(&image, setup, &placed, initrd),
        _ => start_directly(&image, setup, &placed, initrd, memory, bits),
    }
}

/// What of a loaded kernel has a checksum: start and length in memory of all but a payload that checks
/// itself. That is most of it, and the kernel will read it anyway.
fn checked(image: &LinuxImage, setup: u64, placed: &Placed) -> [(u64, u64); 3] {
    let size = image.setup_bytes() as u64;
    let end = size + placed.length;
    let address = |offset| placed.start + (offset - size);
    // SAFETY: the kernel is loaded, and its payload is a part of it.
    let payload = image
        .unchecked(|head| unsafe { physical::bytes(address(head.start), head.end - head.start) });
    [
        (setup, size),
        (placed.start, payload.start - size),
        (address(payload.end), end - payload.end),
    ]
}

/// Loads all modules to where the kernel takes them as its initial RAM disk.
fn load_initrd(
    files: &mut Files,
    entry: &BootEntry,
    image: &LinuxImage,
    memory: &mut MemoryMap,
) -> Result<Initrd, Failure> {
    let find = |files: &mut Files, path| -> Result<File, Failure> {
        Ok(files.find(path)?.ok_or(Missing::Module(path))?)
    };
    let mut size = 0;
    for module in entry.text.modules() {
        let file = find(files, module.path)?;
        size = image::initrd_size([size, file.size].into_iter());
    }
    let initrd = image.place_initrd(size, memory)?;
    if size != 0 {
        say!("10 modules  initrd, # KiB at #h"; size.div_ceil(1024), initrd.start);
    }
    let mut position = initrd.start;
    for module in entry.text.modules() {
        let file = find(files, module.path)?;
        kernel::load_whole(files, module.path, &file, position)?;
        let end = position + file.size;
        position = end.next_multiple_of(4);
        if end < position {
            // SAFETY: part of what was allocated for the RAM disk.
            unsafe { physical::bytes_mut(end, position - end) }.fill(0);
        }
    }
    Ok(initrd)
}

/// Puts the command line to its place.
fn store_command_line(entry: &BootEntry) {
    let length = entry.text.command_line_length() as u64;
    // SAFETY: the file system's windows are not used any more.
    let room = unsafe { physical::bytes_mut(place::COMMAND_LINE, length + 1) };
    room.fill(0);
    entry.text.copy_command_line(room);
}

/// To the setup code, in real mode. It asks the BIOS for everything itself.
fn start_setup_code(image: &LinuxImage, setup: &[u8], placed: &Placed, initrd: Initrd) -> ! {
    let segment = (place::PARAMETERS >> 4) as u16;
    let size = u64::from(place::HEAP_END);
    // SAFETY: as for the command line.
    let room = unsafe { physical::bytes_mut(place::PARAMETERS, size) };
    room.fill(0);
    copy(setup, room);
    image.fill_header(placed, initrd, false, room);
    let state = RealMode {
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
    };
    // SAFETY: the setup code was copied there.
    unsafe { leave::to_real_mode(&state) }
}

/// To the 32-bit or the 64-bit entry, with all parameters.
fn start_directly(
    image: &LinuxImage,
    head: &[u8],
    placed: &Placed,
    initrd: Initrd,
    memory: &MemoryMap,
    entry: LinuxEntry,
) -> ! {
    // SAFETY: as for the command line.
    let (room, more) = unsafe {
        (
            physical::bytes_mut(place::PARAMETERS, PAGE_SIZE),
            physical::bytes_mut(place::SETUP_DATA, place::SETUP_DATA_SIZE),
        )
    };
    let mut parameters = BootParams::new_zeroed();
    image.copy_header(head, &mut parameters);
    let length = image::fill_memory_map(memory, &mut parameters, more);
    parameters.acpi_rsdp_addr = handoff::firmware_tables().rsdp.into();
    parameters.kbd_status = physical::read(BDA_KEYBOARD);
    fill_screen(&mut parameters);
    copy(parameters.as_bytes(), room);
    image.fill_header(placed, initrd, length != 0, room);

    let address = image.entry_point(entry, placed);
    if entry == LinuxEntry::Bits64 {
        leave::prepare();
        let table = DescriptorPointer::new(&raw const GDT);
        let none = DescriptorPointer::none();
        // SAFETY: the kernel was loaded there; the early tables map it and its parameters.
        unsafe { enter_64(address, place::PARAMETERS, &table, &none) }
    }
    let state = ProtectedMode {
        eip: address as u32,
        esi: place::PARAMETERS as u32,
        esp: place::PARAMETERS as u32,
        ..ProtectedMode::default()
    };
    // SAFETY: the kernel was loaded there.
    unsafe { leave::to_protected_mode(&state) }
}

/// VGA text, if there is a screen; otherwise all stays zero.
fn fill_screen(parameters: &mut BootParams) {
    let Some((column, row)) = console::cursor() else {
        return;
    };
    let screen = &mut parameters.screen_info;
    screen.orig_x = column as u8;
    screen.orig_y = row as u8;
    screen.orig_video_mode = 3;
    screen.orig_video_cols = console::COLUMNS as u8;
    screen.orig_video_lines = console::ROWS as u8;
    screen.orig_video_is_vga = 1;
    // As INT 10h AH=12h BL=10h has it for each VGA: colour (BH = 0), 256 KiB (BL = 3).
    screen.orig_video_ega_bx = 3.into();
    screen.orig_video_points = physical::read::<u16>(BDA_CHARACTER_HEIGHT).into();
}

/// Long mode stays; the kernel gets a GDT with the selectors that it is used to, and no IDT: the
/// loader's handlers would not be found there.
///
/// In: RDI = entry, RSI = parameters, RDX, RCX = operands of LGDT and LIDT.
#[unsafe(naked)]
unsafe extern "sysv64" fn enter_64(
    entry: u64,
    parameters: u64,
    gdt: &DescriptorPointer,
    idt: &DescriptorPointer,
) -> ! {
    naked_asm!(
        "cli",
        "cld",
        "lgdt [rdx]",
        "lidt [rcx]",
        "mov eax, {data}",
        "mov ds, eax",
        "mov es, eax",
        "mov ss, eax",
        "mov fs, eax",
        "mov gs, eax",
        "xor eax, eax",
        "xor ebx, ebx",
        "xor ecx, ecx",
        "xor edx, edx",
        "xor ebp, ebp",
        "xor r8d, r8d",
        "xor r9d, r9d",
        "xor r10d, r10d",
        "xor r11d, r11d",
        "xor r12d, r12d",
        "xor r13d, r13d",
        "xor r14d, r14d",
        "xor r15d, r15d",
        "push {code}",
        "push rdi",
        "xor edi, edi",
        "retfq",
        data = const BOOT_DS,
        code = const BOOT_CS,
    )
}

impl From<PlaceError> for Failure {
    fn from(error: PlaceError) -> Self {
        match error {
            PlaceError::Memory(error) => error.into(),
            PlaceError::NotFree(error) => error.into(),
        }
    }
}

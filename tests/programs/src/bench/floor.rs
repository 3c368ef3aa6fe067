//! **The floor**: what reading a disk through INT 13h costs at the very least.
//!
//! An MBR that reads [`Parameters::sectors`] sectors, 127 per call, copies each piece to its place
//! above 1 MiB, and prints how many ticks of the time-stamp counter that took. It makes only the
//! checks without which nobody would believe it: no file system, no kernel, no page tables.
//! `./run.sh bench` shows how close the loader comes to it.
//!
//! On port 0xE9 it writes `S` when it starts, `E` when it is done, then the ticks and the number of
//! INT 13h calls in hexadecimal, with leading zeros and a line feed behind each. It leaves QEMU
//! through isa-debug-exit, or halts after an `X` when a read fails.
#![no_std]
#![no_main]
// The program is asm from end to end.
#![allow(unsafe_code)]

use core::arch::naked_asm;
use core::mem::offset_of;

use disk_layout::{MAX_TRANSFER_SECTORS, SECTOR_SIZE, mbr};

/// The real-mode segment of the buffer that the BIOS reads into: 64 KiB that begin at a multiple of
/// 64 KiB, so that no transfer crosses one.
const BUFFER_SEGMENT: u16 = 0x1000;
/// Where the bytes go (physical address).
const DESTINATION: u32 = 0x10_0000;
/// The ports of QEMU's `-debugcon` and of its isa-debug-exit.
const DEBUG_CONSOLE: u16 = 0xE9;
const DEBUG_EXIT: u16 = 0xF4;
/// CR0.PE.
const CR0_PE: u8 = 1;
/// Selector of [`GDT`]'s data segment.
const FLAT_DATA: u16 = 8;

/// The parameters that the benchmark fills in: the last bytes of stage1's place in the sector.
#[repr(C)]
struct Parameters {
    /// The first sector.
    lba: u32,
    /// How many of them, not 0.
    sectors: u32,
}

/// INT 13h's disk address packet.
#[repr(C)]
struct Packet {
    size: u8,
    reserved: u8,
    sectors: u16,
    offset: u16,
    segment: u16,
    lba: u64,
}

/// The variables, in RAM behind the sector (uncleared).
#[repr(C)]
struct Variables {
    packet: Packet,
    start: u64,
    calls: u32,
    drive: u8,
}

const VARIABLES: u32 = mbr::LOAD_ADDRESS + SECTOR_SIZE as u32;
const PARAMETERS: u32 = mbr::LOAD_ADDRESS + mbr::CODE_END as u32 - size_of::<Parameters>() as u32;

/// A null descriptor and a flat data segment of 4 GiB.
static GDT: [u64; 2] = [0, 0x00CF_9200_0000_FFFF];

/// GDTR's six bytes.
#[repr(C, packed)]
struct TablePointer(u16, &'static [u64; 2]);
static GDT_POINTER: TablePointer = TablePointer(size_of::<[u64; 2]>() as u16 - 1, &GDT);

/// The whole program.
///
/// In: DL = drive. It never returns.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
extern "C" fn start() -> ! {
    naked_asm!(
        ".code16",
        "mov bx, dx", // RDTSC overwrites DL
        "rdtsc",
        "ljmp 0, offset {main}",
        ".code64",
        main = sym main,
    )
}

/// In: EDX:EAX = the time at the start, BL = drive, CS = 0.
#[unsafe(naked)]
extern "C" fn main() -> ! {
    naked_asm!(
        ".code16",
        "xor cx, cx",
        "mov ds, cx",
        "mov es, cx",
        "mov ss, cx",
        "mov sp, {stack}",
        "cld",
        "sti",
        "mov [{variables} + {start}], eax",
        "mov [{variables} + {start} + 4], edx",
        "mov [{variables} + {drive}], bl",
        "mov [{variables} + {calls}], ecx",
        "mov al, 'S'",
        "out {debug_console}, al",
        "mov edi, {destination}",
        "mov ebp, [{parameters} + {parameter_sectors}]",
        "mov eax, [{parameters} + {parameter_lba}]",
        "mov [{variables} + {lba}], eax",
        "mov [{variables} + {lba} + 4], ecx",

        // One call: builds the packet every time, because a BIOS may write to it.
        ".Lnext:",
        "mov eax, {max_transfer}",
        "cmp ebp, eax",
        "jae .Lread",
        "mov eax, ebp",
        ".Lread:",
        "mov word ptr [{variables} + {size}], {packet_size}",
        "mov [{variables} + {sectors}], ax",
        "mov word ptr [{variables} + {offset}], 0",
        "mov word ptr [{variables} + {segment}], {buffer_segment}",
        "push ax",
        "mov si, {variables}",
        "mov dl, [{variables} + {drive}]",
        "mov ah, 0x42",
        "int 0x13",
        "pop ax",
        "jc .Lfailed",
        "cmp [{variables} + {sectors}], ax",
        "jne .Lfailed",
        "inc dword ptr [{variables} + {calls}]",

        // Gives DS and ES a limit of 4 GiB and base 0. The BIOS undoes that in each call.
        "cli",
        "lgdt [{gdt_pointer}]",
        "mov ebx, cr0",
        "or bl, {cr0_pe}",
        "mov cr0, ebx",
        "mov cx, {flat_data}",
        "mov ds, cx",
        "mov es, cx",
        "and bl, {not_cr0_pe}",
        "mov cr0, ebx",
        "xor cx, cx",
        "mov ds, cx",
        "mov es, cx",
        "sti",

        "movzx eax, ax",
        "mov esi, {buffer_segment} * 16",
        "mov ecx, eax",
        "shl ecx, 7", // 512 bytes are 128 double words
        "rep movsd dword ptr es:[edi], dword ptr ds:[esi]",
        "add [{variables} + {lba}], eax",
        "sub ebp, eax",
        "jnz .Lnext",

        "rdtsc",
        "sub eax, [{variables} + {start}]",
        "sbb edx, [{variables} + {start} + 4]",
        "mov ebx, eax",
        "mov al, 'E'",
        "out {debug_console}, al",
        "mov eax, edx",
        "call {hexadecimal}",
        "mov eax, ebx",
        "call {hexadecimal}",
        "mov al, 10",
        "out {debug_console}, al",
        "mov eax, [{variables} + {calls}]",
        "call {hexadecimal}",
        "mov al, 10",
        "out {debug_console}, al",
        "out {debug_exit}, al",

        ".Lfailed:",
        "mov al, 'X'",
        "out {debug_console}, al",
        ".Lhalt:",
        "cli",
        "hlt",
        "jmp .Lhalt",
        ".code64",
        stack = const mbr::LOAD_ADDRESS,
        variables = const VARIABLES,
        start = const offset_of!(Variables, start),
        drive = const offset_of!(Variables, drive),
        calls = const offset_of!(Variables, calls),
        size = const offset_of!(Variables, packet.size),
        sectors = const offset_of!(Variables, packet.sectors),
        offset = const offset_of!(Variables, packet.offset),
        segment = const offset_of!(Variables, packet.segment),
        lba = const offset_of!(Variables, packet.lba),
        packet_size = const size_of::<Packet>(),
        parameters = const PARAMETERS,
        parameter_lba = const offset_of!(Parameters, lba),
        parameter_sectors = const offset_of!(Parameters, sectors),
        destination = const DESTINATION,
        buffer_segment = const BUFFER_SEGMENT,
        max_transfer = const MAX_TRANSFER_SECTORS,
        gdt_pointer = sym GDT_POINTER,
        cr0_pe = const CR0_PE,
        not_cr0_pe = const !CR0_PE as i8,
        flat_data = const FLAT_DATA,
        debug_console = const DEBUG_CONSOLE,
        debug_exit = const DEBUG_EXIT,
        hexadecimal = sym hexadecimal,
    )
}

/// Writes EAX in eight hexadecimal digits. Clobbers EAX, CX, EDX.
#[unsafe(naked)]
extern "C" fn hexadecimal() {
    naked_asm!(
        ".code16",
        "mov edx, eax",
        "mov cx, 8",
        ".Ldigit:",
        "rol edx, 4",
        "mov al, dl",
        "and al, 15",
        "cmp al, 10",
        "jb .Lbelow_ten",
        "add al, 'A' - '0' - 10",
        ".Lbelow_ten:",
        "add al, '0'",
        "out {debug_console}, al",
        "loop .Ldigit",
        ".byte 0x66, 0xc3", // RET with a 32-bit address, which is what LLVM's CALL pushes
        ".code64",
        debug_console = const DEBUG_CONSOLE,
    )
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

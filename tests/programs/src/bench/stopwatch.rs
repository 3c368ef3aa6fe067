//! **The stopwatch**: an MBR that starts another one and notes when, for `./run.sh bench`.
//!
//! It moves to 600h, reads the sector [`Parameters::lba`] to 7C00h, and leaves the time-stamp
//! counter at [`started::STARTED`] before it jumps there. This measures how long a loader takes to
//! load a kernel without a change to the loader. The sector is the MBR that would otherwise be in
//! this one's place. If it cannot be read, the program writes an `X` on port 0xE9 and stops.
//!
//! Before that, it reads the disk's first [`PIECE`] sectors as often as [`Parameters::pieces`]
//! says: a disk that is slow only when it has much to do is slow from then on.
#![no_std]
#![no_main]
// The program is asm from end to end.
#![allow(unsafe_code)]

use core::arch::naked_asm;
use core::mem::offset_of;

use disk_layout::{SECTOR_SIZE, mbr};

mod started;

/// The address that it moves to.
const MOVED_TO: u32 = 0x600;

/// What the benchmark fills in: the last bytes of the code's place in the sector.
#[repr(C)]
struct Parameters {
    pieces: u32,
    lba: u32,
}

const PARAMETERS: u32 = MOVED_TO + mbr::CODE_END as u32 - size_of::<Parameters>() as u32;
/// Sectors of a piece, and the segment to which it is read.
const PIECE: u8 = 64;
const PIECE_SEGMENT: u16 = 0x1000;
/// The port of QEMU's `-debugcon`.
const DEBUG_CONSOLE: u16 = 0xE9;

/// The whole program.
///
/// In: as the BIOS enters an MBR; DL = drive. Out: the same, for the other MBR.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
extern "C" fn start() -> ! {
    naked_asm!(
        ".code16",
        "cli",
        "xor ax, ax",
        "mov ds, ax",
        "mov es, ax",
        "mov ss, ax",
        "mov sp, {mbr}",
        "cld",
        "mov si, {mbr}",
        "mov di, {moved_to}",
        "mov cx, {sector} / 2",
        "rep movsw word ptr es:[di], word ptr ds:[si]",
        "ljmp 0, offset .Lmoved",
        ".Lmoved:",
        "sti",
        "push dx",
        "mov cx, [{parameters} + {pieces}]",
        ".Lpiece:",
        "jcxz .Lmbr",
        "push cx",
        // A packet on the stack: LBA, address, sectors, its own size.
        "push 0",
        "push 0",
        "push 0",
        "push 0",
        "push {piece_segment}",
        "push 0",
        "push {piece}",
        "push 16",
        "mov si, sp",
        "mov ah, 0x42",
        "int 0x13",
        "jc .Lfailed",
        "lea sp, [si + 16]",
        "pop cx",
        "pop dx",
        "push dx",
        "dec cx",
        "jmp .Lpiece",
        ".Lmbr:",
        "push 0",
        "push 0",
        "mov eax, [{parameters} + {lba}]",
        "push eax",
        "push 0",
        "push {mbr}",
        "push 1",
        "push 16",
        "mov si, sp",
        "mov ah, 0x42",
        "int 0x13",
        "jc .Lfailed",
        "lea sp, [si + 16]",
        "pop bx",
        "rdtsc",
        "mov [{started}], eax",
        "mov [{started} + 4], edx",
        "mov dx, bx",
        "ljmp 0, {mbr}",
        ".Lfailed:",
        "mov al, 'X'",
        "out {debug_console}, al",
        ".Lhalt:",
        "cli",
        "hlt",
        "jmp .Lhalt",
        ".code64",
        mbr = const mbr::LOAD_ADDRESS,
        moved_to = const MOVED_TO,
        sector = const SECTOR_SIZE,
        parameters = const PARAMETERS,
        pieces = const offset_of!(Parameters, pieces),
        lba = const offset_of!(Parameters, lba),
        piece = const PIECE,
        piece_segment = const PIECE_SEGMENT,
        started = const started::STARTED,
        debug_console = const DEBUG_CONSOLE,
    )
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

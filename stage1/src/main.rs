//! Step 1: the master boot record. It loads stage2, checks that it is there, and jumps to it.
//!
//! **On entry** (from the BIOS): real mode, at physical 7C00h. CS:IP may be 0000:7C00 or 07C0:0000;
//! DL should hold the boot drive, and does not always; everything else is undefined.
//!
//! **This step**: own segments and stack; is the sector whole? A time stamp; reads the sectors that
//! the parameter block names to 8000h, by INT 13h extensions where they deliver stage2, else by
//! cylinder, head and sector; tries three times with a reset in between; when the drive in DL does
//! not deliver stage2, tries drive 80h as well. A sum over its doublewords decides whether it is stage2.
//!
//! **On exit** (to stage2, at 8020h): real mode, CS = DS = SS = 0, DF = 0, IF = 1. On the stack,
//! which begins at 7C00h: the drive and the time stamp, as [`disk_layout::mbr::frame`] says.
//!
//! The sector is never written to, so that it can be entered again (INT 18h, INT 19h).
#![no_std]
#![no_main]
// The whole program is assembly in naked functions.
#![allow(unsafe_code)]
// LLVM's Intel syntax has no 16-bit near calls: these are in AT&T syntax.
#![allow(bad_asm_style)]

#[macro_use]
mod shared;

use core::mem::offset_of;

use asm_lines::naked_asm;
use disk_layout::mbr::{self, ParameterBlock, frame};
use disk_layout::{MAX_TRANSFER_SECTORS, stage2};
use shared::{COM1, LETTER, PUSHED, STATUS, VECTOR_INVALID_OPCODE};
use zerocopy::little_endian::U16;

// Variables besides the shared ones, in what PUSHAD stored.
/// Sectors per track (u16); 0: the drive is read by INT 13h extensions.
const SECTORS_PER_TRACK: i16 = frame::WAY;
/// Number of heads (u16).
const HEADS: i16 = frame::REGISTERS;

/// Sectors a call: from 8000h on, 64 sectors each end at a 64 KiB line or in the middle between two.
const CHUNK: u16 = 64;
const _: () = assert!(CHUNK <= MAX_TRANSFER_SECTORS);
const _: () = assert!(stage2::LOAD_ADDRESS.is_multiple_of(CHUNK as u32 * 512));

/// INT 13h: a fixed disk's number starts here; the first one is the usual boot disk.
const FIRST_FIXED_DISK: u8 = 0x80;

/// Where stage2 is; `disk-builder` fills it in the image.
#[used]
#[unsafe(link_section = ".parameters")]
static PARAMETERS: ParameterBlock = ParameterBlock {
    sectors: U16::ZERO,
    lba: U16::ZERO,
    adjustment: U16::ZERO,
};

/// Loads stage2 and jumps to it, or prints `error 1A 0C` (error code, BIOS status) and stops.
///
/// One function, so that most of its jumps are short. `BP` = 7C00h reaches the variables.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".boot")]
extern "C" fn start() -> ! {
    naked_asm!(
        ".code16",
        // Over the BPB area, and to segment 0 before any address is used.
        "jmp short .Lbehind_bpb",
        "nop",
        ".skip {bpb_length}",
        ".Lbehind_bpb:",
        "ljmp 0, offset .Lsegment_0",
        ".Lsegment_0:",

        // Nothing is known of the segments and the stack. (The CPU lets no interrupt in between
        // MOV SS and the instruction behind it.)
        "xor ax, ax",
        "mov bp, {stack}",
        "mov ss, ax",
        "mov sp, bp",
        "mov ds, ax",
        "cld",
        "push dx",                      // BIOS_DRIVE
        "push dx",                      // DRIVE
        "push {letter_damaged}",        // LETTER, STATUS

        // Is what follows behind the printing whole? Its words, as adjusted by `disk-builder`, sum
        // up to 0. The printing is left out: if a bit of it is wrong, most boots do not need it.
        "xchg bx, ax",
        "mov si, {stack} + {checked}",
        "mov cx, ({code_end} - {checked}) / 2",
        ".Lsum:",
        "lodsw",
        "add bx, ax",
        "loop .Lsum",
        "jz .Lwhole",

        // Nothing more can be done: say so.
        print_and_stop!(),

        // From here on everything is checked.
        ".skip {checked} - (. - {start})",
        ".Lwhole:",
        take_time_stamp!(),
        "lea sp, [bp + {letter} + 2]",
        "push {letter_read}",           // LETTER, STATUS
        "pushad",                       // REGISTERS, and room for variables
        "sti",

        ".Ltry_drive:",
        "xor cx, cx",                   // by extensions; they are not asked for, the sum decides
        ".Lread_all:",
        "mov [bp + {sectors_per_track}], cx",
        "les di, [bp + {parameters} + {sectors}]", // DI: sectors left
        "mov ax, es",                   // AX: next sector
        "mov bx, {destination} >> 4",   // BX: segment that it goes to
        ".Lnext:",
        "mov cx, {chunk}",              // CX: sectors to read
        "cmp cx, di",
        "jb 2f",
        "mov cx, di",
        "2:",
        "mov si, 3",                    // SI: tries
        ".Lagain:",
        "pusha",
        "cwd",                          // DX = 0: see `ParameterBlock::END_LBA`
        "cmp [bp + {sectors_per_track}], dx",
        "jne .Lread_chs",

        // INT 13h AH=42h, with a packet that is built anew for each try: a BIOS may have changed it.
        "push dx",                      // LBA, bits 63:48
        "push dx",                      // bits 47:32
        "push dx",                      // bits 31:16
        "push ax",                      // bits 15:0
        "push bx",                      // buffer: segment
        "push dx",                      // offset
        "push cx",                      // sectors
        "push 16",                      // size of the packet
        "mov si, sp",
        "mov ah, 0x42",
        "jmp short .Lcall",

        // INT 13h AH=02h, one sector a call: it cannot cross a track, and any drive can do it.
        ".Lread_chs:",
        "mov byte ptr [bp + {pushed_cx}], 1",
        "mov es, bx",
        "xor bx, bx",
        "div word ptr [bp + {sectors_per_track}]",
        "mov cx, dx",
        "inc cx",                       // CL: sector, from 1
        "cwd",                          // DX = 0: AX is no larger than before
        "div word ptr [bp + {heads}]",
        "mov ch, al",                   // CH: cylinder
        "mov dh, dl",                   // DH: head
        "mov ax, 0x0201",

        ".Lcall:",
        near_call!(".Ldisk_call"),
        "lea sp, [bp + {pushed}]",      // drops the packet and leaves the flags alone
        "jnc .Lread",
        "mov ah, 0",                    // reset
        near_call!(".Ldisk_call"),
        "popa",
        "dec si",
        "jnz .Lagain",

        // What else can be tried: this drive by CHS, then the first fixed disk.
        ".Lfailed:",
        "mov cx, [bp + {sectors_per_track}]",
        "jcxz .Ltry_chs",
        ".Lnext_drive:",
        "mov al, {first_fixed_disk}",
        "xchg al, [bp + {drive}]",
        "cmp al, {first_fixed_disk}",
        "jne .Ltry_drive",
        near_jump!(".Lprint"),

        ".Lread:",
        "popa",
        "imul dx, cx, 512 >> 4",
        "add bx, dx",
        "add ax, cx",
        "sub di, cx",
        "jnz .Lnext",

        // Is it stage2?
        "mov byte ptr [bp + {letter}], {letter_sum}",
        sum_stage2!(),
        "jnz .Lfailed",
        near_jump!("{entry}"),

        // INT 13h AH=08h: the geometry. ES:DI = 0 guards against a BIOS bug.
        ".Ltry_chs:",
        "mov ah, 8",
        "xor di, di",
        "mov es, di",
        near_call!(".Ldisk_call"),
        "jc .Lnext_drive",
        "shr dx, 8",                    // DH: highest head
        "inc dx",
        "mov [bp + {heads}], dx",
        "and cx, 0x3F",                 // CL bits 5:0: sectors per track
        "jz .Lnext_drive",
        near_jump!(".Lread_all"),

        disk_call!(),
        ".code64",
        start = sym start,
        bpb_length = const mbr::BPB_AREA.end - mbr::BPB_AREA.start,
        stack = const mbr::LOAD_ADDRESS,
        checked = const mbr::CHECKED.start,
        code_end = const mbr::CHECKED.end,
        chunk = const CHUNK,
        invalid_opcode = const VECTOR_INVALID_OPCODE,
        sectors_per_track = const SECTORS_PER_TRACK,
        heads = const HEADS,
        letter = const LETTER,
        status = const STATUS,
        drive = const frame::DRIVE,
        pushed = const PUSHED,
        pushed_cx = const frame::REGISTERS - 4, // PUSHA begins with AX and CX
        parameters = const mbr::PARAMETER_BLOCK_OFFSET,
        sectors = const offset_of!(ParameterBlock, sectors),
        destination = const stage2::LOAD_ADDRESS,
        entry = const stage2::LOAD_ADDRESS as usize + stage2::ENTRY_OFFSET,
        letter_damaged = const b'D',
        letter_read = const b'A',
        letter_sum = const b'B',
        first_fixed_disk = const FIRST_FIXED_DISK,
        com1 = const COM1,
    )
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

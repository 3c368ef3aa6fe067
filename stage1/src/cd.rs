//! Step 1 on a CD: what an El Torito BIOS boots, in the MBR's stead. It loads the same stage2, checks
//! that it is there, and jumps to it.
//!
//! **On entry** (from the BIOS): real mode, at physical 7C00h, 2048 bytes. CS:IP may be 0000:7C00 or
//! 07C0:0000; DL should hold the drive, E0h for example; everything else is undefined.
//!
//! **This step**: own segments and stack; is the program whole? A time stamp; reads the blocks that
//! the parameters name to 8000h, by INT 13h AH=42h, in blocks of 2048 bytes; tries three times with a
//! reset in between, then the same a block at a time; when the drive in DL does not deliver stage2,
//! tries all others. A sum over its doublewords decides whether it is stage2.
//!
//! **On exit** (to stage2, at 8020h): as stage1's. [`frame::WAY`] says that stage2 came from a CD.
//!
//! Only the first KiB is used, for stage2 is read over the second.
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
use disk_layout::cd::{self, Parameters};
use disk_layout::mbr::{self, frame};
use disk_layout::{CD_BLOCK, stage2};
use shared::{COM1, LETTER, PUSHED, STATUS, VECTOR_INVALID_OPCODE};
use zerocopy::little_endian::U16;

// Variables besides the shared ones, in what PUSHAD stored.
/// The most blocks a call (u16): 1 after an error.
const LIMIT: i16 = frame::REGISTERS;
/// Letter and status of the first drive's failure (u16), which is what is reported; 0: none yet.
const FAILURE: i16 = frame::REGISTERS + 4;
/// The drive to try next (u8).
const NEXT_DRIVE: i16 = frame::REGISTERS + 8;

/// Blocks a call: from 8000h on, 16 blocks each end at a 64 KiB line or in the middle between two.
const CHUNK: u16 = 16;
const _: () = assert!(stage2::LOAD_ADDRESS.is_multiple_of(CHUNK as u32 * CD_BLOCK as u32));
const _: () = assert!(0x1_0000_u32.is_multiple_of(CHUNK as u32 * CD_BLOCK as u32));

/// The last number of a drive; those from 80h on are no diskettes.
const LAST_DRIVE: u8 = 0xFF;

/// Where stage2 is; `disk-builder` fills it in the image.
#[used]
#[unsafe(link_section = ".parameters")]
static PARAMETERS: Parameters = Parameters {
    block: U16::ZERO,
    blocks: U16::ZERO,
    adjustment: U16::ZERO,
};

/// Loads stage2 and jumps to it, or prints `error 1A 0C` (error code, BIOS status) and stops.
///
/// `BP` = 7C00h reaches the variables.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".boot")]
extern "C" fn start() -> ! {
    naked_asm!(
        ".code16",
        // To segment 0 before any address is used.
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
        // up to 0.
        "xor bx, bx",
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
        "mov word ptr [bp + {way}], {way_cd}",
        "mov word ptr [bp + {failure}], 0",
        "mov byte ptr [bp + {next_drive}], {last_drive}",

        ".Ltry_drive:",
        "mov word ptr [bp + {limit}], {chunk}",
        "mov ax, [{stack} + {parameters} + {block}]", // AX: next block
        "mov di, [{stack} + {parameters} + {blocks}]", // DI: blocks left
        "mov bx, {destination} >> 4",   // BX: segment that it goes to
        ".Lnext:",
        "mov cx, [bp + {limit}]",       // CX: blocks to read
        "cmp cx, di",
        "jb 2f",
        "mov cx, di",
        "2:",
        "mov si, 3",                    // SI: tries
        ".Lagain:",
        "pusha",

        // INT 13h AH=42h, with a packet that is built anew for each try: a BIOS may have changed it.
        "xor dx, dx",
        "push dx",                      // LBA, bits 63:48
        "push dx",                      // bits 47:32
        "push dx",                      // bits 31:16
        "push ax",                      // bits 15:0
        "push bx",                      // buffer: segment
        "push dx",                      // offset
        "push cx",                      // blocks
        "push 16",                      // size of the packet
        "mov si, sp",
        "mov ah, 0x42",
        near_call!(".Ldisk_call"),
        "lea sp, [bp + {pushed}]",      // drops the packet and leaves the flags alone
        "popa",
        "jnc .Lread",
        "push ax",
        "mov ah, 0",                    // reset
        near_call!(".Ldisk_call"),
        "pop ax",
        "dec si",
        "jnz .Lagain",
        "mov cx, 1",                    // what else can be tried: a block a call …
        "xchg cx, [bp + {limit}]",
        "loop .Lnext",                  // … if there were more

        // Another drive. What the first one's failure was is what matters.
        ".Lfailed:",
        "cmp word ptr [bp + {failure}], 0",
        "jne .Lnext_drive",
        "mov ax, [bp + {letter}]",
        "mov [bp + {failure}], ax",
        ".Lnext_drive:",
        "mov al, [bp + {next_drive}]",
        "dec byte ptr [bp + {next_drive}]",
        "mov [bp + {drive}], al",
        "cmp al, [bp + {bios_drive}]",
        "je .Lnext_drive",
        "test al, al",
        "js .Ltry_drive",               // 80h and above
        "mov ax, [bp + {failure}]",
        "mov [bp + {letter}], ax",
        near_jump!(".Lprint"),

        ".Lread:",
        "imul dx, cx, {cd_block} >> 4",
        "add bx, dx",
        "add ax, cx",
        "sub di, cx",
        "jnz .Lnext",

        // Is it stage2?
        "mov byte ptr [bp + {letter}], {letter_sum}",
        sum_stage2!(),
        "jnz .Lfailed",
        near_jump!("{entry}"),

        disk_call!(),
        ".code64",
        start = sym start,
        stack = const mbr::LOAD_ADDRESS,
        checked = const cd::CHECKED.start,
        code_end = const cd::CHECKED.end,
        chunk = const CHUNK,
        cd_block = const CD_BLOCK,
        invalid_opcode = const VECTOR_INVALID_OPCODE,
        limit = const LIMIT,
        failure = const FAILURE,
        next_drive = const NEXT_DRIVE,
        last_drive = const LAST_DRIVE,
        letter = const LETTER,
        status = const STATUS,
        bios_drive = const frame::BIOS_DRIVE,
        drive = const frame::DRIVE,
        way = const frame::WAY,
        way_cd = const frame::WAY_CD,
        pushed = const PUSHED,
        parameters = const cd::PARAMETERS_OFFSET,
        block = const offset_of!(Parameters, block),
        blocks = const offset_of!(Parameters, blocks),
        destination = const stage2::LOAD_ADDRESS,
        entry = const stage2::LOAD_ADDRESS as usize + stage2::ENTRY_OFFSET,
        letter_damaged = const b'D',
        letter_read = const b'A',
        letter_sum = const b'B',
        com1 = const COM1,
    )
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

//! Step 1 on a CD: the program that an El Torito BIOS boots instead of the MBR. It loads the same
//! stage2, checks that it is there, and jumps to it.
//!
//! **On entry** (from the BIOS): real mode, at physical 7C00h, 2048 bytes. CS:IP may be 0000:7C00 or
//! 07C0:0000; DL should hold the drive, E0h for example; everything else is undefined.
//!
//! **This step**: sets its own segments and stack; checks that the program is whole; takes a time
//! stamp; reads the blocks that the parameters name to 8000h, by INT 13h AH=42h, in blocks of 2048
//! bytes. It tries three times with a reset in between, then one block at a time. When the drive in
//! DL does not deliver stage2, it tries all others. A sum over its doublewords decides whether it
//! is stage2.
//!
//! **On exit** (to stage2, at 8028h): as stage1's. [`frame::WAY`] says that stage2 came from a CD.
//!
//! Only the first KiB is used, because stage2 is read over the second.
#![no_std]
#![no_main]

#[macro_use]
mod shared;

use disk_layout::cd::{self, Parameters};
use disk_layout::mbr::frame;
use disk_layout::{CD_BLOCK, stage2};

// Variables besides the shared ones, in place of registers that PUSHAD stored.
/// Maximum number of blocks per call (u16): 1 after an error.
const LIMIT: i16 = frame::REGISTERS;
/// The drive to try next (u8).
const NEXT_DRIVE: i16 = frame::REGISTERS + 8;

/// Blocks per call: from 8000h on, each run of 16 blocks ends at a 64 KiB boundary or halfway
/// between two.
const CHUNK: u16 = 16;
const _: () = assert!(stage2::LOAD_ADDRESS.is_multiple_of(CHUNK as u32 * CD_BLOCK as u32));
const _: () = assert!(0x1_0000_u32.is_multiple_of(CHUNK as u32 * CD_BLOCK as u32));

/// The last drive number; those from 80h on are not diskettes.
const LAST_DRIVE: u8 = 0xFF;

boot_program! {
    parameters: Parameters at cd::PARAMETERS_OFFSET, length in blocks,
    checked: cd::CHECKED,
    sector_size: CD_BLOCK,
    assembly: [
        set_up!(message!(),),
        "mov word ptr [bp + {way}], {way_cd}",
        "mov byte ptr [bp + {next_drive}], {last_drive}",

        ".Ltry_drive:",
        "push {letter_read}",           // FAILURE
        "mov word ptr [bp + {limit}], {chunk}",
        locate_stage2!(),
        ".Lnext:",
        "mov cx, [bp + {limit}]",       // CX: blocks to read
        begin_call!(),
        extended_read!(),
        call_and_retry!(),
        "mov cx, 1",                    // what else can be tried: one block per call …
        "xchg cx, [bp + {limit}]",
        "loop .Lnext",                  // … if there were more

        // The next drive. The first one's failure is the one to report.
        ".Lfailed:",
        "pop cx",                       // FAILURE
        "cmp byte ptr [bp + {letter}], {letter_damaged}",
        "jne .Lnext_drive",
        "mov [bp + {letter}], cx",
        ".Lnext_drive:",
        "mov al, [bp + {next_drive}]",
        "dec byte ptr [bp + {next_drive}]",
        "mov [bp + {drive}], al",
        "cmp al, [bp + {bios_drive}]",
        "je .Lnext_drive",
        "test al, al",
        "js .Ltry_drive",               // 80h and above
        near_jump!(".Lprint"),

        advance!(),
        verify_and_jump!(),

        disk_call!(),
    ],
    operands: [
        way = const frame::WAY,
        way_cd = const frame::WAY_CD,
        limit = const LIMIT,
        chunk = const CHUNK,
        next_drive = const NEXT_DRIVE,
        last_drive = const LAST_DRIVE,
        bios_drive = const frame::BIOS_DRIVE,
    ],
}

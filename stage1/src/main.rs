//! Step 1: the master boot record. It loads stage2, checks that it is there, and jumps to it.
//!
//! **On entry** (from the BIOS): real mode, at physical 7C00h. CS:IP may be 0000:7C00 or 07C0:0000;
//! DL should hold the boot drive, and does not always; everything else is undefined.
//!
//! **This step**: sets its own segments and stack; checks that the sector is whole; takes a time
//! stamp; reads the sectors that the parameter block names to 8000h, by INT 13h extensions where
//! they deliver stage2, else by cylinder, head and sector. It tries three times with a reset in
//! between. When the drive in DL does not deliver stage2, it tries drives 80h to 8Fh as well. A sum
//! over its doublewords decides whether it is stage2. If no drive delivers it, the first one's
//! failure is reported.
//!
//! **On exit** (to stage2, at 8028h): real mode, CS = DS = SS = 0, DF = 0, IF = 1. On the stack,
//! which begins at 7C00h: the drive and the time stamp, as [`disk_layout::mbr::frame`] says.
//!
//! The sector is never written to, so that it can be entered again (INT 18h, INT 19h).
#![no_std]
#![no_main]

#[macro_use]
mod shared;

use disk_layout::mbr::{self, ParameterBlock, frame};
use disk_layout::{MAX_TRANSFER_SECTORS, SECTOR_SIZE, stage2};

// Variables besides the shared ones, in place of registers that PUSHAD stored.
/// Sectors per track (u16); 0: the drive is read by INT 13h extensions.
const SECTORS_PER_TRACK: i16 = frame::WAY;
/// Number of heads (u16).
const HEADS: i16 = frame::REGISTERS;
/// How many drives were tried in addition to that in DL (u8). It begins as the low byte of EBP,
/// which is 0.
const DRIVES: i16 = frame::REGISTERS + 2 * 4;
const _: () = assert!(mbr::LOAD_ADDRESS.is_multiple_of(0x100));

/// Sectors per call: from 8000h on, each run of 64 sectors ends at a 64 KiB boundary or halfway
/// between two.
const CHUNK: u16 = 64;
const _: () = assert!(CHUNK <= MAX_TRANSFER_SECTORS);
const _: () = assert!(stage2::LOAD_ADDRESS.is_multiple_of(CHUNK as u32 * SECTOR_SIZE as u32));

/// INT 13h: a fixed disk's number starts here; the first one is the usual boot disk.
const FIRST_FIXED_DISK: u8 = 0x80;
/// The number behind that of the last disk that is tried. No BIOS was seen with more disks.
const FIXED_DISKS_END: u8 = 0x90;

// One function, so that most of its jumps are short.
boot_program! {
    parameters: ParameterBlock at mbr::PARAMETER_BLOCK_OFFSET, length in sectors,
    checked: mbr::CHECKED,
    sector_size: SECTOR_SIZE,
    assembly: [
        // Over the BPB area.
        "jmp short .Lbehind_bpb",
        "nop",
        ".skip {message_start} - (. - {start})",
        message!(),
        ".skip {bpb_end} - (. - {start})",
        ".Lbehind_bpb:",
        set_up!(),

        ".Ltry_drive:",
        "push {letter_read}",           // FAILURE
        "xor cx, cx",                   // by extensions, without asking for them: the sum decides
        ".Lread_all:",
        "mov [bp + {sectors_per_track}], cx",
        locate_stage2!(),
        ".Lnext:",
        "mov cl, {chunk}",              // CX: sectors to read; CH is 0
        begin_call!(),
        "cmp [bp + {sectors_per_track}], dx",
        "jne .Lread_chs",
        extended_read!(),
        "jmp short .Lcall",

        // INT 13h AH=02h, one sector per call: that never crosses a track, and any drive can do it.
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
        call_and_retry!(),

        // What else can be tried: this drive by CHS, then the next fixed disk.
        ".Lfailed:",
        "mov cx, [bp + {sectors_per_track}]",
        "jcxz .Ltry_chs",
        ".Lnext_drive:",
        "pop cx",                       // FAILURE
        "mov al, [bp + {drives}]",
        "inc byte ptr [bp + {drives}]",
        "or al, {first_fixed_disk}",
        "mov [bp + {drive}], al",
        "cmp al, {first_fixed_disk}",
        "jne 3f",
        "mov [bp + {letter}], cx",      // the first drive's failure is the one to report
        "3:",
        "cmp al, {fixed_disks_end}",
        "jne .Ltry_drive",
        near_jump!(".Lprint"),

        advance!(),
        verify_and_jump!(),

        // INT 13h AH=08h: the geometry. ES:DI = 0 guards against a BIOS bug. CX is 0, and stays 0
        // or has no sectors if the drive is not there. CF is not asked: no other geometry delivers
        // stage2.
        ".Ltry_chs:",
        "mov ah, 8",
        "xor di, di",
        "mov es, di",
        near_call!(".Ldisk_call"),
        "shr dx, 8",                    // DH: highest head
        "inc dx",
        "mov [bp + {heads}], dx",
        "and cx, 0x3F",                 // CL bits 5:0: sectors per track
        "jz .Lnext_drive",
        near_jump!(".Lread_all"),

        disk_call!(),
    ],
    operands: [
        message_start = const mbr::MESSAGE.start,
        bpb_end = const mbr::BPB_AREA.end,
        chunk = const CHUNK,
        sectors_per_track = const SECTORS_PER_TRACK,
        heads = const HEADS,
        pushed_cx = const shared::FAILURE - 4, // PUSHA begins with AX and CX
        drives = const DRIVES,
        first_fixed_disk = const FIRST_FIXED_DISK,
        fixed_disks_end = const FIXED_DISKS_END,
    ],
}

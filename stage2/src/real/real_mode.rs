//! What the 16-bit steps share: variables, time stamps, and the report of a failure.
//!
//! Everything here is within the first 64 KiB, so that segment 0 reaches it. Routines are entered
//! by 32-bit near calls (`call` in LLVM's Intel syntax), with CS = DS = SS = 0.
#![allow(unsafe_code)]

use core::mem::offset_of;

use asm_lines::naked_asm;
use boot_path::errors::catalogue::Entry;
use disk_layout::stage2::Stage2Header;
use disk_layout::{mbr, multiboot};

use crate::HEADER;

/// The interrupt vector of #UD, the invalid-opcode exception (SDM vol. 3, 21.1.4).
const VECTOR_INVALID_OPCODE: u16 = 6 * 4;
/// CPUID 1, EDX bit 4: RDTSC.
const CPUID_TSC: u8 = 1 << 4;

/// What the 16-bit steps leave for the 64-bit ones.
#[repr(C)]
pub struct Findings {
    /// Time-stamp counter at the start of each step, by number; 0: not taken.
    pub timeline: [u64; ::handoff::TIMELINE_LENGTH],
    /// The drive that stage2 was read from.
    pub drive: u8,
    /// What the BIOS had passed to stage1 in DL.
    pub bios_drive: u8,
    /// How stage2 was read: see [`mbr::frame::WAY`].
    pub way: u16,
    /// What another loader left, where `way` is [`mbr::frame::WAY_MULTIBOOT`]; zero otherwise.
    pub multiboot: Multiboot,
}

/// What a Multiboot loader leaves in the registers.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Multiboot {
    /// EAX.
    pub magic: u32,
    /// EBX: the address of its information.
    pub information: u32,
}

/// Written by the 16-bit steps, read by the 64-bit ones.
#[unsafe(link_section = ".real_mode.data")]
pub static mut FINDINGS: Findings = Findings {
    timeline: [0; ::handoff::TIMELINE_LENGTH],
    drive: 0,
    bios_drive: 0,
    way: 0,
    multiboot: Multiboot {
        magic: 0,
        information: 0,
    },
};

/// Takes over what stage1 left on its stack, and puts back the interrupt vector that it changed. The
/// time stamp is garbage on a CPU without RDTSC: then it becomes 0.
///
/// Clobbers EAX to EDX.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
pub extern "C" fn take_over() {
    naked_asm!(
        ".code16",
        "mov al, [{stack} + {drive_in}]",
        "mov [{findings} + {drive}], al",
        "mov al, [{stack} + {bios_drive_in}]",
        "mov [{findings} + {bios_drive}], al",
        "mov ax, [{stack} + {way_in}]",
        "mov [{findings} + {way}], ax",
        "mov eax, [{stack} + {stamp_low}]",
        "mov [{findings} + {timeline} + 8], eax",
        "mov eax, [{stack} + {stamp_high}]",
        "mov [{findings} + {timeline} + 12], eax",
        "mov eax, [{stack} + {vector_in}]",
        "mov [{invalid_opcode}], eax",
        "call {has_time_stamp}",
        "jnz .Ltaken_over",
        "xor eax, eax",
        "mov [{findings} + {timeline} + 8], eax",
        "mov [{findings} + {timeline} + 12], eax",
        ".Ltaken_over:",
        "ret",
        ".code64",
        stack = const mbr::LOAD_ADDRESS,
        drive_in = const mbr::frame::DRIVE,
        bios_drive_in = const mbr::frame::BIOS_DRIVE,
        way_in = const mbr::frame::WAY,
        stamp_low = const mbr::frame::TIME_STAMP_LOW,
        stamp_high = const mbr::frame::TIME_STAMP_HIGH,
        vector_in = const mbr::frame::INVALID_OPCODE_VECTOR,
        invalid_opcode = const VECTOR_INVALID_OPCODE,
        has_time_stamp = sym has_time_stamp,
        findings = sym FINDINGS,
        drive = const offset_of!(Findings, drive),
        bios_drive = const offset_of!(Findings, bios_drive),
        way = const offset_of!(Findings, way),
        timeline = const offset_of!(Findings, timeline),
    )
}

/// ZF is clear when the CPU has a time-stamp counter. Clobbers EAX to EDX.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
extern "C" fn has_time_stamp() {
    naked_asm!(
        ".code16",
        "call {has_cpuid}",
        "jz 2f",
        "mov eax, 1",
        "cpuid",
        "test dl, {tsc}",
        "2:",
        "ret",
        ".code64",
        has_cpuid = sym crate::real::cpu::has_cpuid,
        tsc = const CPUID_TSC,
    )
}

/// Takes over what the way in by Multiboot left on its stack. Step 1 begins now.
///
/// Clobbers EAX to EDX.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
pub extern "C" fn take_over_from_multiboot() {
    naked_asm!(
        ".code16",
        "mov eax, [{stack} + {magic_in}]",
        "mov [{findings} + {magic}], eax",
        "mov eax, [{stack} + {information_in}]",
        "mov [{findings} + {information}], eax",
        "mov word ptr [{findings} + {way}], {way_multiboot}",
        "call {has_time_stamp}",
        "jz 2f",
        "rdtsc",
        "mov [{findings} + {timeline} + 8], eax",
        "mov [{findings} + {timeline} + 12], edx",
        "2:",
        "ret",
        ".code64",
        stack = const mbr::LOAD_ADDRESS,
        magic_in = const multiboot::frame::MAGIC,
        information_in = const multiboot::frame::INFORMATION,
        has_time_stamp = sym has_time_stamp,
        findings = sym FINDINGS,
        magic = const offset_of!(Findings, multiboot) + offset_of!(Multiboot, magic),
        information = const offset_of!(Findings, multiboot) + offset_of!(Multiboot, information),
        way = const offset_of!(Findings, way),
        way_multiboot = const mbr::frame::WAY_MULTIBOOT,
        timeline = const offset_of!(Findings, timeline),
    )
}

/// Notes the time-stamp counter for the step in BX, if the CPU has one: stage1 found out.
///
/// Clobbers EAX, BX, EDX.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
pub extern "C" fn stamp() {
    naked_asm!(
        ".code16",
        "mov eax, [{findings} + {timeline} + 8]",
        "or eax, [{findings} + {timeline} + 12]",
        "jz 2f",
        "rdtsc",
        "shl bx, 3",
        "mov [bx + {findings} + {timeline}], eax",
        "mov [bx + {findings} + {timeline} + 4], edx",
        "2:",
        "ret",
        ".code64",
        findings = sym FINDINGS,
        timeline = const offset_of!(Findings, timeline),
    )
}

/// What a [`message`] begins with; the error's code and a colon follow.
pub const BEFORE_CODE: &[u8] = b"\r\nerror ";

/// The pieces of a [`message_with_facts`].
const fn parts<'a>(entry: &'a Entry, facts: &'a str) -> [&'a [u8]; 8] {
    [
        BEFORE_CODE,
        entry.code.as_bytes(),
        b": ",
        entry.sentence.as_bytes(),
        facts.as_bytes(),
        b"\r\n",
        entry.advice.as_bytes(),
        b"\r\n",
    ]
}

/// Length of a [`message`].
pub const fn message_length(entry: &Entry) -> usize {
    let parts = parts(entry, "");
    let mut length = 1;
    let mut part = 0;
    while part < parts.len() {
        length += parts[part].len();
        part += 1;
    }
    length
}

/// A failure as text, for [`fail`]: `error 2A: the A20 line cannot be enabled`, the advice, a zero
/// byte.
pub const fn message<const LENGTH: usize>(entry: &Entry) -> [u8; LENGTH] {
    message_with_facts(entry, "")
}

/// A [`message`] with something behind the sentence.
pub const fn message_with_facts<const LENGTH: usize>(entry: &Entry, facts: &str) -> [u8; LENGTH] {
    let parts = parts(entry, facts);
    let mut text = [0; LENGTH];
    let mut length = 0;
    let mut part = 0;
    while part < parts.len() {
        let mut i = 0;
        while i < parts[part].len() {
            text[length] = parts[part][i];
            length += 1;
            i += 1;
        }
        part += 1;
    }
    assert!(length + 1 == LENGTH);
    text
}

/// The last line, after each [`message`].
#[unsafe(link_section = ".real_mode.rodata")]
static OFFER: [u8; 24] = *b"press a key to reboot\r\n\0";

/// Prints the [`message`] at SI on screen and COM1, leaves the error's record (see
/// [`disk_layout::stage2::error_record`]), waits for a key and reboots.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
pub extern "C" fn fail() -> ! {
    naked_asm!(
        ".code16",
        "push dword ptr [si + {code}]", // the record, until all is printed
        // COM1: 115,200 baud, 8 data bits, no parity, 1 stop bit.
        "mov dx, {com1} + 3",
        "mov al, 0x80",                 // line control: the divisor is next
        "out dx, al",
        "mov dx, {com1}",
        "mov al, 1",
        "out dx, al",
        "inc dx",
        "mov al, 0",
        "out dx, al",
        "mov dx, {com1} + 3",
        "mov al, 3",
        "out dx, al",

        "cld",
        ".Lnext_character:",
        "lodsb",
        "test al, al",
        "jz .Lend_of_text",
        "push si",
        "push ax",
        "push ds",
        "pushf",
        "mov ah, 0x0E",                 // INT 10h AH=0Eh: teletype
        "mov bx, 7",
        "int 0x10",
        "popf",
        "pop ds",
        "xor cx, cx",
        "mov dx, {com1} + 5",
        ".Lwait_for_line:",
        "in al, dx",                    // line status
        "test al, 0x20",                // bit 5: transmitter holding register empty
        "loopz .Lwait_for_line",
        "pop ax",
        "pop si",
        "mov dx, {com1}",
        "out dx, al",
        "jmp .Lnext_character",

        ".Lend_of_text:",
        "cmp si, offset {offer} + {offer_length}",
        "je .Lwait_for_key",
        "mov si, offset {offer}",
        "jmp .Lnext_character",

        ".Lwait_for_key:",
        "pop dword ptr [{header} + {error}]",
        "push ds",
        "xor ax, ax",                   // INT 16h AH=00h: wait for a key
        "int 0x16",
        "pop ds",
        "mov word ptr [0x472], 0x1234", // warm start: no memory test
        "ljmp 0xFFFF, 0",               // the reset vector
        ".code64",
        code = const BEFORE_CODE.len(),
        header = sym HEADER,
        error = const offset_of!(Stage2Header, error),
        com1 = const crate::machine::console::COM1,
        offer = sym OFFER,
        offer_length = const OFFER.len(),
    )
}

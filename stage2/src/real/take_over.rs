//! What stage2 takes over from the program that started it, and the time stamps of the 16-bit
//! steps.
//!
//! All 16-bit code is within the first 64 KiB, so that segment 0 reaches it. Routines are entered
//! by 32-bit near calls (`call` in LLVM's Intel syntax), with CS = DS = SS = 0.
#![allow(unsafe_code)]

use core::mem::offset_of;

use asm_lines::naked_asm;
use disk_layout::{mbr, multiboot};

use crate::machine::real_mode::findings::{FINDINGS, Findings, Multiboot};
use crate::real::cpu::has_cpuid;

/// The interrupt vector of #UD, the invalid-opcode exception (SDM vol. 3, 21.1.4).
const VECTOR_INVALID_OPCODE: u16 = 6 * 4;
/// CPUID 1, EDX bit 4: RDTSC.
const CPUID_TSC: u8 = 1 << 4;

/// Takes over what stage1 left on its stack, and restores the interrupt vector that it changed. On
/// a CPU without RDTSC the time stamp is garbage, and is set to 0.
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

/// Does the CPU have a time-stamp counter? Out: ZF = 0 if so. Clobbers EAX to EDX.
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
        has_cpuid = sym has_cpuid,
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

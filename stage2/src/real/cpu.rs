//! Step 3: is this a CPU that can run what follows?
//!
//! **On entry**: real mode, CS = DS = SS = 0, A20 on. **This step**: CPUID, then long mode, PAE and
//! SSE2 by CPUID; an error names what is missing. **On exit**: the same mode; all of it is there.
//! What is only welcome (NX, 1 GiB pages, …) is noted later, by [`features`].
#![allow(unsafe_code)]

use core::arch::x86_64::__cpuid;

use asm_lines::naked_asm;
use bit_field::BitField;
use boot_path::errors::catalogue;

use crate::real::real_mode::{fail, message, message_length};

/// EFLAGS bit 21: software can change it where there is CPUID (SDM vol. 1, 3.4.3.3).
const EFLAGS_ID: u32 = 1 << 21;
/// CPUID 1, EDX bit 6.
const CPUID_PAE: u32 = 1 << 6;
/// CPUID 1, EDX bit 26.
const CPUID_SSE2: u32 = 1 << 26;
/// CPUID 8000_0001h, EDX bit 29.
const CPUID_LONG_MODE: u32 = 1 << 29;
/// First extended leaf; its EAX is the highest one.
const EXTENDED: u32 = 0x8000_0000;

#[unsafe(link_section = ".real_mode.rodata")]
static NO_CPUID: [u8; message_length(&catalogue::CPU_NO_CPUID)] = message(&catalogue::CPU_NO_CPUID);
#[unsafe(link_section = ".real_mode.rodata")]
static NO_LONG_MODE: [u8; message_length(&catalogue::CPU_NO_LONG_MODE)] =
    message(&catalogue::CPU_NO_LONG_MODE);
#[unsafe(link_section = ".real_mode.rodata")]
static NO_PAE: [u8; message_length(&catalogue::CPU_NO_PAE)] = message(&catalogue::CPU_NO_PAE);
#[unsafe(link_section = ".real_mode.rodata")]
static NO_SSE2: [u8; message_length(&catalogue::CPU_NO_SSE2)] = message(&catalogue::CPU_NO_SSE2);

/// Returns only on a CPU that will do. Clobbers EAX to EDX, SI.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
pub extern "C" fn check() {
    naked_asm!(
        ".code16",
        "call {has_cpuid}",
        "mov si, offset {no_cpuid}",
        "jz .Lmissing",

        "mov si, offset {no_long_mode}",
        "mov eax, {extended}",
        "cpuid",
        "cmp eax, {extended} + 1",
        "jb .Lmissing",
        "mov eax, {extended} + 1",
        "cpuid",
        "test edx, {long_mode}",
        "jz .Lmissing",

        "mov eax, 1",
        "cpuid",
        "mov si, offset {no_pae}",
        "test edx, {pae}",
        "jz .Lmissing",
        "mov si, offset {no_sse2}",
        "test edx, {sse2}",
        "jz .Lmissing",
        "ret",

        ".Lmissing:",
        "jmp {fail}",
        ".code64",
        has_cpuid = sym has_cpuid,
        extended = const EXTENDED,
        long_mode = const CPUID_LONG_MODE,
        pae = const CPUID_PAE,
        sse2 = const CPUID_SSE2,
        no_cpuid = sym NO_CPUID,
        no_long_mode = sym NO_LONG_MODE,
        no_pae = sym NO_PAE,
        no_sse2 = sym NO_SSE2,
        fail = sym fail,
    )
}

/// Is there the instruction CPUID? Out: ZF = 0 when there is. Clobbers EAX, ECX.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
pub extern "C" fn has_cpuid() {
    naked_asm!(
        ".code16",
        "pushfd",
        "pop eax",
        "mov ecx, eax",
        "xor eax, {eflags_id}",
        "push eax",
        "popfd",
        "pushfd",
        "pop eax",
        "push ecx",
        "popfd",
        "xor eax, ecx",
        "test eax, {eflags_id}",
        "ret",
        ".code64",
        eflags_id = const EFLAGS_ID,
    )
}

/// Bits of a physical address (SDM vol. 2A, CPUID 8000_0008h); 36 where the CPU does not say.
pub fn physical_bits() -> u32 {
    if __cpuid(EXTENDED).eax < EXTENDED + 8 {
        return 36;
    }
    (__cpuid(EXTENDED + 8).eax & 0xFF).clamp(32, 52)
}

/// What the CPU can do besides, as `handoff::CPU_…`.
pub fn features() -> u64 {
    let highest = __cpuid(0).eax;
    let basic = __cpuid(1);
    let structured = if highest >= 7 { Some(__cpuid(7)) } else { None };
    let extended = __cpuid(EXTENDED + 1);
    let power = if __cpuid(EXTENDED).eax >= EXTENDED + 7 {
        __cpuid(EXTENDED + 7).edx
    } else {
        0
    };
    let (structured_ebx, structured_ecx) = structured.map_or((0, 0), |leaf| (leaf.ebx, leaf.ecx));

    // SDM vol. 2A, CPUID; AMD APM vol. 3, appendix E.
    let found = [
        (extended.edx.get_bit(20), ::handoff::CPU_NX),
        (extended.edx.get_bit(26), ::handoff::CPU_1GIB_PAGES),
        (structured_ecx.get_bit(16), ::handoff::CPU_LA57),
        (power.get_bit(8), ::handoff::CPU_INVARIANT_TSC),
        (basic.ecx.get_bit(30), ::handoff::CPU_RDRAND),
        (structured_ebx.get_bit(18), ::handoff::CPU_RDSEED),
        (basic.ecx.get_bit(21), ::handoff::CPU_X2APIC),
        (basic.ecx.get_bit(31), ::handoff::CPU_HYPERVISOR),
        (structured_ebx.get_bit(7), ::handoff::CPU_SMEP),
        (structured_ebx.get_bit(20), ::handoff::CPU_SMAP),
    ];
    found
        .iter()
        .filter(|(present, _)| *present)
        .map(|(_, flag)| flag)
        .sum()
}

//! Step 3: is this a CPU that can run what follows?
//!
//! **On entry**: real mode, CS = DS = SS = 0, A20 on. **This step**: CPUID, then long mode, PAE and
//! SSE2 by CPUID; an error names what is missing. **On exit**: the same mode; all of it is there.
//! Optional features (NX, 1 GiB pages, …) are noted later: see
//! [`boot_path::devices::cpu::features`].
#![allow(unsafe_code)]

use asm_lines::naked_asm;

use crate::machine::real_mode::report::{fail, messages};

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

messages! { CPU_NO_CPUID CPU_NO_LONG_MODE CPU_NO_PAE CPU_NO_SSE2 }

/// Returns only on a CPU that has all of this. Clobbers EAX to EDX, SI.
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
        no_cpuid = sym CPU_NO_CPUID,
        no_long_mode = sym CPU_NO_LONG_MODE,
        no_pae = sym CPU_NO_PAE,
        no_sse2 = sym CPU_NO_SSE2,
        fail = sym fail,
    )
}

/// Does the CPU have the instruction CPUID? Out: ZF = 0 if so. Clobbers EAX, ECX.
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

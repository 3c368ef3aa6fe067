//! Out of long mode for good, to a program that begins in 32-bit protected mode or in real mode.
//!
//! What follows gets the machine as the BIOS left it: interrupt vectors, interrupt controllers,
//! timer; in real mode, where it may call the BIOS, the control registers as well. Nothing of the loader is
//! needed any more once the program's first instruction runs.
#![allow(unsafe_code)]

use core::mem::offset_of;

use asm_lines::naked_asm;
use boot_path::memory::layout::TRANSFER_BUFFER;
use boot_path::ways_out::handover::{ProtectedMode, RealMode};
use disk_layout::mbr;
use x86_64::registers::control::{Cr0Flags, EferFlags};

use crate::machine::{console, faults};
use crate::real::long_mode::{
    BIOS_CONTROL, BiosControl, CODE_16, CODE_32, DATA, DATA_16, IA32_EFER,
};
use crate::real::real_mode_faults;

/// CR0 in protected mode: all off but PE, and ET, which says what FPU there is.
const CR0: u32 = (Cr0Flags::EXTENSION_TYPE.bits() | Cr0Flags::PROTECTED_MODE_ENABLE.bits()) as u32;

/// Copies of both, within reach of 16-bit code.
#[repr(C)]
struct Target {
    protected: ProtectedMode,
    real: RealMode,
    /// A boot sector, which is copied to where the BIOS loads one: its segment …
    sector: u16,
    /// … and bytes; 0: there is none.
    sector_bytes: u16,
}

#[unsafe(link_section = ".leave.data")]
static mut TARGET: Target = Target {
    protected: ProtectedMode {
        eip: 0,
        eax: 0,
        ebx: 0,
        ecx: 0,
        edx: 0,
        esi: 0,
        edi: 0,
        ebp: 0,
        esp: 0,
    },
    real: RealMode {
        ip: 0,
        cs: 0,
        flags: 0,
        sp: 0,
        ss: 0,
        ds: 0,
        es: 0,
        fs: 0,
        gs: 0,
        padding: 0,
        eax: 0,
        ebx: 0,
        ecx: 0,
        edx: 0,
        esi: 0,
        edi: 0,
        ebp: 0,
    },
    sector: 0,
    sector_bytes: 0,
};

/// The last things to do before the loader is left, whatever follows.
pub fn prepare() {
    faults::check_stack();
    console::drain();
    real_mode_faults::give_back();
}

/// Starts a program in protected mode.
pub fn to_protected_mode(state: &ProtectedMode) -> ! {
    prepare();
    let target = &raw mut TARGET;
    // SAFETY: one thread; the program is there, or it is none of the loader's.
    unsafe {
        (*target).protected = *state;
        leave_to_protected_mode()
    }
}

/// Starts a program in real mode.
pub fn to_real_mode(state: &RealMode) -> ! {
    prepare();
    let target = &raw mut TARGET;
    // SAFETY: as above.
    unsafe {
        (*target).real = *state;
        leave_to_real_mode()
    }
}

/// Starts a boot sector of so many bytes, which is copied to 7C00h from the transfer buffer. A large one
/// overwrites the first pages of stage2, and only what follows here runs after that.
pub fn to_boot_sector(state: &RealMode, bytes: usize) -> ! {
    let target = &raw mut TARGET;
    // SAFETY: one thread.
    unsafe {
        (*target).sector = (TRANSFER_BUFFER.start >> 4) as u16;
        (*target).sector_bytes = bytes as u16;
    }
    to_real_mode(state)
}

/// Long mode → compatibility mode → 32-bit protected mode. In: [`TARGET`].
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
unsafe extern "sysv64" fn leave_to_protected_mode() -> ! {
    naked_asm!(
        "cli",
        "push {code_32}",
        "push offset .Lcompatibility_32",
        "retfq",
        ".code32",
        ".Lcompatibility_32:",
        "mov eax, {data}",
        "mov ds, eax",
        "mov es, eax",
        "mov fs, eax",
        "mov gs, eax",
        "mov ss, eax",
        "mov eax, {cr0}",               // paging ends: EFER.LMA goes with it
        "mov cr0, eax",
        "lidt [{vector_table}]",
        "mov ecx, {efer}",
        "rdmsr",
        "and eax, ~({lme} + {nxe})",
        "wrmsr",
        "xor eax, eax",
        "mov cr4, eax",
        "mov cr3, eax",
        "lldt ax",
        "mov eax, [{target} + {eax}]",
        "mov ebx, [{target} + {ebx}]",
        "mov ecx, [{target} + {ecx}]",
        "mov edx, [{target} + {edx}]",
        "mov esi, [{target} + {esi}]",
        "mov edi, [{target} + {edi}]",
        "mov ebp, [{target} + {ebp}]",
        "mov esp, [{target} + {esp}]",
        "jmp dword ptr [{target} + {eip}]",
        ".code64",
        target = sym TARGET,
        eip = const offset_of!(Target, protected.eip),
        eax = const offset_of!(Target, protected.eax),
        ebx = const offset_of!(Target, protected.ebx),
        ecx = const offset_of!(Target, protected.ecx),
        edx = const offset_of!(Target, protected.edx),
        esi = const offset_of!(Target, protected.esi),
        edi = const offset_of!(Target, protected.edi),
        ebp = const offset_of!(Target, protected.ebp),
        esp = const offset_of!(Target, protected.esp),
        cr0 = const CR0,
        code_32 = const CODE_32,
        data = const DATA,
        vector_table = sym real_mode_faults::VECTOR_TABLE,
        efer = const IA32_EFER,
        lme = const EferFlags::LONG_MODE_ENABLE.bits() as u32,
        nxe = const EferFlags::NO_EXECUTE_ENABLE.bits() as u32,
    )
}

/// Long mode → compatibility mode → 16-bit protected mode → real mode. In: [`TARGET`].
#[unsafe(naked)]
#[unsafe(link_section = ".leave.text")]
unsafe extern "sysv64" fn leave_to_real_mode() -> ! {
    naked_asm!(
        "cli",
        "push {code_16}",
        "push offset .Lcompatibility_16",
        "retfq",
        ".code16",
        ".Lcompatibility_16:",
        "mov ax, {data_16}",            // real mode keeps the limits: 64 KiB
        "mov ds, ax",
        "mov es, ax",
        "mov fs, ax",
        "mov gs, ax",
        "mov ss, ax",
        "mov eax, cr0",
        "and eax, ~{pg}",
        "mov cr0, eax",
        "lidt [{vector_table}]",
        "mov ecx, {efer}",
        "rdmsr",
        "and eax, ~{lme}",
        "wrmsr",
        "xor eax, eax",
        "mov cr3, eax",
        "mov eax, [{bios} + {bios_cr4}]",
        "mov cr4, eax",
        "mov eax, [{bios} + {bios_cr0}]", // without PE
        "mov cr0, eax",
        "ljmp 0, offset .Lleft",
        ".Lleft:",
        "xor ax, ax",
        "mov es, ax",
        "mov ds, cs:[{target} + {sector}]",
        "xor si, si",
        "mov di, {load_address}",
        "mov cx, cs:[{target} + {sector_bytes}]",
        "rep movsb es:[di], ds:[si]",
        "mov ss, cs:[{target} + {ss}]",
        "movzx esp, word ptr cs:[{target} + {sp}]",
        "mov ds, cs:[{target} + {ds}]",
        "mov es, cs:[{target} + {es}]",
        "mov fs, cs:[{target} + {fs}]",
        "mov gs, cs:[{target} + {gs}]",
        "mov eax, cs:[{target} + {eax}]",
        "mov ebx, cs:[{target} + {ebx}]",
        "mov ecx, cs:[{target} + {ecx}]",
        "mov edx, cs:[{target} + {edx}]",
        "mov esi, cs:[{target} + {esi}]",
        "mov edi, cs:[{target} + {edi}]",
        "mov ebp, cs:[{target} + {ebp}]",
        "push word ptr cs:[{target} + {flags}]",
        "push word ptr cs:[{target} + {cs}]",
        "push word ptr cs:[{target} + {ip}]",
        ".byte 0xCF",                   // IRET
        ".code64",
        target = sym TARGET,
        load_address = const mbr::LOAD_ADDRESS,
        sector = const offset_of!(Target, sector),
        sector_bytes = const offset_of!(Target, sector_bytes),
        ip = const offset_of!(Target, real.ip),
        cs = const offset_of!(Target, real.cs),
        flags = const offset_of!(Target, real.flags),
        sp = const offset_of!(Target, real.sp),
        ss = const offset_of!(Target, real.ss),
        ds = const offset_of!(Target, real.ds),
        es = const offset_of!(Target, real.es),
        fs = const offset_of!(Target, real.fs),
        gs = const offset_of!(Target, real.gs),
        eax = const offset_of!(Target, real.eax),
        ebx = const offset_of!(Target, real.ebx),
        ecx = const offset_of!(Target, real.ecx),
        edx = const offset_of!(Target, real.edx),
        esi = const offset_of!(Target, real.esi),
        edi = const offset_of!(Target, real.edi),
        ebp = const offset_of!(Target, real.ebp),
        bios = sym BIOS_CONTROL,
        bios_cr0 = const offset_of!(BiosControl, cr0),
        bios_cr4 = const offset_of!(BiosControl, cr4),
        pg = const Cr0Flags::PAGING.bits() as u32,
        code_16 = const CODE_16,
        data_16 = const DATA_16,
        vector_table = sym real_mode_faults::VECTOR_TABLE,
        efer = const IA32_EFER,
        lme = const EferFlags::LONG_MODE_ENABLE.bits() as u32,
    )
}

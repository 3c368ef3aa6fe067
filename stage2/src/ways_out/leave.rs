//! Starts programs of protocols other than the loader's own and Limine's: in 32-bit protected mode,
//! in real mode, or in long mode as Linux does.
//!
//! The program gets the machine as the BIOS left it: interrupt vectors, interrupt controllers,
//! timer; in real mode, where it may call the BIOS, the control registers as well. Once its first
//! instruction runs, nothing of the loader is needed any more.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::mem::{MaybeUninit, offset_of};

use asm_lines::naked_asm;
use boot_path::devices::control_registers::IA32_EFER;
use boot_path::devices::descriptors::{
    CODE_16, CODE_32, DATA, DATA_16, DescriptorPointer, NO_TABLE,
};
use boot_path::memory::address::PhysAddr;
use boot_path::memory::layout::TRANSFER_BUFFER;
use boot_path::ways_out::handover::{ProtectedMode, RealMode};
use boot_path::ways_out::linux::segments;
use disk_layout::mbr;
use x86_64::registers::control::{Cr0Flags, EferFlags};
use x86_64::structures::DescriptorTablePointer;

use crate::machine::console::CONSOLE;
use crate::machine::faults;
use crate::machine::real_mode::exceptions::{self, VECTOR_TABLE};
use crate::machine::real_mode::findings::{BIOS_CONTROL, BiosControl};
use crate::machine::switch::clear_registers;
use crate::machine::variables::{OneThread, placed};

/// A boot sector, which is copied to where the BIOS loads one: its segment, and its bytes; 0: there
/// is none.
#[repr(C)]
struct Sector {
    segment: Cell<u16>,
    bytes: Cell<u16>,
}

placed! {
    /// The state that the program begins with, copied to where 16-bit code reaches it.
    in ".leave.data"
    static PROTECTED: OneThread<Cell<MaybeUninit<ProtectedMode>>> =
        OneThread::new(Cell::new(MaybeUninit::uninit()));

    /// See there.
    in ".leave.data"
    static REAL: OneThread<Cell<MaybeUninit<RealMode>>> =
        OneThread::new(Cell::new(MaybeUninit::uninit()));

    /// See there.
    in ".leave.data"
    static SECTOR: OneThread<Sector> = OneThread::new(Sector {
        segment: Cell::new(0),
        bytes: Cell::new(0),
    });
}

/// The last things to do before the loader is left, whatever follows.
pub fn prepare() {
    faults::check_stack();
    CONSOLE.drain();
    exceptions::give_back();
}

/// Starts a program in protected mode.
pub fn to_protected_mode(state: &ProtectedMode) -> ! {
    prepare();
    PROTECTED.set(MaybeUninit::new(*state));
    // SAFETY: the state is set, and nothing of the loader runs after this: only the program does.
    unsafe { leave_to_protected_mode() }
}

/// Starts a program in real mode.
pub fn to_real_mode(state: &RealMode) -> ! {
    prepare();
    REAL.set(MaybeUninit::new(*state));
    // SAFETY: as above.
    unsafe { leave_to_real_mode() }
}

/// Starts a boot sector of `bytes` bytes, after copying it from the transfer buffer to 7C00h. A
/// large one overwrites the first pages of stage2, but only the code below still runs by then.
pub fn to_boot_sector(state: &RealMode, bytes: usize) -> ! {
    SECTOR.segment.set((TRANSFER_BUFFER.start >> 4) as u16);
    SECTOR.bytes.set(bytes as u16);
    to_real_mode(state)
}

/// Long mode → compatibility mode → 32-bit protected mode. In: [`PROTECTED`].
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
        "mov eax, {cr0}",               // paging ends, and EFER.LMA with it
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
        target = sym PROTECTED,
        eip = const offset_of!(ProtectedMode, eip),
        eax = const offset_of!(ProtectedMode, eax),
        ebx = const offset_of!(ProtectedMode, ebx),
        ecx = const offset_of!(ProtectedMode, ecx),
        edx = const offset_of!(ProtectedMode, edx),
        esi = const offset_of!(ProtectedMode, esi),
        edi = const offset_of!(ProtectedMode, edi),
        ebp = const offset_of!(ProtectedMode, ebp),
        esp = const offset_of!(ProtectedMode, esp),
        cr0 = const ProtectedMode::CR0,
        code_32 = const CODE_32,
        data = const DATA,
        vector_table = sym VECTOR_TABLE,
        efer = const IA32_EFER,
        lme = const EferFlags::LONG_MODE_ENABLE.bits() as u32,
        nxe = const EferFlags::NO_EXECUTE_ENABLE.bits() as u32,
    )
}

/// Long mode → compatibility mode → 16-bit protected mode → real mode. In: [`REAL`] and [`SECTOR`].
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
        "mov ds, cs:[{from} + {segment}]",
        "xor si, si",
        "mov di, {load_address}",
        "mov cx, cs:[{from} + {bytes}]",
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
        target = sym REAL,
        from = sym SECTOR,
        load_address = const mbr::LOAD_ADDRESS,
        segment = const offset_of!(Sector, segment),
        bytes = const offset_of!(Sector, bytes),
        ip = const offset_of!(RealMode, ip),
        cs = const offset_of!(RealMode, cs),
        flags = const offset_of!(RealMode, flags),
        sp = const offset_of!(RealMode, sp),
        ss = const offset_of!(RealMode, ss),
        ds = const offset_of!(RealMode, ds),
        es = const offset_of!(RealMode, es),
        fs = const offset_of!(RealMode, fs),
        gs = const offset_of!(RealMode, gs),
        eax = const offset_of!(RealMode, eax),
        ebx = const offset_of!(RealMode, ebx),
        ecx = const offset_of!(RealMode, ecx),
        edx = const offset_of!(RealMode, edx),
        esi = const offset_of!(RealMode, esi),
        edi = const offset_of!(RealMode, edi),
        ebp = const offset_of!(RealMode, ebp),
        bios = sym BIOS_CONTROL,
        bios_cr0 = const offset_of!(BiosControl, cr0),
        bios_cr4 = const offset_of!(BiosControl, cr4),
        pg = const Cr0Flags::PAGING.bits() as u32,
        code_16 = const CODE_16,
        data_16 = const DATA_16,
        vector_table = sym VECTOR_TABLE,
        efer = const IA32_EFER,
        lme = const EferFlags::LONG_MODE_ENABLE.bits() as u32,
    )
}

/// Starts a Linux kernel at its 64-bit entry: Documentation/arch/x86/boot.rst, "64-bit boot
/// protocol".
pub fn to_64_bit_code(entry: PhysAddr, parameters: PhysAddr) -> ! {
    prepare();
    let table = DescriptorPointer::new(&raw const segments::GDT);
    // SAFETY: the kernel was loaded there; the early tables map it and its parameters.
    unsafe { enter_64(entry, parameters, &table, &NO_TABLE) }
}

/// Long mode stays; the kernel gets a GDT with the selectors that it expects, and an empty IDT,
/// because the loader's handlers would not be found there.
///
/// In: RDI = entry, RSI = parameters, RDX, RCX = operands of LGDT and LIDT.
#[unsafe(naked)]
unsafe extern "sysv64" fn enter_64(
    entry: PhysAddr,
    parameters: PhysAddr,
    gdt: &DescriptorPointer,
    idt: &DescriptorTablePointer,
) -> ! {
    naked_asm!(
        "cli",
        "cld",
        "lgdt [rdx]",
        "lidt [rcx]",
        "mov eax, {data}",
        "mov ds, eax",
        "mov es, eax",
        "mov ss, eax",
        "mov fs, eax",
        "mov gs, eax",
        clear_registers!(),
        "push {code}",
        "push rdi",
        "xor edi, edi",
        "retfq",
        data = const segments::BOOT_DS,
        code = const segments::BOOT_CS,
    )
}

//! The gate: BIOS calls from 64-bit code.
//!
//! long mode → 16-bit compatibility mode → 16-bit protected mode → real mode, the interrupt, and
//! straight back. BIOSes return with registers, segments, GDT, IDT, IF and DF changed. The gate
//! sets again whatever 64-bit code relies on, and keeps the BIOS's register values for the caller.
//! While the BIOS runs, CR0, CR4 and EFER have the BIOS's own values: see [`BiosControl`].
//! [`calls`](super::calls) does the work around each call.
#![allow(unsafe_code)]
// LLVM's Intel syntax has no 16-bit far call through memory: that instruction is in AT&T syntax.
#![allow(bad_asm_style)]

use core::cell::Cell;
use core::mem::offset_of;

use asm_lines::naked_asm;
use boot_path::bios::firmware::{FLAG_CARRY, Registers};
use boot_path::devices::control_registers::IA32_EFER;
use boot_path::devices::descriptors::{CODE_16, CODE_64, DATA, DATA_16};
use boot_path::memory::layout;
use x86_64::registers::control::{Cr0Flags, EferFlags};

use crate::machine::physical;
use crate::machine::real_mode::exceptions;
use crate::machine::real_mode::findings::{BIOS_CONTROL, BiosControl};
use crate::machine::real_mode::report::{fail, messages};
use crate::machine::switch::GDT_POINTER;
use crate::machine::variables::{OneThread, placed};

/// EFLAGS: interrupts enabled.
const FLAG_INTERRUPTS: u32 = 1 << 9;
/// EFLAGS bit 1, which is always set.
const FLAG_ALWAYS: u32 = 1 << 1;

messages! { STACK_OVERRUN }

/// The gate's variables, within reach of segment 0.
#[repr(C)]
struct Gate {
    registers: Cell<Registers>,
    /// Offset and segment of the handler, from the interrupt vector table.
    vector: Cell<u32>,
    /// The 64-bit stack.
    rsp: Cell<u64>,
    /// Control registers in long mode.
    cr0: Cell<u32>,
    cr4: Cell<u32>,
    /// IDTR in long mode.
    long_idt: Cell<[u16; 5]>,
}

placed! {
    in ".gate.data"
    static GATE: OneThread<Gate> = OneThread::new(Gate {
        registers: Cell::new(Registers::new(0)),
        vector: Cell::new(0),
        rsp: Cell::new(0),
        cr0: Cell::new(0),
        cr4: Cell::new(0),
        long_idt: Cell::new([0; 5]),
    });
}

/// Calls the interrupt `number` with `registers`, and leaves in them what the BIOS returns.
///
/// The handler is called as the instruction INT would: FLAGS and a far return address on the
/// stack, IF and TF clear.
pub fn call(number: u8, registers: &mut Registers) {
    let eflags = registers.eflags & FLAG_CARRY | FLAG_ALWAYS | FLAG_INTERRUPTS;
    GATE.registers.set(Registers {
        eflags,
        ..*registers
    });
    GATE.vector.set(vector(number));
    // SAFETY: the variables are set, and until the loader leaves long mode for good, only the early
    // tables are in use. The BIOS is trusted: it is part of the machine and may do what it likes.
    unsafe { pass() }
    *registers = GATE.registers.get();
}

/// The far address in the interrupt vector table: offset in bits 15:0, segment in bits 31:16.
fn vector(number: u8) -> u32 {
    physical::read::<u32>(u64::from(number) * 4)
}

/// Calls 16-bit code in segment 0, as if it were a handler of the BIOS, while only what stage1 has summed
/// up is trusted. In: EDI: its address; all other registers are 0 there.
#[unsafe(naked)]
#[unsafe(link_section = ".gate.text")]
pub extern "C" fn call_address() {
    naked_asm!(
        "mov [{gate} + {vector}], edi",
        "jmp {pass}",
        gate = sym GATE,
        vector = const offset_of!(Gate, vector),
        pass = sym pass,
    )
}

/// Through the gate and back. In and out: [`GATE`].
///
/// # Safety
/// The variables of the gate are set, and the early tables are in use.
#[unsafe(naked)]
#[unsafe(link_section = ".gate.text")]
unsafe extern "sysv64" fn pass() {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "pushfq",
        "cli",
        "mov [{gate} + {rsp}], rsp",
        "sidt [{gate} + {long_idt}]",
        "mov rax, cr0",
        "mov [{gate} + {cr0}], eax",
        "mov rax, cr4",
        "mov [{gate} + {cr4}], eax",
        "push {code_16}",
        "push offset .Lcompatibility",
        "retfq",

        ".code16",
        ".Lcompatibility:",
        "mov ax, {data_16}",
        "mov ds, ax",
        "mov es, ax",
        "mov fs, ax",
        "mov gs, ax",
        "mov ss, ax",
        "mov eax, cr0",
        "and eax, ~{pg}",
        "mov cr0, eax",
        "lidt [{protected_idt}]",
        "mov ecx, {efer}",
        "rdmsr",
        "and eax, ~{lme}",
        "wrmsr",
        "mov eax, [{bios} + {bios_cr4}]",
        "mov cr4, eax",
        "mov eax, [{bios} + {bios_cr0}]", // without PE
        "mov cr0, eax",
        "ljmp 0, offset .Lreal",

        ".Lreal:",
        "xor ax, ax",
        "mov ss, ax",
        "mov esp, {stack}",
        "mov fs, ax",
        "mov gs, ax",
        "lidt cs:[{vector_table}]",
        "mov eax, cs:[{gate} + {eax}]",
        "mov ebx, cs:[{gate} + {ebx}]",
        "mov ecx, cs:[{gate} + {ecx}]",
        "mov edx, cs:[{gate} + {edx}]",
        "mov esi, cs:[{gate} + {esi}]",
        "mov edi, cs:[{gate} + {edi}]",
        "mov ebp, cs:[{gate} + {ebp}]",
        "mov ds, cs:[{gate} + {ds}]",
        "mov es, cs:[{gate} + {es}]",
        "push dword ptr cs:[{gate} + {eflags}]",
        "popfd",
        "pushf",
        "cli",
        ".att_syntax; lcallw *%cs:{gate} + {vector}; .intel_syntax noprefix",
        "mov cs:[{gate} + {eax}], eax",
        "mov cs:[{gate} + {ebx}], ebx",
        "mov cs:[{gate} + {ecx}], ecx",
        "mov cs:[{gate} + {edx}], edx",
        "mov cs:[{gate} + {esi}], esi",
        "mov cs:[{gate} + {edi}], edi",
        "mov cs:[{gate} + {ebp}], ebp",
        "mov cs:[{gate} + {ds}], ds",
        "mov cs:[{gate} + {es}], es",
        "pushfd",
        "pop dword ptr cs:[{gate} + {eflags}]",
        "cli",
        "cld",

        "xor ax, ax",
        "mov ds, ax",
        // Did the call stay on its stack? The page tables below it are needed for the way back.
        "cmp dword ptr [{stack_bottom}], {canary}",
        "mov si, offset {overrun}",
        "jne {fail}",
        "lgdt [{gdt_pointer}]",
        "mov eax, cr4",
        "mov [{bios} + {bios_cr4}], eax",
        "mov eax, [{gate} + {cr4}]",
        "mov cr4, eax",
        "mov eax, {tables}",
        "mov cr3, eax",
        "mov ecx, {efer}",
        "rdmsr",
        "or eax, {lme}",
        "wrmsr",
        "mov eax, [{gate} + {cr0}]",
        "mov cr0, eax",
        "ljmp {code_64}, offset .Llong",

        ".code64",
        ".Llong:",
        "mov eax, {data}",
        "mov ds, eax",
        "mov es, eax",
        "mov ss, eax",
        "xor eax, eax",
        "mov fs, eax",
        "mov gs, eax",
        "mov rsp, [{gate} + {rsp}]",
        "lidt [{gate} + {long_idt}]",
        "popfq",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        gate = sym GATE,
        rsp = const offset_of!(Gate, rsp),
        cr0 = const offset_of!(Gate, cr0),
        cr4 = const offset_of!(Gate, cr4),
        bios = sym BIOS_CONTROL,
        bios_cr0 = const offset_of!(BiosControl, cr0),
        bios_cr4 = const offset_of!(BiosControl, cr4),
        protected_idt = sym exceptions::IDT_POINTER,
        vector_table = sym exceptions::VECTOR_TABLE,
        long_idt = const offset_of!(Gate, long_idt),
        vector = const offset_of!(Gate, vector),
        eax = const offset_of!(Registers, eax),
        ebx = const offset_of!(Registers, ebx),
        ecx = const offset_of!(Registers, ecx),
        edx = const offset_of!(Registers, edx),
        esi = const offset_of!(Registers, esi),
        edi = const offset_of!(Registers, edi),
        ebp = const offset_of!(Registers, ebp),
        ds = const offset_of!(Registers, ds),
        es = const offset_of!(Registers, es),
        eflags = const offset_of!(Registers, eflags),
        pg = const Cr0Flags::PAGING.bits() as u32,
        efer = const IA32_EFER,
        lme = const EferFlags::LONG_MODE_ENABLE.bits() as u32,
        tables = const layout::EARLY_ROOT.start,
        stack = const layout::REAL_MODE_STACK.end,
        stack_bottom = const layout::REAL_MODE_STACK.start,
        canary = const layout::CANARY,
        overrun = sym STACK_OVERRUN,
        fail = sym fail,
        gdt_pointer = sym GDT_POINTER,
        code_16 = const CODE_16,
        data_16 = const DATA_16,
        code_64 = const CODE_64,
        data = const DATA,
    )
}

// The assembly reaches the fields of `Registers` from the gate's start.
const _: () = assert!(offset_of!(Gate, registers) == 0);

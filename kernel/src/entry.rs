//! The very first instructions: they record what the loader left in the registers before compiled
//! code changes it. A kernel that is not curious needs none of this.

// The registers can only be seen from assembly.
#![allow(unsafe_code)]

use core::arch::asm;
use core::mem::offset_of;

use asm_lines::naked_asm;
use x86_64::instructions::tables::{sgdt, sidt};
use x86_64::registers::control::{Cr0, Cr4, Efer};
use x86_64::registers::mxcsr;
use x86_64::registers::segmentation::{CS, DS, ES, FS, GS, SS, Segment};

use crate::sync::Shared;
use crate::time::CPUID_TSC;

/// The stack that the kernel asks for. It differs from the default, to show that the loader reads
/// the note.
pub const STACK_SIZE: u64 = 128 * 1024;

/// The registers at the kernel's first instruction.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rflags: u64,
    /// The quadword that RSP points to.
    pub return_address: u64,
    /// The time-stamp counter.
    pub time: u64,
}

static REGISTERS: Shared<Registers> = Shared::new(Registers {
    rax: 0,
    rbx: 0,
    rcx: 0,
    rdx: 0,
    rsi: 0,
    rdi: 0,
    rbp: 0,
    rsp: 0,
    r8: 0,
    r9: 0,
    r10: 0,
    r11: 0,
    r12: 0,
    r13: 0,
    r14: 0,
    r15: 0,
    rflags: 0,
    return_address: 0,
    time: 0,
});

/// The registers at the kernel's first instruction.
pub fn registers() -> Registers {
    // SAFETY: written once, before the first compiled function runs.
    unsafe { *REGISTERS.get() }
}

/// Other state that the loader has set, and the kernel is going to change.
pub struct SystemState {
    pub cr0: u64,
    pub cr4: u64,
    pub efer: u64,
    /// CS, SS, DS, ES, FS, GS.
    pub segments: [u16; 6],
    pub task_register: u16,
    pub ldt: u16,
    /// Base and limit.
    pub gdt: (u64, u16),
    /// Base and limit.
    pub idt: (u64, u16),
    pub x87_control: u16,
    pub mxcsr: u32,
}

impl SystemState {
    /// Reads all of it.
    pub fn read() -> Self {
        let (task_register, ldt, x87_control): (u16, u16, u16);
        let mut control_word = 0_u16;
        // SAFETY: the instructions only store registers.
        unsafe {
            asm!("str {:x}", out(reg) task_register, options(nomem, nostack, preserves_flags));
            asm!("sldt {:x}", out(reg) ldt, options(nomem, nostack, preserves_flags));
            asm!("fnstcw [{}]", in(reg) &raw mut control_word, options(nostack, preserves_flags));
        }
        x87_control = control_word;
        let (gdt, idt) = (sgdt(), sidt());
        Self {
            cr0: Cr0::read_raw(),
            cr4: Cr4::read_raw(),
            efer: Efer::read_raw(),
            segments: [
                CS::get_reg().0,
                SS::get_reg().0,
                DS::get_reg().0,
                ES::get_reg().0,
                FS::get_reg().0,
                GS::get_reg().0,
            ],
            task_register,
            ldt,
            gdt: (gdt.base.as_u64(), gdt.limit),
            idt: (idt.base.as_u64(), idt.limit),
            x87_control,
            mxcsr: mxcsr::read().bits(),
        }
    }
}

unsafe extern "C" {
    /// Defined by `handoff::entry_point!`.
    fn _start() -> !;
}

/// The entry point of the ELF (see `build.rs`): stores all registers, restores those that it needs
/// itself, and goes on to `_start` as if nothing had happened.
///
/// In: the entry state of the contract. Out: the same. Clobbers nothing but the arithmetic flags.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn record_registers() -> ! {
    naked_asm!(
        "mov [rip + {registers} + {rax}], rax",
        "lea rax, [rip + {registers}]",
        "mov [rax + {rbx}], rbx",
        "mov [rax + {rcx}], rcx",
        "mov [rax + {rdx}], rdx",
        "mov [rax + {rsi}], rsi",
        "mov [rax + {rdi}], rdi",
        "mov [rax + {rbp}], rbp",
        "mov [rax + {rsp}], rsp",
        "mov [rax + {r8}], r8",
        "mov [rax + {r9}], r9",
        "mov [rax + {r10}], r10",
        "mov [rax + {r11}], r11",
        "mov [rax + {r12}], r12",
        "mov [rax + {r13}], r13",
        "mov [rax + {r14}], r14",
        "mov [rax + {r15}], r15",
        "mov rcx, [rsp]",
        "mov [rax + {return_address}], rcx",
        // No instruction so far has changed the flags.
        "pushfq",
        "pop qword ptr [rax + {rflags}]",
        "mov r15, rax",
        "mov eax, 1",
        "cpuid",
        "test dl, {tsc}",
        "jz 2f",
        "rdtsc",
        "mov [r15 + {time}], eax",
        "mov [r15 + {time} + 4], edx",
        "2:",
        "mov rcx, r15",
        "mov r15, [rcx + {r15}]",
        "mov rbx, [rcx + {rbx}]",
        "mov rdx, [rcx + {rdx}]",
        "mov rax, [rcx + {rax}]",
        "mov rcx, [rcx + {rcx}]",
        "jmp {start}",
        registers = sym REGISTERS,
        rax = const offset_of!(Registers, rax),
        rbx = const offset_of!(Registers, rbx),
        rcx = const offset_of!(Registers, rcx),
        rdx = const offset_of!(Registers, rdx),
        rsi = const offset_of!(Registers, rsi),
        rdi = const offset_of!(Registers, rdi),
        rbp = const offset_of!(Registers, rbp),
        rsp = const offset_of!(Registers, rsp),
        r8 = const offset_of!(Registers, r8),
        r9 = const offset_of!(Registers, r9),
        r10 = const offset_of!(Registers, r10),
        r11 = const offset_of!(Registers, r11),
        r12 = const offset_of!(Registers, r12),
        r13 = const offset_of!(Registers, r13),
        r14 = const offset_of!(Registers, r14),
        r15 = const offset_of!(Registers, r15),
        rflags = const offset_of!(Registers, rflags),
        return_address = const offset_of!(Registers, return_address),
        time = const offset_of!(Registers, time),
        tsc = const CPUID_TSC,
        start = sym _start,
    )
}

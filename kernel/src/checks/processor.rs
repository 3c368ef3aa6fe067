//! The processor at the kernel's first instruction: registers, stack, control registers, tables.

// Ports are read.
#![allow(unsafe_code)]

use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::hint::black_box;

use x86_64::instructions::port::Port;
use x86_64::registers::control::{Cr0Flags, Cr4Flags, EferFlags};
use x86_64::registers::rflags::RFlags;

use super::Machine;
use super::outcome::{Outcome, ensure};
use crate::entry::STACK_SIZE;
use crate::paging::PAGE;

pub fn flags(machine: &Machine) -> Outcome {
    let [cs, ..] = machine.state.segments;
    ensure!(cs & 3 == 0, "CS {cs:#06x}");
    let flags = RFlags::from_bits_retain(machine.registers.rflags);
    let forbidden = RFlags::INTERRUPT_FLAG
        | RFlags::DIRECTION_FLAG
        | RFlags::TRAP_FLAG
        | RFlags::NESTED_TASK
        | RFlags::ALIGNMENT_CHECK
        | RFlags::IOPL_HIGH
        | RFlags::IOPL_LOW;
    ensure!(!flags.intersects(forbidden), "RFLAGS {:#x}", flags.bits());
    Ok(())
}

pub fn registers(machine: &Machine) -> Outcome {
    let r = &machine.registers;
    let info = core::ptr::from_ref(machine.boot) as u64;
    ensure!(r.rdi == info, "RDI {:#x}, BootInfo at {info:#x}", r.rdi);
    let names = [
        "RAX", "RBX", "RCX", "RDX", "RSI", "RBP", "R8", "R9", "R10", "R11", "R12", "R13", "R14",
        "R15",
    ];
    let values = [
        r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rbp, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14,
        r.r15,
    ];
    for (name, value) in names.into_iter().zip(values) {
        ensure!(value == 0, "{name} {value:#x}");
    }
    Ok(())
}

pub fn stack(machine: &Machine) -> Outcome {
    let kernel = &machine.boot.kernel;
    let (bottom, size, rsp) = (
        kernel.stack_bottom,
        kernel.stack_size,
        machine.registers.rsp,
    );
    ensure!(
        size == STACK_SIZE,
        "{size:#x} bytes, wished for {STACK_SIZE:#x}"
    );
    ensure!(bottom.is_multiple_of(PAGE), "bottom {bottom:#x}");
    ensure!(rsp % 16 == 8, "RSP {rsp:#x}");
    let top = bottom + size;
    // The top is where it was promised, give or take a cache line.
    ensure!(
        rsp < top && top - rsp <= 64,
        "RSP {rsp:#x}, stack {bottom:#x} to {top:#x}"
    );
    let address = machine.registers.return_address;
    ensure!(address == 0, "return address {address:#x}");
    Ok(())
}

pub fn control_registers(machine: &Machine) -> Outcome {
    let state = &machine.state;
    let cr0 = Cr0Flags::PROTECTED_MODE_ENABLE
        | Cr0Flags::MONITOR_COPROCESSOR
        | Cr0Flags::EXTENSION_TYPE
        | Cr0Flags::NUMERIC_ERROR
        | Cr0Flags::WRITE_PROTECT
        | Cr0Flags::PAGING;
    ensure!(
        state.cr0 == cr0.bits(),
        "CR0 {:#x}, not {cr0:#x}",
        state.cr0
    );
    let cr4 = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
        | Cr4Flags::PAGE_GLOBAL
        | Cr4Flags::OSFXSR
        | Cr4Flags::OSXMMEXCPT_ENABLE;
    ensure!(
        state.cr4 == cr4.bits(),
        "CR4 {:#x}, not {cr4:#x}",
        state.cr4
    );
    let mut efer = EferFlags::LONG_MODE_ENABLE | EferFlags::LONG_MODE_ACTIVE;
    efer.set(EferFlags::NO_EXECUTE_ENABLE, machine.has_nx());
    ensure!(
        state.efer == efer.bits(),
        "EFER {:#x}, not {efer:#x}",
        state.efer
    );
    Ok(())
}

pub fn descriptors(machine: &Machine) -> Outcome {
    let state = &machine.state;
    let [cs, ss, ..] = state.segments;
    let (gdt, gdt_limit) = state.gdt;
    let (idt, idt_limit) = state.idt;
    ensure!(
        cs & !7 != 0 && cs < gdt_limit,
        "CS {cs:#06x}, GDT limit {gdt_limit:#x}"
    );
    ensure!(ss & 3 == 0 && ss < gdt_limit, "SS {ss:#06x}");
    ensure!(state.task_register != 0, "no TSS");
    ensure!(state.ldt == 0, "LDTR {:#06x}", state.ldt);
    ensure!(idt_limit >= 32 * 16 - 1, "IDT limit {idt_limit:#x}");
    for (address, limit) in [(gdt, gdt_limit), (idt, idt_limit)] {
        let last = address + u64::from(limit);
        let mapped = machine
            .map
            .find(address)
            .is_some_and(|run| last <= run.last);
        ensure!(mapped, "the table at {address:#x} is not mapped");
    }
    Ok(())
}

pub fn floating_point(machine: &Machine) -> Outcome {
    // The state after FNINIT, and of MXCSR after a reset: all exceptions masked.
    let (x87, mxcsr) = (machine.state.x87_control, machine.state.mxcsr);
    ensure!(
        x87 == 0x037F && mxcsr == 0x1F80,
        "x87 {x87:#x}, MXCSR {mxcsr:#x}"
    );
    ensure!(
        black_box(1.5_f64) * black_box(4.0) == 6.0,
        "1.5 x 4 is not 6"
    );
    Ok(())
}

pub fn interrupt_controllers(_: &Machine) -> Outcome {
    // SAFETY: reading the mask registers changes nothing.
    let masks = unsafe { [Port::<u8>::new(0x21).read(), Port::<u8>::new(0xA1).read()] };
    ensure!(masks == [0xFF; 2], "masks {masks:02x?}");
    Ok(())
}

pub fn cpu_features(machine: &Machine) -> Outcome {
    /// EDX and ECX, or EBX, of a leaf; 0 if the CPU does not know it.
    fn leaf(number: u32) -> (u64, u64, u64) {
        if __cpuid(number & 0x8000_0000).eax < number {
            return (0, 0, 0);
        }
        let leaf = __cpuid_count(number, 0);
        (leaf.ebx.into(), leaf.ecx.into(), leaf.edx.into())
    }
    let (_, basic, _) = leaf(1);
    let (structured, structured_ecx, _) = leaf(7);
    let (_, _, extended) = leaf(0x8000_0001);
    let (_, _, power) = leaf(0x8000_0007);
    for (name, flag, register, bit) in [
        ("NX", handoff::CPU_NX, extended, 20),
        ("1 GiB pages", handoff::CPU_1GIB_PAGES, extended, 26),
        ("LA57", handoff::CPU_LA57, structured_ecx, 16),
        ("invariant TSC", handoff::CPU_INVARIANT_TSC, power, 8),
        ("RDRAND", handoff::CPU_RDRAND, basic, 30),
        ("RDSEED", handoff::CPU_RDSEED, structured, 18),
        ("x2APIC", handoff::CPU_X2APIC, basic, 21),
        ("hypervisor", handoff::CPU_HYPERVISOR, basic, 31),
        ("SMEP", handoff::CPU_SMEP, structured, 7),
        ("SMAP", handoff::CPU_SMAP, structured, 20),
    ] {
        let told = machine.boot.cpu_features & flag != 0;
        let found = register >> bit & 1 != 0;
        ensure!(told == found, "{name}: told {told}, found {found}");
    }
    Ok(())
}

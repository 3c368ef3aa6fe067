//! The local APIC of the processor that runs this, and the commands that it sends to others.
//!
//! SDM vol. 3, chapters "Advanced Programmable Interrupt Controller" and "Multiple-Processor
//! Management".

use bit_field::BitField as _;

use crate::bios::acpi::{self, MadtEntry};
use crate::devices::cpu::{Cpu, Msr};
use crate::devices::{Mapped, POLLS};
use crate::memory::layout::EARLY_REACH;

/// IA32_APIC_BASE: enabled, x2APIC mode.
const ENABLED: u64 = 1 << 11;
const X2APIC: u64 = 1 << 10;

/// Registers.
const VERSION: u16 = 0x30;
const TASK_PRIORITY: u16 = 0x80;
const SPURIOUS: u16 = 0xF0;
const COMMAND: u16 = 0x300;
const COMMAND_TARGET: u16 = 0x310;
const LINT0: u16 = 0x350;
/// Entries of the local vector table, each with the lowest "Max LVT Entry" (number of entries less
/// one) of an APIC that has it.
const VECTORS: [(u16, u32); 7] = [
    (0x320, 0), // timer
    (0x350, 1), // LINT0
    (0x360, 2), // LINT1
    (0x370, 3), // error
    (0x340, 4), // performance counter
    (0x330, 5), // thermal monitor
    (0x2F0, 6), // CMCI
];
/// In a local vector table entry: an NMI, active low, by level, masked.
const VECTOR_NMI: u32 = 4 << 8;
const VECTOR_LOW: u32 = 1 << 13;
const VECTOR_LEVEL: u32 = 1 << 15;
/// See there.
pub const VECTOR_MASKED: u32 = 1 << 16;

/// Commands: INIT, start-up; and the command has not been sent yet.
pub const COMMAND_INIT: u32 = 0x4500;
/// See there: the number of the page at which the other processor begins is in bits 7:0.
pub const COMMAND_START: u32 = 0x4600;
const COMMAND_PENDING: u32 = 1 << 12;

/// Delivery mode fixed, lowest priority, NMI or ExtINT.
pub fn can_be_masked(entry: u32) -> bool {
    matches!(entry.get_bits(8..11), 0 | 1 | 4 | 7)
}

/// Is there a local APIC?
pub fn exists(cpu: impl Cpu) -> bool {
    cpu.cpuid(1, 0).edx.get_bit(9)
}

/// Is it in x2APIC mode?
pub fn is_x2apic(cpu: impl Cpu) -> bool {
    exists(cpu) && cpu.msr(Msr::APIC_BASE) & X2APIC != 0
}

/// Enables it in this mode, if there is one. It leaves x2APIC mode only through "disabled" (SDM
/// vol. 3, "x2APIC State Transitions").
pub fn set_mode(cpu: impl Cpu, x2apic: bool) {
    if !exists(cpu) {
        return;
    }
    let base = cpu.msr(Msr::APIC_BASE);
    let without = base & !(ENABLED | X2APIC);
    if base & X2APIC != 0 && !x2apic {
        cpu.set_msr(Msr::APIC_BASE, without);
    }
    cpu.set_msr(Msr::APIC_BASE, without | ENABLED);
    if x2apic {
        cpu.set_msr(Msr::APIC_BASE, without | ENABLED | X2APIC);
    }
}

/// The local APIC of this processor.
#[derive(Clone, Copy)]
pub struct LocalApic<M> {
    machine: M,
    /// Physical address of its registers; `None`: in x2APIC mode, they are model-specific
    /// registers.
    memory: Option<u64>,
}

impl<M: Cpu + Mapped> LocalApic<M> {
    /// `None`: there is none, it is disabled, or it is out of the loader's reach.
    pub fn find(machine: M) -> Option<Self> {
        if !exists(machine) {
            return None;
        }
        let base = machine.msr(Msr::APIC_BASE);
        let address = base.get_bits(12..52) << 12;
        let x2apic = base & X2APIC != 0;
        let reached = x2apic || address != 0 && address < EARLY_REACH.as_u64();
        (base & ENABLED != 0 && reached).then_some(Self {
            machine,
            memory: (!x2apic).then_some(address),
        })
    }

    fn read(self, register: u16) -> u32 {
        match self.memory {
            Some(base) => self.machine.register(base + u64::from(register)),
            None => self.machine.msr(Msr::x2apic(register)) as u32,
        }
    }

    fn write(self, register: u16, value: u32) {
        match self.memory {
            Some(base) => self.machine.set_register(base + u64::from(register), value),
            None => self.machine.set_msr(Msr::x2apic(register), value.into()),
        }
    }

    /// Sends a command to another processor.
    pub fn send(self, target: u32, command: u32) {
        if self.memory.is_none() {
            let both = u64::from(target) << 32 | u64::from(command);
            return self.machine.set_msr(Msr::x2apic(COMMAND), both);
        }
        self.write(COMMAND_TARGET, target << 24);
        self.write(COMMAND, command);
        for _ in 0..POLLS {
            if self.read(COMMAND) & COMMAND_PENDING == 0 {
                break;
            }
        }
    }

    /// Puts it into the state that base revision 5 of the Limine protocol promises: enabled, with
    /// everything masked that can be. `uid`: the ACPI UID of this processor.
    pub fn quieten(machine: M, madt: &[u8], uid: u32) {
        if !exists(machine) {
            return;
        }
        let base = machine.msr(Msr::APIC_BASE);
        machine.set_msr(Msr::APIC_BASE, base | ENABLED);
        let Some(apic) = Self::find(machine) else {
            return;
        };
        apic.write(SPURIOUS, 0x1FF);
        apic.write(TASK_PRIORITY, 0);
        let highest = apic.read(VERSION).get_bits(16..24);
        for (register, least) in VECTORS {
            let mut entry = apic.read(register);
            if highest < least || !can_be_masked(entry) {
                continue;
            }
            for nmi in acpi::madt(madt) {
                if let MadtEntry::Nmi {
                    uid: of,
                    input,
                    flags,
                } = nmi
                    && register == LINT0 + 0x10 * u16::from(input)
                    && input < 2
                    && (of == uid || of == u32::MAX)
                {
                    entry = VECTOR_NMI;
                    if flags.get_bits(0..2) == 3 {
                        entry |= VECTOR_LOW;
                    }
                    if flags.get_bits(2..4) == 3 {
                        entry |= VECTOR_LEVEL;
                    }
                }
            }
            apic.write(register, entry | VECTOR_MASKED);
        }
    }
}

//! The processors: their local APICs, memory types, and how all of them are started.
//!
//! SDM vol. 3, chapters "Advanced Programmable Interrupt Controller", "Multiple-Processor Management"
//! and "Memory Cache Control"; 82093AA data sheet; Intel VT-d and AMD-Vi specifications.
#![allow(unsafe_code)]

use core::arch::x86_64::{__cpuid, __cpuid_count};

use bit_field::BitField;
use boot_path::bios::acpi::{self, MadtEntry};
use boot_path::bios::time::Patience;
use boot_path::memory::layout;
use boot_path::ways_out::limine::LimineError;
use boot_path::ways_out::limine::platform::{Common, Info};
use x86_64::registers::control::{Cr0, Cr0Flags};
use x86_64::registers::model_specific::Msr;

use crate::machine::clock;
use crate::machine::physical;
use crate::ways_out::limine::{self, LAST};

/// Model-specific registers.
const IA32_APIC_BASE: u32 = 0x1B;
const IA32_MTRRCAP: u32 = 0xFE;
const IA32_MTRR_DEF_TYPE: u32 = 0x2FF;
const IA32_PAT: u32 = 0x277;
const MTRR_FIXED: [u16; 11] = [
    0x250, 0x258, 0x259, 0x268, 0x269, 0x26A, 0x26B, 0x26C, 0x26D, 0x26E, 0x26F,
];
const MTRR_VARIABLE: u32 = 0x200;
/// Index of the first one of variable range.
const FIRST_VARIABLE: usize = 1 + MTRR_FIXED.len();
/// The most MTRRs of variable range that are looked at, each of two registers.
const MAX_VARIABLE: usize = 32;

/// IA32_APIC_BASE: enabled, x2APIC mode.
const APIC_ENABLED: u64 = 1 << 11;
const APIC_X2APIC: u64 = 1 << 10;

/// The page attribute table: WB, WT, UC-, UC, WP, WC, UC-, UC.
const PAT: u64 = 0x0007_0105_0007_0406;

/// Registers of the local APIC.
const APIC_VERSION: u32 = 0x30;
const APIC_TASK_PRIORITY: u32 = 0x80;
const APIC_SPURIOUS: u32 = 0xF0;
const APIC_COMMAND: u32 = 0x300;
const APIC_COMMAND_TARGET: u32 = 0x310;
const APIC_LINT0: u32 = 0x350;
/// Entries of the local vector table, and the least number of entries, less one, of an APIC that has
/// it.
const VECTORS: [(u32, u32); 7] = [
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
const VECTOR_MASKED: u32 = 1 << 16;

/// Commands: INIT, start-up; and the command has not been sent yet.
const COMMAND_INIT: u32 = 0x4500;
const COMMAND_START: u32 = 0x4600;
const COMMAND_PENDING: u32 = 1 << 12;

/// Looks at something that hardware should do at once.
const POLLS: u32 = 100_000;

/// Microseconds from INIT to the first start-up command, and from that to the second one.
const INIT_WAIT: u64 = 10_000;
const SECOND_WAIT: u64 = 200;

/// Written before other processors run.
static mut COMMON: Common<'static> = Common {
    madt: &[],
    x2apic: None,
    quiet_apic: false,
};

/// The MTRRs of the processor that boots, by [`mtrr`]'s index.
static mut MTRRS: [u64; FIRST_VARIABLE + 2 * MAX_VARIABLE] = [0; FIRST_VARIABLE + 2 * MAX_VARIABLE];

fn read_msr(register: u32) -> u64 {
    // SAFETY: only registers that CPUID says are there.
    unsafe { Msr::new(register).read() }
}

fn write_msr(register: u32, value: u64) {
    // SAFETY: as above; the values are those that the manual has for them.
    unsafe { Msr::new(register).write(value) }
}

/// APIC ID of this processor, by CPUID 0Bh or 1.
pub fn apic_id() -> u32 {
    if __cpuid(0).eax >= 0xB {
        let topology = __cpuid_count(0xB, 0);
        if topology.ebx != 0 {
            return topology.edx;
        }
    }
    __cpuid(1).ebx >> 24
}

/// Is there a local APIC?
pub fn has_apic() -> bool {
    __cpuid(1).edx.get_bit(9)
}

/// The local APIC of this processor.
#[derive(Clone, Copy)]
enum LocalApic {
    /// Registers in memory, at this physical address.
    Memory(u64),
    /// x2APIC: model-specific registers.
    Msr,
}

impl LocalApic {
    /// `None`: there is none, or none that the loader reaches.
    fn find() -> Option<Self> {
        if !has_apic() {
            return None;
        }
        let base = read_msr(IA32_APIC_BASE);
        let address = base.get_bits(12..52) << 12;
        if base & APIC_ENABLED == 0 {
            None
        } else if base & APIC_X2APIC != 0 {
            Some(Self::Msr)
        } else {
            let reached = address != 0 && address < layout::EARLY_REACH;
            reached.then_some(Self::Memory(address))
        }
    }

    fn read(self, register: u32) -> u32 {
        match self {
            Self::Memory(base) => physical::read_register(base + u64::from(register)),
            Self::Msr => read_msr(0x800 + (register >> 4)) as u32,
        }
    }

    fn write(self, register: u32, value: u32) {
        match self {
            Self::Memory(base) => physical::write_register(base + u64::from(register), value),
            Self::Msr => write_msr(0x800 + (register >> 4), value.into()),
        }
    }

    /// Sends a command to another processor.
    fn send(self, target: u32, command: u32) {
        match self {
            Self::Memory(_) => {
                self.write(APIC_COMMAND_TARGET, target << 24);
                self.write(APIC_COMMAND, command);
                for _ in 0..POLLS {
                    if self.read(APIC_COMMAND) & COMMAND_PENDING == 0 {
                        break;
                    }
                }
            }
            Self::Msr => write_msr(
                0x800 + (APIC_COMMAND >> 4),
                u64::from(target) << 32 | u64::from(command),
            ),
        }
    }

    /// The state that base revision 5 promises: enabled, and everything masked that can be.
    fn quieten(self, madt: &[u8], uid: u32) {
        self.write(APIC_SPURIOUS, 0x1FF);
        self.write(APIC_TASK_PRIORITY, 0);
        let highest = self.read(APIC_VERSION).get_bits(16..24);
        for (register, least) in VECTORS {
            let mut entry = self.read(register);
            if highest < least || !can_be_masked(entry) {
                continue;
            }
            entry |= VECTOR_MASKED;
            for nmi in acpi::madt(madt) {
                if let MadtEntry::Nmi {
                    uid: of,
                    input,
                    flags,
                } = nmi
                    && register == APIC_LINT0 + 0x10 * u32::from(input)
                    && input < 2
                    && (of == uid || of == u32::MAX)
                {
                    entry = VECTOR_NMI | VECTOR_MASKED;
                    if flags.get_bits(0..2) == 3 {
                        entry |= VECTOR_LOW;
                    }
                    if flags.get_bits(2..4) == 3 {
                        entry |= VECTOR_LEVEL;
                    }
                }
            }
            self.write(register, entry);
        }
    }
}

/// Delivery mode fixed, lowest priority, NMI or ExtINT.
fn can_be_masked(entry: u32) -> bool {
    matches!(entry.get_bits(8..11), 0 | 1 | 4 | 7)
}

/// What every processor does before it goes to the kernel, but for [`quieten`].
fn prepare(common: &Common<'_>) {
    if __cpuid(1).edx.get_bit(16) {
        write_msr(IA32_PAT, PAT);
    }
    if let Some(x2apic) = common.x2apic.filter(|_| has_apic()) {
        set_x2apic(x2apic);
    }
}

/// Gives the local APIC the state that base revision 5 promises, if it is to have it.
fn quieten(uid: u32, common: &Common<'_>) {
    if !common.quiet_apic || !has_apic() {
        return;
    }
    let base = read_msr(IA32_APIC_BASE);
    write_msr(IA32_APIC_BASE, base | APIC_ENABLED);
    if let Some(apic) = LocalApic::find() {
        apic.quieten(common.madt, uid);
    }
}

/// Enables the local APIC in this mode. From x2APIC mode the way back leads through "disabled"
/// (SDM vol. 3, "x2APIC State Transitions").
fn set_x2apic(x2apic: bool) {
    let base = read_msr(IA32_APIC_BASE);
    let without = base & !(APIC_ENABLED | APIC_X2APIC);
    if base & APIC_X2APIC != 0 && !x2apic {
        write_msr(IA32_APIC_BASE, without);
    }
    write_msr(IA32_APIC_BASE, without | APIC_ENABLED);
    if x2apic {
        write_msr(IA32_APIC_BASE, without | APIC_ENABLED | APIC_X2APIC);
    }
}

/// The number of MTRRs: 0 where there are none.
fn mtrr_count() -> usize {
    if !__cpuid(1).edx.get_bit(12) {
        return 0;
    }
    let variable = read_msr(IA32_MTRRCAP).get_bits(0..8) as usize;
    FIRST_VARIABLE + 2 * variable.min(MAX_VARIABLE)
}

/// The default type comes first, then those of fixed range (every CPU with long mode has them), then the
/// others.
fn mtrr(index: usize) -> u32 {
    match index.checked_sub(FIRST_VARIABLE) {
        Some(variable) => MTRR_VARIABLE + variable as u32,
        None if index == 0 => IA32_MTRR_DEF_TYPE,
        None => MTRR_FIXED.get(index - 1).copied().unwrap_or(0).into(),
    }
}

/// Notes the MTRRs of this processor.
fn note_mtrrs() {
    let saved = &raw mut MTRRS;
    // SAFETY: one thread, before other processors run.
    let saved = unsafe { &mut *saved };
    for (index, value) in saved.iter_mut().enumerate().take(mtrr_count()) {
        *value = read_msr(mtrr(index));
    }
}

/// Gives this processor the MTRRs of the one that boots, unless it has them: SDM vol. 3, "MTRR
/// Considerations in MP Systems". Firmware sees to that, as a rule.
fn take_mtrrs() {
    let saved = &raw const MTRRS;
    // SAFETY: nobody writes it while several processors run.
    let saved = unsafe { &*saved };
    let wanted = || saved.iter().enumerate().take(mtrr_count());
    if wanted().all(|(index, &value)| read_msr(mtrr(index)) == value) {
        return;
    }
    let flush = || {
        // SAFETY: what the caches hold goes to memory.
        unsafe { core::arch::asm!("wbinvd", options(nostack)) }
        x86_64::instructions::tlb::flush_all();
    };
    // SAFETY: caches may be off for a while.
    unsafe {
        let before = Cr0::read();
        Cr0::write(before | Cr0Flags::CACHE_DISABLE);
        flush();
        write_msr(IA32_MTRR_DEF_TYPE, 0);
        for (index, &value) in wanted().rev() {
            // The default type, which enables them again, is the last one.
            write_msr(mtrr(index), value);
        }
        flush();
        Cr0::write(before);
    }
}

/// What another processor does as soon as it has a stack; then it goes where it waits.
pub extern "sysv64" fn run(info: &Info) {
    let common = &raw const COMMON;
    // SAFETY: nobody writes it while several processors run.
    let common = unsafe { *common };
    take_mtrrs();
    prepare(&common);
    quieten(info.uid, &common);
}

/// Prepares the processor that boots. The BIOS can be called as before.
///
/// # Errors
/// 10Z when its APIC does not leave x2APIC mode.
pub fn prepare_first(common: Common<'static>) -> Result<(), LimineError> {
    let shared = &raw mut COMMON;
    // SAFETY: one thread, before other processors run.
    unsafe { *shared = common };
    note_mtrrs();
    prepare(&common);
    let stuck =
        common.x2apic == Some(false) && has_apic() && read_msr(IA32_APIC_BASE) & APIC_X2APIC != 0;
    if stuck {
        return Err(LimineError::X2Apic);
    }
    Ok(())
}

/// The last thing that is done to the processor that boots, whose UID is this: no interrupt reaches the
/// BIOS any more.
pub fn quieten_first(uid: u32) {
    let common = &raw const COMMON;
    // SAFETY: nobody writes it any more.
    let common = unsafe { *common };
    quieten(uid, &common);
}

/// Starts all processors of `infos` that have a stack. Those that do not come get no stack any more.
/// `infos` is at its physical address.
pub fn start(infos: &mut [Info]) {
    let Some(apic) = LocalApic::find() else {
        for info in infos {
            info.stack = 0;
        }
        return;
    };
    let last = &raw mut LAST;
    // SAFETY: no other processor runs yet.
    unsafe {
        (*last).infos = infos.as_ptr() as u64;
        (*last).count = infos.len() as u32;
    }
    // They begin at the start of a page below 1 MiB. Nothing is read from disks any more.
    let page = layout::TRANSFER_BUFFER.start;
    let [low, high, ..] = (limine::start as *const () as u64).to_le_bytes();
    // A far jump to segment 0.
    physical::overwrite(page, &[0xEA, low, high, 0, 0]);
    let start = COMMAND_START | (page >> 12) as u32;

    let others = infos.iter_mut().filter(|info| info.stack != 0);
    for info in others {
        apic.send(info.apic_id, COMMAND_INIT);
    }
    clock::wait(INIT_WAIT, || false);
    let mut patience = Patience::default();
    for info in infos.iter_mut().filter(|info| info.stack != 0) {
        let waits = &raw const info.extra;
        // SAFETY: the processor writes it, once.
        let waits = || unsafe { waits.read_volatile() != 0 };
        apic.send(info.apic_id, start);
        clock::wait(SECOND_WAIT, waits);
        if !waits() {
            apic.send(info.apic_id, start);
            clock::wait(patience.microseconds(), waits);
        }
        if waits() {
            info.extra = 0;
        } else {
            patience.was_in_vain();
            // It may come later: to be stopped.
            apic.send(info.apic_id, COMMAND_INIT);
            info.stack = 0;
        }
    }
}

/// Masks what the I/O APICs deliver: fixed and lowest priority; when `all` says so, NMI and ExtINT, too.
pub fn mask_io_apics(rsdp: u64, all: bool) {
    const SELECT: u64 = 0;
    const WINDOW: u64 = 0x10;
    const VERSION: u32 = 1;
    const REDIRECTION: u32 = 0x10;

    let madt = acpi::find(rsdp, &physical::firmware_bytes, b"APIC").unwrap_or(&[]);
    for entry in acpi::madt(madt) {
        let MadtEntry::IoApic(address) = entry else {
            continue;
        };
        let address = u64::from(address) & !0xF;
        if address == 0 {
            continue;
        }
        let select = |register| physical::write_register(address + SELECT, register);
        select(VERSION);
        let highest = physical::read_register(address + WINDOW).get_bits(16..24);
        for index in 0..=highest {
            select(REDIRECTION + 2 * index);
            let entry = physical::read_register(address + WINDOW);
            let mode = entry.get_bits(8..11);
            if mode < 2 || all && can_be_masked(entry) {
                physical::write_register(address + WINDOW, entry | VECTOR_MASKED);
            }
        }
    }
}

/// Switches all IOMMUs off: Intel's translation and interrupt remapping, AMD's as a whole.
pub fn disable_iommus(rsdp: u64) {
    const GLOBAL_COMMAND: u64 = 0x18;
    const GLOBAL_STATUS: u64 = 0x1C;
    /// Status bits that are commands for one time only, not a state to be kept.
    const ONE_SHOT: u32 = !0x96FF_FFFF;
    const TRANSLATION: u32 = 1 << 31;
    const REMAPPING: u32 = 1 << 25;
    const AMD_CONTROL: u64 = 0x18;
    const AMD_ENABLED: u32 = 1;

    let reached = |base: &u64| *base != 0 && *base < layout::EARLY_REACH - 0x1000;
    let memory = &physical::firmware_bytes;
    let dmar = acpi::find(rsdp, memory, b"DMAR").unwrap_or(&[]);
    for unit in acpi::intel_iommus(dmar).filter(reached) {
        for bit in [REMAPPING, TRANSLATION] {
            let status = physical::read_register(unit + GLOBAL_STATUS);
            if status & bit == 0 {
                continue;
            }
            physical::write_register(unit + GLOBAL_COMMAND, status & !ONE_SHOT & !bit);
            for _ in 0..POLLS {
                if physical::read_register(unit + GLOBAL_STATUS) & bit == 0 {
                    break;
                }
            }
        }
    }
    let ivrs = acpi::find(rsdp, memory, b"IVRS").unwrap_or(&[]);
    for unit in acpi::amd_iommus(ivrs).filter(reached) {
        let control = physical::read_register(unit + AMD_CONTROL);
        if control & AMD_ENABLED != 0 {
            physical::write_register(unit + AMD_CONTROL, control & !AMD_ENABLED);
        }
    }
}

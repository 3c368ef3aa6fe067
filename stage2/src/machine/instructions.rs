//! Instructions for which Rust has no words.
#![allow(unsafe_code)]

use core::arch::asm;
use core::arch::x86_64::{__cpuid_count, _mm_crc32_u8, _rdtsc};
use core::cell::OnceCell;

use boot_path::devices::cpu::{Cpu, Leaf, Msr, features, has_crc32};
use boot_path::devices::descriptors::NO_TABLE;
use x86_64::instructions::tables::lidt;
use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};
use x86_64::registers::model_specific;

use crate::machine::Machine;
use crate::machine::variables::OneThread;

impl Cpu for Machine {
    fn cpuid(self, leaf: u32, subleaf: u32) -> Leaf {
        let said = __cpuid_count(leaf, subleaf);
        Leaf {
            eax: said.eax,
            ebx: said.ebx,
            ecx: said.ecx,
            edx: said.edx,
        }
    }

    fn tsc(self) -> u64 {
        // SAFETY: a CPU with long mode has RDTSC.
        unsafe { _rdtsc() }
    }

    fn msr(self, register: Msr) -> u64 {
        let register = model_specific::Msr::new(register.number());
        // SAFETY: reading changes nothing; reading a register that does not exist ends in a report.
        unsafe { register.read() }
    }

    fn set_msr(self, register: Msr, value: u64) {
        let mut register = model_specific::Msr::new(register.number());
        // SAFETY: a register that the loader uses: none changes which memory is where.
        unsafe { register.write(value) }
    }

    fn without_caches(self, action: impl FnOnce()) {
        let flush = || {
            // SAFETY: what the caches hold goes to memory.
            unsafe { asm!("wbinvd", options(nostack, preserves_flags)) }
            tlb::flush_all();
        };
        let before = Cr0::read();
        // SAFETY: without caches everything is as it was, and slower.
        unsafe { Cr0::write(before | Cr0Flags::CACHE_DISABLE) }
        flush();
        action();
        flush();
        // SAFETY: as it was before.
        unsafe { Cr0::write(before) }
    }

    /// By RDSEED, or else by RDRAND: either may be out of numbers at the moment (SDM vol. 1,
    /// 7.3.17).
    fn random(self) -> Option<u64> {
        let (features, _) = cpu();
        let value: u64;
        let ready: u8;
        if features & handoff::CPU_RDSEED != 0 {
            // SAFETY: CPUID says that the instruction exists.
            unsafe { asm!("rdseed {}", "setc {}", out(reg) value, out(reg_byte) ready) }
        } else if features & handoff::CPU_RDRAND != 0 {
            // SAFETY: as above.
            unsafe { asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) ready) }
        } else {
            return None;
        }
        (ready != 0).then_some(value)
    }
}

/// The CPU's [features], and whether it [has CRC32](has_crc32). Asked once, because in a
/// virtual machine CPUID takes as long as thousands of other instructions.
pub fn cpu() -> (u64, bool) {
    static CPU: OneThread<OnceCell<(u64, bool)>> = OneThread::new(OnceCell::new());

    *CPU.get_or_init(|| (features(Machine), has_crc32(Machine)))
}

/// Extends the CRC-32C `crc` by `bytes`, with the instruction CRC32; `None`: the CPU does not have
/// it.
pub fn crc32c(crc: u32, bytes: &[u8]) -> Option<u32> {
    // SAFETY: the CPU has the instruction, which uses general registers only.
    cpu().1.then(|| unsafe { by_instruction(crc, bytes) })
}

/// By the instruction CRC32 (SDM vol. 2A), on eight bytes each. It takes three cycles and could
/// start every cycle, but one stream is about as fast as memory. A round is 256 bytes, so the cost
/// of the loop does not matter. Displacements from its middle fit into one byte.
#[target_feature(enable = "sse4.2")]
fn by_instruction(crc: u32, bytes: &[u8]) -> u32 {
    let (rounds, rest) = bytes.as_chunks::<256>();
    let mut state = u64::from(!crc);
    for round in rounds {
        // SAFETY: reads the round, and nothing else.
        unsafe {
            asm!(
                ".irp line, -128, -64, 0, 64",
                ".irp word, 0, 8, 16, 24, 32, 40, 48, 56",
                "crc32 {state}, qword ptr [{middle} + \\line + \\word]",
                ".endr\n.endr",
                state = inout(reg) state,
                middle = in(reg) round.as_ptr().wrapping_add(128),
                options(pure, readonly, nostack, preserves_flags)
            );
        }
    }
    let mut state = state as u32;
    for &byte in rest {
        state = _mm_crc32_u8(state, byte);
    }
    !state
}

/// Sets the control registers and the FPU as a kernel of the loader's own protocol is promised
/// them, except CR3; `no_execute`: the CPU has it.
pub fn prepare_for_kernel(no_execute: bool) {
    // SAFETY: the features are there, and change nothing for the loader's own tables, which use
    // neither.
    unsafe {
        if no_execute {
            Efer::update(|flags| flags.insert(EferFlags::NO_EXECUTE_ENABLE));
        }
        Cr4::update(|flags| flags.insert(Cr4Flags::PAGE_GLOBAL));
    }
    let mxcsr = 0x1F80u32; // its value after a reset
    // SAFETY: no state of the FPU is in use, and the value is a valid one.
    unsafe { asm!("fninit", "ldmxcsr [{}]", in(reg) &mxcsr, options(nostack)) }
}

/// An IDT without entries: from here on a fault resets the machine.
pub fn without_handlers() {
    // SAFETY: nothing of the loader depends on exceptions, and interrupts are off.
    unsafe { lidt(&NO_TABLE) }
}

/// A triple fault, which resets the machine.
pub fn triple_fault() -> ! {
    without_handlers();
    // SAFETY: there is no handler, so nothing runs behind it.
    unsafe { asm!("int3", options(noreturn)) }
}

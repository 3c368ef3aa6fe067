//! The CPU: its features, and its model-specific registers.
//!
//! Intel SDM volumes 2A (CPUID) and 4 (model-specific registers); AMD APM volume 3, appendix E.

use bit_field::BitField as _;

/// A model-specific register that the loader uses: those of the local APIC and of caches. None of
/// them changes which memory is where, or who may write to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Msr(u32);

impl Msr {
    /// IA32_APIC_BASE.
    pub const APIC_BASE: Self = Self(0x1B);
    /// IA32_MTRRCAP.
    pub const MTRR_CAPABILITY: Self = Self(0xFE);
    /// IA32_PAT: the page attribute table.
    pub const PAT: Self = Self(0x277);
    /// IA32_MTRR_DEF_TYPE.
    pub const MTRR_DEFAULT_TYPE: Self = Self(0x2FF);
    /// The MTRRs of fixed range: a CPU with long mode that has MTRRs has all of these.
    pub const MTRR_FIXED: [Self; 11] = [
        Self(0x250),
        Self(0x258),
        Self(0x259),
        Self(0x268),
        Self(0x269),
        Self(0x26A),
        Self(0x26B),
        Self(0x26C),
        Self(0x26D),
        Self(0x26E),
        Self(0x26F),
    ];

    /// The registers of MTRRs of variable range: each has two.
    pub const fn mtrr_variable(index: u8) -> Self {
        Self(0x200 + index as u32)
    }

    /// A register of the local APIC in x2APIC mode, by its offset in memory.
    pub const fn x2apic(offset: u16) -> Self {
        Self(0x800 + (offset as u32 >> 4 & 0xFF))
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// The answer of CPUID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the registers")]
pub struct Leaf {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// A CPU.
pub trait Cpu: Copy {
    /// The instruction CPUID, with EAX and ECX as given.
    fn cpuid(self, leaf: u32, subleaf: u32) -> Leaf;

    /// The time-stamp counter.
    fn tsc(self) -> u64;

    /// Reads a model-specific register that exists according to CPUID.
    fn msr(self, register: Msr) -> u64;

    /// Writes a model-specific register that exists according to CPUID.
    fn set_msr(self, register: Msr, value: u64);

    /// Runs `action` while the caches are off; flushes caches and TLBs before and after it.
    fn without_caches(self, action: impl FnOnce());

    /// A number from the CPU's random number generator, if it has one with a number ready.
    fn random(self) -> Option<u64>;
}

/// First extended leaf; its EAX is the highest one.
const EXTENDED: u32 = 0x8000_0000;

/// Bits of a physical address; 36 if the CPU does not say.
pub fn physical_bits(cpu: impl Cpu) -> u32 {
    if cpu.cpuid(EXTENDED, 0).eax < EXTENDED + 8 {
        return 36;
    }
    (cpu.cpuid(EXTENDED + 8, 0).eax & 0xFF).clamp(32, 52)
}

/// Features of the CPU besides those that the loader needs: the word in [`features`], its bit, and
/// the bit of `handoff::CPU_…`.
const FEATURES: [(u8, u8, u8); 10] = {
    const fn row(word: u8, bit: u8, flag: u64) -> (u8, u8, u8) {
        assert!(flag.is_power_of_two());
        (word, bit, flag.trailing_zeros() as u8)
    }
    [
        row(EXTENDED_EDX, 20, handoff::CPU_NX),
        row(EXTENDED_EDX, 26, handoff::CPU_1GIB_PAGES),
        row(STRUCTURED_ECX, 16, handoff::CPU_LA57),
        row(POWER_EDX, 8, handoff::CPU_INVARIANT_TSC),
        row(BASIC_ECX, 30, handoff::CPU_RDRAND),
        row(STRUCTURED_EBX, 18, handoff::CPU_RDSEED),
        row(BASIC_ECX, 21, handoff::CPU_X2APIC),
        row(BASIC_ECX, 31, handoff::CPU_HYPERVISOR),
        row(STRUCTURED_EBX, 7, handoff::CPU_SMEP),
        row(STRUCTURED_EBX, 20, handoff::CPU_SMAP),
    ]
};
const BASIC_ECX: u8 = 0;
const STRUCTURED_EBX: u8 = 1;
const STRUCTURED_ECX: u8 = 2;
const EXTENDED_EDX: u8 = 3;
const POWER_EDX: u8 = 4;

/// Features of the CPU besides those that the loader needs, as `handoff::CPU_…`.
pub fn features(cpu: impl Cpu) -> u64 {
    let mut words = [cpu.cpuid(1, 0).ecx, 0, 0, 0, 0];
    if cpu.cpuid(0, 0).eax >= 7 {
        let structured = cpu.cpuid(7, 0);
        words[STRUCTURED_EBX as usize] = structured.ebx;
        words[STRUCTURED_ECX as usize] = structured.ecx;
    }
    words[EXTENDED_EDX as usize] = cpu.cpuid(EXTENDED + 1, 0).edx;
    if cpu.cpuid(EXTENDED, 0).eax >= EXTENDED + 7 {
        words[POWER_EDX as usize] = cpu.cpuid(EXTENDED + 7, 0).edx;
    }
    let flag = |&(word, bit, flag): &(u8, u8, u8)| {
        let word = words.get(usize::from(word)).copied().unwrap_or(0);
        u64::from(word >> bit & 1) << flag
    };
    FEATURES.iter().map(flag).sum()
}

/// SSE4.2, which has the instruction CRC32.
pub fn has_crc32(cpu: impl Cpu) -> bool {
    cpu.cpuid(1, 0).ecx.get_bit(20)
}

/// APIC ID of this processor, by CPUID 0Bh or 1.
pub fn apic_id(cpu: impl Cpu) -> u32 {
    if cpu.cpuid(0, 0).eax >= 0xB {
        let topology = cpu.cpuid(0xB, 0);
        if topology.ebx != 0 {
            return topology.edx;
        }
    }
    cpu.cpuid(1, 0).ebx >> 24
}

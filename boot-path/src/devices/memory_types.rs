//! Memory types, which must be the same on all processors.
//!
//! SDM vol. 3, chapter "Memory Cache Control".

use bit_field::BitField as _;

use crate::devices::cpu::{Cpu, Msr};

/// The page attribute table of the Limine protocol: WB, WT, UC-, UC, WP, WC, UC-, UC.
const PAT: u64 = 0x0007_0105_0007_0406;

/// Index of the first MTRR of variable range.
const FIRST_VARIABLE: usize = 1 + Msr::MTRR_FIXED.len();
/// Maximum number of MTRRs of variable range that are copied; each has two registers.
const MAX_VARIABLE: usize = 32;
/// Maximum number of registers.
const MAX: usize = FIRST_VARIABLE + 2 * MAX_VARIABLE;

/// Writes the page attribute table, if there is one.
pub fn set_pat(cpu: impl Cpu) {
    if cpu.cpuid(1, 0).edx.get_bit(16) {
        cpu.set_msr(Msr::PAT, PAT);
    }
}

/// The MTRRs of a processor.
#[derive(Clone, Copy, Debug)]
pub struct Mtrrs([u64; MAX]);

impl Mtrrs {
    /// The MTRRs of the processor that runs this.
    pub fn of(cpu: impl Cpu) -> Self {
        let mut values = [0; MAX];
        for (index, value) in values.iter_mut().enumerate().take(count(cpu)) {
            *value = cpu.msr(mtrr(index));
        }
        Self(values)
    }

    /// Writes them to the processor that runs this, unless it has them already: SDM vol. 3, "MTRR
    /// Considerations in MP Systems". The firmware has usually done so.
    pub fn set(&self, cpu: impl Cpu) {
        let wanted = || self.0.iter().enumerate().take(count(cpu));
        if wanted().all(|(index, &value)| cpu.msr(mtrr(index)) == value) {
            return;
        }
        cpu.without_caches(|| {
            cpu.set_msr(Msr::MTRR_DEFAULT_TYPE, 0);
            for (index, &value) in wanted().rev() {
                // The default type, which enables them again, is the last one.
                cpu.set_msr(mtrr(index), value);
            }
        });
    }
}

/// The number of registers; 0: there are no MTRRs.
fn count(cpu: impl Cpu) -> usize {
    if !cpu.cpuid(1, 0).edx.get_bit(12) {
        return 0;
    }
    let variable = cpu.msr(Msr::MTRR_CAPABILITY).get_bits(0..8) as usize;
    FIRST_VARIABLE + 2 * variable.min(MAX_VARIABLE)
}

/// The register at an index: first the default type, then those of fixed range (every CPU with long
/// mode has them), then those of variable range.
fn mtrr(index: usize) -> Msr {
    match index.checked_sub(FIRST_VARIABLE) {
        Some(variable) => Msr::mtrr_variable(variable as u8),
        None => {
            let fixed = index
                .checked_sub(1)
                .and_then(|fixed| Msr::MTRR_FIXED.get(fixed));
            fixed.copied().unwrap_or(Msr::MTRR_DEFAULT_TYPE)
        }
    }
}

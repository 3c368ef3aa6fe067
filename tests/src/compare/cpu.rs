//! The state of a processor, as QEMU's monitor prints it.

use std::fmt;

/// The registers that show where a boot ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// What the code segment holds: 16, 32 or 64 bits.
    pub bits: u8,
    /// The instruction pointer.
    pub ip: u64,
    /// The stack pointer.
    pub sp: u64,
    /// The flags.
    pub flags: u64,
    /// Control registers 0, 2, 3 and 4.
    pub control: [u64; 4],
    /// Whether it is halted.
    pub halted: bool,
}

impl Cpu {
    /// Reads the answer to `info registers`. `None`: it is not one.
    pub fn read(answer: &str) -> Option<Self> {
        const CODE: [(&str, u8); 3] = [("CS16", 16), ("CS32", 32), ("CS64", 64)];

        let words = || answer.split_whitespace();
        let text = |name: &str| {
            let mut values = words().filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            values.next()
        };
        let number = |names: [&str; 2]| {
            let text = names.into_iter().find_map(text)?;
            u64::from_str_radix(text, 16).ok()
        };
        let kind = |&(name, _): &(&str, u8)| words().any(|word| word == name);
        let control = ["CR0", "CR2", "CR3", "CR4"].map(|name| number([name, name]));
        let [Some(cr0), Some(cr2), Some(cr3), Some(cr4)] = control else {
            return None;
        };
        Some(Self {
            bits: CODE.iter().find(|row| kind(row))?.1,
            ip: number(["RIP", "EIP"])?,
            sp: number(["RSP", "ESP"])?,
            flags: number(["RFL", "EFL"])?,
            control: [cr0, cr2, cr3, cr4],
            halted: text("HLT")? == "1",
        })
    }

    /// Whether no interrupt can wake it. A non-maskable one could, but nothing sends any.
    pub fn is_stopped(&self) -> bool {
        const INTERRUPT_FLAG: u64 = 1 << 9;
        self.halted && self.flags & INTERRUPT_FLAG == 0
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [cr0, cr2, cr3, cr4] = self.control;
        writeln!(f, "{}-bit code at {:x}h", self.bits, self.ip)?;
        writeln!(f, "stack {:x}h, flags {:x}h", self.sp, self.flags)?;
        writeln!(f, "CR0 {cr0:x}h, CR2 {cr2:x}h")?;
        write!(f, "CR3 {cr3:x}h, CR4 {cr4:x}h")?;
        if self.halted {
            write!(f, "\nhalted")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "\r\nCPU#0\r\n\
        RAX=0000000000000001 RBX=0000000000000002 RSP=0000000000007c00\r\n\
        RIP=ffffffff80001000 RFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\n\
        CS =0008 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]\r\n\
        CR0=80000011 CR2=0000000000001234 CR3=0000000000105000 CR4=00000020\r\n";

    #[test]
    fn a_long_mode_cpu_that_nothing_wakes() {
        let cpu = Cpu::read(LONG).expect("it is whole");
        assert_eq!(cpu.bits, 64);
        assert_eq!((cpu.ip, cpu.sp), (0xFFFF_FFFF_8000_1000, 0x7C00));
        assert_eq!(cpu.control, [0x8000_0011, 0x1234, 0x10_5000, 0x20]);
        assert!(cpu.is_stopped());
    }

    #[test]
    fn with_interrupts_or_without_halt_it_is_not_stopped() {
        let waits = Cpu::read(&LONG.replace("RFL=00000046", "RFL=00000246"));
        assert!(!waits.expect("it is whole").is_stopped());
        let runs = Cpu::read(&LONG.replace("HLT=1", "HLT=0"));
        assert!(!runs.expect("it is whole").is_stopped());
    }

    #[test]
    fn a_32_bit_cpu_and_what_is_none() {
        let short = LONG.replace("RIP", "EIP").replace("RSP", "ESP");
        let short = short.replace("RFL", "EFL").replace("CS64", "CS32");
        assert_eq!(Cpu::read(&short).map(|cpu| cpu.bits), Some(32));
        assert_eq!(Cpu::read("unknown command: 'info'"), None);
    }
}

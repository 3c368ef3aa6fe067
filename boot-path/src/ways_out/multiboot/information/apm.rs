//! The table of the APM BIOS.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{Immutable, IntoBytes, Unaligned};

use crate::bios::firmware::{Bios, Registers};

/// The values that INT 15h AX=5303h returns, in the order of both specifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub struct Apm {
    /// Version, BCD: 0102h.
    pub version: U16,
    /// Segment of the 32-bit code.
    pub code: U16,
    /// Offset of the entry point in it.
    pub offset: U32,
    /// Segment of the 16-bit code.
    pub code_16: U16,
    /// Segment of the data.
    pub data: U16,
    /// Flags of the installation check.
    pub flags: U16,
    /// Length of the 32-bit code segment.
    pub code_length: U16,
    /// Length of the 16-bit code segment.
    pub code_16_length: U16,
    /// Length of the data segment.
    pub data_length: U16,
}

impl Apm {
    /// Connects to the 32-bit interface of the APM BIOS (APM BIOS Interface Specification 1.2,
    /// functions 5300h, 5303h and 5304h). `None`: there is none.
    pub fn connect(bios: &mut impl Bios) -> Option<Self> {
        const SIGNATURE: u32 = 0x504D; // "PM"
        const HAS_32_BIT: u32 = 1 << 1;

        let mut call = |function: u32| {
            let mut registers = Registers::new(function);
            bios.call(0x15, &mut registers);
            (!registers.carry()).then_some(registers)
        };
        let is_there = |registers: &Registers| {
            registers.ebx & 0xFFFF == SIGNATURE && registers.ecx & HAS_32_BIT != 0
        };
        call(0x5300).filter(is_there)?;
        call(0x5304); // disconnects; an error means that nobody was connected
        let connected = call(0x5303)?;
        // Some BIOSes change the flags when connected.
        let now = call(0x5300).filter(is_there)?;
        let low = |register: u32| (register as u16).into();
        let high = |register: u32| ((register >> 16) as u16).into();
        Some(Self {
            version: low(now.eax),
            code: low(connected.eax),
            offset: connected.ebx.into(),
            code_16: low(connected.ecx),
            data: low(connected.edx),
            flags: low(now.ecx),
            code_length: low(connected.esi),
            code_16_length: high(connected.esi),
            data_length: low(connected.edi),
        })
    }
}

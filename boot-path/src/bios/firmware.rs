//! The BIOS, as the code above the gate sees it.
//!
//! The code that asks the BIOS and interprets its answers is generic over [`Bios`]. On the machine,
//! the gate implements it. On the host, a script or the transcript of a real machine does, so every
//! quirk of a BIOS is an ordinary test.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::memory::layout::BIOS_BUFFER;

/// EFLAGS: the carry flag, by which most services report an error.
pub const FLAG_CARRY: u32 = 1;

/// The registers of a BIOS call, in and out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Registers {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
    pub esi: u32,
    pub edi: u32,
    pub ebp: u32,
    pub ds: u16,
    pub es: u16,
    /// In: CF as the service wants it; interrupts are always enabled. Out: as the BIOS left it.
    pub eflags: u32,
}

impl Registers {
    /// All zero except EAX, and CF set: a service that leaves CF alone has not succeeded.
    pub const fn new(eax: u32) -> Self {
        Self {
            eax,
            ebx: 0,
            ecx: 0,
            edx: 0,
            esi: 0,
            edi: 0,
            ebp: 0,
            ds: 0,
            es: 0,
            eflags: FLAG_CARRY,
        }
    }

    /// Is CF set?
    pub const fn carry(&self) -> bool {
        self.eflags & FLAG_CARRY != 0
    }

    /// Bits 15:8 of EAX, where most services report a status.
    pub const fn ah(&self) -> u8 {
        (self.eax >> 8) as u8
    }
}

/// A BIOS, and the memory through which one talks to it.
pub trait Bios {
    /// Calls the interrupt `number` with `registers`, and leaves in them what the BIOS returns.
    fn call(&mut self, number: u8, registers: &mut Registers);

    /// Reads a value from the first MiB: the BIOS's data area, or an answer in one of the
    /// buffers.
    fn read<T: FromBytes>(&self, address: u64) -> T;

    /// Puts a packet, or bytes for an answer to overwrite, at the start of [`BIOS_BUFFER`]; the
    /// rest of it becomes zero.
    fn put<T: IntoBytes + Immutable>(&mut self, value: &T);

    /// Writes bytes for an answer to overwrite to the transfer buffer.
    fn write<T: IntoBytes + Immutable>(&mut self, address: u64, value: &T);

    /// The first bytes of the transfer buffer, where INT 13h has put sectors.
    fn transferred(&self, length: usize) -> &[u8];
}

impl<B: Bios> Bios for &mut B {
    fn call(&mut self, number: u8, registers: &mut Registers) {
        (**self).call(number, registers);
    }

    fn read<T: FromBytes>(&self, address: u64) -> T {
        (**self).read(address)
    }

    fn put<T: IntoBytes + Immutable>(&mut self, value: &T) {
        (**self).put(value);
    }

    fn write<T: IntoBytes + Immutable>(&mut self, address: u64, value: &T) {
        (**self).write(address, value);
    }

    fn transferred(&self, length: usize) -> &[u8] {
        (**self).transferred(length)
    }
}

/// Offset of [`BIOS_BUFFER`] in segment 0, for ESI and EDI.
pub const BUFFER_OFFSET: u32 = BIOS_BUFFER.start as u32;

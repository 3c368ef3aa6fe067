//! INT 15h: what the BIOS says of memory.

use boot_path::bios::firmware::{FLAG_CARRY, Registers};

use super::{Answer, buffer};

/// How a list of E820 ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// EBX is 0 for the last entry.
    Ebx,
    /// CF is set behind the last entry, EAX is `SMAP`.
    Carry,
    /// CF is set behind the last entry, EAX is an error.
    CarryAndStatus,
    /// Never: the last entry comes again and again.
    Never,
}

/// An entry of E820.
#[derive(Clone, Copy, Debug)]
pub struct FakeEntry {
    pub base: u64,
    pub length: u64,
    pub kind: u32,
    /// Written when [`FakeEntry::written`] is 24.
    pub attributes: u32,
    /// Bytes that are written.
    pub written: usize,
    /// Bytes that the BIOS says it has written (ECX).
    pub claimed: u32,
}

impl FakeEntry {
    /// An entry of 20 bytes.
    pub const fn new(base: u64, length: u64, kind: u32) -> Self {
        Self {
            base,
            length,
            kind,
            attributes: 0,
            written: 20,
            claimed: 20,
        }
    }

    /// The same with attributes, in 24 bytes.
    pub const fn with_attributes(mut self, attributes: u32) -> Self {
        self.attributes = attributes;
        (self.written, self.claimed) = (24, 24);
        self
    }
}

/// What INT 15h says of memory.
#[derive(Clone, Debug)]
pub struct FakeMap {
    pub e820: Option<Vec<FakeEntry>>,
    pub end: End,
    /// For the entry of this number, EAX is something else, and CF is clear.
    pub smap_lost_at: Option<usize>,
    /// AX, BX, CX and DX of E801.
    pub e801: Option<[u16; 4]>,
    /// AX of 88h.
    pub kib_88: Option<u16>,
    /// E801 and 88h leave CF as it came in.
    pub leaves_carry: bool,
}

impl FakeMap {
    /// 64 MiB in all.
    pub fn new() -> Self {
        Self {
            e820: Some(vec![
                FakeEntry::new(0, 0x9_FC00, 1),
                FakeEntry::new(0x9_FC00, 0x400, 2),
                FakeEntry::new(0xF_0000, 0x1_0000, 2),
                FakeEntry::new(0x10_0000, 63 << 20, 1),
                FakeEntry::new(0xFFFC_0000, 0x4_0000, 2),
            ]),
            end: End::Ebx,
            smap_lost_at: None,
            e801: Some([15 * 1024, 48 << 4, 15 * 1024, 48 << 4]),
            kib_88: Some(63 * 1024),
            leaves_carry: false,
        }
    }

    pub(super) fn call(&self, registers: &mut Registers, memory: &mut [u8]) -> Answer {
        const MISSING: Answer = Answer::Failure(0x86);
        let answer = match registers.eax as u16 {
            0xE820 => match &self.e820 {
                Some(entries) => return self.entry(entries, registers, memory),
                None => MISSING,
            },
            0xE801 => match self.e801 {
                Some(values) => {
                    let [ax, bx, cx, dx] = values.map(u32::from);
                    registers.eax = ax;
                    registers.ebx = bx;
                    registers.ecx = cx;
                    registers.edx = dx;
                    Answer::Success("bcd")
                }
                None => MISSING,
            },
            ax if ax >> 8 == 0x88 => match self.kib_88 {
                Some(kib) => {
                    registers.eax = kib.into();
                    Answer::Success("")
                }
                None => MISSING,
            },
            ax => panic!("nobody should call AX={ax:04X}h"),
        };
        match self.leaves_carry {
            true => Answer::Silence("bcd"),
            false => answer,
        }
    }

    fn entry(&self, entries: &[FakeEntry], registers: &mut Registers, memory: &mut [u8]) -> Answer {
        const SMAP: u32 = 0x534D_4150;
        assert_eq!(registers.edx, SMAP);
        assert_eq!(registers.ecx, 24);
        // Continuation values need not be indices.
        let index = (registers.ebx / 0x1_0001) as usize;
        let index = match self.end {
            End::Never => index.min(entries.len() - 1),
            _ => index,
        };
        let Some(entry) = entries.get(index) else {
            if self.end == End::Carry {
                registers.eax = SMAP;
                registers.eflags |= FLAG_CARRY;
                return Answer::Silence("");
            }
            return Answer::Failure(0x86);
        };
        let out = buffer(memory, registers.es, registers.edi, entry.written);
        let bytes = [
            &entry.base.to_le_bytes()[..],
            &entry.length.to_le_bytes(),
            &entry.kind.to_le_bytes(),
            &entry.attributes.to_le_bytes(),
        ]
        .concat();
        for (to, from) in out
            .iter_mut()
            .zip(bytes.iter().chain(std::iter::repeat(&0xEE)))
        {
            *to = *from;
        }
        registers.eax = match self.smap_lost_at == Some(index) {
            true => 0x0000_E820,
            false => SMAP,
        };
        let last = index + 1 == entries.len() && self.end == End::Ebx;
        registers.ebx = if last {
            0
        } else {
            (index as u32 + 1) * 0x1_0001
        };
        registers.ecx = entry.claimed;
        Answer::Success("bc")
    }
}

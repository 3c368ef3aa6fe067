//! The entry points of ACPI and SMBIOS that the firmware left in memory.

use crate::bios::acpi::Memory;
use crate::errors::text::position_of;

/// Physical addresses of the entry points; 0: not found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirmwareTables {
    /// ACPI.
    pub rsdp: u64,
    /// SMBIOS 2.1 and later, 32-bit entry point.
    pub smbios: u64,
    /// SMBIOS 3.0 and later, 64-bit entry point.
    pub smbios3: u64,
}

/// BIOS data area: segment of the extended BIOS data area (u16).
const BDA_EBDA_SEGMENT: u64 = 0x40E;
/// First byte behind the BIOS data area.
const BDA_END: u64 = 0x400;
/// Bytes of the RSDP of revision 0, and those that its checksum covers in later revisions.
pub const RSDP_1_BYTES: u64 = 20;

impl FirmwareTables {
    /// Looks through the first KiB of the EBDA and the BIOS ROM, every 16 bytes (ACPI specification
    /// 5.2.5.1, SMBIOS specification 5.2). A structure counts only when its checksum is right.
    pub fn find(memory: Memory<'_, '_>) -> Self {
        let segment = memory(BDA_EBDA_SEGMENT, 2).and_then(|bytes| bytes.first_chunk());
        let ebda = segment.map_or(0, |&segment| u64::from(u16::from_le_bytes(segment)) << 4);

        let mut found = Self::default();
        let areas = [(ebda, ebda + 0x400), (0xE_0000, 0x10_0000)];
        for (start, end) in areas.into_iter().filter(|&(start, _)| start >= BDA_END) {
            let area = memory(start, end - start).unwrap_or_default();
            let mut index = 0;
            while let Some(rest) = area.get(index * 16..)
                && let Some(next) = candidate(rest.as_chunks().0)
            {
                index += next;
                let rest = area.get(index * 16..).unwrap_or_default();
                if let Some(paragraph) = rest.first_chunk() {
                    found.look_at(paragraph, rest, start + index as u64 * 16);
                }
                index += 1;
            }
        }
        found
    }

    /// Looks at 16 bytes at `address`, and at the bytes behind them.
    fn look_at(&mut self, paragraph: &[u8; 16], rest: &[u8], address: u64) {
        let sums_up = |length: usize| rest.get(..length).is_some_and(is_zero_in_sum);
        match paragraph {
            [b'R', b'S', b'D', b' ', b'P', b'T', b'R', b' ', ..]
                if self.rsdp == 0 && sums_up(RSDP_1_BYTES as usize) =>
            {
                self.rsdp = address;
            }
            [b'_', b'S', b'M', b'_', _, length, ..]
                if self.smbios == 0 && *length >= 0x1E && sums_up(usize::from(*length)) =>
            {
                self.smbios = address;
            }
            [b'_', b'S', b'M', b'3', b'_', _, length, ..]
                if self.smbios3 == 0 && *length >= 0x18 && sums_up(usize::from(*length)) =>
            {
                self.smbios3 = address;
            }
            _ => {}
        }
    }

    /// The RSDP: 20 bytes in revision 0, else as many as it says, if they sum up to 0.
    pub fn rsdp<'a>(&self, memory: Memory<'_, 'a>) -> &'a [u8] {
        const REVISION: usize = 15;
        const LENGTH: usize = 20;
        /// Version 2.0 has 36 bytes; a much longer structure is not an RSDP.
        const LENGTHS: core::ops::RangeInclusive<u64> = 36..=256;

        if self.rsdp == 0 {
            return &[];
        }
        let old = memory(self.rsdp, RSDP_1_BYTES).unwrap_or_default();
        let new = || {
            old.get(REVISION).filter(|&&revision| revision >= 2)?;
            let length = memory(self.rsdp + LENGTH as u64, 4)?.first_chunk()?;
            let length = u64::from(u32::from_le_bytes(*length));
            let new = memory(self.rsdp, Some(length).filter(|it| LENGTHS.contains(it))?)?;
            is_zero_in_sum(new).then_some(new)
        };
        new().unwrap_or(old)
    }

    /// The entry point structure of SMBIOS: the 64-bit one where there is one.
    pub fn smbios<'a>(&self, memory: Memory<'_, 'a>) -> &'a [u8] {
        let (start, length) = match (self.smbios3, self.smbios) {
            (0, 0) => return &[],
            (0, start) => (start, 5),
            (start, _) => (start, 6),
        };
        let length = memory(start + length, 1).and_then(|bytes| bytes.first());
        let bytes = length.and_then(|&length| memory(start, length.into()));
        bytes.unwrap_or_default()
    }
}

/// The bits are the lower six of `R` and `_`, with which all the structures begin.
const FIRST_BYTES: u64 = 1 << (b'R' & 63) | 1 << (b'_' & 63);

/// The index of the first paragraph that may begin a structure. There are eight thousand
/// paragraphs, and of nearly all the first byte says that they do not.
#[inline(never)]
fn candidate(paragraphs: &[[u8; 16]]) -> Option<usize> {
    position_of(paragraphs, |paragraph| {
        FIRST_BYTES >> (paragraph[0] & 63) & 1 != 0
    })
}

fn is_zero_in_sum(bytes: &[u8]) -> bool {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}

//! CRC-32C, by tables.
//!
//! The polynomial of Castagnoli, reflected: the one that x86 CPUs have an instruction for since
//! SSE4.2. This is for all others, and for the host. Eight bytes go through eight tables at once
//! ("slicing by 8"); the tables are computed where they are needed, for 8 KiB of image cost more
//! than the microseconds that it takes.

/// 1EDC6F41h, reflected.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// Table `n` has the remainder of each byte with `n` zero bytes behind it.
pub struct Tables([[u32; 256]; 8]);

impl Tables {
    /// What it is before [`fill`](Self::fill).
    pub const EMPTY: Self = Self([[0; 256]; 8]);

    /// The tables.
    pub fn new() -> Self {
        let mut tables = Self::EMPTY;
        tables.fill();
        tables
    }

    /// Whether they are not computed yet.
    pub fn is_empty(&self) -> bool {
        self.0[0][1] == 0
    }

    /// Computes them.
    pub fn fill(&mut self) {
        let [first, others @ ..] = &mut self.0;
        for (entry, byte) in first.iter_mut().zip(0u32..) {
            *entry = (0..8).fold(byte, |crc, _| {
                (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg())
            });
        }
        let mut before = &*first;
        for table in others {
            for (entry, &crc) in table.iter_mut().zip(before) {
                *entry = (crc >> 8) ^ first[(crc & 0xFF) as usize];
            }
            before = table;
        }
    }

    /// The CRC-32C of what had the checksum `crc` (0: nothing) and of `bytes` behind it.
    pub fn crc32c(&self, crc: u32, bytes: &[u8]) -> u32 {
        let tables = &self.0;
        let (words, rest) = bytes.as_chunks::<8>();
        let mut crc = !crc;
        for word in words {
            let word = u64::from_le_bytes(*word) ^ u64::from(crc);
            // Not a loop: the compiler would make one of it, with a counter.
            crc = tables[7][(word & 0xFF) as usize]
                ^ tables[6][(word >> 8 & 0xFF) as usize]
                ^ tables[5][(word >> 16 & 0xFF) as usize]
                ^ tables[4][(word >> 24 & 0xFF) as usize]
                ^ tables[3][(word >> 32 & 0xFF) as usize]
                ^ tables[2][(word >> 40 & 0xFF) as usize]
                ^ tables[1][(word >> 48 & 0xFF) as usize]
                ^ tables[0][(word >> 56) as usize];
        }
        for &byte in rest {
            crc = (crc >> 8) ^ tables[0][usize::from(crc as u8 ^ byte)];
        }
        !crc
    }
}

impl Default for Tables {
    fn default() -> Self {
        Self::new()
    }
}

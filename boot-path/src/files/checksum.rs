//! CRCs of 32 bits, computed by tables: gzip's, and CRC-32C where there is no instruction for it.
//!
//! Of compressed files, eight bytes go through eight tables at once ("slicing by 8"). The tables are
//! computed when they are needed: that takes microseconds, while storing them would add 8 KiB to the
//! image.

/// CRC-32C: the polynomial of Castagnoli, 1EDC6F41h, reflected. x86 CPUs with SSE4.2 have an
/// instruction for it.
pub const CRC_32C: u32 = 0x82F6_3B78;
/// CRC-32/ISO-HDLC, gzip's: 04C11DB7h, reflected.
pub const CRC_32: u32 = 0xEDB8_8320;

/// Extends the CRC-32C `crc` (0 at first) by a few bytes, such as a path. It takes half a byte at a
/// time, because that needs a table of 64 bytes only, which is always there.
pub fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!crc, |crc, &byte| {
        let half = |crc: u32| crc >> 4 ^ HALF_BYTES[(crc & 15) as usize];
        half(half(crc ^ u32::from(byte)))
    })
}

/// The remainders of half a byte.
static HALF_BYTES: [u32; 16] = {
    let mut table = [0; 16];
    let mut entry: u32 = 0;
    while entry < 16 {
        let mut crc: u32 = entry;
        let mut bit = 0;
        while bit < 4 {
            crc = (crc >> 1) ^ (CRC_32C & (crc & 1).wrapping_neg());
            bit += 1;
        }
        table[entry as usize] = crc;
        entry += 1;
    }
    table
};

/// The tables for a polynomial.
pub struct Tables {
    polynomial: u32,
    /// Table `n` has the remainder of each byte with `n` zero bytes behind it.
    tables: [[u32; 256]; 8],
}

impl Tables {
    /// Tables for no polynomial yet: see [`of`](Self::of).
    pub const EMPTY: Self = Self {
        polynomial: 0,
        tables: [[0; 256]; 8],
    };

    /// The tables for a polynomial.
    pub fn new(polynomial: u32) -> Self {
        let mut tables = Self::EMPTY;
        tables.fill(polynomial);
        tables
    }

    /// The tables for a polynomial, computed unless they already are for that one.
    pub fn of(&mut self, polynomial: u32) -> &Self {
        if self.polynomial != polynomial {
            self.fill(polynomial);
        }
        self
    }

    fn fill(&mut self, polynomial: u32) {
        self.polynomial = polynomial;
        let [first, others @ ..] = &mut self.tables;
        for (entry, byte) in first.iter_mut().zip(0u32..) {
            *entry = (0..8).fold(byte, |crc, _| {
                (crc >> 1) ^ (polynomial & (crc & 1).wrapping_neg())
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

    /// Continues the checksum `crc` (0: of nothing) over `bytes`.
    pub fn crc(&self, crc: u32, bytes: &[u8]) -> u32 {
        let tables = &self.tables;
        let (words, rest) = bytes.as_chunks::<8>();
        let mut crc = !crc;
        for word in words {
            let word = u64::from_le_bytes(*word) ^ u64::from(crc);
            // Written out: the compiler would keep a loop, with a counter.
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

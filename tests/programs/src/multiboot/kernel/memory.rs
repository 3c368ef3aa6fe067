//! Memory by its physical address, and which parts of it are in use.

use zerocopy::FromBytes;

/// Memory in use: start, end.
pub struct Uses {
    ranges: [(u64, u64); 64],
    count: usize,
}

impl Uses {
    /// Nothing is in use.
    pub const NONE: Self = Self {
        ranges: [(0, 0); 64],
        count: 0,
    };

    /// Start and end of each.
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges[..self.count]
    }

    /// Adds a range. Returns whether it is apart from all earlier ones, and below 4 GiB.
    pub fn add(&mut self, start: u64, length: u64) -> bool {
        let end = start + length;
        let apart = self
            .ranges()
            .iter()
            .all(|&(from, to)| end <= from || to <= start);
        self.ranges[self.count] = (start, end);
        self.count += 1;
        apart && end <= 1 << 32
    }
}

unsafe extern "C" {
    pub static image_start: u8;
    /// The end of the part that is in the file.
    pub static _edata: u8;
    pub static image_end: u8;
}

pub fn address(symbol: *const u8) -> u64 {
    symbol.addr() as u64
}

/// Bytes at a physical address.
pub fn bytes(start: u64, length: u64) -> &'static [u8] {
    if length == 0 {
        return &[];
    }
    // SAFETY: the first 4 GiB are mapped; the range is RAM or ROM, and nobody writes to it.
    unsafe { core::slice::from_raw_parts(start as *const u8, length as usize) }
}

pub fn read<T: FromBytes>(start: u64) -> Option<T> {
    T::read_from_bytes(bytes(start, size_of::<T>() as u64)).ok()
}

/// The text up to the zero byte.
pub fn text(start: u64) -> Option<&'static str> {
    const LONGEST: u64 = 64 * 1024;
    let bytes = bytes(start, LONGEST);
    let length = bytes.iter().position(|&byte| byte == 0)?;
    core::str::from_utf8(&bytes[..length]).ok()
}

//! The memory map, of either version.

use crate::memory::Uses;
use crate::outcome::Checks;
use crate::report::say;

/// The memory map: sorted, and with RAM for everything that is in use.
pub struct Map {
    end: u64,
    lower: u64,
    upper: u64,
    /// Bytes of the ranges in use that are in RAM.
    covered: u64,
}

impl Map {
    pub fn add(&mut self, checks: &mut Checks, uses: &Uses, start: u64, length: u64, kind: u32) {
        say!("memory {start:x} {:x} {kind}", start + length);
        checks.check("memory map is sorted", self.end <= start && length > 0);
        self.end = start + length;
        if kind != 1 {
            return;
        }
        if start < 1 << 20 {
            self.lower = self.lower.max(self.end.min(1 << 20));
        }
        if start <= 1 << 20 && self.end > 1 << 20 {
            self.upper = self.end - (1 << 20);
        }
        for &(from, to) in uses.ranges() {
            self.covered += to.min(self.end).saturating_sub(from.max(start));
        }
    }

    pub fn finish(&self, checks: &mut Checks, uses: &Uses, lower: u64, upper: u64) {
        say!("memory {lower} KiB and {upper} KiB");
        checks.check("mem_lower", lower == self.lower / 1024 && lower <= 640);
        checks.check("mem_upper", upper == self.upper / 1024);
        let used: u64 = uses.ranges().iter().map(|(from, to)| to - from).sum();
        checks.check("what is in use is RAM", self.covered == used);
    }
}

pub const NO_MAP: Map = Map {
    end: 0,
    lower: 0,
    upper: 0,
    covered: 0,
};

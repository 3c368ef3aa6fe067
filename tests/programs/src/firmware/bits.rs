//! Where the flags of the option ROM have the bit of a defect.

use crate::defect::Defect;

/// The bit of a defect in the first byte of the flags, …
pub const fn low(defect: Defect) -> u8 {
    bit(defect, 0)
}

/// … in the second one, …
pub const fn high(defect: Defect) -> u8 {
    bit(defect, 1)
}

/// … in the third one, …
pub const fn third(defect: Defect) -> u8 {
    bit(defect, 2)
}

/// … and in the fourth one.
pub const fn fourth(defect: Defect) -> u8 {
    bit(defect, 3)
}

/// The bit of a defect in byte `byte` of the flags.
const fn bit(defect: Defect, byte: usize) -> u8 {
    let bit = (defect as u32).to_le_bytes()[byte];
    assert!(bit != 0);
    bit
}

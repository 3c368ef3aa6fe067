//! Step 9: the value of the key `chain`: which boot sector to start instead of a kernel.

use core::fmt;

use crate::errors::text::{facts, split_before};

/// The value of the key `chain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Drive of INT 13h; `None`: the drive that the loader was read from.
    pub drive: Option<u8>,
    /// Number of the partition; 0: the disk's own first sector.
    pub partition: u8,
}

impl Target {
    /// Reads `drive=81h`, `partition=2`, or both.
    pub fn parse(text: &str) -> Option<Self> {
        let (mut drive, mut partition) = (None, None);
        let mut rest = text;
        while !rest.is_empty() {
            let (word, behind) = split_before(rest, is_blank);
            rest = behind.get(1..).unwrap_or("");
            let old = if let Some(digits) = word.strip_prefix("drive=") {
                let digits = digits.strip_suffix('h').or(digits.strip_suffix('H'))?;
                drive.replace(number(digits, 16)?)
            } else if let Some(digits) = word.strip_prefix("partition=") {
                partition.replace(number(digits, 10).filter(|&number| number > 0)?)
            } else if word.is_empty() {
                continue;
            } else {
                return None;
            };
            if old.is_some() {
                return None;
            }
        }
        (drive.is_some() || partition.is_some()).then_some(Self {
            drive,
            partition: partition.unwrap_or(0),
        })
    }
}

/// In the form that [`Target::parse`] reads.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(drive) = self.drive {
            facts(f, "drive=##h", &[drive.into()])?;
        }
        if self.drive.is_some() && self.partition != 0 {
            f.write_str(" ")?;
        }
        match self.partition {
            0 => Ok(()),
            number => facts(f, "partition=#", &[number.into()]),
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// A number of at most three digits and at most 255. (`from_str_radix` would accept a sign, too.)
fn number(digits: &str, base: u32) -> Option<u8> {
    if digits.is_empty() || digits.len() > 3 {
        return None;
    }
    let mut number = 0;
    for &byte in digits.as_bytes() {
        number = number * base + char::from(byte).to_digit(base)?;
    }
    u8::try_from(number).ok()
}

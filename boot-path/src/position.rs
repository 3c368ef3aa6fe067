//! Positions, each of its own kind: a number that says where, and in what unit.
//!
//! A position is no distance. The difference of two positions of a kind is a distance, a plain `u64` in
//! the same unit, and a position plus a distance is a position of that kind. So neither a count, nor what is
//! counted from the start of a partition or of a volume, is taken for a place on the disk: it has to
//! be added to the place that it is counted from:
//!
//! ```
//! use boot_path::position::Lba;
//!
//! let (partition, sectors) = (Lba::new(2048), 1000);
//! let last: Lba = partition + (sectors - 1);
//! let before: u64 = last - partition;
//! ```
//!
//! What makes no sense is not compiled: two places have no sum,
//!
//! ```compile_fail,E0277
//! # use boot_path::position::Lba;
//! let _ = Lba::new(2048) + Lba::new(1000);
//! ```
//!
//! and a number is no place.
//!
//! ```compile_fail,E0277
//! # use boot_path::position::Lba;
//! let _: Lba = 2048.into();
//! ```

/// Declares kinds of positions.
macro_rules! positions {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The first one.
            pub const ZERO: Self = Self(0);

            /// The position with this number. Every number is one.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// Its number.
            pub const fn as_u64(self) -> u64 {
                self.0
            }

            /// The position that far behind; `None` if no number says it.
            pub const fn checked_add(self, distance: u64) -> Option<Self> {
                match self.0.checked_add(distance) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }

            /// The position that far in front; `None` if there is none.
            pub const fn checked_before(self, distance: u64) -> Option<Self> {
                match self.0.checked_sub(distance) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }

            /// The position that far behind, or the last one.
            pub const fn saturating_add(self, distance: u64) -> Self {
                Self(self.0.saturating_add(distance))
            }

            /// How far it is behind `start`; `None` if it is in front of it.
            pub const fn checked_sub(self, start: Self) -> Option<u64> {
                self.0.checked_sub(start.0)
            }

            /// How far it is behind `start`; 0 if it is in front of it.
            pub const fn saturating_sub(self, start: Self) -> u64 {
                self.0.saturating_sub(start.0)
            }
        }

        impl core::fmt::LowerHex for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::LowerHex::fmt(&self.0, f)
            }
        }

        /// For sums that are known to have a number.
        impl core::ops::Add<u64> for $name {
            type Output = Self;

            fn add(self, distance: u64) -> Self {
                Self(self.0 + distance)
            }
        }

        /// For a start that is known to be in front.
        impl core::ops::Sub for $name {
            type Output = u64;

            fn sub(self, start: Self) -> u64 {
                self.0 - start.0
            }
        }
    )*};
}
pub(crate) use positions;

positions! {
    /// The number of a sector of a disk (logical block address), from its first sector on, in the unit
    /// that the disk reads: its own logical sectors ([`BlockDevice::sector_size`]), be they of 512 bytes
    /// or not.
    ///
    /// INT 13h takes 64 bits (EDD 3.0, "Disk Address Packet") and ATA disks have 48 (ACS-3, 4.1.2), but
    /// none is checked here: what a disk does not have, [`BlockDevice::read`] refuses. What an MBR says is
    /// no such number until its unit is known: see [`TableLba`].
    ///
    /// [`BlockDevice::sector_size`]: crate::disk::block_device::BlockDevice::sector_size
    /// [`BlockDevice::read`]: crate::disk::block_device::BlockDevice::read
    /// [`TableLba`]: crate::disk::partition::TableLba
    Lba

    /// A byte of a disk, from the disk's first one on. What a FAT volume says of its parts is counted from the
    /// volume's start: it is a distance.
    DiskOffset

    /// A byte of a file, from its first one on: what `p_offset` of a program header means, and a `Range` of
    /// a plan. Up to 2^32 - 1 in the files of a FAT; but headers may name any number.
    FileOffset
}

impl From<u32> for FileOffset {
    fn from(offset: u32) -> Self {
        Self(offset.into())
    }
}

impl Lba {
    /// The sector's first byte, on a disk with sectors of this size; the last byte that has a number if
    /// that has none.
    pub fn start(self, sector_size: usize) -> DiskOffset {
        DiskOffset(self.0.saturating_mul(sector_size as u64))
    }

    /// Whether a disk of so many sectors has it.
    pub fn is_within(self, sectors: u64) -> bool {
        self.0 < sectors
    }
}

impl DiskOffset {
    /// The sector that it is in, on a disk with sectors of this size (a power of two).
    pub fn sector(self, sector_size: usize) -> Lba {
        Lba(self.0 >> (sector_size.trailing_zeros() & 63))
    }
}

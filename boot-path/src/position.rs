//! Positions: each type has its own meaning and its own unit.
//!
//! A position is not a distance. The difference of two positions of a type is a distance, a plain
//! `u64` in the same unit, and a position plus a distance is a position of that type. So the
//! compiler rejects a count, or a number relative to a partition or a volume, where it needs a
//! place on the disk. Such a number must first be added to the place that it is relative to:
//!
//! ```
//! use boot_path::position::Lba;
//!
//! let (partition, sectors) = (Lba::new(2048), 1000);
//! let last: Lba = partition + (sectors - 1);
//! let before: u64 = last - partition;
//! ```
//!
//! Nonsense does not compile: two positions have no sum,
//!
//! ```compile_fail,E0277
//! # use boot_path::position::Lba;
//! let _ = Lba::new(2048) + Lba::new(1000);
//! ```
//!
//! and a number is not a position.
//!
//! ```compile_fail,E0277
//! # use boot_path::position::Lba;
//! let _: Lba = 2048.into();
//! ```

/// Declares types of positions.
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

            /// `+`, also in constants.
            pub const fn plus(self, distance: u64) -> Self {
                Self(self.0 + distance)
            }

            /// The position `distance` further; `None` if it is beyond the last number.
            pub const fn checked_add(self, distance: u64) -> Option<Self> {
                match self.0.checked_add(distance) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }

            /// The position `distance` nearer; `None` if there is none.
            pub const fn checked_before(self, distance: u64) -> Option<Self> {
                match self.0.checked_sub(distance) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }

            /// The position `distance` further, or the last one.
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

        /// For sums that are known not to overflow.
        impl core::ops::Add<u64> for $name {
            type Output = Self;

            fn add(self, distance: u64) -> Self {
                self.plus(distance)
            }
        }

        impl core::ops::AddAssign<u64> for $name {
            fn add_assign(&mut self, distance: u64) {
                *self = self.plus(distance);
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
    /// The number of a sector of a disk (logical block address), from its first sector on, in the
    /// unit that the disk reads: its own logical sectors ([`BlockDevice::sector_size`]), which may
    /// have 512 bytes or more.
    ///
    /// INT 13h takes 64 bits (EDD 3.0, "Disk Address Packet") and ATA disks have 48 (ACS-3, 4.1.2),
    /// but no number is checked here: [`BlockDevice::read`] refuses sectors that the disk does not
    /// have. A number from an MBR is not an `Lba` until its unit is known: see [`TableLba`].
    ///
    /// [`BlockDevice::sector_size`]: crate::disk::block_device::BlockDevice::sector_size
    /// [`BlockDevice::read`]: crate::disk::block_device::BlockDevice::read
    /// [`TableLba`]: crate::disk::partition::TableLba
    Lba

    /// A byte of a disk, from the disk's first one on. A FAT volume counts its parts from its own
    /// start: those are distances.
    DiskOffset

    /// A byte of a file, from its first one on, as in `p_offset` of a program header, and in a
    /// `Range` of a plan. Files of a FAT have up to 2^32 - 1; but headers may name any number.
    FileOffset
}

impl From<u32> for FileOffset {
    fn from(offset: u32) -> Self {
        Self(offset.into())
    }
}

impl Lba {
    /// The sector's first byte, on a disk with sectors of this size; the last byte that has a
    /// number, if the sector's has none.
    pub fn start(self, sector_size: usize) -> DiskOffset {
        DiskOffset(self.0.saturating_mul(sector_size as u64))
    }

    /// Whether a disk of `sectors` sectors has it.
    pub fn is_within(self, sectors: u64) -> bool {
        self.0 < sectors
    }
}

impl DiskOffset {
    /// The sector that contains it, on a disk with sectors of this size (a power of two).
    pub fn sector(self, sector_size: usize) -> Lba {
        Lba(self.0 >> (sector_size.trailing_zeros() & 63))
    }
}

//! Physical and virtual addresses: both are numbers, and must not be mistaken for each other.
//!
//! The crate `x86_64` has such types. Its constructors panic if a number is not an address; the
//! loader reads numbers from other people's files, and must answer these with a named error. So
//! these types accept any number, and the code that maps something checks it
//! ([`crate::paging::page_tables`]).

use crate::position::positions;

positions! {
    /// A physical address, as in page table entries, CR3 and the memory map. CPUs have up to 52
    /// bits of it (SDM volume 3, section 4.1.4).
    PhysAddr

    /// A virtual (linear) address, which paging translates. It is canonical when bits 63 to 47 are
    /// equal (SDM volume 1, section 3.3.7.1).
    VirtAddr
}

/// The common methods of addresses: each counts bytes, and has an alignment.
macro_rules! address {
    ($name:ident) => {
        impl $name {
            /// The address `bytes` bytes higher, modulo 2^64.
            pub const fn wrapping_add(self, bytes: u64) -> Self {
                Self(self.0.wrapping_add(bytes))
            }

            /// The address `bytes` bytes lower, modulo 2^64.
            pub const fn wrapping_before(self, bytes: u64) -> Self {
                Self(self.0.wrapping_sub(bytes))
            }

            /// Bytes from `start` to this one, modulo 2^64.
            pub const fn wrapping_sub(self, start: Self) -> u64 {
                self.0.wrapping_sub(start.0)
            }

            /// Whether it is a multiple of `alignment`. If that is 0, only address 0 is.
            pub const fn is_aligned(self, alignment: u64) -> bool {
                self.0.is_multiple_of(alignment)
            }

            /// The multiple of a power of two at or below it.
            pub const fn align_down(self, alignment: u64) -> Self {
                Self(self.0 & !(alignment - 1))
            }

            /// The multiple of a power of two at or above it.
            pub const fn align_up(self, alignment: u64) -> Self {
                self.plus(alignment - 1).align_down(alignment)
            }
        }
    };
}

address!(PhysAddr);
address!(VirtAddr);

impl From<u32> for PhysAddr {
    fn from(address: u32) -> Self {
        Self(address.into())
    }
}

impl VirtAddr {
    /// Whether four levels of page tables can map it.
    pub const fn is_canonical(self) -> bool {
        ((self.0 << 16) as i64 >> 16) as u64 == self.0
    }

    /// Whether it is in the upper half of the address space.
    pub const fn is_upper_half(self) -> bool {
        self.0 >> 63 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_differences_are_bytes() {
        let page = PhysAddr::new(0x10_0000);
        assert_eq!((page + 0x1000).as_u64(), 0x10_1000);
        assert_eq!((page + 0x1000) - page, 0x1000);
        assert_eq!(page.checked_sub(page + 1), None);
        assert_eq!(page.wrapping_sub(page + 1), u64::MAX);
        let last = VirtAddr::new(u64::MAX);
        assert_eq!(last.checked_add(1), None);
        assert_eq!(last.saturating_add(1), last);
        assert_eq!(last.wrapping_add(1).as_u64(), 0);
        assert_eq!(VirtAddr::default().wrapping_before(1), last);
    }

    #[test]
    fn powers_of_two_align() {
        let address = VirtAddr::new(0x1FFF);
        assert_eq!(address.align_down(0x1000).as_u64(), 0x1000);
        assert_eq!(address.align_up(0x1000).as_u64(), 0x2000);
        assert_eq!(address.align_down(0x1000).align_up(0x1000).as_u64(), 0x1000);
        assert!(!address.is_aligned(0x1000) && (address + 1).is_aligned(0x1000));
    }

    #[test]
    fn canonical_addresses_have_two_halves() {
        for (address, canonical, upper) in [
            (0, true, false),
            (0x7FFF_FFFF_FFFF, true, false),
            (0x8000_0000_0000, false, false),
            (0xFFFF_7FFF_FFFF_FFFF, false, true),
            (0xFFFF_8000_0000_0000, true, true),
            (u64::MAX, true, true),
        ] {
            let address = VirtAddr::new(address);
            assert_eq!(address.is_canonical(), canonical, "{address:?}");
            assert_eq!(address.is_upper_half(), upper, "{address:?}");
        }
    }
}

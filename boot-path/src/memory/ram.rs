//! Memory that was allocated, and the right to use it.
//!
//! The allocator of the [map](super::map) hands out addresses. The machine turns an [`Allocation`]
//! into bytes ([`crate::machine::Machine::bytes`]). There is only one such value for each range, so
//! no two pieces of code have the same bytes.

use core::ops::{Deref, DerefMut};

use crate::memory::address::PhysAddr;

/// A range of physical memory that was allocated. Only the owner of this value may use the memory.
#[derive(Debug, PartialEq, Eq)]
pub struct Allocation {
    start: PhysAddr,
    size: u64,
}

impl Allocation {
    /// Wraps what an allocator has just returned: the start, and the number of bytes.
    pub(crate) const fn new(start: PhysAddr, size: u64) -> Self {
        Self { start, size }
    }

    /// Its first byte.
    pub const fn start(&self) -> PhysAddr {
        self.start
    }

    /// Number of bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }
}

/// Memory that was allocated, and its bytes.
#[derive(Debug)]
pub struct Block<'m> {
    start: PhysAddr,
    bytes: &'m mut [u8],
}

impl<'m> Block<'m> {
    /// The bytes of the memory from this physical address on.
    pub const fn new(start: PhysAddr, bytes: &'m mut [u8]) -> Self {
        Self { start, bytes }
    }

    /// Its first byte.
    pub const fn start(&self) -> PhysAddr {
        self.start
    }

    /// The first byte behind it.
    pub const fn end(&self) -> PhysAddr {
        self.start.plus(self.bytes.len() as u64)
    }

    /// Its bytes, without the block: the memory stays allocated.
    pub fn keep(self) -> &'m mut [u8] {
        self.bytes
    }

    /// The bytes at a physical address, if all of them are in this block.
    fn place(&self, address: PhysAddr, length: u64) -> Option<core::ops::Range<usize>> {
        let first = usize::try_from(address.checked_sub(self.start)?).ok()?;
        let end = first.checked_add(usize::try_from(length).ok()?)?;
        (end <= self.bytes.len()).then_some(first..end)
    }
}

impl Deref for Block<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl DerefMut for Block<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes
    }
}

/// The bytes at a physical address, in whichever block they are; empty if they are in none.
pub fn bytes_at<'b>(blocks: &'b [Block<'_>], address: PhysAddr, length: u64) -> &'b [u8] {
    let found = blocks.iter().find_map(|block| {
        let place = block.place(address, length)?;
        block.get(place)
    });
    found.unwrap_or_default()
}

/// As [`bytes_at`], to be written.
pub fn bytes_at_mut<'b>(
    blocks: &'b mut [Block<'_>],
    address: PhysAddr,
    length: u64,
) -> &'b mut [u8] {
    let found = blocks.iter_mut().find_map(|block| {
        let place = block.place(address, length)?;
        block.get_mut(place)
    });
    found.unwrap_or_default()
}

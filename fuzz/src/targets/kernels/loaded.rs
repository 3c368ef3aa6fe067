//! A kernel in memory of its own.

use boot_path::kernel::image::KernelImage;
use boot_path::kernel::relocate::LoadedKernel;

use crate::kernels::{Memory, unrelocated};

/// Kernels that need more memory are not loaded.
const MOST: u64 = 4 << 20;

/// An image, and its segments as they are in memory.
pub(super) struct Loaded<'a> {
    pub(super) image: &'a KernelImage,
    pub(super) memory: Memory,
}

impl<'a> Loaded<'a> {
    /// Loads a kernel, unless it needs too much memory.
    pub(super) fn new(image: &'a KernelImage, file: &[u8]) -> Option<Self> {
        let size: u64 = image.segments().iter().map(|s| s.memory_size).sum();
        (size <= MOST).then(|| Self {
            image,
            memory: unrelocated(image, file),
        })
    }
}

impl LoadedKernel for Loaded<'_> {
    fn bytes(&self, segment: usize) -> &[u8] {
        &self.memory[segment][..self.image.segments()[segment].file_size as usize]
    }

    fn memory(&mut self, segment: usize) -> Option<&mut [u8]> {
        Some(&mut self.memory[segment])
    }
}

//! ELF kernels: their headers, their place in memory, their relocations.

pub mod image;
pub mod relocate;
pub mod placement;
pub mod loading;

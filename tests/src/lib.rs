//! What the machine tests and the benchmark share: [`machine`] boots an image in an emulator,
//! [`image`] builds good and damaged images, [`fats`] damages their FATs, [`elf`] makes kernels
//! that no linker would make, [`el_torito`] puts an image on a CD as a hard disk, [`matrix`] is the table of machines, [`kernels`] that of kernels,
//! with [`linux`] for Linux kernels, [`samples`] has an image for each protocol, [`sums`] the
//! checksums that kernels print, [`peers`] puts other loaders on the disks, [`compare`] asks
//! them what they do with a kernel, [`recipes`] provokes
//! the errors of the catalogue, [`book`] carries out the book, [`shift`] moves functions of the
//! loader, and [`verdicts`] compares what is said about an image with what it does; [`debian`] puts a whole system on a disk.
//!
//! The tests are in `tests/tests`, the benchmark is `tests/src/bin/bench`, and what runs inside
//! the emulated machine besides the loader and the demo kernel is in `tests/programs`.

#[path = "../programs/src/report/checksum.rs"]
pub mod checksum;
mod elf_fixture;
pub mod book;
pub mod compare;
pub mod debian;
pub mod el_torito;
pub mod elf;
pub mod fats;
pub mod flip;
pub mod image;
pub mod kernels;
pub mod linkers;
pub mod linux;
pub mod machine;
mod parallel;
#[path = "../programs/src/firmware/defect.rs"]
mod defect;
#[path = "../programs/src/screen/test_card.rs"]
mod test_card;
mod pattern;
pub mod matrix;
pub mod peers;
pub mod recipes;
pub mod samples;
pub mod shift;
pub mod sums;
pub mod verdicts;

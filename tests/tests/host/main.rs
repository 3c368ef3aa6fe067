//! The boot path on a PC in the host's memory, with kernels made by these tests: what must hold for
//! any damage to an image, and for the number of reads. Neither an emulator nor a built loader
//! takes part, so thousands of boots take seconds.

mod attempts;
mod copies;
mod images;
mod kernels;
mod machine;
mod reads;
mod volume;

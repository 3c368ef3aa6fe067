//! The Limine boot protocol: finding a kernel's requests, and writing the answers.
//!
//! A request is a structure among the loaded bytes of the kernel, 8-byte aligned: two magic words,
//! two words that name the feature, the revision of the request, the address of the response (which
//! the loader writes), and the arguments of the feature. [`scan`] finds requests,
//! [`Requests::check`] refuses those that no machine can meet, [`respond`] writes the responses,
//! and [`Requests::answer`] writes their addresses into the requests. [`hhdm`] lists the mappings
//! for the kernel, [`entries`] the memory map.
//!
//! Source: the specification of the Limine boot protocol, base revisions 0 to 6.

mod features;
mod errors;
mod requests;
mod scan;
mod whole_file;
mod memory;
pub mod address_space;
mod facts;
mod responses;
pub mod platform;
pub mod state;
pub mod files;
pub mod processors;
pub mod screen;
pub mod boot;

pub use errors::{FileError, LimineError};
pub use facts::{Facts, File, Framebuffer, LastFacts, MAX_ENTROPY, Performance, Processors, Text};
pub use features::{COUNT, FEATURES, Feature};
pub use files::Modules;
pub use memory::{Entry, FirmwarePages, HHDM, entries, hhdm, in_hhdm, kind};
pub use requests::{
    FIVE_LEVELS, FOUR_LEVELS, InternalModule, InternalModules, MAX_INTERNAL_MODULES, MAX_REVISION,
    MIN_STACK, Requests,
};
pub use responses::{MAX_FILES, Writer, respond, suits};
pub use scan::{place, recognises, scan, scan_into};
pub(crate) use whole_file::recognise_file;
pub use whole_file::{check_file, requests_of_file};

//! The Limine protocol.

pub mod requests;
pub mod platform;
pub mod files;
pub mod processors;
pub mod screen;
pub mod boot;

pub use files::Modules;
pub use platform::Start;
pub mod address_space;

//! The Limine protocol.

pub mod requests;

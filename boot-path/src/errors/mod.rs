//! What can go wrong, with its codes and sentences; and how anything is put into words.

pub mod text;
pub mod catalogue;
pub mod exception;

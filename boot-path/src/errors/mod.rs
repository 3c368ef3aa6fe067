//! The errors, with their codes and sentences, and the formatting of text.

pub mod text;
pub mod catalogue;
pub mod exception;
pub mod message;

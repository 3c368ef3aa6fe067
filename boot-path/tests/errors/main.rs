//! What can go wrong: the catalogue, and how it is put into words.

mod catalogue;
mod exception;
mod text;

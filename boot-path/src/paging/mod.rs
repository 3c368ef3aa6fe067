//! Page tables: their making, what a kernel finds mapped, and how they are walked.

pub mod page_tables;
pub mod address_space;
pub mod page_walk;

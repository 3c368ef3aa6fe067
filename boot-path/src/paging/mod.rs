//! Page tables: the mappings that a kernel finds, how they are built, and how they are walked.

pub mod page_tables;
pub mod address_space;
pub mod page_walk;

//! Page tables: what a kernel finds mapped, how the tables are built, and how they are walked.

pub mod page_tables;
pub mod address_space;
pub mod page_walk;

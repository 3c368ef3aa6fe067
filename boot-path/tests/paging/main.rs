//! Page tables, written and read.

#[path = "../support/mmu.rs"]
mod mmu;

mod page_tables;
mod page_walk;

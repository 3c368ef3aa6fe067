//! Images that boot or do not, and whether all who say which agree: the loader's path on the host,
//! `disk-builder inspect`, and `disk-builder build`.
//!
//! A generator makes the images ([`Cases`]): it changes fields of headers, requests, streams, entries, file
//! systems and partition tables, and it makes one image for each error that an image can cause. What is
//! said of one is a [`Verdict`]. `tests/tests/verdicts` compares all of them.

mod mutation;
mod kernels;
mod made_kernels;
mod disks;
mod made_disks;
mod cases;
mod verdict;

pub use cases::{Case, Cases, Made};
pub use verdict::{Refusal, Verdict, is_refused, judge, judge_all};

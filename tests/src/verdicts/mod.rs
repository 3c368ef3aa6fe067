//! Images that boot or do not, and whether all of these agree about which: the loader's path on the
//! host, `disk-builder inspect`, `disk-builder build`, and the loader on a machine.
//!
//! A generator makes the images ([`Cases`]): it changes fields of headers, requests, streams,
//! entries, file systems and partition tables, and it makes one image for each error that an image
//! can cause. What the host says about an image is a [`Verdict`], and what a machine does with it
//! is an [`Answer`].
//!
//! `./run.sh verdicts` boots some of them. `tests/tests/verdicts` compares all of them on the host,
//! and boots a few.

mod mutation;
mod kernels;
mod made_kernels;
mod disks;
mod made_disks;
mod cases;
mod verdict;
mod answer;
mod choice;

pub use answer::{Answer, Comparison, boot, compare, compare_all};
pub use cases::{Case, Cases, Made};
pub use choice::choose;
pub use verdict::{Refusal, Verdict, is_refused, judge, judge_all};

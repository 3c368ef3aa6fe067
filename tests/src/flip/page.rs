//! The tables, and the page that they are on.

use std::collections::BTreeMap;

use super::region::Coverage;
use super::{Flip, Outcome, Region, Subject};
use crate::book::wrap::wrap;

/// The part of the page for one image: a row for each region, with the number of each outcome and
/// the codes of the errors; and where the bytes are that nothing can check.
pub fn section(subject: &Subject, flips: &[Flip], outcomes: &[Outcome]) -> String {
    let kind = subject.kind;
    let (title, description) = (kind.title(), kind.description());
    let mut text = format!(
        "## {title}\n\n\
         {description} `./run.sh flip --kernel {}`\n\n\
         | what the bit is in | flips | boots | boots by a copy | named error | hang | reset | wrong | errors |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n",
        kind.name()
    );
    for region in subject.regions() {
        text += &row(region.name(), Some(region), flips, outcomes);
    }
    text += &row("all", None, flips, outcomes);
    text += "\nNothing can check, by their addresses on the disk:\n\n";
    let unchecked = |region: &Region| region.coverage() != Coverage::Checked;
    for region in subject.regions().filter(unchecked) {
        let pieces: Vec<_> = subject
            .addresses(region)
            .map(|(first, last)| format!("{first:X}h to {last:X}h"))
            .collect();
        text += &format!("- {}: {}\n", region.name(), pieces.join(", "));
    }
    text
}

/// A row for a region, or for all of them.
fn row(name: &str, region: Option<Region>, flips: &[Flip], outcomes: &[Outcome]) -> String {
    let mut counts = [0; 6];
    let mut codes = BTreeMap::<&str, usize>::new();
    for (flip, outcome) in flips.iter().zip(outcomes) {
        if region.is_some_and(|region| region != flip.region) {
            continue;
        }
        let column = match outcome {
            Outcome::Boots => 0,
            Outcome::BootsByCopy => 1,
            Outcome::Named(code) => {
                *codes.entry(code).or_default() += 1;
                2
            }
            Outcome::Hang => 3,
            Outcome::Reset => 4,
            Outcome::Wrong(_) => 5,
        };
        counts[column] += 1;
    }
    let numbers: String = counts.iter().map(|count| format!(" {count} |")).collect();
    let codes: Vec<_> = codes
        .iter()
        .map(|(code, count)| format!("{code} × {count}"))
        .collect();
    let codes = match region {
        Some(_) => codes.join(", "),
        None => String::new(),
    };
    let total: usize = counts.iter().sum();
    format!("| {name} | {total} |{numbers} {codes} |\n")
}

/// `docs/bit-flips.md`, with these sections of `count` boots each.
pub fn page(sections: &[String], count: usize, seed: u64) -> String {
    let sections = sections.join("\n");
    let page = format!(
        "# Wrong bits\n\n\
         What becomes of a boot with one wrong bit on the disk. `./run.sh flip [--kernel KIND] [COUNT] [SEED]` flips one bit in a copy of an image and \
         boots that, COUNT times for each kind of kernel. It fails if a boot hangs, resets the machine, or is wrong, except in what nothing can check. \
         The kernels print exactly what they got: checksums of all bytes that they and their modules have in \
         memory, command line, strings, and everything else that does not change between boots. So *boots* means: the same lines on the serial \
         line as without the wrong bit, and no others. *By a copy* means that the loader \
         also said that it went on by the second FAT or the backup boot sector. Half of the boots have a CPU with an \
         instruction for CRC-32C, the others compare the other checksum.\n\n\
         The program itself wrote this page: {count} boots for each kind, spread evenly over the regions, at random places within each \
         (seed {seed}). A run that was interrupted continues when it is started again.\n\n\
         What is not covered, and why:\n\n\
         - *What runs before it is checked*: the first instructions of stage1. Nothing can check them, and a wrong \
         bit there may do anything. What it does is counted, and allowed. If it makes DS point to empty memory, for example, \
         the sum is right, and the kernel finds a vector of the BIOS changed.\n\
         - *55 AA*: without it, the BIOS finds nothing to boot, and says so (`BIOS`).\n\
         - The disk signature is passed to the kernel as it is: systems change it, so nothing can detect a wrong one.\n\
         - *The boot sector that is started*, and the entry of its partition: the system there writes them, and the loader passes on \
         what it finds. It refuses a sector that does not end in 55 AA, and an entry that is free (`12B`); \
         any other difference there counts as wrong, and is allowed.\n\
         - *A payload that the kernel checks itself* has no checksum of the loader: the kernel names the damage \
         (`kernel`). See [Linux](linux.md).\n\
         - A file that was copied to the stick later has no checksum: see [decision 15](decisions/0015-manifest.md). Neither has \
         anything in an image that was built with `--no-checksums`; \
         `./run.sh flip 40 1 --no-checksums` shows what becomes of that.\n\n\
         {sections}"
    );
    wrap(&page)
}

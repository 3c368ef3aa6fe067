//! An entry of a FAT is wrong but makes sense: checksums show it.

use anyhow::{Context as _, Result, ensure};
use machine_tests::fats::{Fat, Fats};
use machine_tests::samples::{Sample, bootpath, limine, linux, multiboot1, multiboot2};

use crate::{CONFIGURATION, KERNEL, each};

/// How an entry of a FAT can be wrong but make sense.
#[derive(Clone, Copy)]
enum Wrong {
    /// Behind its first cluster, the chain leads into another file of as many clusters.
    Twin(&'static str),
    /// The chain skips a cluster at this byte of the file, in which nobody needs the end.
    Skips(usize),
}

impl Wrong {
    /// Damages one FAT: a different entry in each.
    fn apply(self, fats: &Fats<'_>, fat: Fat, path: &str) -> Result<()> {
        let chain = fats.chain(path)?;
        let further = usize::from(fat == Fat::Second);
        match self {
            Self::Twin(twin) => {
                let twin = fats.chain(twin)?;
                ensure!(twin.len() == chain.len(), "{path} and its twin");
                fats.link(&[fat], chain[further], twin[further + 1])
            }
            Self::Skips(at) => {
                let index = at / fats.cluster() + further;
                fats.link(&[fat], chain[index], chain[index + 2])
            }
        }
    }
}

/// A file of each kind, and the error if neither FAT leads to its bytes.
type Confused = (fn() -> Result<Sample>, &'static str, Wrong, &'static str);
const CONFUSED: [Confused; 6] = [
    (
        bootpath,
        CONFIGURATION,
        Wrong::Twin("/boot/modules/three"),
        "9E",
    ),
    (
        bootpath,
        "/boot/modules/one",
        Wrong::Twin("/boot/modules/two"),
        "10R",
    ),
    // The kernel's sections are at the end of the file, so that the short chain is found first.
    (multiboot2, KERNEL, Wrong::Skips(0x2000), "8B"),
    (
        multiboot1,
        "/boot/modules/second",
        Wrong::Twin("/boot/modules/first"),
        "10R",
    ),
    (limine, KERNEL, Wrong::Skips(0x2000), "10Q"),
    (
        linux,
        "/boot/modules/initrd-1",
        Wrong::Twin("/boot/modules/initrd-0"),
        "10R",
    ),
];

#[test]
fn a_checksum_finds_the_better_fat() -> Result<()> {
    each(CONFUSED, |(sample, path, wrong, code)| {
        let sample = sample()?;
        wrong.apply(&Fats::of(&sample.image)?, Fat::First, path)?;
        let facts = match code {
            "8B" => "the chain from cluster ".to_owned(),
            _ => format!("{path}, checksum mismatch"),
        };
        let change = format!("the second FAT, because of {code}: {facts}");
        sample
            .boots(Some(&change))
            .with_context(|| format!("{path}, {code}"))
    })
}

#[test]
fn where_both_are_wrong_the_error_is_that_of_the_first_one() -> Result<()> {
    let confused = [CONFUSED[0], CONFUSED[1], CONFUSED[4]];
    each(confused, |(sample, path, wrong, code)| {
        let sample = sample()?;
        let fats = Fats::of(&sample.image)?;
        wrong.apply(&fats, Fat::Second, path)?;
        wrong.apply(&fats, Fat::First, path)?;
        let row = match code {
            "9E" => "a configuration file is damaged",
            "10R" => "a module is damaged",
            _ => "the kernel is damaged",
        };
        sample
            .fails(&format!("{code}: {row}: {path}, checksum mismatch"))
            .with_context(|| format!("{path}, {code}"))
    })
}

//! The first FAT has lost an entry that the second one still has.

use anyhow::{Context as _, Result};
use machine_tests::fats::{Fat, Fats};
use machine_tests::samples::{
    Sample, bootpath, chain, entries, limine, limine_with_multiboot2, linux,
    linux_in_small_clusters, multiboot1,
};

use crate::{CONFIGURATION, ENTRIES, KERNEL, MODULES, each};

/// An entry of the first FAT, and the file to which it belongs.
#[derive(Clone, Copy)]
struct Lost {
    sample: fn() -> Result<Sample>,
    path: &'static str,
    /// The byte of the file whose cluster leads nowhere; negative: counted from the file's end.
    at: i64,
}

/// Each boots by the second FAT as if nothing had happened.
fn found_by_the_second_fat(lost: &[Lost]) -> Result<()> {
    each(lost, |Lost { sample, path, at }| {
        let sample = sample()?;
        if path.ends_with(".conf") {
            // Of a file in one cluster, the FAT is not needed.
            sample.image.lengthen(path)?;
        }
        let fats = Fats::of(&sample.image)?;
        let chain = fats.chain(path)?;
        let index = at.div_euclid(fats.cluster() as i64);
        let index = usize::try_from(index).unwrap_or_else(|_| chain.len() - 2);
        let cluster = chain[index];
        fats.link(&[Fat::First], cluster, 0)?;
        let change = format!("the second FAT, because of 8B: cluster {cluster} leads to 0x0");
        sample
            .boots(Some(&change))
            .with_context(|| format!("{path}, cluster {index} of it"))
    })
}

#[test]
fn of_a_compressed_kernel_and_its_files() -> Result<()> {
    let lost = |path, at| Lost {
        sample: bootpath,
        path,
        at,
    };
    found_by_the_second_fat(&[
        lost(KERNEL, 10_000),
        lost("/boot/modules/two", 30_000),
        lost(CONFIGURATION, 1024),
    ])
}

#[test]
fn of_entries() -> Result<()> {
    let lost = |sample, path| Lost {
        sample,
        path,
        at: 0,
    };
    found_by_the_second_fat(&[
        lost(entries, ENTRIES),
        lost(entries, "/loader/loader.conf"),
        lost(chain, "/loader/entries/one.conf"),
    ])
}

#[test]
fn by_other_protocols() -> Result<()> {
    let lost = |sample: fn() -> Result<Sample>, path, at| Lost { sample, path, at };
    // Behind all of the kernel that is loaded: it wants its whole file.
    found_by_the_second_fat(&[
        lost(limine, KERNEL, -1),
        // The bytes in which the loader looks for Limine's requests, although there is a Multiboot
        // header.
        lost(limine_with_multiboot2, KERNEL, 34 << 10),
        lost(limine, MODULES, 0),
        // Section headers, and sections.
        lost(multiboot1, KERNEL, -1),
        lost(linux, MODULES, 0),
        lost(linux_in_small_clusters, KERNEL, 512),
    ])
}

//! A FAT volume has its FAT twice. What the first one has lost, the second one has, whatever it is of:
//! a kernel, modules, entries, directories. Where an entry of it is wrong and makes sense, checksums tell.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use machine_tests::fats::{Fat, Fats, entry_of};
use machine_tests::image::small_kernel;
use machine_tests::samples::{
    Sample, bootpath, chain, entries, limine, linux, multiboot1, multiboot2,
};

const KERNEL: &str = "/boot/kernel.elf";
const CONFIGURATION: &str = "/boot/kernel.conf";
const ENTRIES: &str = "/loader/entries";

/// Boots all of them, and says of each what is wrong with it.
fn each<T>(rows: impl IntoIterator<Item = T>, boot: impl Fn(T) -> Result<()>) -> Result<()> {
    let failures: Vec<String> = rows
        .into_iter()
        .filter_map(|row| Some(format!("{:#}", boot(row).err()?)))
        .collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}

// --- An entry is lost --------------------------------------------------------------------------

/// An entry of the first FAT, and what lies where it counts.
#[derive(Clone, Copy)]
struct Lost {
    sample: fn() -> Result<Sample>,
    path: &'static str,
    /// The byte of the file whose cluster leads nowhere; from its end, when it is negative.
    at: i64,
}

/// Each boots as if nothing had happened, by the second FAT.
fn found_by_the_second_fat(lost: &[Lost]) -> Result<()> {
    each(lost, |Lost { sample, path, at }| {
        let sample = sample()?;
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
    // Behind all that is loaded of the kernel: it wants its whole file.
    found_by_the_second_fat(&[Lost {
        sample: limine,
        path: KERNEL,
        at: -1,
    }])
}

// --- An entry is another one -------------------------------------------------------------------

/// How an entry of a FAT can be wrong and make sense.
#[derive(Clone, Copy)]
enum Wrong {
    /// From the end of the first cluster on it is a file of as many clusters.
    Twin(&'static str),
    /// There is a cluster too few at this byte of the file. Nobody needs the end of it.
    Skips(usize),
}

impl Wrong {
    /// Damages one FAT, another entry for each.
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

/// One of the files of each kind, and the error when neither FAT leads to its bytes.
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
    (multiboot2, KERNEL, Wrong::Skips(0x2000), "10Q"),
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
        let change = format!("the second FAT, because of {code}: {path}, CRC-32C ");
        sample
            .boots(Some(&change))
            .with_context(|| format!("{path}, {code}"))
    })
}

#[test]
fn where_both_are_wrong_the_error_is_that_of_the_first_one() -> Result<()> {
    let confused = [CONFUSED[0], CONFUSED[1], CONFUSED[2]];
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
            .fails(&format!("{code}: {row}: {path}, CRC-32C "))
            .with_context(|| format!("{path}, {code}"))
    })
}

// --- What is not there --------------------------------------------------------------------------

/// By the first FAT there is no kernel in the directory.
fn without_kernel_by_the_first_fat(checksums: bool) -> Result<Sample> {
    let kernel = fs::read(small_kernel()?.path())?;
    let says = vec!["command line: exit\r\n".into()];
    let sample = Sample::build(&kernel, &[], says, |recipe| {
        recipe.command_line = "exit".into();
        recipe.checksums = checksums;
    })?;
    Fats::of(&sample.image)?.split_directory("/boot", |fat, entries| {
        let name = entry_of(entries, b"KERNEL  ELF")?;
        if fat == Fat::First {
            name[0] = b'X';
        }
        Ok(())
    })?;
    Ok(sample)
}

#[test]
fn what_has_a_checksum_is_known_to_be_there() -> Result<()> {
    let change = format!("the second FAT, because of 9A: {KERNEL}");
    without_kernel_by_the_first_fat(true)?.boots(Some(&change))
}

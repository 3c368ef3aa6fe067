//! A FAT volume has its FAT twice. What the first one has lost, the second one has, whatever it is of:
//! a kernel, modules, entries, directories. Where an entry of it is wrong and makes sense, checksums tell;
//! without them, the first one counts. What was measured is what is loaded.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use machine_tests::elf::{ET_EXEC, Elf, MULTIBOOT2_MAGIC, ProgramHeader, R, X, noise, note};
use machine_tests::fats::{Fat, Fats, entry_of, resize};
use machine_tests::image::small_kernel;
use machine_tests::kernels::gzip;
use machine_tests::linux::header;
use machine_tests::machine::Machine;
use machine_tests::samples::{
    Sample, bootpath, chain, changes_once, entries, limine, limine_with_multiboot2, linux,
    linux_in_small_clusters, linux_with, multiboot1, multiboot2, ram_disk,
};

const KERNEL: &str = "/boot/kernel.elf";
const CONFIGURATION: &str = "/boot/kernel.conf";
const ENTRIES: &str = "/loader/entries";
const MODULES: &str = "/boot/modules";

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
    let lost = |sample: fn() -> Result<Sample>, path, at| Lost { sample, path, at };
    // Behind all that is loaded of the kernel: it wants its whole file.
    found_by_the_second_fat(&[
        lost(limine, KERNEL, -1),
        // What is looked for by Limine, where there is a Multiboot header as well.
        lost(limine_with_multiboot2, KERNEL, 34 << 10),
        lost(limine, MODULES, 0),
        // Headers of sections, and sections.
        lost(multiboot1, KERNEL, -1),
        lost(linux, MODULES, 0),
        lost(linux_in_small_clusters, KERNEL, 512),
    ])
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
    // Its sections are at the end of the file, so that the chain is found to be too short first.
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
            _ => format!("{path}, CRC-32C "),
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
            .fails(&format!("{code}: {row}: {path}, CRC-32C "))
            .with_context(|| format!("{path}, {code}"))
    })
}

// --- What a file says itself -------------------------------------------------------------------

/// A kernel whose last bytes are a note that wants all physical memory there.
fn with_note(base: u64) -> Vec<u8> {
    const ELSEWHERE: u64 = 0xFFFF_FFFF_8020_0000;

    let base = base.to_le_bytes();
    let wish = note("Bootpath", handoff::NOTE_PHYSICAL_MAP_BASE, &base, 4);
    Elf::halting()
        .with(ProgramHeader::filled(R, ELSEWHERE, noise(5000)))
        .with(ProgramHeader::note(wish))
        .build()
}

/// A kernel for Multiboot 2, whose program headers are its last bytes and say that it was linked for this
/// address.
fn with_last_headers(address: u64) -> Vec<u8> {
    const ENTRY: u64 = 0x10_0000;
    const TABLE: usize = 32; // e_phoff
    const HEADERS: std::ops::Range<usize> = 64..64 + 56;

    let mut file = Elf::new(ET_EXEC, ENTRY)
        .with(ProgramHeader::filled(R | X, address, noise(5000)))
        .build();
    // Without an entry of its own.
    let checksum = 0_u32.wrapping_sub(MULTIBOOT2_MAGIC + 24);
    let header = [MULTIBOOT2_MAGIC, 0, 24, checksum, 0, 8];
    for (place, word) in file[0x800..].chunks_mut(4).zip(header) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    let table = file.len().next_multiple_of(512);
    file[TABLE..TABLE + 8].copy_from_slice(&(table as u64).to_le_bytes());
    let headers = file[HEADERS].to_vec();
    // The first cluster is the same by each FAT.
    file[HEADERS].fill(0);
    file.resize(table, 0);
    file.extend(headers);
    file
}

/// By the second FAT there are other bytes, which make sense. Without checksums nobody knows which ones
/// are right, and the first FAT counts: the error is that of the bytes that it leads to.
#[test]
fn what_a_file_says_is_not_looked_for_elsewhere() -> Result<()> {
    let kernel = gzip(&fs::read(small_kernel()?.path())?)?;
    let mut wrong_sum = kernel.clone();
    let sum = wrong_sum.len() - 8;
    wrong_sum[sum] ^= 1;
    let configuration =
        |last: &str| format!("options exit\n{}{last}\n", "# a comment\n".repeat(100)).into_bytes();
    let halting = Elf::halting().build();
    let rows = [
        (
            "a note",
            with_note(0x1234),
            configuration(""),
            (KERNEL, with_note(0xFFFF_9000_0000_0000)),
            "10N: the kernel's note asks for something impossible: type 2, value 0x1234",
        ),
        (
            "a checksum of gzip",
            wrong_sum,
            configuration(""),
            (KERNEL, kernel),
            "8C: a compressed file cannot be unpacked: CRC-32 ",
        ),
        (
            "program headers",
            with_last_headers(0x20_0000),
            configuration(""),
            (KERNEL, with_last_headers(0x10_0000)),
            "10J: the kernel's entry point is not in an executable segment: e_entry 0x100000",
        ),
        (
            "a configuration",
            halting,
            configuration("chain disk2"),
            (CONFIGURATION, configuration("#hain disk2")),
            "9C: /boot/kernel.conf cannot be read: line 102: chain takes drive=80h, partition=1 or both",
        ),
    ];
    each(rows, |(name, kernel, text, (path, other), error)| {
        let sample = Sample::build(&kernel, &[], Vec::new(), |recipe| {
            recipe.unchecked = true;
            recipe.checksums = false;
        })?;
        sample.image.put(CONFIGURATION, &text)?;
        let mut fats = Fats::of(&sample.image)?;
        fats.second_view(path, &other).context(name)?;
        sample.fails(error).context(name)
    })
}

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

#[test]
fn what_a_directory_says_is_not_looked_for_elsewhere() -> Result<()> {
    let error = format!("9A: there is no kernel in the boot partition: {KERNEL}");
    without_kernel_by_the_first_fat(false)?.fails(&error)
}

// --- What was measured -------------------------------------------------------------------------

/// Of two archives the first one cannot be read by the first FAT, and the second one has another size by
/// the second FAT. Both are what they were when they were measured, and what is behind them is, too.
#[test]
fn what_was_measured_is_what_is_loaded() -> Result<()> {
    /// Behind the RAM disk, which is two pages.
    const END: u64 = 0x800_0000;
    const PAGES: usize = 8192;
    const BEHIND: usize = 64 << 10;
    const DIRT: u8 = 0xA5;

    let mut dirt = tempfile::NamedTempFile::new()?;
    std::io::Write::write_all(&mut dirt, &[DIRT; BEHIND])?;
    let last = (END as u32 - 1).to_le_bytes();
    // Four clusters, by both FATs.
    each([(3073, 4096), (4000, 3100)], |(size, other)| {
        let sizes = [PAGES - usize::next_multiple_of(size, 4), size];
        let sample = linux_with(&[(header::INITRD_ADDR_MAX, &last)], sizes, |recipe| {
            recipe.checksums = false;
        })?;
        let mut fats = Fats::of(&sample.image)?;
        let first = fats.chain(&format!("{MODULES}/initrd-0"))?[0];
        fats.split_directory(MODULES, |fat, entries| {
            let entry = entry_of(entries, b"INITRD-1   ")?;
            if fat == Fat::Second {
                resize(entry, other);
            }
            Ok(())
        })?;
        fats.link(&[Fat::First], first, 0)?;
        let machine = Machine::new(&sample.image.path()).no_exit_port();
        let dirt = dirt.path().display();
        let device = format!("loader,file={dirt},addr={END:#x},force-raw=on");
        let mut running = machine.arguments(["-device", &device]).start()?;
        let transcript = running.wait_for_one_of(&["OKAY\r\n", "press a key to reboot"])?;
        let line = format!("the second FAT, because of 8B: cluster {first} leads to 0x0");
        changes_once(&transcript, Some(&line))?;
        let (start, found) = ram_disk(&mut running)?;
        ensure!(start == END - PAGES as u64, "{size}, {other}\n{transcript}");
        ensure!(
            running.memory(END, BEHIND)? == [DIRT; BEHIND],
            "written behind it: {size}, {other}"
        );
        ensure!(
            found == sample.ram_disk,
            "another RAM disk: {size}, {other}"
        );
        Ok(())
    })
}

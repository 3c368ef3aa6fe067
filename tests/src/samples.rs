//! An image for each protocol, with files of all kinds. Its kernel prints whether all of them are
//! intact: for tests that damage what leads to them.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use disk_builder::image::{Entry, Module, Recipe};
use disk_builder::{Protocol, Target};
use object::Endianness;
use object::read::elf::{ElfFile64, ProgramHeader as _};

use crate::checksum::checksum;
use crate::elf::{MULTIBOOT2_MAGIC, noise, put_multiboot2_header};
use crate::image::{Image, small_kernel, test_program, test_program_file};
use crate::kernels::gzip;
use crate::linux::{check_kernel, put};
use crate::machine::{Machine, OFFER, Running};
use crate::sums::crc32;

/// An image, and what its kernel prints if all of its files are intact.
pub struct Sample {
    /// The image.
    pub image: Image,
    /// The disk that boots when this one chains.
    second: Option<Image>,
    says: Vec<String>,
    /// The bytes of the initial RAM disk, of a Linux kernel.
    pub ram_disk: Vec<u8>,
}

impl Sample {
    /// Builds an image with these modules.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn build(
        kernel: &[u8],
        modules: &[(&str, &[u8])],
        says: Vec<String>,
        change: impl FnOnce(&mut Recipe),
    ) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let kernel = put(directory.path(), "kernel", kernel)?;
        let mut recipe_modules = Vec::new();
        for (name, bytes) in modules {
            let file = put(directory.path(), name, bytes)?;
            let string = format!("this is {name}");
            recipe_modules.push(Module { file, string });
        }
        let image = Image::build(&kernel, |recipe, _| {
            recipe.modules = recipe_modules;
            change(recipe);
        })?;
        Ok(Self {
            image,
            second: None,
            says,
            ram_disk: Vec::new(),
        })
    }

    fn start(&self) -> Result<Running> {
        // QEMU must not end: the RAM disk is read from memory when the kernel is done.
        let machine = Machine::new(&self.image.path()).no_exit_port();
        let Some(second) = &self.second else {
            return machine.start();
        };
        let drive = format!(
            "id=second,if=none,format=raw,snapshot=on,file={}",
            second.path().display()
        );
        machine
            .arguments(["-drive", &drive, "-device", "ide-hd,drive=second,bus=ide.1"])
            .start()
    }

    /// Checks that it boots, and that its kernel finds everything. The loader must change to
    /// another copy once, with a line that begins like this, or never.
    ///
    /// # Errors
    /// When it does anything else.
    pub fn boots(&self, change: Option<&str>) -> Result<()> {
        let mut running = self.start()?;
        let transcript = running.wait_for_one_of(&["OKAY", "FAIL", OFFER])?;
        ensure!(
            transcript.contains("OKAY") && !transcript.contains("FAIL"),
            "{transcript}"
        );
        for line in &self.says {
            ensure!(transcript.contains(line), "no {line:?} in\n{transcript}");
        }
        changes_once(&transcript, change)?;
        if !self.ram_disk.is_empty() {
            let (start, found) = ram_disk(&mut running)?;
            ensure!(
                found == self.ram_disk,
                "another RAM disk at {start:#x}\n{transcript}"
            );
        }
        Ok(())
    }

    /// Checks that it ends in this error, and that the loader did not change to another copy.
    ///
    /// # Errors
    /// When it does anything else.
    pub fn fails(&self, error: &str) -> Result<()> {
        let mut running = self.start()?;
        let transcript = running.wait_for_one_of(&[OFFER, "\n12 handoff "])?;
        let error = format!("error {error}");
        let mut lines = transcript.lines();
        let found = lines.any(|line| line.starts_with(&error));
        ensure!(found, "no {error:?} in\n{transcript}");
        changes_once(&transcript, None)
    }
}

/// Checks that the loader reports once that it reads another copy, with these words, or never.
///
/// # Errors
/// When it prints anything else.
pub fn changes_once(transcript: &str, change: Option<&str>) -> Result<()> {
    let said: Vec<&str> = transcript
        .lines()
        .filter_map(|line| line.strip_prefix(" 8 files    by "))
        .collect();
    let good = match (change, &said[..]) {
        (None, []) => true,
        (Some(change), [said]) => said.starts_with(change),
        _ => false,
    };
    ensure!(good, "{said:?} instead of {change:?} in\n{transcript}");
    Ok(())
}

/// Where the test kernel found its RAM disk, and its bytes.
///
/// # Errors
/// When it found none.
pub fn ram_disk(running: &mut Running) -> Result<(u64, Vec<u8>)> {
    let transcript = running.wait_for("OKAY\r\n")?;
    let line = transcript
        .lines()
        .find_map(|line| line.strip_prefix("initrd "));
    let (size, rest) = line
        .and_then(|line| line.split_once(" bytes at "))
        .context("no initrd")?;
    let start = rest.split(':').next().unwrap_or_default();
    let start = u64::from_str_radix(start, 16)?;
    Ok((start, running.memory(start, size.parse()?)?))
}

/// The loader's own protocol. Kernel and modules are compressed, and the configuration takes
/// several clusters.
///
/// # Errors
/// When it cannot be built.
pub fn bootpath() -> Result<Sample> {
    let kernel = gzip(&fs::read(small_kernel()?.path())?)?;
    let command_line = format!("exit crc {}", "word ".repeat(500).trim_end());
    let modules = [noise(70_000), other_noise(70_000)];
    let mut says = vec![format!("command line: {command_line}\r\n")];
    for (number, bytes) in modules.iter().enumerate() {
        says.push(format!("crc32 module {number}: {:08x}\r\n", crc32(bytes)));
    }
    let [one, two] = [gzip(&modules[0])?, gzip(&modules[1])?];
    // A module with as many clusters as the configuration.
    let three = other_noise(command_line.len());
    let modules: [(&str, &[u8]); 3] = [("one", &one), ("two", &two), ("three", &three)];
    Sample::build(&kernel, &modules, says, |recipe| {
        recipe.command_line = command_line;
    })
}

/// Two entries, of which the second one is the default.
///
/// # Errors
/// When it cannot be built.
pub fn entries() -> Result<Sample> {
    let says = vec![
        " 9 entries  two.conf, one of 2\r\n".into(),
        "command line: exit two\r\n".into(),
    ];
    let kernel = small_kernel()?;
    Sample::build(b"", &[], says, |recipe| {
        recipe.entries = ["one", "two"]
            .map(|name| Entry {
                command_line: format!("exit {name}"),
                ..Entry::new(name, kernel.path())
            })
            .into();
        recipe.default = Some("two".into());
    })
}

/// The boot sector of another disk.
///
/// # Errors
/// When it cannot be built.
pub fn chain() -> Result<Sample> {
    // The registers, and what lies where an MBR would have a partition's entry.
    let says = vec!["0000 7C00 0000 7C00 0000 0000 0000 0081 0202 F000 \r\n".into()];
    let mut target = Entry::new("one", "");
    target.chain = Some(Target {
        drive: Some(0x81),
        partition: 0,
    });
    let mut sample = Sample::build(b"", &[], says, |recipe| recipe.entries = vec![target])?;
    sample.second = Some(Image::raw(test_program("boot-check")?.flat(), &[])?);
    Ok(sample)
}

/// The tests' kernel for the Limine protocol, changed so that it does not require the first of its
/// modules.
fn limine_kernel() -> Result<Vec<u8>> {
    let mut file = fs::read(test_program_file("limine-kernel")?)?;
    let (start, offset) = {
        let elf = ElfFile64::<Endianness>::parse(&*file)?;
        let load = elf.elf_program_headers().first().context("no segment")?;
        (
            load.p_vaddr(Endianness::Little),
            load.p_offset(Endianness::Little),
        )
    };
    // Path, string, flags: the address of the path shows where they are.
    let path = find(&file, b"modules/inner.bin\0")? as u64 - offset + start;
    let module = find(&file, &path.to_le_bytes())?;
    file[module + 16] = 0;
    Ok(file)
}

fn limine_of(file: &[u8]) -> Result<Sample> {
    let module = |name: &str, bytes: &[u8], string: &str| {
        let sum = checksum(bytes);
        let length = bytes.len();
        format!("module {length} bytes, sum {sum:016x}: /boot/modules/{name}: {string}\n")
    };
    let [inner, outer] = [noise(5000), noise(4096)];
    let (length, sum) = (file.len(), checksum(file));
    let says = vec![
        "limine kernel, base revision 3\n".into(),
        module("inner.bin", &inner, "the inner one"),
        module("outer.bin", &outer, "this is outer.bin"),
        format!("file {length} bytes, sum {sum:016x}: /boot/kernel.elf: a command line\n"),
    ];
    let modules: [(&str, &[u8]); 2] = [("inner.bin", &inner), ("outer.bin", &outer)];
    Sample::build(file, &modules, says, |recipe| {
        recipe.command_line = "a command line".into();
    })
}

/// A kernel for the Limine protocol. It gets its whole file, and the loader looks for a module
/// before it needs one.
///
/// # Errors
/// When it cannot be built.
pub fn limine() -> Result<Sample> {
    limine_of(&limine_kernel()?)
}

/// The same with a Multiboot 2 header: Limine's requests take precedence, wherever they are.
///
/// # Errors
/// When it cannot be built.
pub fn limine_with_multiboot2() -> Result<Sample> {
    let mut file = limine_kernel()?;
    put_multiboot2_header(&mut file, 0x10_0000)?;
    limine_of(&file)
}

/// A kernel for Multiboot, with sections.
fn multiboot(version: u32, file: &[u8]) -> Result<Sample> {
    let modules = [noise(5000), other_noise(4900)];
    let mut says = vec![
        format!("10 kernel   Multiboot {version}, ELF64, "),
        "command line: /boot/kernel.elf some words\n".into(),
        "section .symtab ".into(),
        "section .strtab ".into(),
    ];
    for (bytes, name) in modules.iter().zip(["first", "second"]) {
        let (length, sum) = (bytes.len(), checksum(bytes));
        says.push(format!(
            "module {length} bytes, sum {sum:016x}: /boot/modules/{name} this is {name}\n"
        ));
    }
    let modules: [(&str, &[u8]); 2] = [("first", &modules[0]), ("second", &modules[1])];
    Sample::build(file, &modules, says, |recipe| {
        recipe.command_line = "some words".into();
    })
}

/// A kernel for Multiboot 2, with sections.
///
/// # Errors
/// When it cannot be built.
pub fn multiboot2() -> Result<Sample> {
    multiboot(2, &fs::read(test_program_file("multiboot-kernel")?)?)
}

/// The same for Multiboot 1.
///
/// # Errors
/// When it cannot be built.
pub fn multiboot1() -> Result<Sample> {
    let mut file = fs::read(test_program_file("multiboot-kernel")?)?;
    let header = find(&file, &MULTIBOOT2_MAGIC.to_le_bytes())?;
    file[header..header + 4].fill(0);
    multiboot(1, &file)
}

/// The test kernel for Linux's protocol, and two archives of these sizes in bytes.
///
/// # Errors
/// When it cannot be built.
pub fn linux_with(
    changes: &[(usize, &[u8])],
    sizes: [usize; 2],
    change: impl FnOnce(&mut Recipe),
) -> Result<Sample> {
    let archives = [noise(sizes[0]), other_noise(sizes[1])];
    let modules: [(&str, &[u8]); 2] = [("initrd-0", &archives[0]), ("initrd-1", &archives[1])];
    let says = vec!["command line: entry=64\r\n".into()];
    let mut sample = Sample::build(&check_kernel(changes)?, &modules, says, |recipe| {
        recipe.command_line = "entry=64".into();
        recipe.protocol = Protocol::from_name("linux64");
        change(recipe);
    })?;
    for archive in archives {
        sample.ram_disk.extend(archive);
        let padded = sample.ram_disk.len().next_multiple_of(4);
        sample.ram_disk.resize(padded, 0);
    }
    Ok(sample)
}

const ARCHIVES: [usize; 2] = [2500, 2401];

/// The test kernel for Linux's protocol, and two archives with the same number of clusters.
///
/// # Errors
/// When it cannot be built.
pub fn linux() -> Result<Sample> {
    linux_with(&[], ARCHIVES, |_| {})
}

/// The same on a volume with clusters of 512 bytes. The setup header begins in the first cluster
/// and ends in the second one.
///
/// # Errors
/// When it cannot be built.
pub fn linux_in_small_clusters() -> Result<Sample> {
    linux_with(&[], ARCHIVES, |recipe| recipe.size_mib = Some(36))
}

/// Other bytes than those of [`noise`].
fn other_noise(length: usize) -> Vec<u8> {
    noise(length).iter().map(|byte| !byte).collect()
}

/// The first occurrence of these bytes.
fn find(file: &[u8], bytes: &[u8]) -> Result<usize> {
    let found = file.windows(bytes.len()).position(|window| window == bytes);
    found.context("not in the file")
}

//! Another loader starts Bootpath by Multiboot 1 or 2. Compressed kernels and modules are booted
//! from there and from a disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use disk_builder::image::Module;
use disk_builder::run::{EXIT_OKAY, Ending};
use disk_layout::multiboot::LOAD_ADDRESS;
use disk_layout::{SECTOR_SIZE, stage2};
use machine_tests::elf::noise;
use machine_tests::image::{Image, multiboot_program, small_kernel};
use machine_tests::kernels::gzip;
use machine_tests::machine::Machine;
use machine_tests::peers::{Peer, Protocol};
use tempfile::TempDir;

const TIME_LIMIT: Duration = Duration::from_secs(180);
const MODULE: &str = "/boot/modules/module";

/// Boots a demo kernel that says `exit`. Checks that these lines are in the transcript, in this
/// order, and returns it.
fn boots(machine: &Machine, expected: &[&str]) -> Result<String> {
    let mut running = machine.clone().time_limit(TIME_LIMIT).start()?;
    let transcript = running.wait_for("OKAY")?;
    let ending = running.wait()?;
    ensure!(
        ending == Ending::Guest(EXIT_OKAY) && !transcript.contains("FAILED"),
        "{ending:?}\n{transcript}"
    );
    in_order(&transcript, expected)?;
    Ok(transcript)
}

/// Checks that the machine ends in an error, with these lines in the transcript, in this order.
fn fails(machine: &Machine, expected: &[&str]) -> Result<()> {
    let mut running = machine.clone().time_limit(TIME_LIMIT).start()?;
    let transcript = running.wait_for("press a key to reboot")?;
    in_order(&transcript, expected)
}

/// Checks that these lines follow in this order. If one ends in `…`, the rest of that line does not
/// matter.
fn in_order(transcript: &str, expected: &[&str]) -> Result<()> {
    let mut lines = transcript.lines().map(str::trim_end);
    for wanted in expected {
        let found = lines.any(|line| match wanted.strip_suffix('…') {
            Some(start) => line.starts_with(start),
            None => line == *wanted,
        });
        ensure!(found, "no line {wanted:?} in its place in\n{transcript}");
    }
    Ok(())
}

/// Files to start with, without commas in their names.
struct Modules {
    directory: TempDir,
}

impl Modules {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        Ok(Self { directory })
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Result<String> {
        let path = self.directory.path().join(name);
        fs::write(&path, bytes)?;
        Ok(path.display().to_string())
    }
}

/// A machine whose QEMU starts the loader.
fn qemu(program: &Path, modules: &[String]) -> Machine {
    Machine::new(Path::new("")).multiboot(program, &modules.join(","))
}

#[test]
fn qemu_starts_it_with_modules() -> Result<()> {
    let files = Modules::new()?;
    let kernel = fs::read(small_kernel()?.path())?;
    let modules = [
        files.file("kernel", &kernel)? + " exit and more",
        files.file("one", &noise(5000))? + "  with words",
        files.file("empty", b"x")?,
    ];
    let transcript = boots(
        &qemu(&multiboot_program()?, &modules),
        &[
            " 6 memory   255 MiB usable, by E820",
            " 7 disk     none: started by qemu",
            " 8 files    3 in memory",
            " 9 entry    /modules/0, 2 modules",
            "10 kernel   ELF64, 3 segments, …",
            "drive 00h, partition 0 at LBA 0, 0 reads; RSDP …",
            "command line: exit and more",
            "module /modules/1 at …",
            "module /modules/2 at …",
        ],
    )?;
    // The kernel gets the address that it is linked for, although the program was loaded there.
    ensure!(transcript.contains(" KiB at 100000h\r\n"), "{transcript}");
    ensure!(
        transcript.contains(", 5000 bytes: with words\r\n"),
        "{transcript}"
    );
    Ok(())
}

/// EAX is what a loader of neither version leaves.
#[test]
fn another_magic_number_has_a_name() -> Result<()> {
    const CODE: &[u8] = &[0xFA, 0xFC, 0x89, 0xC2]; // cli; cld; mov edx, eax
    const CHANGED: &[u8] = &[0xFA, 0xFC, 0x31, 0xD2]; // xor edx, edx

    let mut program = fs::read(multiboot_program()?)?;
    let (entry, offset) = (word(&program, 24), 0x1000);
    let start = (entry - LOAD_ADDRESS) as usize + offset;
    let code = program
        .get_mut(start..start + CODE.len())
        .context("the entry")?;
    ensure!(code == CODE, "the program begins with {code:02X?}");
    code.copy_from_slice(CHANGED);
    let files = Modules::new()?;
    let program = files.file("program", &program)?;
    fails(
        &qemu(Path::new(&program), &[]),
        &[
            " 6 memory   255 MiB usable, by E820",
            "error 9G: what the other loader has loaded cannot be used: EAX is 00000000h",
        ],
    )
}

/// Here no stage1 has summed up the first part of stage2: stage2 does that itself.
#[test]
fn each_part_of_stage2_is_checked() -> Result<()> {
    let good = fs::read(multiboot_program()?)?;
    let stage2 = good.windows(4).position(|bytes| *bytes == stage2::MAGIC);
    let stage2 = stage2.context("no stage2")?;
    let files = Modules::new()?;
    // Variables, what is in front of the check of the rest and behind it, and the last code.
    let places = [100, stage2::CHECK_START - 1, stage2::CHECK_START, 90_000];
    for place in [&places[..], &[stage2::SUMMED - 1, stage2::SUMMED]].concat() {
        let mut program = good.clone();
        program[stage2 + place] ^= 0x10;
        let program = files.file("program", &program)?;
        fails(
            &qemu(Path::new(&program), &[]),
            &["error 1C: stage2 is damaged (checksum mismatch)"],
        )
        .with_context(|| format!("byte {place}"))?;
    }
    Ok(())
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    let word = bytes
        .get(offset..offset + 4)
        .and_then(|word| word.try_into().ok());
    u32::from_le_bytes(word.unwrap_or_default())
}

#[test]
fn modules_may_be_compressed() -> Result<()> {
    let files = Modules::new()?;
    let kernel = gzip(&fs::read(small_kernel()?.path())?)?;
    let program = multiboot_program()?;
    let modules = [
        files.file("kernel.gz", &kernel)? + " exit",
        files.file("one.gz", &gzip(&[7; 70_000])?)?,
    ];
    let transcript = boots(
        &qemu(&program, &modules),
        &[
            " 9 entry    /modules/0, 1 modules",
            "10 gzip     …",
            "10 kernel   ELF64, 3 segments, …",
            "10 gzip     69 KiB unpacked from 1",
            "module /modules/1 at …",
        ],
    )?;
    ensure!(transcript.contains(", 70000 bytes: \r\n"), "{transcript}");

    let mut damaged = kernel;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let modules = [files.file("damaged.gz", &damaged)?];
    fails(
        &qemu(&program, &modules),
        &["error 8C: a compressed file cannot be unpacked: …"],
    )
}

/// An image with a compressed kernel and a compressed module.
fn compressed_image() -> Result<Image> {
    let files = Modules::new()?;
    let kernel = gzip(&fs::read(small_kernel()?.path())?)?;
    let kernel = PathBuf::from(files.file("kernel.gz", &kernel)?);
    Image::build(&kernel, |recipe, directory| {
        recipe.command_line = "exit".into();
        let file = directory.join("module");
        // If this fails, the builder reports that the file is missing.
        let _ = fs::write(&file, gzip(&[7; 70_000]).unwrap_or_default());
        let string = String::new();
        recipe.modules.push(Module { file, string });
    })
}

#[test]
fn files_of_a_disk_may_be_compressed() -> Result<()> {
    let image = compressed_image()?;
    let machine = Machine::new(&image.path());
    boots(
        &machine,
        &[
            " 9 entry    /boot/kernel.elf, 1 modules",
            "10 gzip     …",
            "10 kernel   ELF64, 3 segments, …",
            "10 gzip     69 KiB unpacked from 1",
            "module /boot/modules/module at …",
        ],
    )?;

    // The kernel gets a module as it is if the entry says so.
    let as_it_is = image.copy()?;
    let text = format!("options exit\npacked-module {MODULE} as it is\n");
    as_it_is.put("/boot/kernel.conf", text.as_bytes())?;
    let transcript = boots(&Machine::new(&as_it_is.path()), &["10 gzip     …"])?;
    let size = image.inspect()?.file(MODULE).context("no file")?.size;
    let line = format!(", {size} bytes: as it is\r\n");
    ensure!(transcript.contains(&line), "{transcript}");
    ensure!(!transcript.contains("69 KiB unpacked"), "{transcript}");

    // A damaged file that `disk-builder` wrote: its checksum shows it before anything is unpacked.
    for (path, code) in [("/boot/kernel.elf", "10Q"), (MODULE, "10R")] {
        let damaged = image.copy()?;
        let start = image.first_sector(path)? * SECTOR_SIZE as u64;
        let byte = image.read(start + 100, 1)?;
        damaged.write(start + 100, &[byte[0] ^ 4])?;
        fails(
            &Machine::new(&damaged.path()),
            &[&format!("error {code}: …")],
        )?;

        // A file that somebody else wrote has only the checksum of gzip.
        let replaced = image.copy()?;
        let size = image.inspect()?.file(path).context("no file")?.size;
        let mut bytes = image.read(start, usize::try_from(size)?)?;
        replaced.put(path, &bytes)?;
        boots(&Machine::new(&replaced.path()), &["10 gzip     …"])?;
        // Padded, and in two members.
        let mut two = bytes.clone();
        two.extend([0; 1000]);
        two.extend(gzip(&[9; 1000])?);
        replaced.put(path, &two)?;
        let transcript = boots(&Machine::new(&replaced.path()), &["10 gzip     …"])?;
        let module = transcript.contains(", 71000 bytes: \r\n");
        ensure!(module == (path == MODULE), "{transcript}");
        let crc = bytes.len() - 8;
        bytes[crc] ^= 1;
        replaced.put(path, &bytes)?;
        fails(
            &Machine::new(&replaced.path()),
            &["error 8C: a compressed file cannot be unpacked: CRC-32 …"],
        )?;
    }
    Ok(())
}

/// Another loader on a disk, which starts the loader with the kernel and a module.
fn by_peer(peer: Peer, protocol: Protocol) -> Result<Option<Image>> {
    let image = Image::build(small_kernel()?.path(), |recipe, directory| {
        recipe.size_mib = Some(8);
        let file = directory.join("module");
        // If this fails, the builder reports that the file is missing.
        let _ = fs::write(&file, noise(5000));
        let string = String::new();
        recipe.modules.push(Module { file, string });
    })?;
    let modules = [
        ("/boot/kernel.elf", "exit and more"),
        (MODULE, "with words"),
    ];
    let is_there = peer.install_bootpath(&image, protocol, &modules)?;
    Ok(is_there.then_some(image))
}

#[test]
fn other_loaders_start_it() -> Result<()> {
    for (peer, protocol, name) in [
        (Peer::Grub, Protocol::Multiboot, "GRUB 2…"),
        (Peer::Grub, Protocol::Multiboot2, "GRUB 2…"),
        (Peer::Syslinux, Protocol::Multiboot, "SYSLINUX 6…"),
    ] {
        let Some(image) = by_peer(peer, protocol)? else {
            continue;
        };
        let transcript = boots(
            &Machine::new(&image.path()),
            &[
                &format!(" 7 disk     none: started by {name}"),
                " 8 files    2 in memory",
                " 9 entry    /modules/0, 1 modules",
                "10 kernel   ELF64, 3 segments, …",
                "command line: exit and more",
                "module /modules/1 at …",
            ],
        )?;
        ensure!(transcript.contains(" KiB at 100000h\r\n"), "{transcript}");
        ensure!(
            transcript.contains(", 5000 bytes: with words\r\n"),
            "{transcript}"
        );
    }
    Ok(())
}

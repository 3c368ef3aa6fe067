//! Bad images and bad machines: each ends in the error that names what is wrong, and a key press
//! starts the machine again. One way to each error is in the table of recipes (`recipes.rs`): here
//! are the others, and what goes on besides.

use std::fs;
use std::mem::offset_of;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use disk_builder::image::Module;
use disk_builder::run::{EXIT_OKAY, Ending};
use disk_layout::{PartitionEntry, SECTOR_SIZE, cd, mbr, stage2};
use machine_tests::elf::{
    ET_DYN, Elf, PT_DYNAMIC, ProgramHeader, R, W, X, noise, note, rela, words,
};
use machine_tests::image::{Defect, Image, bad_bios, demo_kernel, small_kernel};
use machine_tests::machine::{Disk, Machine};

const SECTOR: u64 = SECTOR_SIZE as u64;
const KERNEL: &str = "/boot/kernel.elf";
/// A page of its own behind the code of [`Elf::halting`].
const ELSEWHERE: u64 = 0xFFFF_FFFF_8020_0000;

/// The machine ends in this error, with these facts in its line; a key press reboots it.
fn fails(machine: &Machine, code: &str, facts: &[&str]) -> Result<()> {
    let mut running = machine.start()?;
    let transcript = running.wait_for("press a key to reboot")?;
    let error = format!("error {code}: ");
    let line = transcript.lines().find(|line| line.contains(&error));
    let line = line.with_context(|| format!("no {error:?} in\n{transcript}"))?;
    for fact in facts {
        ensure!(line.contains(fact), "no {fact:?} in {line:?}");
    }
    let screen = running.screen()?.join("\n");
    ensure!(
        screen.contains(&error),
        "no {error:?} on the screen:\n{screen}"
    );
    running.press("spc")?;
    let ending = running.wait().context("a key press does not reboot")?;
    ensure!(ending == Ending::Closed, "{ending:?}");
    Ok(())
}

/// stage1 ends in this error, which it cannot do more about.
fn fails_in_stage1(machine: &Machine, code: &str) -> Result<()> {
    let mut running = machine.start()?;
    let error = format!("error {code}");
    running.wait_for(&error)?;
    let screen = running.screen()?.join("\n");
    ensure!(
        screen.contains(&error),
        "no {error:?} on the screen:\n{screen}"
    );
    Ok(())
}

/// A kernel of these bytes is refused.
fn refused(kernel: &[u8], code: &str, facts: &[&str]) -> Result<()> {
    fails(
        &Machine::new(&Image::with_kernel(kernel)?.path()),
        code,
        facts,
    )
}

/// A kernel that was good before it was changed is refused.
fn refused_if(change: impl FnOnce(&mut Elf), code: &str) -> Result<()> {
    let mut kernel = Elf::halting();
    change(&mut kernel);
    refused(&kernel.build(), code, &[])
}

/// Overwrites what all copies of a FAT32 volume's FAT say about a cluster.
fn link(image: &Image, cluster: u64, next: u64) -> Result<()> {
    const COPIES: u64 = 2;
    const ENTRY: u64 = 4;

    let volume = image.inspect()?.volume.context("no file system")?;
    ensure!(volume.fat_bits == 32, "{volume:?}");
    for copy in 0..COPIES {
        let fat = volume.fats.lba + copy * (volume.fats.sectors / COPIES);
        let entry = u32::try_from(next)?.to_le_bytes();
        image.write(fat * SECTOR + cluster * ENTRY, &entry)?;
    }
    Ok(())
}

/// The first cluster of the kernel, which is at least three clusters long.
fn kernel_cluster(image: &Image) -> Result<u64> {
    const FIRST: u64 = 2;

    let volume = image.inspect()?.volume.context("no file system")?;
    let sectors = image.first_sector(KERNEL)? - volume.data.lba;
    Ok(FIRST + sectors * SECTOR / u64::from(volume.cluster))
}

#[test]
fn stage2_cannot_be_read() -> Result<()> {
    let image = Image::demo()?;
    for disk in [Disk::Ahci, Disk::Ide] {
        fails_in_stage1(
            &Machine::new(&image.path()).disk(disk).dead_sector(3),
            "1A 0C",
        )?;
    }
    Ok(())
}

#[test]
fn stage2_is_not_there() -> Result<()> {
    let image = Image::demo()?;
    image.write(SECTOR, &[0; SECTOR_SIZE])?;
    fails_in_stage1(&Machine::new(&image.path()), "1B")
}

/// Sectors of stage2 changed places, or one is there twice, or missing, in the part that stage1 sums up:
/// whatever runs first may be somewhere else. On a disk and on a CD.
#[test]
fn sectors_of_stage2_are_not_where_they_belong() -> Result<()> {
    let image = Image::demo_cd()?;
    let place = image.inspect()?.stage2.context("no stage2")?.place;
    let start = place.lba * SECTOR;
    let good = image.read(start, stage2::SUMMED + SECTOR_SIZE)?;
    let sectors: Vec<&[u8]> = good.chunks(SECTOR_SIZE).collect();
    let last = stage2::SUMMED / SECTOR_SIZE;
    let exchanged = |(one, other)| {
        let mut sectors = sectors.clone();
        sectors.swap(one, other);
        (format!("{one} and {other} exchanged"), sectors)
    };
    // Counted from 0, as `dd` with `seek=1` does not: the first ones have what runs before the check.
    let mut cases: Vec<(String, Vec<&[u8]>)> = [
        (7, 8),
        (3, 4),
        (11, 12),
        (39, 40),
        (0, 1),
        (4, 8),
        (5, 37),
        (126, 127),
    ]
    .map(exchanged)
    .into();
    for number in [1, 8, 70] {
        let mut missing = sectors.clone();
        missing.remove(number);
        cases.push((format!("{number} missing"), missing));
        let mut twice = sectors.clone();
        twice.insert(number, sectors[number]);
        cases.push((format!("{number} twice"), twice));
        let mut over_the_next = sectors.clone();
        over_the_next[number + 1] = sectors[number];
        cases.push((format!("{number} instead of the one behind"), over_the_next));
    }
    for (name, sectors) in cases {
        image.write(start, &sectors[..last].concat())?;
        for disk in [Disk::Ahci, Disk::CdAhci] {
            fails_in_stage1(&Machine::new(&image.path()).disk(disk), "1B 00")
                .with_context(|| format!("{name}, {disk:?}"))?;
        }
    }
    Ok(())
}

/// stage1 says what is wrong, and so does a 16-bit step of stage2, whatever state the BIOS's calls
/// return in.
#[test]
fn errors_on_a_bios_that_returns_in_another_state() -> Result<()> {
    use Defect::{ChangesDs, ClearsInterruptFlag, SetsDirectionFlag, WatchesFlags};

    let image = Image::demo_cd()?;
    let stage2 = image.inspect()?.stage2.context("no stage2")?.place;
    let all = [
        ChangesDs,
        SetsDirectionFlag,
        ClearsInterruptFlag,
        WatchesFlags,
    ];
    for (defects, disk) in [
        (&[ChangesDs][..], Disk::Ide),
        (&[SetsDirectionFlag], Disk::CdIde),
        (&all, Disk::Ide),
        (&all, Disk::CdIde),
    ] {
        let rom = bad_bios(defects)?;
        let machine = Machine::new(&image.path()).disk(disk);
        let machine = machine.arguments(["-option-rom".as_ref(), rom.path()]);
        fails_in_stage1(&machine.clone().dead_sector(stage2.lba + 3), "1A 0C")
            .with_context(|| format!("{defects:?}, {disk:?}"))?;
        fails(&machine.arguments(["-cpu", "qemu64,-lm"]), "3B", &[])
            .with_context(|| format!("{defects:?}, {disk:?}"))?;
    }
    Ok(())
}

/// Code and parameter block.
#[test]
fn stage1_is_damaged() -> Result<()> {
    let image = Image::demo()?;
    let last = mbr::CHECKED.end - 1;
    for (offset, bit) in [
        (mbr::CHECKED.start, 0),
        (0x100, 7),
        (0x17F, 3),
        (last - 3, 1),
        (last, 7),
    ] {
        let offset = offset as u64;
        let byte = image.read(offset, 1)?;
        image.write(offset, &[byte[0] ^ 1 << bit])?;
        fails_in_stage1(&Machine::new(&image.path()), "1D 00")
            .with_context(|| format!("bit {bit} of byte {offset:#x}"))?;
        image.write(offset, &byte)?;
    }
    Ok(())
}

#[test]
fn stage2_is_damaged_in_its_last_byte() -> Result<()> {
    let image = Image::demo()?;
    let place = image.inspect()?.stage2.context("no stage2")?.place;
    let offset = (place.lba + place.sectors) * SECTOR - 1;
    let byte = image.read(offset, 1)?;
    image.write(offset, &[byte[0] ^ 1])?;
    image.mend_stage2_sum()?;
    fails(&Machine::new(&image.path()), "1C", &[])
}

#[test]
fn stage2_says_that_it_is_longer_than_it_is() -> Result<()> {
    let image = Image::demo()?;
    let length = offset_of!(disk_layout::Stage2Header, length) as u64;
    for bytes in [u32::MAX, 0, stage2::MAX_LENGTH as u32] {
        image.write(SECTOR + length, &bytes.to_le_bytes())?;
        image.mend_stage2_sum()?;
        fails(&Machine::new(&image.path()), "1C", &[])?;
    }
    Ok(())
}

#[test]
fn a_cd_cannot_be_read() -> Result<()> {
    let image = Image::demo_cd()?;
    let stage2 = image.inspect()?.stage2.context("no stage2")?.place;
    let kernel = image.first_sector(KERNEL)?;
    for disk in [Disk::CdIde, Disk::CdAhci] {
        let machine = Machine::new(&image.path()).disk(disk);
        for lba in [stage2.lba, stage2.lba + 50, stage2.lba + stage2.sectors - 1] {
            fails_in_stage1(&machine.clone().dead_sector(lba), "1A 0C")?;
        }
        // LBAs are in the CD's blocks.
        let block = format!("LBA {},", kernel / 4);
        fails(
            &machine.dead_sector(kernel),
            "7A",
            &[&block, "drive E0h, status 0Ch"],
        )?;
    }
    Ok(())
}

/// Code, what is empty behind it, and parameters.
#[test]
fn the_boot_program_of_a_cd_is_damaged() -> Result<()> {
    let image = Image::demo_cd()?;
    let program = image.inspect()?.cd.context("no CD")?.program.lba * SECTOR;
    let last = cd::CHECKED.end - 1;
    for (offset, bit) in [
        (cd::CHECKED.start, 0),
        (0xC0, 7),
        (0x120, 3),
        (0x300, 4),
        (last - 7, 1),
        (last, 7),
    ] {
        let offset = program + offset as u64;
        let byte = image.read(offset, 1)?;
        image.write(offset, &[byte[0] ^ 1 << bit])?;
        fails_in_stage1(&Machine::new(&image.path()).disk(Disk::CdIde), "1D 00")
            .with_context(|| format!("bit {bit} of byte {offset:#x}"))?;
        image.write(offset, &byte)?;
    }
    Ok(())
}

#[test]
fn stage2_on_a_cd_is_damaged() -> Result<()> {
    let image = Image::demo_cd()?;
    let place = image.inspect()?.stage2.context("no stage2")?.place;
    let machine = Machine::new(&image.path()).disk(Disk::CdAhci);
    // At 10000h, which stage1 sums up and where no 16-bit code lies. The check is such code: with a wrong
    // bit in itself, nobody knows what it says.
    let offset = place.lba * SECTOR + 64 * SECTOR + 77;
    let byte = image.read(offset, 1)?;
    image.write(offset, &[byte[0] ^ 0x10])?;
    fails_in_stage1(&machine, "1B")?;
    image.mend_stage2_sum()?;
    fails(&machine, "1C", &[])?;
    // As a disk it is the same.
    fails(&Machine::new(&image.path()), "1C", &[])
}

#[test]
fn cpus_that_are_not_64_bit() -> Result<()> {
    let image = Image::demo()?;
    for (cpu, code) in [
        ("486", "3B"),
        ("pentium", "3B"),
        ("pentium3", "3B"),
        ("qemu32", "3B"),
        ("n270", "3B"),
    ] {
        fails(
            &Machine::new(&image.path())
                .disk(Disk::Ide)
                .arguments(["-cpu", cpu]),
            code,
            &[],
        )
        .context(cpu)?;
    }
    Ok(())
}

/// A BIOS call ends in an exception: which one, and in the BIOS's own code.
#[test]
fn exceptions_in_a_bios_call() -> Result<()> {
    for (defect, fact) in [
        (Defect::DivideError, ": vector 00h at C"),
        (Defect::InvalidOpcode, ": vector 06h at C"),
        (Defect::GeneralProtection, ": vector 0Dh at C"),
    ] {
        let rom = bad_bios(&[defect])?;
        let image = Image::demo()?;
        let machine = Machine::new(&image.path()).disk(Disk::Ide);
        let machine = machine.arguments(["-option-rom".as_ref(), rom.path()]);
        fails(&machine, "4A", &[fact]).with_context(|| format!("{defect:?}"))?;
    }
    Ok(())
}

/// The gate's code raises an exception on the way to the BIOS, in protected mode, or on the way back, in
/// real mode: the control registers are those of long mode by half, and the BIOS, which has to print the
/// report, wants its own.
#[test]
fn exceptions_between_two_modes() -> Result<()> {
    const WRMSR: [u8; 2] = [0x0F, 0x30];
    const UD2: [u8; 2] = [0x0F, 0x0B];
    const PAGE: usize = 4096;

    let rom = bad_bios(&[Defect::WatchesControl])?;
    let image = Image::demo()?;
    // The gate is what comes first of all that changes EFER: once on each way.
    let page = image.read(SECTOR, PAGE)?;
    let places: Vec<u64> = (0..PAGE)
        .filter(|&place| page[place..].starts_with(&WRMSR))
        .map(|place| SECTOR + place as u64)
        .take(2)
        .collect();
    for place in places {
        image.write(place, &UD2)?;
        image.mend_stage2_checksums()?;
        let machine = Machine::new(&image.path()).disk(Disk::Ide);
        let machine = machine.arguments(["-option-rom".as_ref(), rom.path()]);
        fails(&machine, "4A", &[": vector 06h at "]).with_context(|| format!("{place:#x}"))?;
        image.write(place, &WRMSR)?;
    }
    Ok(())
}

#[test]
fn too_little_memory() -> Result<()> {
    let bss = ProgramHeader::load(R | W, ELSEWHERE, Vec::new(), 64 << 20);
    let kernel = Elf::halting().with(bss);
    let image = Image::with_kernel(&kernel.build())?;
    fails(
        &Machine::new(&image.path()).arguments(["-m", "32M"]),
        "6B",
        &["66 MiB needed", "31 MiB of RAM"],
    )
}

#[test]
fn the_kernel_cannot_be_read() -> Result<()> {
    let image = Image::demo()?;
    let lba = image.first_sector(KERNEL)?;
    for (disk, lba) in [(Disk::Ahci, lba), (Disk::Ide, lba + 100)] {
        // One read may begin before the dead sector: what is named is where the call began, or the
        // sector itself.
        fails(
            &Machine::new(&image.path()).disk(disk).dead_sector(lba),
            "7A",
            &["LBA ", "drive 80h", "status 0Ch"],
        )?;
    }
    Ok(())
}

/// What is said of a disk that fails for two seconds.
const WAITING: &str = " 7 disk     waiting for drive 80h: LBA ";

/// SeaBIOS gives up each transfer of it after five seconds. The loader says what it waits for before the
/// second one, begins none 20 s after the first failure, and does not ask for another FAT then.
#[test]
fn a_usb_stick_is_pulled() -> Result<()> {
    let image = Image::build(small_kernel()?.path(), |recipe, directory| {
        let file = directory.join("large.bin");
        // The builder finds out when it is not there.
        let _ = fs::write(&file, noise(8 << 20));
        recipe.modules.push(Module {
            file,
            string: String::new(),
        });
    })?;
    for disk in [Disk::Usb, Disk::UsbUhci] {
        let mut running = Machine::new(&image.path())
            .disk(disk)
            .drive_option("throttling.bps-read=1000000")
            .time_limit(Duration::from_secs(120))
            .start()?;
        // On a busy host a stick may have made the loader wait before, and have come back.
        let before = running.wait_for(" 9 entry ")?.matches(WAITING).count();
        running.pull_drive()?;
        let pulled = Instant::now();
        let waits = |serial: &str| serial.matches(WAITING).count() > before;
        let so_far = running.wait_until("line about waiting", waits)?;
        ensure!(!so_far.contains("error"), "{so_far}");
        let transcript = running.wait_for("press a key to reboot")?;
        let seconds = pulled.elapsed().as_secs();
        // 5 s + 20 s + 5 s, and a busy host.
        ensure!((15..40).contains(&seconds), "{seconds} s\n{transcript}");
        let lines = transcript.matches(WAITING).count();
        ensure!(lines == before + 1, "{transcript}");
        ensure!(!transcript.contains(" 8 files    by "), "{transcript}");
        let error = transcript.lines().find(|line| line.contains("error 7A: "));
        let error = error.with_context(|| transcript.clone())?;
        let facts = "drive 80h, status 0Ch, and the disk does not answer";
        ensure!(error.contains(facts), "{error}");
    }
    Ok(())
}

/// Every call takes longer than two seconds, and all of them succeed.
#[test]
fn a_slow_disk_is_not_waited_for() -> Result<()> {
    let image = Image::build(small_kernel()?.path(), |recipe, _| {
        recipe.command_line = "exit".into();
    })?;
    let mut running = Machine::new(&image.path())
        .drive_option("throttling.bps-read=25000")
        .time_limit(Duration::from_secs(180))
        .start()?;
    let transcript = running.wait_for("OKAY")?;
    ensure!(!transcript.contains(WAITING), "{transcript}");
    ensure!(running.wait()? == Ending::Guest(EXIT_OKAY));
    Ok(())
}

#[test]
fn the_partition_begins_behind_the_end_of_the_disk() -> Result<()> {
    let image = Image::demo()?;
    let sectors = image.inspect()?.bytes / SECTOR;
    let first_lba = mbr::PARTITION_TABLE_OFFSET + offset_of!(PartitionEntry, first_lba);
    image.write(first_lba as u64, &u32::try_from(sectors)?.to_le_bytes())?;
    fails(
        &Machine::new(&image.path()),
        "7B",
        &[&format!(
            "partition 1 starts at LBA {sectors}, the disk has {sectors} sectors"
        )],
    )
}

#[test]
fn the_image_is_cut_short() -> Result<()> {
    for missing_from in [0, 100] {
        let image = Image::demo()?;
        let lba = image.first_sector(KERNEL)? + missing_from;
        image.resize(lba * SECTOR)?;
        for disk in [Disk::Ahci, Disk::Ide] {
            fails(
                &Machine::new(&image.path()).disk(disk),
                "7B",
                &[&format!("LBA {lba}, drive 80h")],
            )?;
        }
    }
    Ok(())
}

#[test]
fn the_kernels_chain_is_damaged() -> Result<()> {
    const FREE: u64 = 0;
    const BAD: u64 = 0xFFF_FFF7;
    const LAST: u64 = 0xFFF_FFFF;

    let kernel = small_kernel()?;
    let build = || Image::build(kernel.path(), |_, _| {});
    let first = kernel_cluster(&build()?)?;
    let broken = format!("cluster {} leads to ", first + 1);
    for (next, code, fact) in [
        (FREE, "8B", &broken[..]),
        (BAD, "8B", &broken),
        (1 << 27, "8B", &broken), // behind the last cluster
        (LAST, "8B", "is too short"),
        (first, "10Q", "CRC-32C"), // a ring, in which the note is not where it was
    ] {
        let image = build()?;
        link(&image, first + 1, next)?;
        fails(&Machine::new(&image.path()), code, &[fact]).with_context(|| format!("{next:#x}"))?;
    }
    // Without checksums a ring is only found at its end.
    let image = Image::build(kernel.path(), |recipe, _| recipe.checksums = false)?;
    link(&image, first + 1, first)?;
    fails(&Machine::new(&image.path()), "8B", &["is too long"])
}

/// Each file that the builder wrote, and the error when a bit of it is wrong. When another file is
/// copied over it, that boots.
#[test]
fn a_file_is_damaged_or_replaced() -> Result<()> {
    const MODULE: &str = "/boot/modules/first.bin";
    const CONFIGURATION: &str = "/boot/kernel.conf";

    let build = || {
        Image::build(small_kernel()?.path(), |recipe, directory| {
            recipe.command_line = "exit crc".into();
            let file = directory.join("first.bin");
            // The builder finds out when it is not there.
            let _ = fs::write(&file, noise(70_000));
            recipe.modules.push(Module {
                file,
                string: String::new(),
            });
        })
    };
    let image = build()?;
    for (path, offset, code) in [
        (CONFIGURATION, 10, "9E"),
        // e_shoff; a byte that is loaded.
        (KERNEL, 40, "10Q"),
        (KERNEL, 0x2345, "10Q"),
        (MODULE, 69_999, "10R"),
    ] {
        let place = image.first_sector(path)? * SECTOR + offset;
        let byte = image.read(place, 1)?;
        image.write(place, &[byte[0] ^ 1])?;
        for cpu in ["qemu64", "qemu64,+sse4.2"] {
            let machine = Machine::new(&image.path()).arguments(["-cpu", cpu]);
            fails(&machine, code, &["CRC-32C "]).with_context(|| path.to_owned())?;
        }
        image.write(place, &byte)?;
    }
    let okay = |image: &Image| {
        let mut running = Machine::new(&image.path()).start()?;
        let transcript = running.wait_for("OKAY")?;
        ensure!(!transcript.contains(" 8 files    by "), "{transcript}");
        running.wait()
    };
    ensure!(okay(&image)? == Ending::Guest(EXIT_OKAY));
    image.put(MODULE, &noise(70_000)[1..])?;
    image.put(
        CONFIGURATION,
        format!("options exit\nmodule {MODULE}\n").as_bytes(),
    )?;
    let mut kernel = fs::read(small_kernel()?.path())?;
    kernel.extend(b"another one");
    image.put(KERNEL, &kernel)?;
    ensure!(okay(&image)? == Ending::Guest(EXIT_OKAY));

    let image = build()?;
    image.mtools("mdel", [format!("::{CONFIGURATION}")])?;
    fails(&Machine::new(&image.path()), "9D", &[])?;
    image.put(CONFIGURATION, b"")?;
    let mut running = Machine::new(&image.path()).start()?;
    running.wait_for("command line: \r\n")?;
    Ok(())
}

/// The first FAT or the first boot sector is gone: the others do.
#[test]
fn the_second_copies_do() -> Result<()> {
    let image = Image::demo()?;
    let volume = image.inspect()?.volume.context("no file system")?;
    let boot_sector = image.read(volume.reserved.lba * SECTOR, SECTOR_SIZE)?;
    let boots = |lines: &[&str]| -> Result<()> {
        let mut running = Machine::new(&image.path()).start()?;
        let transcript = running.wait_for("OKAY")?;
        for line in lines {
            let line = format!(" 8 files    by {line}");
            ensure!(transcript.contains(&line), "no {line:?} in\n{transcript}");
        }
        ensure!(
            transcript.matches(" 8 files    by ").count() == lines.len(),
            "{transcript}"
        );
        Ok(())
    };
    boots(&[])?;
    image.write(volume.reserved.lba * SECTOR, &[0; SECTOR_SIZE])?;
    let backup = "the backup boot sector, because of 8A: byte 0x100000 of the disk, signature: 0";
    boots(&[backup])?;
    let fat = vec![0; volume.fats.sectors as usize / 2 * SECTOR_SIZE];
    image.write(volume.fats.lba * SECTOR, &fat)?;
    boots(&[
        backup,
        "the backup boot sector and the second FAT, because of 8B: cluster 2 leads to 0x0",
    ])?;
    image.write(volume.reserved.lba * SECTOR, &boot_sector)?;
    boots(&["the second FAT, because of 8B: cluster 2 leads to 0x0"])?;
    // One sector more in front of the FATs: it makes sense, and it is wrong.
    image.write(volume.reserved.lba * SECTOR + 14, &[boot_sector[14] + 1])?;
    image.write(
        volume.fats.lba * SECTOR,
        &image.read(
            (volume.fats.lba + volume.fats.sectors / 2) * SECTOR,
            fat.len(),
        )?,
    )?;
    boots(&["the backup boot sector, because of "])
}

/// A wrong bit in the first FAT, where the chain is followed to find out the kernel's protocol: it has no
/// note, and its first 32 KiB are looked at.
#[test]
fn the_second_fat_does_for_a_kernel_without_a_note() -> Result<()> {
    let kernel = code(&[0xFA, 0xF4]).with(ProgramHeader::filled(R, ELSEWHERE, noise(60_000)));
    let image = Image::with_kernel(&kernel.build())?;
    let volume = image.inspect()?.volume.context("no file system")?;
    let kernel = image.first_sector("/boot/kernel.elf")? - volume.data.lba;
    let cluster = 2 + 10 + kernel * SECTOR / u64::from(volume.cluster);
    let link = volume.fats.lba * SECTOR + 4 * cluster; // FAT32
    let byte = image.read(link + 2, 1)?[0];
    image.write(link + 2, &[byte ^ 0x10])?;
    let mut running = Machine::new(&image.path()).start()?;
    let transcript = running.wait_for("12 handoff ")?;
    let line = format!("by the second FAT, because of 8B: cluster {cluster} leads to ");
    ensure!(transcript.contains(&line), "no {line:?} in\n{transcript}");
    Ok(())
}

#[test]
fn the_root_directory_is_a_ring() -> Result<()> {
    const DELETED: u8 = 0xE5;
    const ROOT_CLUSTER: u64 = 2;

    let image = Image::demo()?;
    let volume = image.inspect()?.volume.context("no file system")?;
    // A directory ends with its first entry that was never used.
    let entries = vec![DELETED; usize::try_from(volume.cluster)?];
    link(&image, ROOT_CLUSTER, ROOT_CLUSTER)?;
    image.write(volume.data.lba * SECTOR, &entries)?;
    fails(
        &Machine::new(&image.path()),
        "8B",
        &["the chain from cluster 2 on is too long"],
    )
}

#[test]
fn the_kernel_is_empty() -> Result<()> {
    refused(b"", "10A", &[])
}

#[test]
fn the_kernel_is_truncated() -> Result<()> {
    let kernel = Elf::halting().with(ProgramHeader::filled(R, ELSEWHERE, noise(10_000)));
    let mut bytes = kernel.build();
    bytes.truncate(bytes.len() - 1);
    refused(&bytes, "10E", &[])
}

#[test]
fn a_segment_is_not_canonical() -> Result<()> {
    refused_if(
        |kernel| {
            let load = ProgramHeader::filled(R, 0x1234_0000_0000_0000, vec![1]);
            kernel.program_headers.push(load);
        },
        "10I",
    )
}

#[test]
fn the_entry_point_is_not_executable() -> Result<()> {
    refused_if(|kernel| kernel.program_headers[0].flags = R, "10J")
}

#[test]
fn the_kernel_has_too_many_headers() -> Result<()> {
    let many = |kernel: &mut Elf| {
        for index in 1..200 {
            let address = kernel.entry + index * 4096;
            let load = ProgramHeader::filled(R, address, vec![1]);
            kernel.program_headers.push(load);
        }
    };
    refused_if(many, "10F")
}

/// A kernel that runs anywhere, with one relocation.
fn relocated_kernel(kind: u32) -> Elf {
    const DYNAMIC: u64 = 0x1000;
    const TABLE: u64 = 0x1100;
    const DATA: u64 = 0x2000;
    // Tags of the dynamic section.
    const RELA: u64 = 7;
    const RELA_SIZE: u64 = 8;
    const RELA_ENTRY: u64 = 9;

    let table = rela(kind, DATA, 0);
    let size = table.len() as u64;
    let mut tables = words([RELA, TABLE, RELA_SIZE, size, RELA_ENTRY, size, 0, 0]);
    let dynamic = ProgramHeader::within_load(PT_DYNAMIC, DYNAMIC, tables.len() as u64);
    tables.resize((TABLE - DYNAMIC) as usize, 0);
    tables.extend(table);
    let code = Elf::halting().flat().to_vec();
    Elf::new(ET_DYN, 0)
        .with(ProgramHeader::filled(R | X, 0, code))
        .with(ProgramHeader::filled(R, DYNAMIC, tables))
        .with(ProgramHeader::filled(R | W, DATA, vec![0; 8]))
        .with(dynamic)
}

#[test]
fn the_kernel_needs_another_relocation() -> Result<()> {
    const RELATIVE: u32 = 8;
    const GLOB_DAT: u32 = 6;
    const IRELATIVE: u32 = 37;

    for kind in [GLOB_DAT, IRELATIVE] {
        let fact = format!("type {kind} ");
        refused(&relocated_kernel(kind).build(), "10M", &[&fact])?;
    }
    // It is only that.
    let image = Image::with_kernel(&relocated_kernel(RELATIVE).build())?;
    let mut machine = Machine::new(&image.path()).start()?;
    machine.wait_for("12 handoff").map(drop)
}

#[test]
fn the_kernel_faults() -> Result<()> {
    for (name, exception) in [
        ("null", "#PF"),
        ("ud", "#UD"),
        ("divide", "#DE"),
        ("gp", "#GP"),
        ("text", "#PF"),
        ("breakpoint", "#BP"),
        ("stack", "#PF"),
        ("sse", "#UD"),
        ("ts", "#UD"),
    ] {
        let image = Image::build(&demo_kernel()?, |recipe, _| {
            recipe.command_line = format!("fault={name}");
        })?;
        fails(&Machine::new(&image.path()), "12A", &[exception]).context(name)?;
    }
    Ok(())
}

/// One segment of code at the usual place that begins with these bytes.
fn code(bytes: &[u8]) -> Elf {
    let mut kernel = Elf::halting();
    let code = &mut kernel.program_headers[0];
    code.data = bytes.to_vec();
    code.memory_size = bytes.len() as u64;
    kernel
}

/// What a kernel without handlers of its own leaves behind: all of these lines.
#[test]
fn the_report_of_a_kernels_fault() -> Result<()> {
    let cases: [(&[u8], &[&str]); 5] = [
        (
            // mov rax, [0x1234]
            &[0x48, 0x8B, 0x04, 0x25, 0x34, 0x12, 0x00, 0x00],
            &[
                "#PF page fault (vector 14), error code 0h (read of an unmapped page)\r\n",
                "RIP FFFFFFFF80000000  CS  0008  SS 0018",
                "CR2 0000000000001234",
                "RIP is in segment 0 of the kernel (r-x), 0x0 behind its start\r\n",
                "CR2 is not mapped (the entry of level ",
                "stack 0000000000000000",
            ],
        ),
        (
            // mov [rip], eax; a page that is not writable
            &[0x90, 0x89, 0x05, 0x00, 0x00, 0x00, 0x00],
            &[
                "error code 3h (write to a protected page)\r\n",
                "RIP is in segment 0 of the kernel (r-x), 0x1 behind its start\r\n",
                "CR2 is 4 KiB page, r-x, supervisor, at physical ",
            ],
        ),
        (
            // jmp rdi: the boot information is no code
            &[0xFF, 0xE7],
            &[
                "error code 11h (execution of a protected page)\r\n",
                "RIP is in no segment of the kernel\r\n",
                "KiB page, rw-, supervisor, at physical ",
            ],
        ),
        (
            // mov eax, 0x48; mov ss, eax
            &[0xB8, 0x48, 0x00, 0x00, 0x00, 0x8E, 0xD0],
            &["#GP general protection (vector 13), error code 48h (GDT entry 9)\r\n"],
        ),
        (
            // mov rsp, 0x123456789AB0; push rax
            &[
                0x48, 0xBC, 0xB0, 0x9A, 0x78, 0x56, 0x34, 0x12, 0x00, 0x00, 0x50,
            ],
            &[
                "error code 2h (write to an unmapped page)\r\n",
                "CR2 0000123456789AA8",
                "RSP is not mapped (the entry of level 4 is 0h)\r\n",
            ],
        ),
    ];
    for (bytes, lines) in cases {
        let image = Image::with_kernel(&code(bytes).build())?;
        let mut machine = Machine::new(&image.path())
            .arguments(["-cpu", "max"])
            .start()?;
        let transcript = machine.wait_for("press a key to reboot")?;
        for line in lines {
            ensure!(transcript.contains(line), "no {line:?} in\n{transcript}");
        }
        // Nothing has left the screen.
        let screen = machine.screen()?.join("\n");
        ensure!(screen.contains("error 12A: "), "{screen}");
    }
    Ok(())
}

/// A kernel spoils the stack of all exceptions but one: the double fault has its own.
#[test]
fn the_report_of_a_double_fault() -> Result<()> {
    let kernel = code(&[
        0x48, 0x83, 0xEC, 0x10, // sub rsp, 16
        0x0F, 0x01, 0x04, 0x24, // sgdt [rsp]
        0x48, 0x8B, 0x44, 0x24, 0x02, // mov rax, [rsp + 2]
        0x48, 0x8B, 0x48, 0x30, // mov rcx, [rax + 0x30]: the descriptor of the TSS
        0x48, 0xC1, 0xE9, 0x10, // shr rcx, 16
        0x81, 0xE1, 0xFF, 0xFF, 0xFF, 0x00, // and ecx, 0xFFFFFF: its base
        0x48, 0xBA, 0, 0, 0, 0, 0, 0x80, 0xFF, 0xFF, // mov rdx, 0xFFFF800000000000
        0x48, 0x01, 0xCA, // add rdx, rcx
        0x48, 0xC7, 0x42, 0x24, 0x00, 0x10, 0, 0, // mov qword [rdx + 0x24], 0x1000: IST 1
        0x0F, 0x0B, // ud2
    ]);
    fails(
        &Machine::new(&Image::with_kernel(&kernel.build())?.path()),
        "12A",
        &["#DF double fault (vector 8), error code 0h"],
    )
}

#[test]
fn a_kernel_that_wants_no_fault_reports() -> Result<()> {
    let wish = note(
        "Bootpath",
        handoff::NOTE_FLAGS,
        &handoff::FLAG_NO_FAULT_REPORTS.to_le_bytes(),
        4,
    );
    let kernel = code(&[0x0F, 0x0B]).with(ProgramHeader::note(wish)); // ud2
    let image = Image::with_kernel(&kernel.build())?;
    let mut machine = Machine::new(&image.path()).start()?;
    // A triple fault resets, which ends QEMU.
    let ending = machine.wait()?;
    let transcript = machine.serial();
    ensure!(ending == Ending::Closed, "{ending:?}\n{transcript}");
    ensure!(transcript.contains("12 handoff"), "{transcript}");
    ensure!(!transcript.contains("error"), "{transcript}");
    Ok(())
}

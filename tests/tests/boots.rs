//! Good images of all kinds boot, and so do machines that are a little worse than good. The same
//! image on many kinds of machines is `machines.rs`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use disk_builder::image::{Module, Recipe};
use disk_builder::run::{EXIT_OKAY, Ending};
use disk_layout::{CD_BLOCK, SECTOR_SIZE, cd, mbr};
use machine_tests::elf::{Elf, ProgramHeader, R, noise};
use machine_tests::image::{
    Defect, Image, bad_bios, c_kernel, demo_kernel, position_independent_kernel,
    reserved_low_memory, short_reads, small_kernel, stage1_cd, test_program,
};
use machine_tests::machine::{Disk, Machine};

/// All of these are in the transcript.
fn contains(transcript: &str, expected: &[&str]) -> Result<()> {
    for text in expected {
        ensure!(transcript.contains(text), "no {text:?} in\n{transcript}");
    }
    Ok(())
}

/// Boots a demo kernel that says `exit`, and returns its transcript.
fn okay(machine: &Machine) -> Result<String> {
    let mut running = machine.start()?;
    let transcript = running.wait_for("OKAY")?;
    let ending = running.wait()?;
    ensure!(
        ending == Ending::Guest(EXIT_OKAY),
        "{ending:?}\n{transcript}"
    );
    ensure!(!transcript.contains("FAILED"), "{transcript}");
    Ok(transcript)
}

#[test]
fn kinds_of_fat() -> Result<()> {
    for (size_mib, fat_bits) in [(3, 12), (16, 16), (64, 32)] {
        let image = Image::build(small_kernel()?.path(), |recipe, _| {
            recipe.command_line = "exit".into();
            recipe.size_mib = Some(size_mib);
        })?;
        let volume = image.inspect()?.volume.context("no file system")?;
        ensure!(volume.fat_bits == fat_bits, "{volume:?}");
        let transcript = okay(&Machine::new(&image.path()))?;
        contains(&transcript, &[&format!("FAT{fat_bits}")])?;
    }
    Ok(())
}

/// The files lie in every other cluster of a volume that other programs made.
#[test]
fn fragmented_files() -> Result<()> {
    const CLUSTER: usize = 2048;
    const FRAGMENTS: usize = 400;
    const MODULE: &str = "/boot/modules/fragmented.bin";

    let kernel = small_kernel()?;
    let image = Image::build(kernel.path(), |recipe, _| recipe.size_mib = Some(16))?;
    image.format(&["-F", "16", "-s", "4"])?;
    image.mtools("mmd", ["::/boot", "::/boot/modules", "::/filler"])?;
    image.put(
        "/boot/kernel.conf",
        format!("options exit crc\nmodule {MODULE}\n").as_bytes(),
    )?;
    let directory = tempfile::tempdir()?;
    let fillers: Vec<_> = (0..2 * FRAGMENTS)
        .map(|number| format!("{number:04}"))
        .collect();
    for filler in &fillers {
        fs::write(directory.path().join(filler), [0xA5; CLUSTER])?;
    }
    let paths = fillers.iter().map(|filler| directory.path().join(filler));
    image.mtools("mcopy", paths.chain(["::/filler".into()]))?;
    let every_other = fillers.iter().step_by(2);
    image.mtools(
        "mdel",
        every_other.map(|filler| format!("::/filler/{filler}")),
    )?;
    let module = noise(100_001);
    image.put("/boot/kernel.elf", &fs::read(kernel.path())?)?;
    image.put(MODULE, &module)?;

    for file in &image.inspect()?.files {
        let clusters = file.size.div_ceil(CLUSTER as u64);
        ensure!(file.pieces == clusters, "{file:?}");
    }
    let transcript = okay(&Machine::new(&image.path()))?;
    contains(&transcript, &["FAT16", &format!("{:08x}", crc32(&module))])
}

#[test]
fn read_errors_that_do_not_come_again() -> Result<()> {
    let image = Image::demo()?;
    let kernel = image.first_sector("/boot/kernel.elf")?;
    for disk in [Disk::Ide, Disk::Ahci] {
        let machine = Machine::new(&image.path()).disk(disk);
        okay(
            &machine
                .weak_sector(5)
                .weak_sector(kernel)
                .weak_sector(kernel + 40),
        )?;
    }
    let image = Image::demo_cd()?;
    let stage2 = image.inspect()?.stage2.context("no stage2")?.place.lba;
    for disk in [Disk::CdIde, Disk::CdAhci] {
        let machine = Machine::new(&image.path()).disk(disk);
        okay(
            &machine
                .weak_sector(stage2 + 5)
                .weak_sector(kernel)
                .weak_sector(kernel + 40),
        )?;
        // Three times: what is left is a block a call.
        let machine = Machine::new(&image.path()).disk(disk);
        let machine = (0..3).fold(machine, |machine, _| machine.weak_sector(stage2 + 90));
        okay(&machine)?;
    }
    Ok(())
}

/// Clusters of 1 KiB are half a block of a CD.
#[test]
fn a_cd_with_modules() -> Result<()> {
    let stage1_cd = stage1_cd()?;
    let image = Image::build(&demo_kernel()?, |recipe, directory| {
        recipe.command_line = "exit crc".into();
        recipe.stage1_cd = Some(stage1_cd);
        for (name, length) in [("odd", 1025), ("long", 300_001), ("last", 5)] {
            let file = directory.join(name);
            // The builder finds out when it is not there.
            let _ = fs::write(&file, noise(length));
            recipe.modules.push(Module {
                file,
                string: String::new(),
            });
        }
    })?;
    let inspection = image.inspect()?;
    ensure!(
        inspection
            .volume
            .is_some_and(|volume| volume.cluster == 1024)
    );
    let within = |lba: u64| !lba.is_multiple_of(4);
    ensure!(
        inspection
            .files
            .iter()
            .any(|file| within(file.extents[0].lba))
    );
    let transcript = okay(&Machine::new(&image.path()).disk(Disk::CdIde))?;
    contains(
        &transcript,
        &[
            "drive E0h by LBA, 2048 bytes a sector, partition 1 at LBA 512",
            &format!("{:08x}", crc32(&noise(1025))),
            &format!("{:08x}", crc32(&noise(300_001))),
            &format!("{:08x}", crc32(&noise(5))),
        ],
    )
}

#[test]
fn a_dead_sector_that_only_reading_ahead_meets() -> Result<()> {
    // Behind the FAT sectors of the kernel's chain, before the end of the first read.
    let unneeded = u64::from(disk_layout::PARTITION_LBA) + 30;
    let image = Image::demo()?;
    okay(&Machine::new(&image.path()).dead_sector(unneeded))?;
    Ok(())
}

#[test]
fn nothing_is_written_to_the_disk() -> Result<()> {
    let image = Image::demo()?;
    let before = fs::read(image.path())?;
    okay(&Machine::new(&image.path()).writable())?;
    ensure!(fs::read(image.path())? == before, "the image was changed");
    Ok(())
}

#[test]
fn the_c_kernel() -> Result<()> {
    let image = Image::build(&c_kernel()?, |recipe, _| {
        recipe.command_line = "exit".into()
    })?;
    okay(&Machine::new(&image.path())).map(drop)
}

#[test]
fn a_position_independent_kernel() -> Result<()> {
    let image = Image::build(&position_independent_kernel()?, |recipe, _| {
        recipe.command_line = "exit".into()
    })?;
    okay(&Machine::new(&image.path())).map(drop)
}

#[test]
fn command_line_and_modules_arrive() -> Result<()> {
    let change = |recipe: &mut Recipe, directory: &Path| {
        recipe.command_line = "exit crc  two  spaces, umlaut ü".into();
        for (name, length) in [
            ("first.bin", 100_001),
            ("empty", 0),
            ("A long name.txt", 4096),
        ] {
            let file = directory.join(name);
            // The builder finds out when it is not there.
            let _ = fs::write(&file, noise(length));
            recipe.modules.push(Module {
                file,
                string: format!("this is {name}"),
            });
        }
    };
    let image = Image::build(&demo_kernel()?, change)?;
    let transcript = okay(&Machine::new(&image.path()))?;
    contains(
        &transcript,
        &[
            "command line: exit crc  two  spaces, umlaut ü",
            ", 100001 bytes: this is first.bin",
            ", 0 bytes: this is empty",
            ", 4096 bytes: this is A long name.txt",
            &format!("{:08x}", crc32(&noise(100_001))),
            &format!("{:08x}", crc32(&noise(4096))),
        ],
    )
}

/// Words that differ, `length` bytes of them.
fn words(length: usize) -> String {
    let mut text: String = (0..length).map(|number| format!("{number} ")).collect();
    text.truncate(length - 1);
    text + "."
}

#[test]
fn the_longest_line_and_the_most_modules_arrive() -> Result<()> {
    const LONGEST: usize = 4096 - "options ".len();
    const MODULES: usize = 32;

    let command_line = format!("exit crc {}", words(LONGEST - "exit crc ".len()));
    let length = |number| 500 * number + 1;
    let image = Image::build(&demo_kernel()?, |recipe, directory| {
        recipe.command_line.clone_from(&command_line);
        for number in 0..MODULES {
            let file = directory.join(format!("module-{number}"));
            // The builder finds out when it is not there.
            let _ = fs::write(&file, noise(length(number)));
            recipe.modules.push(Module {
                file,
                string: format!("number {number}"),
            });
        }
    })?;
    let transcript = okay(&Machine::new(&image.path()))?;
    contains(&transcript, &[&format!("command line: {command_line}\r\n")])?;
    let mut rest = &transcript[..];
    for number in 0..MODULES {
        let line = format!(", {} bytes: number {number}\r\n", length(number));
        let place = rest.find(&line);
        let place = place.with_context(|| format!("no {line:?} in its place in\n{transcript}"))?;
        rest = &rest[place..];
        contains(rest, &[&format!("{:08x}", crc32(&noise(length(number))))])?;
    }
    Ok(())
}

#[test]
fn the_longest_command_line_arrives() -> Result<()> {
    const LONGEST_FILE: usize = 16 << 10;
    const LONGEST_LINE: usize = 4096;

    // Each line end is a space of the command line.
    let lines = LONGEST_FILE.div_ceil(LONGEST_LINE + 1);
    let lines: Vec<_> = (0..lines)
        .map(|line| {
            let left = LONGEST_FILE - line * (LONGEST_LINE + 1);
            let value = left.min(LONGEST_LINE) - "options ".len();
            format!("exit {line} {}", words(value - "exit 0 ".len()))
        })
        .collect();
    let configuration = format!("options {}", lines.join("\noptions "));
    ensure!(configuration.len() == LONGEST_FILE);
    let image = Image::demo()?;
    image.put("/boot/kernel.conf", configuration.as_bytes())?;
    let transcript = okay(&Machine::new(&image.path()))?;
    contains(
        &transcript,
        &[&format!("command line: {}\r\n", lines.join(" "))],
    )
}

/// CRC-32 (ISO-HDLC), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// What the bench kernel says.
struct Said {
    reads: u64,
    checksum: u64,
}

/// Boots the bench kernel with a payload behind it, moved to `address`.
fn boot_payload(
    address: u64,
    payload: Vec<u8>,
    change: impl FnOnce(&mut Elf),
    debug: usize,
) -> Result<Said> {
    let mut kernel = test_program("bench-kernel")?;
    let code = &mut kernel.program_headers[0];
    kernel.entry = kernel.entry - code.virtual_address + address;
    code.virtual_address = address;
    code.physical_address = address;
    kernel = kernel.with(ProgramHeader::filled(R, address + (2 << 20), payload));
    change(&mut kernel);
    let mut file = kernel.build();
    file.extend(noise(debug));
    let image = Image::with_kernel(&file)?;
    let console = tempfile::NamedTempFile::new()?;
    let mut machine = Machine::new(&image.path())
        .arguments([
            "-debugcon".into(),
            format!("file:{}", console.path().display()),
        ])
        .start()?;
    let ending = machine.wait()?;
    ensure!(
        ending == Ending::Failed(Some(1)),
        "{ending:?}\n{}",
        machine.serial()
    );
    let said = fs::read_to_string(console.path())?;
    let mut numbers = said
        .lines()
        .skip(1)
        .map(|line| u64::from_str_radix(line, 16));
    let mut next = || numbers.next().unwrap_or(Ok(0));
    Ok(Said {
        reads: next()?,
        checksum: next()?,
    })
}

fn checksum(payload: &[u8]) -> u64 {
    let (words, _) = payload.as_chunks();
    words.iter().fold(0, |sum: u64, word| {
        sum.rotate_left(1) ^ u64::from_le_bytes(*word)
    })
}

#[test]
fn kernels_at_all_kinds_of_addresses() -> Result<()> {
    let payload = noise(5 << 20);
    for address in [
        0xFFFF_FFFF_8000_0000,
        0xFFFF_FFF8_0000_0000,
        0xFFFF_FF80_1234_5000,
        0x40_0000,
        0x1000,
        0x7000_0000_0000,
    ] {
        let said = boot_payload(address, payload.clone(), |_| {}, 0)?;
        ensure!(
            said.checksum == checksum(&payload),
            "the payload at {address:#x} is damaged"
        );
    }
    Ok(())
}

#[test]
fn a_kernel_with_physical_addresses() -> Result<()> {
    const BASE: u64 = 0xFFFF_FFFF_8000_0000;
    let payload = noise(3 << 20);
    let at_1_mib = |kernel: &mut Elf| {
        for load in &mut kernel.program_headers {
            load.physical_address = load.virtual_address - BASE + 0x10_0000;
        }
    };
    let said = boot_payload(BASE + 0x10_0000, payload.clone(), at_1_mib, 0)?;
    ensure!(
        said.checksum == checksum(&payload),
        "the payload is damaged"
    );
    Ok(())
}

#[test]
fn a_kernel_aligned_to_2_mib() -> Result<()> {
    let payload = noise(3 << 20);
    let aligned = |kernel: &mut Elf| {
        for load in &mut kernel.program_headers {
            load.alignment = 2 << 20;
        }
    };
    // The ELF writer lays bytes out modulo 4 KiB, so that only the first 4 KiB of p_align agree.
    let said = boot_payload(0xFFFF_FFFF_8000_0000, payload.clone(), aligned, 0)?;
    ensure!(
        said.checksum == checksum(&payload),
        "the payload is damaged"
    );
    Ok(())
}

#[test]
fn debug_information_is_not_read() -> Result<()> {
    let payload = noise(200 << 10);
    let boot = |debug| boot_payload(0xFFFF_FFFF_8000_0000, payload.clone(), |_| {}, debug);
    let (stripped, full) = (boot(0)?, boot(20 << 20)?);
    ensure!(
        full.checksum == checksum(&payload),
        "the payload is damaged"
    );
    ensure!(
        full.reads <= stripped.reads + 1,
        "{} reads, and {} without debug information",
        full.reads,
        stripped.reads
    );
    Ok(())
}

#[test]
fn bioses_that_lack_something() -> Result<()> {
    use Defect::*;

    let image = Image::demo()?;
    for defects in [
        &[NoE820][..],
        &[NoE820, NoE801],
        &[NoEdd],
        &[A20Off],
        &[A20Off, NoA20Keyboard, NoA20Fast],
        &[A20Off, NoA20Call, NoA20Fast],
        &[A20Off, NoA20Call, NoA20Keyboard],
        // Also the vector of an exception that is reported.
        &[WaitsForIrq4],
    ] {
        let rom = bad_bios(defects)?;
        // 88h knows of no more than 64 MiB.
        okay(
            &Machine::new(&image.path())
                .disk(Disk::Ide)
                .arguments(["-m", "48M", "-option-rom"])
                .arguments([rom.path()]),
        )
        .map_err(|error| error.context(format!("{defects:?}")))?;
    }
    Ok(())
}

/// The BIOS says that the memory which the loader is in is reserved. It is used all the same, for
/// there is no other below 1 MiB; but the kernel is not told that it may have it.
#[test]
fn reserved_memory_is_not_given_to_the_kernel() -> Result<()> {
    let image = Image::demo()?;
    let rom = reserved_low_memory()?;
    let transcript = okay(
        &Machine::new(&image.path())
            .disk(Disk::Ide)
            .arguments(["-option-rom"])
            .arguments([rom.path()]),
    )?;
    contains(
        &transcript,
        &["  0x000000000000 0x0000000b8000        736 KiB  Reserved"],
    )
}

/// AH=42h reads fewer sectors than it says, in stage1 and in stage2: cylinder, head and sector do.
#[test]
fn a_bios_that_reads_fewer_sectors_than_it_says() -> Result<()> {
    let image = Image::demo()?;
    for sectors in [1, 7, 16, 32, 63] {
        let rom = short_reads(sectors)?;
        let machine = Machine::new(&image.path()).disk(Disk::Ide);
        let transcript = okay(&machine.arguments(["-option-rom".as_ref(), rom.path()]))
            .with_context(|| format!("{sectors} sectors"))?;
        contains(&transcript, &["drive 80h by CHS"])?;
    }
    Ok(())
}

/// Calls return with another DS, with DF set or with IF clear; and they count on IF and DF being right,
/// and on the control registers being as the BIOS has them. On a disk and on a CD.
#[test]
fn bioses_that_return_in_another_state() -> Result<()> {
    use Defect::*;

    let image = Image::demo_cd()?;
    for defects in [
        &[ChangesDs][..],
        &[SetsDirectionFlag, WatchesFlags],
        &[ClearsInterruptFlag, WatchesFlags],
        &[
            ChangesDs,
            SetsDirectionFlag,
            ClearsInterruptFlag,
            WatchesFlags,
            WatchesControl,
        ],
    ] {
        let rom = bad_bios(defects)?;
        for disk in [Disk::Ide, Disk::CdIde] {
            let machine = Machine::new(&image.path()).disk(disk);
            okay(&machine.arguments(["-option-rom".as_ref(), rom.path()]))
                .with_context(|| format!("{defects:?}, {disk:?}"))?;
        }
    }
    Ok(())
}

/// What the BIOS may leave behind: the other start address, any drive number, the bytes of a
/// parameter block overwritten, all segments elsewhere, DF set, IF clear.
#[test]
fn entered_in_every_state() -> Result<()> {
    const FREE: u64 = 0x7D0;

    let image = Image::demo()?;
    let stage1 = image.read(0, SECTOR_SIZE)?;
    image.write(FREE * SECTOR_SIZE as u64, &stage1)?;
    for drive in [0x80, 0x00, 0x01, 0x81, 0x90, 0xE0, 0xFF] {
        image.write(0, &rough_start(0x80, FREE, mbr::BPB_AREA.len(), drive))?;
        let transcript = okay(&Machine::new(&image.path()).disk(Disk::Ide))
            .with_context(|| format!("drive {drive:02X}h"))?;
        contains(&transcript, &["drive 80h by LBA"])?;
    }
    Ok(())
}

/// The same on a CD, where there is no parameter block; and a disk that can be read as well.
#[test]
fn entered_in_every_state_from_a_cd() -> Result<()> {
    const FREE: u64 = 400;
    const BLOCK: u64 = CD_BLOCK as u64;

    let image = Image::demo_cd()?;
    let program = u64::from(cd::PROGRAM_BLOCK) * BLOCK;
    let stage1_cd = image.read(program, CD_BLOCK)?;
    image.write(FREE * BLOCK, &stage1_cd)?;
    let disk = Image::raw(&[], &noise(1 << 20))?;
    let disk = disk.path();
    let with_disk = [
        "-drive".into(),
        format!(
            "if=none,id=disk,format=raw,snapshot=on,file={}",
            disk.display()
        ),
        "-device".into(),
        "ide-hd,drive=disk,bus=ide.1".into(),
        "-boot".into(),
        "d".into(),
    ];
    for (drive, arguments) in [
        (0xE0, &[][..]),
        (0x00, &[]),
        (0x7F, &[]),
        (0x80, &[]),
        (0x80, &with_disk),
        (0xDF, &with_disk),
        (0xEF, &[]),
        (0xFF, &[]),
    ] {
        image.write(program, &rough_start(0xE0, FREE, 0, drive))?;
        let machine = Machine::new(&image.path()).disk(Disk::CdIde);
        let transcript = okay(&machine.arguments(arguments))
            .with_context(|| format!("drive {drive:02X}h {arguments:?}"))?;
        contains(&transcript, &["drive E0h by LBA, 2048 bytes a sector"])?;
    }
    Ok(())
}

/// A program that lies in the place of stage1, or of what a CD has instead, and reads that from where
/// it lies now.
fn rough_start(from: u8, lba: u64, overwritten: usize, drive: u8) -> Vec<u8> {
    #[rustfmt::skip]
    const PROGRAM: &[u8] = &[
        0x31, 0xC0,                   // xor ax, ax
        0x8E, 0xD8,                   // mov ds, ax
        0x8E, 0xC0,                   // mov es, ax
        0x8E, 0xD0,                   // mov ss, ax
        0xBC, 0x00, 0x7A,             // mov sp, 0x7A00
        0xBE, 0x00, 0x7C,             // mov si, 0x7C00
        0xBF, 0x00, 0x06,             // mov di, 0x600
        0xB9, 0x00, 0x01,             // mov cx, 256
        0xFC,                         // cld
        0xF3, 0xA5,                   // rep movsw
        0xEA, 0x1C, 0x06, 0x00, 0x00, // jmp 0:0x61C, the next one in the copy
        0xBE, 0x4B, 0x06,             // mov si, 0x64B: the packet
        0xB4, 0x42,                   // mov ah, 0x42
        0xB2, 0x00,                   // mov dl, where it is read from
        0xCD, 0x13,                   // int 0x13
        0xBF, 0x03, 0x7C,             // mov di, 0x7C03: the BPB area
        0xB9, 0x00, 0x00,             // mov cx, its length, or 0
        0xB0, 0xFF,                   // mov al, 0xFF
        0xF3, 0xAA,                   // rep stosb
        0xB2, 0x00,                   // mov dl, the drive
        0xB8, 0x34, 0x12,             // mov ax, 0x1234
        0x8E, 0xD8,                   // mov ds, ax
        0x8E, 0xC0,                   // mov es, ax
        0x8E, 0xE0,                   // mov fs, ax
        0x8E, 0xE8,                   // mov gs, ax
        0xB8, 0x00, 0x70,             // mov ax, 0x7000
        0x8E, 0xD0,                   // mov ss, ax
        0xBC, 0x00, 0x01,             // mov sp, 0x100
        0xFD,                         // std
        0xFA,                         // cli
        0xEA, 0x00, 0x00, 0xC0, 0x07, // jmp 0x7C0:0
        // The packet: 1 sector to 0:0x7C00, from an LBA on.
        0x10, 0, 1, 0, 0x00, 0x7C, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    const FROM: usize = 34;
    const LENGTH: usize = 41;
    const DRIVE: usize = 48;
    const LBA: usize = PROGRAM.len() - 8;
    const _: () = assert!(PROGRAM[FROM - 1] == 0xB2 && PROGRAM[DRIVE - 1] == 0xB2);
    const _: () = assert!(PROGRAM[LENGTH - 1] == 0xB9);

    let mut program = PROGRAM.to_vec();
    program[FROM] = from;
    program[LENGTH] = overwritten as u8;
    program[DRIVE] = drive;
    program[LBA..].copy_from_slice(&lba.to_le_bytes());
    program
}

/// The 25 rows that a user sees in the end: of the loader and the demo kernel, all that matters.
#[test]
fn the_last_screen() -> Result<()> {
    let image = Image::build(&demo_kernel()?, |_, _| {})?;
    let mut running = Machine::new(&image.path()).start()?;
    let screen = running.wait_for_line(&["OKAY"])?;
    let serial = running.serial();

    // The loader's lines and the first ones of the kernel are those of the serial line.
    let told: Vec<&str> = serial.lines().map(str::trim_end).collect();
    ensure!(
        told[0].starts_with("Bootpath ") && told[..12] == screen[..12],
        "{screen:#?}"
    );
    let amounts: Vec<&str> = screen[13..15]
        .iter()
        .flat_map(|row| row.split_whitespace())
        .collect();
    let kib = |kind: &str| {
        let regions = told.iter().filter(|line| line.ends_with(kind));
        let sizes = regions.filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
        sizes.sum::<u64>().to_string()
    };
    let expected = ["Usable", "Reclaimable", "Kernel", "Framebuffer", "Reserved"]
        .map(|kind| [kind.to_lowercase(), kib(&format!(" KiB  {kind}"))]);
    ensure!(amounts == expected.as_flattened(), "{screen:#?}\n{serial}");
    for (row, beginning) in screen[15..22].iter().zip([
        "mapped by ",
        "timeline in µs",
        "   1 stage1 ",
        "   4 ",
        "   7 ",
        "  10 ",
        "  all of it ",
    ]) {
        let there = row.starts_with(beginning) && told.contains(&row.as_str());
        ensure!(there, "no {beginning:?} in its place: {screen:#?}");
    }
    let checks = told
        .iter()
        .filter(|line| line.starts_with("check "))
        .count();
    ensure!(
        screen[22] == format!("{checks} of {checks} checks passed"),
        "{screen:#?}"
    );
    ensure!(screen[23..] == ["OKAY", ""], "{screen:#?}");
    ensure!(running.cursor_is_hidden()?, "the cursor blinks");
    Ok(())
}

/// However much is printed and however much fails, the end of it stays on the screen, with the names
/// of what has failed.
#[test]
fn the_last_screen_of_a_bad_day() -> Result<()> {
    const FAILED: usize = 9;

    let image = Image::build(&demo_kernel()?, |recipe, _| {
        recipe.command_line = format!("{}fail={FAILED}", "word ".repeat(700));
    })?;
    let machine = Machine::new(&image.path()).arguments(["-m", "6G"]);
    let mut running = machine.start()?;
    let screen = running.wait_for_line(&["FAIL"])?;
    let failed: Vec<String> = running
        .serial()
        .lines()
        .filter(|line| line.contains(": FAILED: "))
        .map(str::to_owned)
        .collect();
    ensure!(failed.len() == FAILED, "{failed:#?}");
    ensure!(screen[15..21] == failed[..6], "{screen:#?}");
    let all = running.serial().matches("\ncheck ").count();
    ensure!(screen[21] == "and 3 more", "{screen:#?}");
    ensure!(
        screen[22] == format!("{} of {all} checks passed", all - failed.len()),
        "{screen:#?}"
    );
    let first = screen
        .iter()
        .position(|row| row.starts_with("memory in KiB"));
    ensure!(first.is_some(), "{screen:#?}");
    Ok(())
}

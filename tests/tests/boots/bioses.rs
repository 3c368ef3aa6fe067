//! BIOSes that lack something, or leave the machine in an unusual state.

use std::path::Path;

use anyhow::{Context as _, Result};
use disk_layout::{CD_BLOCK, SECTOR_SIZE, cd, mbr};
use machine_tests::elf::noise;
use machine_tests::image::{Defect, Image, bad_bios, low_memory, reserved_low_memory, short_reads};
use machine_tests::machine::{Disk, Machine};
use tempfile::NamedTempFile;

use crate::{contains, okay};

/// The machine with an option ROM.
fn with_rom(machine: Machine, rom: &NamedTempFile) -> Machine {
    machine.arguments(["-option-rom".as_ref(), rom.path()])
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
        // IRQ 4 also has the vector of an exception that the loader reports.
        &[WaitsForIrq4],
    ] {
        let rom = bad_bios(defects)?;
        // 88h reports no more than 64 MiB.
        okay(&with_rom(Machine::new(&image.path()).disk(Disk::Ide), &rom).arguments(["-m", "48M"]))
            .map_err(|error| error.context(format!("{defects:?}")))?;
    }
    Ok(())
}

/// The BIOS reports the memory that the loader is in as reserved. The loader uses it all the same,
/// because there is no other below 1 MiB, but does not give it to the kernel.
#[test]
fn reserved_memory_is_not_given_to_the_kernel() -> Result<()> {
    let image = Image::demo()?;
    let rom = reserved_low_memory()?;
    let transcript = okay(&with_rom(Machine::new(&image.path()).disk(Disk::Ide), &rom))?;
    contains(
        &transcript,
        &["  0x000000000000 0x0000000b8000        736 KiB  Reserved"],
    )
}

/// Other programs have the upper end of the memory below 640 KiB, down to the least that the loader
/// needs. What it does not find there comes from above 1 MiB.
#[test]
fn little_memory_below_640_kib() -> Result<()> {
    let image = Image::demo()?;
    for kib in [384, 385, 399, 400, 480, 527, 528, 600] {
        let rom = low_memory(kib)?;
        let machine = Machine::new(&image.path()).disk(Disk::Ide);
        okay(&with_rom(machine, &rom)).with_context(|| format!("{kib} KiB"))?;
    }
    let rom = low_memory(383)?;
    let machine = Machine::new(&image.path()).disk(Disk::Ide);
    let mut running = with_rom(machine, &rom).start()?;
    running.wait_for("error 6B: ")?;
    running.wait_for("384 KiB needed in one piece, 383 KiB free in one piece")?;
    Ok(())
}

/// A memory map with 140 holes, each of which is a gap in what the kernel finds mapped.
#[test]
fn a_memory_map_full_of_holes() -> Result<()> {
    let image = Image::demo()?;
    let rom = bad_bios(&[Defect::ManyHoles])?;
    let machine = Machine::new(&image.path()).disk(Disk::Ide);
    let transcript = okay(&with_rom(machine, &rom))?;
    contains(
        &transcript,
        &[
            "  0x000002000000 0x000002001000          4 KiB  Reserved",
            "  0x000002116000 0x000002117000          4 KiB  Reserved",
        ],
    )
}

/// Without a time-stamp counter there is no timeline, and the kernel's check of it wants none.
#[test]
fn a_cpu_without_a_time_stamp_counter() -> Result<()> {
    let image = Image::demo()?;
    let transcript = okay(&Machine::new(&image.path()).arguments(["-cpu", "qemu64,-tsc"]))?;
    contains(
        &transcript,
        &["no timeline: the CPU has no time-stamp counter"],
    )
}

/// INT 13h takes 4 KiB of its caller's stack, in each call.
#[test]
fn a_bios_that_needs_much_stack() -> Result<()> {
    let image = Image::demo_cd()?;
    let rom = bad_bios(&[Defect::HungryStack])?;
    for disk in [Disk::Ide, Disk::CdIde] {
        let machine = Machine::new(&image.path()).disk(disk);
        okay(&with_rom(machine, &rom)).with_context(|| format!("{disk:?}"))?;
    }
    Ok(())
}

/// AH=42h leaves 0 in the packet's count although it has read all sectors, and what it has read
/// proves that. AH=48h is wrong about the size of a sector, which stage1 has found out.
#[test]
fn bioses_that_are_wrong_about_sectors() -> Result<()> {
    use Defect::*;

    let image = Image::demo()?;
    for defects in [
        &[ClearsCount][..],
        &[LargeSectors],
        &[ClearsCount, LargeSectors],
    ] {
        let rom = bad_bios(defects)?;
        let machine = Machine::new(&image.path()).disk(Disk::Ide);
        let transcript = okay(&with_rom(machine, &rom)).with_context(|| format!("{defects:?}"))?;
        contains(&transcript, &["drive 80h by LBA, 512 bytes a sector"])?;
    }
    Ok(())
}

/// AH=42h reads fewer sectors than it reports, to stage1 and to stage2. Reading by cylinder, head
/// and sector works.
#[test]
fn a_bios_that_reads_fewer_sectors_than_it_says() -> Result<()> {
    let image = Image::demo()?;
    for sectors in [1, 7, 16, 32, 63] {
        let rom = short_reads(sectors)?;
        let machine = Machine::new(&image.path()).disk(Disk::Ide);
        let transcript =
            okay(&with_rom(machine, &rom)).with_context(|| format!("{sectors} sectors"))?;
        contains(&transcript, &["drive 80h by CHS"])?;
    }
    Ok(())
}

/// Calls return with another DS, with DF set or with IF clear. They also rely on IF and DF being
/// right, and on the BIOS's own values in the control registers. On a disk and on a CD.
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
            okay(&with_rom(machine, &rom)).with_context(|| format!("{defects:?}, {disk:?}"))?;
        }
    }
    Ok(())
}

/// What the BIOS may leave behind: the other start address, any drive number, a parameter block
/// whose bytes were overwritten, all segment registers changed, DF set, IF clear.
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

/// The disk is not the BIOS's first one, and what DL says is wrong: the other disks can be read, and
/// are not it.
#[test]
fn entered_with_a_wrong_number_for_any_disk() -> Result<()> {
    let image = Image::demo()?;
    let other = Image::raw(&[], &noise(1 << 20))?;
    for (drive, wrong) in [
        (
            0x81,
            &[0x80, 0x00, 0x01, 0x7F, 0x82, 0x8F, 0x90, 0xE0, 0xFF][..],
        ),
        (0x8F, &[0x80, 0x00]),
    ] {
        for &number in wrong {
            let first = Image::raw(&rough_start(drive, 0, mbr::BPB_AREA.len(), number), &[])?;
            let mut machine = Machine::new(&first.path()).disk(Disk::Ide);
            for index in 0x81..=drive.max(0x83) {
                let file = if index == drive { &image } else { &other };
                machine = machine.arguments(further_disk(index, &file.path()));
            }
            let transcript =
                okay(&machine).with_context(|| format!("drive {drive:02X}h, DL {number:02X}h"))?;
            contains(&transcript, &[&format!("drive {drive:02X}h by LBA")])?;
        }
    }
    Ok(())
}

/// One more disk, which the BIOS counts behind those before.
fn further_disk(number: u8, file: &Path) -> [String; 4] {
    let id = format!("disk{number:02x}");
    let device = match number {
        0x82 | 0x83 => format!("ide-hd,drive={id},bus=ide.1,unit={}", number - 0x82),
        0x81 => format!("ide-hd,drive={id},bus=ide.0,unit=1"),
        _ => format!("virtio-blk-pci,drive={id}"),
    };
    [
        "-drive".into(),
        format!(
            "if=none,id={id},format=raw,snapshot=on,file={}",
            file.display()
        ),
        "-device".into(),
        device,
    ]
}

/// The same on a CD, which has no parameter block, also beside a disk that can be read.
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

/// A program that takes the place of stage1, or of a CD's boot program, and reads that from where
/// it was moved to.
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
        0xB2, 0x00,                   // mov dl, the drive to read from
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

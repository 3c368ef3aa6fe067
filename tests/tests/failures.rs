//! Bad images and bad machines: each ends in the error that names what is wrong, and a key press
//! starts the machine again.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use disk_builder::image::Module;
use disk_builder::run::Ending;
use disk_layout::{SECTOR_SIZE, mbr, stage2};
use machine_tests::elf::{Elf, Segment, noise};
use machine_tests::image::{Defect, Image, bad_bios, demo_kernel};
use machine_tests::machine::{Disk, Machine};

const SECTOR: u64 = SECTOR_SIZE as u64;

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
    refused(&kernel.write(), code, &[])
}

/// Runs one of mtools on the boot partition.
fn mtools<A: AsRef<OsStr>>(image: &Image, tool: &str, arguments: &[A]) -> Result<()> {
    let offset = u64::from(disk_layout::PARTITION_LBA) * SECTOR;
    let status = Command::new(tool)
        .env("MTOOLS_SKIP_CHECK", "1")
        .arg("-i")
        .arg(format!("{}@@{offset}", image.path().display()))
        .args(arguments)
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {tool}"))?;
    ensure!(status.success(), "{tool} failed");
    Ok(())
}

/// The first sector of a file of the image.
fn first_sector(image: &Image, path: &str) -> Result<u64> {
    let built = image.built.as_ref().context("an image without files")?;
    let file = built.inspection.files.iter().find(|file| file.path == path);
    let file = file.with_context(|| format!("no {path} in the image"))?;
    Ok(file.extents.first().context("an empty file")?.lba)
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

#[test]
fn stage2_is_damaged() -> Result<()> {
    let image = Image::demo()?;
    let offset = SECTOR + 5 * SECTOR + 77;
    let byte = image.read(offset, 1)?;
    image.write(offset, &[byte[0] ^ 0x10])?;
    fails(&Machine::new(&image.path()), "1C", &[])
}

#[test]
fn stage2_is_damaged_in_its_last_byte() -> Result<()> {
    let image = Image::demo()?;
    let built = image.built.as_ref().context("an image without a loader")?;
    let offset = SECTOR + built.stage2_bytes.next_multiple_of(SECTOR_SIZE) as u64 - 1;
    let byte = image.read(offset, 1)?;
    image.write(offset, &[byte[0] ^ 1])?;
    fails(&Machine::new(&image.path()), "1C", &[])
}

#[test]
fn stage2_says_that_it_is_longer_than_it_is() -> Result<()> {
    let image = Image::demo()?;
    let length = std::mem::offset_of!(disk_layout::Stage2Header, length) as u64;
    for bytes in [u32::MAX, 0, stage2::MAX_LENGTH as u32] {
        image.write(SECTOR + length, &bytes.to_le_bytes())?;
        fails(&Machine::new(&image.path()), "1C", &[])?;
    }
    Ok(())
}

#[test]
fn a20_is_stuck() -> Result<()> {
    use Defect::*;

    let rom = bad_bios(&[A20Off, NoA20Call, NoA20Keyboard, NoA20Fast])?;
    let image = Image::demo()?;
    let machine = Machine::new(&image.path()).disk(Disk::Ide);
    fails(
        &machine.arguments(["-option-rom".as_ref(), rom.path()]),
        "2A",
        &[],
    )
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
        ("qemu64,-lm", "3B"),
        ("qemu64,-pae", "3C"),
        ("qemu64,-sse2", "3D"),
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

#[test]
fn no_memory_map() -> Result<()> {
    use Defect::*;

    let rom = bad_bios(&[NoE820, NoE801, No88])?;
    let image = Image::demo()?;
    let machine = Machine::new(&image.path());
    fails(
        &machine.arguments(["-option-rom".as_ref(), rom.path()]),
        "6A",
        &[],
    )
}

#[test]
fn too_little_memory() -> Result<()> {
    let mut kernel = Elf::halting();
    let mut bss = Segment::load(6, 0xFFFF_FFFF_8020_0000, Vec::new());
    bss.memory_size = 64 << 20;
    kernel.segments.push(bss);
    let image = Image::with_kernel(&kernel.write())?;
    fails(
        &Machine::new(&image.path()).arguments(["-m", "32M"]),
        "6B",
        &["66 MiB needed", "31 MiB of RAM"],
    )
}

#[test]
fn the_kernel_cannot_be_read() -> Result<()> {
    let image = Image::demo()?;
    let lba = first_sector(&image, "/boot/kernel.elf")?;
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

#[test]
fn there_is_no_partition() -> Result<()> {
    let image = Image::demo()?;
    image.write(mbr::PARTITION_TABLE_OFFSET as u64, &[0; 64])?;
    fails(&Machine::new(&image.path()), "7C", &[])
}

#[test]
fn the_partition_is_not_fat() -> Result<()> {
    let image = Image::demo()?;
    image.write(
        u64::from(disk_layout::PARTITION_LBA) * SECTOR,
        &[0; SECTOR_SIZE],
    )?;
    fails(&Machine::new(&image.path()), "8A", &[])
}

#[test]
fn there_is_no_kernel() -> Result<()> {
    let image = Image::demo()?;
    mtools(&image, "mdel", &["::/boot/kernel.elf"])?;
    fails(&Machine::new(&image.path()), "9A", &["/boot/kernel.elf"])
}

#[test]
fn there_is_no_module() -> Result<()> {
    let image = Image::build(&demo_kernel()?, |recipe, directory| {
        let file = directory.join("module.bin");
        // The builder finds out when it is not there.
        let _ = fs::write(&file, noise(100));
        recipe.modules.push(Module {
            file,
            string: String::new(),
        });
    })?;
    mtools(&image, "mdel", &["::/boot/modules/module.bin"])?;
    fails(
        &Machine::new(&image.path()),
        "9B",
        &["/boot/modules/module.bin"],
    )
}

#[test]
fn the_configuration_is_no_text() -> Result<()> {
    let image = Image::demo()?;
    let bad = tempfile::NamedTempFile::new()?;
    fs::write(bad.path(), b"title good\noptions \xFF\xFE\n")?;
    mtools(
        &image,
        "mcopy",
        &[
            "-o".as_ref(),
            bad.path().as_os_str(),
            "::/boot/kernel.conf".as_ref(),
        ],
    )?;
    fails(&Machine::new(&image.path()), "9C", &["line 2"])
}

#[test]
fn the_kernel_is_not_an_elf() -> Result<()> {
    refused(b"#!/bin/sh\necho no kernel\n", "10A", &[])
}

#[test]
fn the_kernel_is_empty() -> Result<()> {
    refused(b"", "10A", &[])
}

#[test]
fn the_kernel_is_of_the_wrong_class() -> Result<()> {
    refused_if(|kernel| kernel.class = 1, "10B")
}

#[test]
fn the_kernel_is_for_another_machine() -> Result<()> {
    refused_if(|kernel| kernel.machine = 183, "10C") // AArch64
}

#[test]
fn the_kernel_is_an_object_file() -> Result<()> {
    refused_if(|kernel| kernel.kind = 1, "10D") // ET_REL
}

#[test]
fn the_kernel_is_truncated() -> Result<()> {
    let mut kernel = Elf::halting();
    kernel
        .segments
        .push(Segment::load(4, 0xFFFF_FFFF_8020_0000, noise(10_000)));
    let mut bytes = kernel.write();
    bytes.truncate(bytes.len() - 1);
    refused(&bytes, "10E", &[])
}

#[test]
fn the_kernel_has_nothing_to_load() -> Result<()> {
    refused_if(|kernel| kernel.segments[0].kind = 4, "10G") // PT_NOTE
}

#[test]
fn two_segments_overlap() -> Result<()> {
    let again = |kernel: &mut Elf| {
        let address = kernel.entry + 1;
        kernel
            .segments
            .push(Segment::load(5, address, vec![0x90; 100]));
    };
    refused_if(again, "10H")
}

#[test]
fn a_segment_wraps() -> Result<()> {
    let at_the_top = |kernel: &mut Elf| {
        let mut segment = Segment::load(6, 0xFFFF_FFFF_FFFF_F000, vec![1; 100]);
        segment.memory_size = 0x2000;
        kernel.segments.push(segment);
    };
    refused_if(at_the_top, "10I")
}

#[test]
fn a_segment_is_not_canonical() -> Result<()> {
    refused_if(
        |kernel| {
            kernel
                .segments
                .push(Segment::load(4, 0x1234_0000_0000_0000, vec![1]))
        },
        "10I",
    )
}

#[test]
fn the_entry_point_is_not_executable() -> Result<()> {
    refused_if(|kernel| kernel.segments[0].flags = 4, "10J")
}

#[test]
fn the_entry_point_is_nowhere() -> Result<()> {
    refused_if(|kernel| kernel.entry = 0xFFFF_FFFF_9000_0000, "10J")
}

#[test]
fn a_segment_is_writable_and_executable() -> Result<()> {
    refused_if(|kernel| kernel.segments[0].flags = 7, "10K")
}

#[test]
fn a_segment_lies_in_page_0() -> Result<()> {
    refused_if(
        |kernel| kernel.segments.push(Segment::load(4, 0x800, vec![1])),
        "10L",
    )
}

#[test]
fn a_segments_alignment_makes_no_sense() -> Result<()> {
    refused_if(|kernel| kernel.segments[0].alignment = 3 << 12, "10P")
}

#[test]
fn the_kernel_has_too_many_headers() -> Result<()> {
    let many = |kernel: &mut Elf| {
        for index in 1..200 {
            let address = kernel.entry + index * 4096;
            kernel.segments.push(Segment::load(4, address, vec![1]));
        }
    };
    refused_if(many, "10F")
}

#[test]
fn the_kernels_note_asks_for_too_much() -> Result<()> {
    let note = |kernel: &mut Elf| {
        let mut bytes = Vec::new();
        for word in [9, 8, handoff::NOTE_STACK_SIZE] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(b"Bootpath\0\0\0\0");
        bytes.extend(u64::MAX.to_le_bytes());
        let mut segment = Segment::load(4, kernel.entry + 0x1000, bytes);
        kernel.segments.push(segment.clone());
        segment.kind = 4; // PT_NOTE
        segment.alignment = 4;
        kernel.segments.push(segment);
    };
    refused_if(note, "10N")
}

#[test]
fn the_kernel_wants_a_dynamic_linker() -> Result<()> {
    let interpreter = |kernel: &mut Elf| {
        let mut segment = Segment::load(4, 0, b"/lib/ld.so\0".to_vec());
        segment.kind = 3; // PT_INTERP
        kernel.segments.push(segment);
    };
    refused_if(interpreter, "10O")
}

#[test]
fn the_kernel_lies_in_the_physical_map() -> Result<()> {
    refused_if(
        |kernel| {
            kernel
                .segments
                .push(Segment::load(4, 0xFFFF_8000_0000_0000, vec![1]))
        },
        "11A",
    )
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
    ] {
        let image = Image::build(&demo_kernel()?, |recipe, _| {
            recipe.command_line = format!("fault={name}");
        })?;
        fails(&Machine::new(&image.path()), "12A", &[exception]).context(name)?;
    }
    Ok(())
}

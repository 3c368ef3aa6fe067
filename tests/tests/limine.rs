//! A kernel of the Limine protocol, made with the crate `limine`, boots and finds what the protocol
//! promises; those that break its rules are refused by name.

use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use disk_builder::image::{Module, Recipe};
use disk_builder::run::{EXIT_OKAY, Ending};
use machine_tests::checksum::checksum;
use machine_tests::elf::{Elf, ProgramHeader, R, noise};
use machine_tests::image::{Image, bad_modes, stage1_cd, test_program_built_by};
use machine_tests::kernels::gzip;
use machine_tests::machine::{Bochs, Disk, Machine};

const COMMON: [u64; 2] = [0xC7B1_DD30_DF4C_8B88, 0x0A82_E883_A194_F07B];
const TAG: [u64; 2] = [0xF956_2B2D_5C95_A6C8, 0x6A7B_3849_4453_6BDC];
const START: [u64; 2] = [0xF6B8_F4B3_9DE7_D1AE, 0xFAB9_1A69_40FC_B9CF];
const END: [u64; 2] = [0xADC0_E053_1BB1_0D03, 0x9572_709F_3176_4C62];
const FRAMEBUFFER: [u64; 4] = request([0x9D58_27DC_D881_DD75, 0xA314_8604_F6FA_B11B]);
const MP: [u64; 4] = request([0x95A6_7B81_9A1B_857E, 0xA0B6_1B72_3B6A_73E0]);
const PAGING: [u64; 4] = request([0x95C1_A0ED_AB09_44CB, 0xA4E5_CB38_42F7_488A]);
const DTB: [u64; 4] = request([0xB40D_DB48_FB54_BAC7, 0x5450_8149_3F81_FFB7]);
const RSDP: [u64; 4] = request([0xC5E7_7B6B_397E_7B43, 0x2763_7845_ACCD_CF3C]);

const fn request([first, second]: [u64; 2]) -> [u64; 4] {
    [COMMON[0], COMMON[1], first, second]
}

/// The bytes of a kernel's file.
#[derive(Clone)]
struct Kernel(Vec<u8>);

impl Kernel {
    /// As it is built: at -2 GiB, base revision 3, markers, 4 levels, no x2APIC.
    fn new() -> Result<Self> {
        static FILE: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
        Self::built("limine-kernel", &FILE)
    }

    /// A static PIE whose markers are in the wrong order.
    fn position_independent() -> Result<Self> {
        static FILE: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
        let kernel = Self::built("limine-kernel-pie", &FILE)?;
        kernel.without(&START)?.without(&END)
    }

    fn built(config: &str, file: &OnceLock<Result<Vec<u8>, String>>) -> Result<Self> {
        let build = || {
            let path = test_program_built_by(config, "limine-kernel")?;
            Ok(fs::read(path)?)
        };
        let build = || build().map_err(|error: anyhow::Error| format!("{error:#}"));
        let bytes = file.get_or_init(build).clone();
        Ok(Self(bytes.map_err(anyhow::Error::msg)?))
    }

    /// The offset of these words in the file.
    fn find(&self, words: &[u64]) -> Result<usize> {
        let pattern: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut found = (0..self.0.len()).step_by(8);
        found
            .find(|&start| self.0[start..].starts_with(&pattern))
            .with_context(|| format!("{words:x?} is not in the kernel"))
    }

    /// Changes the word `index` words behind the start of these words.
    fn with(mut self, words: &[u64], index: usize, value: u64) -> Result<Self> {
        let place = self.find(words)? + 8 * index;
        self.0[place..place + 8].copy_from_slice(&value.to_le_bytes());
        Ok(self)
    }

    fn without(self, words: &[u64]) -> Result<Self> {
        self.with(words, 0, 0)
    }

    fn revision(self, revision: u64) -> Result<Self> {
        self.with(&TAG, 2, revision)
    }

    fn x2apic(self) -> Result<Self> {
        self.with(&MP, 6, 1)
    }

    /// Preferred, highest and lowest paging mode.
    fn paging(self, modes: [u64; 3]) -> Result<Self> {
        let [mode, highest, lowest] = modes;
        self.with(&PAGING, 6, mode)?
            .with(&PAGING, 7, highest)?
            .with(&PAGING, 8, lowest)
    }

    fn image(&self) -> Result<Image> {
        self.image_with(|_| ())
    }

    /// An image with the kernel, the module that it asks for and another one.
    fn image_with(&self, change: impl FnOnce(&mut Recipe)) -> Result<Image> {
        let mut kernel = tempfile::NamedTempFile::new()?;
        std::io::Write::write_all(&mut kernel, &self.0)?;
        Image::build(kernel.path(), |recipe, directory| {
            recipe.command_line = "a command line".into();
            for (name, length) in [("inner.bin", 5000), ("outer.bin", 4096)] {
                let file = directory.join(name);
                // If this fails, the builder reports that the file is missing.
                let _ = fs::write(&file, noise(length));
                recipe.modules.push(Module {
                    file,
                    string: format!("this is {name}"),
                });
            }
            change(recipe);
        })
    }
}

fn contains(transcript: &str, expected: &[&str]) -> Result<()> {
    for text in expected {
        ensure!(transcript.contains(text), "no {text:?} in\n{transcript}");
    }
    Ok(())
}

fn okay(machine: &Machine, expected: &[&str]) -> Result<()> {
    let mut running = machine.start()?;
    let transcript = running.wait_for_one_of(&["OKAY\n", "FAILED\n", "\npress a key"])?;
    let ending = running.wait()?;
    ensure!(
        ending == Ending::Guest(EXIT_OKAY) && !transcript.contains("FAILED"),
        "{ending:?}\n{transcript}"
    );
    contains(&transcript, expected)
}

/// Checks that the kernel is refused, with this line.
fn refused(kernel: &Kernel, line: &str) -> Result<()> {
    let image = kernel.image_with(|recipe| recipe.unchecked = true)?;
    let mut running = Machine::new(&image.path()).start()?;
    running.wait_for(line).map(drop)
}

/// As [`refused`], and the builder refuses it, too.
fn refused_by_both(kernel: &Kernel, line: &str) -> Result<()> {
    let said = kernel.image().err().context("the builder accepts it")?;
    let said = format!("{said:#}");
    ensure!(said.contains(line), "{said}");
    refused(kernel, line)
}

#[test]
fn everything_that_is_asked_for() -> Result<()> {
    let kernel = Kernel::new()?;
    let image = kernel.image()?;
    let modules = [
        ("inner.bin", 5000),
        ("inner.bin", 5000),
        ("outer.bin", 4096),
    ];
    let strings = ["the inner one", "this is inner.bin", "this is outer.bin"];
    let lines: Vec<_> = modules
        .iter()
        .zip(strings)
        .map(|((name, length), string)| {
            let sum = checksum(&noise(*length));
            format!("module {length} bytes, sum {sum:016x}: /boot/modules/{name}: {string}\n")
        })
        .collect();
    let file = format!(
        "file {} bytes, sum {:016x}: /boot/kernel.elf: a command line\n",
        kernel.0.len(),
        checksum(&kernel.0)
    );
    let mut expected: Vec<_> = lines.iter().map(String::as_str).collect();
    expected.extend([
        file.as_str(),
        "limine kernel, base revision 3\n",
        "command line: a command line\n",
        "4 levels of page tables\n",
        "1 processors, x2APIC false\n",
    ]);
    okay(&Machine::new(&image.path()), &expected)
}

/// The kernel names modules by every kind of path, and has one unpacked.
#[test]
fn modules_by_other_paths() -> Result<()> {
    let [plain, other] = [noise(3000), noise(2000)];
    let packed = gzip(&other)?;
    let image = Kernel::new()?.image_with(|recipe| {
        for (name, bytes) in [("plain.bin", &plain), ("packed.bin", &packed)] {
            let file = recipe.output.with_file_name(name);
            // If this fails, the builder reports that the file is missing.
            let _ = fs::write(&file, bytes);
            let string = "of the entry".into();
            recipe.modules.push(Module { file, string });
        }
    })?;
    let module = |name: &str, bytes: &[u8], string: &str| {
        let (length, sum) = (bytes.len(), checksum(bytes));
        format!("module {length} bytes, sum {sum:016x}: /boot/modules/{name}: {string}\n")
    };
    let lines = [
        module("plain.bin", &plain, "from the root"),
        module("packed.bin", &other, "the packed one"),
        module("plain.bin", &plain, "of the entry"),
        module("packed.bin", &packed, "of the entry"),
    ];
    okay(
        &Machine::new(&image.path()),
        &lines.each_ref().map(String::as_str),
    )
}

/// Boots the test kernel with these arguments of QEMU, and looks at what it draws.
fn draws(revision: u64, arguments: &[&str], size: (usize, usize), expected: &[&str]) -> Result<()> {
    let image = Kernel::new()?
        .revision(revision)?
        .image_with(|recipe| recipe.command_line = "stay".into())?;
    let machine = Machine::new(&image.path()).arguments(arguments);
    let mut running = machine.start()?;
    let transcript = running.wait_for_one_of(&["OKAY\n", "FAILED\n", "\npress a key"])?;
    ensure!(!transcript.contains("FAILED"), "{transcript}");
    contains(&transcript, expected)?;
    running.picture()?.is_test_card(size.0, size.1)
}

/// QEMU's adapters share SeaBIOS; each has its own modes.
#[test]
fn a_framebuffer() -> Result<()> {
    let usual = (1024, 768);
    let line = "framebuffer 1024 by 768, 32 bits, pitch 4096, ";
    draws(
        3,
        &[],
        (1280, 800),
        &[
            "framebuffer 1280 by 800, 32 bits, pitch 5120, ",
            " 128 bytes of EDID\n",
        ],
    )?;
    draws(6, &["-vga", "vmware"], usual, &[line, " 0 bytes of EDID\n"])?;
    draws(0, &["-vga", "qxl"], usual, &[line])?;
    draws(1, &["-vga", "virtio"], usual, &[line])?;
    draws(
        4,
        &["-vga", "cirrus"],
        usual,
        &["framebuffer 1024 by 768, 24 bits, pitch 3072, "],
    )
}

/// No monitor that reports what it prefers; little memory; and adapters that are not VGA.
#[test]
fn other_framebuffers() -> Result<()> {
    let none = ["-vga", "none", "-device"];
    let with = |device| [&none[..], &[device]].concat();
    draws(
        3,
        &with("VGA,edid=off"),
        (1024, 768),
        &[" 0 bytes of EDID\n"],
    )?;
    draws(3, &with("VGA,vgamem_mb=1"), (800, 600), &["16 bits"])?;
    draws(
        3,
        &with("VGA,xres=1600,yres=900"),
        (1600, 900),
        &["32 bits"],
    )?;
    let text = " 5 console  COM1, the BIOS's screen";
    draws(
        5,
        &with("bochs-display"),
        (1280, 800),
        &[text, " modes, 128 bytes of EDID\n"],
    )?;
    draws(
        2,
        &with("ramfb"),
        (1024, 768),
        &[text, " 0 bytes of EDID\n"],
    )
}

/// If a mode cannot be set, the next one is taken. If none can be set, there is no framebuffer, and
/// text again.
#[test]
fn modes_that_cannot_be_set() -> Result<()> {
    let two = bad_modes(2)?;
    let option = two.path().to_str().context("a path of text")?;
    // 1280 by 800 with 32 bits fails, then with 24.
    draws(3, &["-option-rom", option], (1280, 800), &["16 bits"])?;
    let image = Kernel::new()?.image_with(|recipe| recipe.command_line = "stay".into())?;
    let all = bad_modes(0xFF)?;
    let machine = Machine::new(&image.path()).arguments(["-option-rom".as_ref(), all.path()]);
    let mut running = machine.start()?;
    let transcript = running.wait_for_one_of(&["OKAY\n", "FAILED\n", "\npress a key"])?;
    ensure!(!transcript.contains("FAILED"), "{transcript}");
    contains(&transcript, &["no framebuffer\n", "0x0000fd3e8000 1\n"])?;
    running.picture()?.is_text()
}

/// A machine without an adapter, and one whose adapter has no BIOS.
#[test]
fn no_framebuffer() -> Result<()> {
    let image = Kernel::new()?.image()?;
    for arguments in [
        &["-vga", "none"][..],
        &["-vga", "none", "-device", "VGA,romfile="],
    ] {
        let machine = Machine::new(&image.path()).arguments(arguments);
        okay(&machine, &["no framebuffer\n"])?;
    }
    // A kernel that does not ask for one, on a machine that has one.
    let image = Kernel::new()?
        .without(&FRAMEBUFFER)?
        .image_with(|recipe| recipe.command_line = "stay".into())?;
    let mut running = Machine::new(&image.path()).start()?;
    let transcript = running.wait_for("OKAY\n")?;
    contains(&transcript, &["no framebuffer\n"])?;
    running.wait_for_screen("12 handoff  to FFFFFFFF80")
}

#[test]
fn every_base_revision() -> Result<()> {
    for revision in 0..=6 {
        let image = Kernel::new()?.revision(revision)?.image()?;
        let line = format!("limine kernel, base revision {revision}\n");
        okay(&Machine::new(&image.path()), &[&line])?;
    }
    Ok(())
}

#[test]
fn four_processors() -> Result<()> {
    for revision in [0, 3, 6] {
        let image = Kernel::new()?.revision(revision)?.image()?;
        let machine = Machine::new(&image.path()).arguments(["-smp", "4"]);
        okay(&machine, &["4 processors, x2APIC false\n"])?;
    }
    Ok(())
}

#[test]
fn x2apic_where_the_cpu_has_it() -> Result<()> {
    let image = Kernel::new()?.revision(6)?.x2apic()?.image()?;
    let machine = Machine::new(&image.path());
    okay(
        &machine.clone().arguments(["-smp", "2"]),
        &["2 processors, x2APIC"],
    )
}

#[test]
fn five_levels_of_page_tables() -> Result<()> {
    for revision in [0, 3] {
        let kernel = Kernel::new()?.revision(revision)?;
        let image = kernel.paging([1, 1, 0])?.image()?;
        let machine = Machine::new(&image.path());
        let both = machine.clone().arguments(["-cpu", "max", "-smp", "2"]);
        okay(&both, &["5 levels of page tables\n", "2 processors"])?;
        okay(&machine, &["4 levels of page tables\n"])?;
    }
    refused(
        &Kernel::new()?.paging([1, 1, 1])?,
        "error 10Z: the kernel asks for what a Limine kernel cannot get here: paging modes 1 to 1",
    )
}

#[test]
fn a_position_independent_kernel_without_markers() -> Result<()> {
    let image = Kernel::position_independent()?.image()?;
    okay(
        &Machine::new(&image.path()),
        &["kernel at 0xffffffff80000000"],
    )
}

/// In a group of their own each, so that the kernel has to become one piece.
#[test]
fn many_segments() -> Result<()> {
    let elf = Elf::read(&Kernel::new()?.0)?;
    let own = elf.program_headers.len();
    let elf = (0..100).fold(elf, |elf, number| {
        let address = 0xFFFF_FFFF_8080_0000 + 0x21_0000 * number;
        elf.with(ProgramHeader::load(R, address, noise(100), 5000))
    });
    okay(
        &Machine::new(&Kernel(elf.build()).image()?.path()).arguments(["-m", "1024M"]),
        &[&format!("10 kernel   ELF64, {} segments, ", own + 100)],
    )
}

#[test]
fn memory_above_4_gib() -> Result<()> {
    for revision in [0, 3] {
        let image = Kernel::new()?.revision(revision)?.image()?;
        let machine = Machine::new(&image.path()).arguments(["-m", "6144M"]);
        okay(&machine, &["0x000100000000"])?;
    }
    Ok(())
}

/// From a CD. And with checksums, which the modules and the loaded parts of the kernel must have.
#[test]
fn a_cd_with_checksums() -> Result<()> {
    let stage1_cd = stage1_cd()?;
    let image = Kernel::new()?.image_with(|recipe| {
        recipe.command_line = "optical".into();
        recipe.stage1_cd = Some(stage1_cd);
        recipe.checksums = true;
    })?;
    okay(
        &Machine::new(&image.path()).disk(Disk::CdIde),
        &["command line: optical\n"],
    )
}

/// The builder found no requests in the kernel of the image. A Limine kernel that is copied over it is
/// searched all the same; and the other way round.
#[test]
fn another_kernel_is_copied_over_it() -> Result<()> {
    const PATH: &str = "/boot/kernel.elf";
    let limine = Kernel::new()?;
    let image = limine.image_with(|recipe| recipe.checksums = true)?;
    okay(
        &Machine::new(&image.path()),
        &["kernel at 0xffffffff80000000"],
    )?;
    let plain = Elf::halting().build();
    image.put(PATH, &plain)?;
    Machine::new(&image.path())
        .start()?
        .wait_for("12 handoff")?;

    let mut file = tempfile::NamedTempFile::new()?;
    std::io::Write::write_all(&mut file, &plain)?;
    let image = Image::build(file.path(), |_, _| {})?;
    Machine::new(&image.path())
        .start()?
        .wait_for("12 handoff")?;
    image.put(PATH, &limine.0)?;
    // It asks for a module that this image does not have; that it was recognised is enough.
    Machine::new(&image.path())
        .start()?
        .wait_for("Limine protocol, base revision 3")?;
    Ok(())
}

/// Bochs' BIOS has started the other processors itself before, and some of Bochs' CPUs have an
/// x2APIC.
#[test]
fn another_pc() -> Result<()> {
    let kernel = Kernel::new()?.revision(6)?.x2apic()?;
    let image = kernel.image()?;
    for (cpu, processors, x2apic) in [
        ("core2_penryn_t9600", 1, false),
        ("corei7_haswell_4770", 2, true),
    ] {
        let machine = Bochs::new(&image.path())
            .cpu(cpu)
            .processors(processors)
            .time_limit(Duration::from_secs(300));
        let mut running = machine.start()?;
        let transcript = running.wait_for_one_of(&["OKAY\n", "FAILED\n", "\npress a key"])?;
        ensure!(!transcript.contains("FAILED"), "{transcript}");
        let line = format!("{processors} processors, x2APIC {x2apic}\n");
        // Its BIOS has modes, but on this display only modes with a palette.
        contains(&transcript, &[&line, "no framebuffer\n", "OKAY\n"])?;
    }
    Ok(())
}

#[test]
fn rules_that_are_broken_have_a_name() -> Result<()> {
    // Two requests for a device tree are duplicates, although there is no response to them.
    let twice = Kernel::new()?.with(&RSDP, 2, DTB[2])?.with(
        &[COMMON[0], COMMON[1], DTB[2], RSDP[3]],
        3,
        DTB[3],
    )?;
    refused_by_both(
        &twice,
        "error 10X: the kernel's Limine requests make no sense: twice: at 0xffffffff8",
    )?;
    let kernel = Kernel::new()?;
    let markers = kernel
        .clone()
        .with(&START, 0, END[0])?
        .with(&[END[0], START[1]], 1, END[1])?;
    // The first end marker is in front of everything: no request counts, but it is a Limine kernel.
    ensure!(markers.image().is_ok(), "an empty range is no error");
    refused_by_both(
        &kernel.revision(7)?,
        "error 10Y: the kernel wants an unknown base revision of the Limine protocol: revision 7, known are 0 to 6",
    )
}

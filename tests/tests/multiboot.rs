//! Kernels with a Multiboot header boot, in every form that such a kernel may have. A kernel that
//! asks for something impossible is refused by name. The kernels themselves check what they are
//! given: `tests/programs/src/multiboot/kernel/main.rs`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use disk_builder::image::{Module, Recipe, find_kernel};
use disk_builder::run::{EXIT_OKAY, Ending};
use disk_builder::stages;
use disk_builder::{Protocol, Road};
use disk_layout::SECTOR_SIZE;
use machine_tests::checksum::checksum;
use machine_tests::elf::{Elf, ProgramHeader, R, noise, objcopy};
use machine_tests::image::{Image, bad_modes, test_program_file};
use machine_tests::machine::{Bochs, Disk, Machine, Running};
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Endianness, elf};

const MAGIC_1: u32 = 0x1BAD_B002;
const MAGIC_2: u32 = 0xE852_50D6;
/// The address that the test kernel is linked for, and the offset of its headers.
const LINKED: u32 = 0x10_0000;
/// An unknown tag of the test kernel, which tests replace, and its length.
const SPARE: u32 = 0xB007 | OPTIONAL;
const SPARE_BYTES: usize = 56;
/// `optional`, in the first word of a tag.
const OPTIONAL: u32 = 1 << 16;

/// The ELF64 file of a program of `tests/programs`.
fn program(name: &str) -> Result<Vec<u8>> {
    Ok(fs::read(test_program_file(name)?)?)
}

/// The first place of these bytes.
fn find(file: &[u8], bytes: &[u8]) -> Result<usize> {
    let found = file.windows(bytes.len()).position(|window| window == bytes);
    found.context("not in the file")
}

fn find_word(file: &[u8], word: u32) -> Result<usize> {
    find(file, &word.to_le_bytes())
}

fn put(file: &mut [u8], at: usize, words: &[u32]) {
    for (word, place) in words.iter().zip(file[at..].chunks_exact_mut(4)) {
        place.copy_from_slice(&word.to_le_bytes());
    }
}

/// Replaces the spare tag by these, and fills what remains.
fn with_tags(mut file: Vec<u8>, tags: &[u32]) -> Result<Vec<u8>> {
    let at = find_word(&file, SPARE)?;
    put(&mut file, at, tags);
    let used = (4 * tags.len()).next_multiple_of(8);
    let rest = SPARE_BYTES - used;
    if rest > 0 {
        put(&mut file, at + used, &[SPARE, rest as u32]);
    }
    Ok(file)
}

/// Removes the header of version 2, for which the loader looks first.
fn only_version_1(mut file: Vec<u8>) -> Result<Vec<u8>> {
    let at = find_word(&file, MAGIC_2)?;
    put(&mut file, at, &[0]);
    Ok(file)
}

/// The flags of a header of version 1.
fn with_flags(mut file: Vec<u8>, change: impl FnOnce(u32) -> u32) -> Result<Vec<u8>> {
    let at = find_word(&file, MAGIC_1)?;
    let flags = u32::from_le_bytes(file[at + 4..at + 8].try_into()?);
    let flags = change(flags);
    put(
        &mut file,
        at + 4,
        &[flags, 0_u32.wrapping_sub(MAGIC_1.wrapping_add(flags))],
    );
    Ok(file)
}

/// The entry point, and the ends in memory of what is in the file and of all.
fn addresses(file: &[u8]) -> Result<[u32; 3]> {
    let elf = ElfFile64::<Endianness>::parse(file)?;
    let endian = elf.endian();
    let loads = elf
        .elf_program_headers()
        .iter()
        .filter(|load| load.p_type(endian) == elf::PT_LOAD);
    let last = loads.max_by_key(|load| load.p_paddr(endian));
    let last = last.context("nothing is loaded")?;
    let start = last.p_paddr(endian);
    let ends = [
        elf.elf_header().e_entry(endian),
        start + last.p_filesz(endian),
        start + last.p_memsz(endian),
    ];
    let [entry, file_end, end] = ends.map(u32::try_from);
    Ok([entry?, file_end?, end?])
}

/// An image with this kernel, a command line and two modules.
fn image(kernel: &[u8], change: impl FnOnce(&mut Recipe, &Path)) -> Result<Image> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("kernel");
    fs::write(&path, kernel)?;
    Image::build(&path, |recipe, directory| {
        recipe.command_line = "root=/dev/sda  two spaces".into();
        for (name, length, string) in [("first", 12, "the text of one"), ("second", 100_001, "")] {
            let file = directory.join(name);
            // If this fails, the builder reports that the file is missing.
            let _ = fs::write(&file, noise(length));
            recipe.modules.push(Module {
                file,
                string: string.into(),
            });
        }
        change(recipe, directory);
    })
}

/// Checks that the test kernel is content, and that it reports what the image holds.
fn content(mut running: Running, version: u32, ends: bool) -> Result<String> {
    let transcript = running.wait_for_one_of(&["OKAY\r\n", "OKAY\n", "FAIL\r\n", "FAIL\n"])?;
    ensure!(!transcript.contains("FAIL"), "{transcript}");
    if ends {
        let ending = running.wait()?;
        ensure!(
            ending == Ending::Guest(EXIT_OKAY),
            "{ending:?}\n{transcript}"
        );
    }
    let module = |length, text: &str| {
        let sum = checksum(&noise(length));
        format!("module {length} bytes, sum {sum:016x}: {text}\n")
    };
    for line in [
        format!("10 kernel   Multiboot {version}, "),
        format!(
            "multiboot {version} by Bootpath {}\n",
            env!("CARGO_PKG_VERSION")
        ),
        "command line: /boot/kernel.elf root=/dev/sda  two spaces\n".into(),
        module(12, "/boot/modules/first the text of one"),
        module(100_001, "/boot/modules/second"),
        "drive 80 0 ff".into(),
    ] {
        ensure!(transcript.contains(&line), "no {line:?} in\n{transcript}");
    }
    Ok(transcript)
}

fn contains(transcript: &str, lines: &[&str]) -> Result<()> {
    for line in lines {
        ensure!(transcript.contains(line), "no {line:?} in\n{transcript}");
    }
    Ok(())
}

/// Boots the test kernel in 256 MiB of memory that is not zero.
fn boot(kernel: &[u8], version: u32) -> Result<String> {
    let image = image(kernel, |_, _| {})?;
    let mut dirt = tempfile::NamedTempFile::new()?;
    std::io::Write::write_all(&mut dirt, &[0xA5; 8 << 20])?;
    let machine = Machine::new(&image.path()).arguments([
        "-device".into(),
        format!(
            "loader,file={},addr=0x100000,force-raw=on",
            dirt.path().display()
        ),
    ]);
    let transcript = content(machine.start()?, version, true)?;
    contains(
        &transcript,
        &[
            "screen b8000 80 25\n",
            "memory 639 KiB and ",
            "memory 0 9fc00 1\n",
        ],
    )?;
    Ok(transcript)
}

#[test]
fn version_2_elf64() -> Result<()> {
    let transcript = boot(&program("multiboot-kernel")?, 2)?;
    contains(
        &transcript,
        &[
            "Multiboot 2, ELF64, 2 segments",
            "section .symtab ",
            "section .debug_info ",
            "apm 102\n",
            "rsdp 1 ",
            "smbios ",
        ],
    )
}

#[test]
fn version_2_elf32() -> Result<()> {
    let kernel = objcopy(&program("multiboot-kernel")?, &["-O", "elf32-i386"])?;
    let transcript = boot(&kernel, 2)?;
    contains(
        &transcript,
        &["Multiboot 2, 32 bits, 2 segments", "section .strtab "],
    )
}

#[test]
fn version_2_by_the_header_s_addresses() -> Result<()> {
    let kernel = program("multiboot-kernel")?;
    let [entry, file_end, end] = addresses(&kernel)?;
    let flat = objcopy(&kernel, &["-O", "binary"])?;
    for (load, file_end) in [(LINKED, file_end), (u32::MAX, 0)] {
        let tags = [2, 24, LINKED, load, file_end, end, 3, 12, entry, 0];
        let transcript = boot(&with_tags(flat.clone(), &tags)?, 2)?;
        contains(&transcript, &["1 segments", "no sections\n"])?;
    }
    Ok(())
}

/// The builder knows that the kernel of the image has no header, or one of version 1 only. Another
/// kernel that is copied over it is searched all the same.
#[test]
fn another_kernel_is_copied_over_it() -> Result<()> {
    let both = program("multiboot-kernel")?;
    let one = only_version_1(both.clone())?;
    let plain = Elf::halting().build();
    for (built, copied, version) in [(&plain, &both, 2), (&plain, &one, 1), (&one, &both, 2)] {
        let image = image(built, |recipe, _| recipe.checksums = true)?;
        image.put("/boot/kernel.elf", copied)?;
        content(Machine::new(&image.path()).start()?, version, true)
            .with_context(|| format!("version {version}"))?;
    }
    Ok(())
}

#[test]
fn version_1_elf64() -> Result<()> {
    let transcript = boot(&only_version_1(program("multiboot-kernel")?)?, 1)?;
    contains(&transcript, &["section .symtab ", "flags 126f\n"])
}

/// If the kernel has both headers, the entry decides which one counts.
#[test]
fn version_1_because_the_entry_says_so() -> Result<()> {
    let image = image(&program("multiboot-kernel")?, |_, _| {})?;
    let configuration = "options root=/dev/sda  two spaces\n\
                         module /boot/modules/first the text of one\n\
                         module /boot/modules/second\n\
                         protocol multiboot1\n";
    image.put("/boot/kernel.conf", configuration.as_bytes())?;
    content(Machine::new(&image.path()).start()?, 1, true).map(drop)
}

#[test]
fn version_1_elf32() -> Result<()> {
    let kernel = objcopy(&program("multiboot-kernel")?, &["-O", "elf32-i386"])?;
    let transcript = boot(&only_version_1(kernel)?, 1)?;
    contains(&transcript, &["Multiboot 1, 32 bits", "section .strtab "])
}

#[test]
fn version_1_by_the_header_s_addresses() -> Result<()> {
    let kernel = program("multiboot-kernel")?;
    let [entry, file_end, end] = addresses(&kernel)?;
    let mut flat = only_version_1(objcopy(&kernel, &["-O", "binary"])?)?;
    let at = find_word(&flat, MAGIC_1)?;
    let header = LINKED + at as u32;
    put(&mut flat, at + 12, &[header, LINKED, file_end, end, entry]);
    let transcript = boot(&with_flags(flat, |flags| flags | 1 << 16)?, 1)?;
    contains(
        &transcript,
        &["1 segments", "no sections\n", "flags 124f\n"],
    )
}

/// The kernel compares its address with what it is told.
#[test]
fn relocatable_kernels() -> Result<()> {
    const MIB: u32 = 1 << 20;

    let kernel = program("multiboot-kernel")?;
    for (min, max, align, preference, place) in [
        (4 * MIB, 64 * MIB, 4096, 0, "at 400000h"),
        (5 * MIB + 1, u32::MAX, 2 * MIB, 1, "at 600000h"),
        (0, 32 * MIB, MIB, 2, "at 1F00000h"),
    ] {
        let tag = [10, 24, min, max, align, preference];
        let image = image(&with_tags(kernel.clone(), &tag)?, |_, _| {})?;
        let mut running = Machine::new(&image.path()).start()?;
        let transcript = running.okay()?;
        contains(&transcript, &[place])?;
    }
    Ok(())
}

/// A disk other than AHCI, and a machine without ACPI and with more than 4 GiB.
#[test]
fn other_machines() -> Result<()> {
    let kernel = program("multiboot-kernel")?;
    let direct = image(&kernel, |recipe, _| recipe.road = Road::Direct)?;
    let machine = Machine::new(&direct.path()).disk(Disk::Ide);
    content(machine.clone().start()?, 2, true)?;
    let without = machine.arguments(["-machine", "pc,acpi=off", "-m", "5G"]);
    let transcript = content(without.start()?, 2, true)?;
    contains(&transcript, &["memory 100000000 180000000 1\n"])?;
    let old = image(&only_version_1(kernel)?, |_, _| {})?;
    let machine = Machine::new(&old.path()).arguments(["-cpu", "max", "-m", "32M"]);
    content(machine.start()?, 1, true)?;
    Ok(())
}

/// The test kernel with these console flags, and a framebuffer tag.
fn with_framebuffer(console: u32, flags: u32, mode: [u32; 3]) -> Result<Vec<u8>> {
    let mut kernel = program("multiboot-kernel")?;
    let words = [4_u32, 12, 3, 0].map(u32::to_le_bytes).concat();
    let at = find(&kernel, &words)?;
    put(&mut kernel, at + 8, &[console]);
    let [width, height, depth] = mode;
    with_tags(kernel, &[5 | flags, 20, width, height, depth, 0])
}

/// The test kernel with only a header of version 1, which asks for this mode.
fn with_graphics_1(mode: [u32; 3]) -> Result<Vec<u8>> {
    let mut kernel = only_version_1(program("multiboot-kernel")?)?;
    let at = find_word(&kernel, MAGIC_1)?;
    let [width, height, depth] = mode;
    put(&mut kernel, at + 32, &[0, width, height, depth]);
    Ok(kernel)
}

/// Boots a kernel that leaves on the screen what it draws.
fn started(kernel: &[u8], arguments: &[&str]) -> Result<(Running, String)> {
    let image = image(kernel, |recipe, _| recipe.command_line = "stay".into())?;
    let machine = Machine::new(&image.path()).arguments(arguments);
    let mut running = machine.start()?;
    let transcript = running.wait_for_one_of(&["OKAY\n", "FAIL\n", "\npress a key"])?;
    contains(&transcript, &["OKAY\n"])?;
    Ok((running, transcript))
}

/// Checks that a kernel gets this mode.
fn draws(kernel: &[u8], arguments: &[&str], mode: [usize; 3]) -> Result<()> {
    let [width, height, depth] = mode;
    let (running, transcript) = started(kernel, arguments)?;
    let line = format!(", {width} by {height}, {depth} bits, pitch ");
    contains(&transcript, &[&line, "VBE mode 4"])?;
    running.picture()?.is_test_card(width, height)
}

/// Checks that a kernel gets text.
fn writes(kernel: &[u8], arguments: &[&str]) -> Result<()> {
    let (running, transcript) = started(kernel, arguments)?;
    contains(&transcript, &["screen b8000 80 25\n"])?;
    running.picture()?.is_text()
}

const USUAL: [u32; 3] = [1024, 768, 32];

/// The flags of the console tag: required, text.
#[test]
fn graphics_of_version_2() -> Result<()> {
    let (required, text) = (1, 2);
    draws(&with_framebuffer(0, 0, USUAL)?, &[], [1024, 768, 32])?;
    let kernel = with_framebuffer(text, OPTIONAL, [800, 600, 16])?;
    draws(&kernel, &["-vga", "vmware"], [800, 600, 16])?;
    let kernel = with_framebuffer(required, OPTIONAL, [1000, 700, 15])?;
    draws(&kernel, &["-vga", "qxl"], [800, 600, 15])?;
    let kernel = with_framebuffer(required, 0, [0, 0, 0])?;
    draws(&kernel, &["-vga", "virtio"], [1024, 768, 32])?;
    draws(
        &with_framebuffer(required, 0, USUAL)?,
        &["-vga", "cirrus"],
        [1024, 768, 24],
    )?;
    // This is a text mode only if there is text.
    writes(&with_framebuffer(text, 0, [800, 600, 0])?, &[])?;
    draws(&with_framebuffer(0, 0, [800, 600, 0])?, &[], [800, 600, 32])
}

#[test]
fn graphics_of_version_1() -> Result<()> {
    draws(&with_graphics_1(USUAL)?, &[], [1024, 768, 32])?;
    draws(
        &with_graphics_1([640, 480, 24])?,
        &["-vga", "cirrus"],
        [640, 480, 24],
    )?;
    let display = ["-vga", "none", "-device", "bochs-display"];
    draws(&with_graphics_1([0, 0, 0])?, &display, [1280, 800, 32])
}

/// Without an adapter, or if no mode can be set, the kernel gets text if it accepts that.
#[test]
fn no_graphics() -> Result<()> {
    let rom = bad_modes(0xFF)?;
    let bad = [
        "-option-rom",
        rom.path().to_str().context("a path of text")?,
    ];
    let none = ["-vga", "none"];
    writes(&with_framebuffer(3, 0, USUAL)?, &bad)?;
    writes(&with_graphics_1(USUAL)?, &bad)?;

    let wanted = "a graphics mode, 1024 by 768, 32 bits";
    let graphics = with_framebuffer(0, 0, USUAL)?;
    refused(&graphics, &none, "10T", &[wanted])?;
    refused(&graphics, &bad, "10T", &[wanted])?;
    // The screen shows the error, because it is in text mode again.
    let image = image(&graphics, |_, _| {})?;
    let mut running = Machine::new(&image.path()).arguments(bad).start()?;
    running.wait_for_screen("error 10T: the kernel requires what the loader does not have: a g")?;
    running.picture()?.is_text()?;

    let console = "a console, and there is no screen";
    refused(
        &with_framebuffer(3, OPTIONAL, USUAL)?,
        &none,
        "10T",
        &[console],
    )?;
    refused(&with_graphics_1(USUAL)?, &none, "10T", &[console])
}

#[test]
fn in_bochs() -> Result<()> {
    let kernel = program("multiboot-kernel")?;
    for (kernel, version) in [(kernel.clone(), 2), (only_version_1(kernel)?, 1)] {
        let image = image(&kernel, |_, _| {})?;
        content(Bochs::new(&image.path()).start()?, version, false)?;
    }
    // The adapter has modes, but on this display only modes with a palette.
    let image = image(&with_framebuffer(0, 0, USUAL)?, |_, _| {})?;
    let mut running = Bochs::new(&image.path()).start()?;
    let transcript = running.wait_for("press a key to reboot")?;
    let error = "error 10T: the kernel requires what the loader does not have: ";
    contains(
        &transcript,
        &[error, "a graphics mode, 1024 by 768, 32 bits"],
    )?;
    Ok(())
}

/// A tutorial's first kernel, as ELF64 and as ELF32: green `OKAY` in the corner. With a header of
/// version 1 instead, it says that another loader has started it.
#[test]
fn entering_long_mode() -> Result<()> {
    const OKAY: &[u8] = &[0x4F, 0x2F, 0x4B, 0x2F, 0x41, 0x2F, 0x59, 0x2F];
    const ERROR_0: &[u8] = b"E\x4FR\x4FR\x4F:\x4F \x4F0\x4F";

    let kernel = program("entering-long-mode")?;
    let mut other = kernel.clone();
    let at = find_word(&other, MAGIC_2)?;
    put(&mut other, at, &[MAGIC_1, 0, 0_u32.wrapping_sub(MAGIC_1)]);
    for (kernel, expected) in [
        (kernel.clone(), OKAY),
        (objcopy(&kernel, &["-O", "elf32-i386"])?, OKAY),
        (other, ERROR_0),
    ] {
        let image = image(&kernel, |_, _| {})?;
        let mut running = Machine::new(&image.path()).start()?;
        let found = running.wait_for_cells(&[OKAY, ERROR_0])?;
        ensure!([OKAY, ERROR_0][found] == expected, "{found}");
    }
    Ok(())
}

/// ELF32, linked for 3 GiB and loaded at 1 MiB. The entry point is an address where the kernel is
/// loaded.
#[test]
fn a_c_kernel_in_the_higher_half() -> Result<()> {
    let kernel = find_kernel(Some(&stages::workspace().join("examples/multiboot-kernel")))?;
    let image = image(&fs::read(kernel)?, |recipe, _| {
        recipe.command_line = "some words, exit".into();
    })?;
    let mut running = Machine::new(&image.path()).start()?;
    let transcript = running.okay()?;
    contains(
        &transcript,
        &[
            "Multiboot 1, 32 bits, 4 segments",
            "a kernel at c01",
            "command line: /boot/kernel.elf some words, exit\n",
            "module c: /boot/modules/first the text of one\n",
            "module 186a1: /boot/modules/second\n",
            "memory 0 9fc00 available\n",
            "OKAY\n",
        ],
    )
}

/// Checks that the machine ends in this error, with these facts in its line.
fn refused(kernel: &[u8], arguments: &[&str], code: &str, facts: &[&str]) -> Result<()> {
    let image = image(kernel, |recipe, _| recipe.unchecked = true)?;
    let mut running = Machine::new(&image.path()).arguments(arguments).start()?;
    let transcript = running.wait_for("press a key to reboot")?;
    let error = format!("error {code}: ");
    let line = transcript.lines().find(|line| line.contains(&error));
    let line = line.with_context(|| format!("no {error:?} in\n{transcript}"))?;
    for fact in facts {
        ensure!(line.contains(fact), "no {fact:?} in {line:?}");
    }
    Ok(())
}

#[test]
fn what_is_refused() -> Result<()> {
    let kernel = program("multiboot-kernel")?;
    let with = |tags: &[u32]| with_tags(kernel.clone(), tags);
    refused(&with(&[0x99, 8])?, &[], "10T", &["header tag 153"])?;
    refused(&with(&[1, 12, 22, 0])?, &[], "10T", &["type 22"])?;
    // A tag whose size reaches behind the end of the file's head.
    let large = ["tag 6 ", "32768 bytes"];
    refused(&with(&[6, 0x8000])?, &[], "10S", &large)?;
    let console = "a console, and there is no screen";
    refused(&kernel, &["-vga", "none"], "10T", &[console])?;
    let old = only_version_1(kernel.clone())?;
    refused(&old, &["-vga", "none"], "10T", &[console])?;
    let flags = with_flags(old, |flags| flags | 1 << 15)?;
    refused(&flags, &[], "10T", &["flags 0x8000"])
}

/// A wrong bit in a segment, in the ELF headers or in a module has a name, whether the kernel is
/// recognised or its protocol is named.
#[test]
fn what_is_damaged() -> Result<()> {
    let version_1 = Some(Protocol::Multiboot1);
    for (protocol, path, offset, code) in [
        (None, "/boot/kernel.elf", 0x1800, "10Q"),
        // p_align, which does not matter here
        (None, "/boot/kernel.elf", 64 + 48, "10Q"),
        (None, "/boot/modules/second", 100_000, "10R"),
        (version_1, "/boot/kernel.elf", 0x1800, "10Q"),
        (version_1, "/boot/kernel.elf", 64 + 48, "10Q"),
    ] {
        let image = image(&program("multiboot-kernel")?, |recipe, _| {
            recipe.protocol = protocol;
        })?;
        let inspection = image.inspect()?;
        ensure!(inspection.problems.is_empty(), "{:?}", inspection.problems);
        let at = image.first_sector(path)? * SECTOR_SIZE as u64 + offset;
        let byte = image.read(at, 1)?;
        image.write(at, &[byte[0] ^ 0x10])?;
        let mut running = Machine::new(&image.path()).start()?;
        let transcript = running.wait_for("press a key to reboot")?;
        contains(&transcript, &[&format!("error {code}: "), path])?;
        let problems = image.inspect()?.problems;
        ensure!(
            problems.len() == 1 && problems[0].contains(code),
            "{problems:?}"
        );
    }
    Ok(())
}

/// Linkers put the file's headers to the page in front of the code, where the BIOS is: they are left
/// out, and the checksums of the rest are compared.
#[test]
fn headers_below_1_mib() -> Result<()> {
    const HEADERS: u64 = 64 + 3 * 56;
    let mut elf = Elf::read(&program("multiboot-kernel")?)?;
    let headers = ProgramHeader {
        offset: Some(0),
        file_size: Some(HEADERS),
        ..ProgramHeader::load(R, u64::from(LINKED) - 0x1000, Vec::new(), HEADERS)
    };
    elf.program_headers.insert(0, headers);
    let transcript = boot(&elf.build(), 2)?;
    contains(&transcript, &["Multiboot 2, ELF64, 2 segments"])?;
    let transcript = boot(&only_version_1(elf.build_32())?, 1)?;
    contains(&transcript, &["Multiboot 1, 32 bits, 2 segments"])
}

/// Each has its own bytes, zeroes behind them, and a gap in front of the next one; the checksum covers
/// all of them.
#[test]
fn many_segments() -> Result<()> {
    let elf = Elf::read(&program("multiboot-kernel")?)?;
    let own = elf.program_headers.len();
    let with = |count: usize| {
        (0..count as u64).fold(elf.clone(), |elf, number| {
            let address = 0x80_0000 + 0x8000 * number;
            elf.with(ProgramHeader::load(R, address, noise(100), 5000))
        })
    };
    // With more program headers in front of it, the Multiboot header would be too far behind.
    for (version, count) in [(2, 400), (1, 100)] {
        let segments = format!(", {} segments, ", own + count);
        let file = match version {
            2 => with(count).build(),
            _ => only_version_1(with(count).build_32())?,
        };
        contains(&boot(&file, version)?, &[&segments])?;
    }
    Ok(())
}

/// Segments where the BIOS is, or where there is no RAM.
#[test]
fn memory_that_is_not_free() -> Result<()> {
    let kernel = program("multiboot-kernel")?;
    for (address, facts) in [
        (
            0x9_0000,
            &["segment 1, ", "0x9fc00 to 0xa0000 is reserved"][..],
        ),
        (0xF_0000, &["0xf0000 to ", " is reserved"]),
        (0x4000_0000, &["0x40000000 to ", "no RAM"]),
        (0xFFFF_F000, &["at 0xfffff000, ", "beyond 4 GiB"]),
    ] {
        let mut moved = Elf::read(&kernel)?;
        let distance = u64::wrapping_sub(address, LINKED.into());
        for load in &mut moved.program_headers {
            load.physical_address = load.physical_address.wrapping_add(distance);
        }
        refused(&moved.build(), &[], "10U", facts)?;
    }
    Ok(())
}

//! Functions of stage2, and of the way in by Multiboot, some bytes further: nothing that assembly relies
//! on may depend on where a function happens to lie.
//!
//! The compiler writes the program as assembly, once. In front of a function, bytes are inserted behind
//! its alignment; the assembler in `rustc` and the linker that cargo uses make a program of it, with the
//! same linker script. Each is booted in the ways that lead through the function ([`Scenario`]).
//!
//! What has its place by contract cannot be moved, and the linker script says so: stage2's entry, behind
//! its header.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use disk_builder::image::Module;
use disk_builder::run::{EXIT_OKAY, Ending};
use disk_builder::stages::{self, Program, STAGE1_MULTIBOOT, STAGE2, Stages};
use disk_builder::{Road, multiboot};
use disk_layout::SECTOR_SIZE;
use tempfile::TempDir;

use crate::elf::{Elf, noise};
use crate::image::{Defect, Image, bad_bios, small_kernel, test_program, test_program_file};
use crate::linux::{check_kernel, put};
use crate::machine::{Disk, Machine, Running};

/// The most bytes that a function is shifted by: behind those, all alignments come again.
pub const MOST: usize = 15;

/// A way to boot that leads through some of the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// The demo kernel ends with success.
    Okay,
    /// The same, by the direct road to long mode, and with A20 off at first.
    Direct,
    /// A kernel executes UD2: 12A.
    KernelFault,
    /// A BIOS spoils the loader's stack: 5A.
    LoaderFault,
    /// A BIOS executes UD2: 4A.
    RealModeFault,
    /// The gate executes UD2 in protected mode: 4A.
    FaultBetweenModes,
    /// The last byte of stage2 is wrong: 1C, by the CPU's instruction and by the table.
    Damaged,
    /// A CPU without long mode: 3B.
    NoLongMode,
    /// A boot sector is started.
    Chain,
    /// Linux by each of its entries.
    Linux,
    /// A Limine kernel with two processors, with five levels of page tables and with four.
    Limine,
    /// The demo kernel once more, started by QEMU through Multiboot.
    ByMultiboot,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Okay,
        Self::Direct,
        Self::KernelFault,
        Self::LoaderFault,
        Self::RealModeFault,
        Self::FaultBetweenModes,
        Self::Damaged,
        Self::NoLongMode,
        Self::Chain,
        Self::Linux,
        Self::Limine,
        Self::ByMultiboot,
    ];

    /// Those that lead through a function, which is known by its path.
    pub fn through(function: &str) -> Vec<Self> {
        use Scenario::*;

        const MODULES: [(&str, &[Scenario]); 12] = [
            ("switch::", &[Okay, KernelFault, LoaderFault]),
            ("bios::", &[Okay, FaultBetweenModes]),
            ("exceptions::", &[RealModeFault, FaultBetweenModes]),
            ("long_mode::", &[Okay, Direct, FaultBetweenModes]),
            ("leave::", &[Chain, Linux]),
            ("report::", &[NoLongMode]),
            ("limine::", &[Limine]),
            ("take_over::", &[Okay, NoLongMode, ByMultiboot]),
            ("self_check::", &[Okay, Damaged]),
            ("a20::", &[Okay, Direct]),
            ("cpu::", &[Okay, NoLongMode]),
            ("stage1_multiboot::", &[ByMultiboot]),
        ];
        let module = MODULES.iter().find(|(module, _)| function.contains(module));
        module.map_or(vec![Okay], |(_, scenarios)| scenarios.to_vec())
    }
}

/// A function of a program in assembly.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its path, as in the source.
    pub name: String,
    /// The line with its label.
    line: usize,
    /// Is it one of the naked functions, which consist of assembly in the source, too?
    pub naked: bool,
}

/// A program as the compiler writes it.
pub struct Assembly {
    program: Program<'static>,
    lines: Vec<String>,
    /// The functions that can be moved.
    pub functions: Vec<Function>,
    /// The line with the label of the one that cannot, if there is one.
    entry: Option<usize>,
}

impl Assembly {
    /// Has the compiler write a program.
    ///
    /// # Errors
    /// When that fails.
    pub fn of(program: Program<'static>) -> Result<Self> {
        let directory = stages::workspace().join("target/shifted");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for variable in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_RUSTFLAGS",
        ] {
            cargo.env_remove(variable);
        }
        cargo
            .current_dir(stages::workspace())
            .env("CARGO_TARGET_DIR", &directory)
            .args(["--config", program.config])
            .args(["rustc", "--release", "--quiet", "--features", "bare-metal"])
            .args(["--target", target()?, "--package", program.package])
            .args(["--bin", program.bin, "--"])
            .args(["--emit", "asm,link", "-C", "debuginfo=0"]);
        run(&mut cargo)?;
        let built = directory.join(target()?).join("release/deps");
        let start = format!("{}-", program.bin.replace('-', "_"));
        let mut files = Vec::new();
        for entry in fs::read_dir(built)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let hash = name.strip_prefix(&start).or_else(|| {
                name.strip_prefix(program.bin)
                    .and_then(|name| name.strip_prefix('-'))
            });
            if hash.is_some_and(|hash| hash.ends_with(".s") && !hash.contains('-')) {
                files.push((fs::metadata(&path)?.modified()?, path));
            }
        }
        let (_, newest) = files.into_iter().max().context("no assembly")?;
        Ok(Self::new(program, &fs::read_to_string(newest)?))
    }

    fn new(program: Program<'static>, text: &str) -> Self {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut kinds = BTreeMap::new();
        let mut section = "";
        for line in &lines {
            let line = line.trim();
            if let Some(name) = line.strip_prefix(".section\t") {
                section = name.split(',').next().unwrap_or_default();
            }
            let symbol = line
                .strip_prefix(".type\t")
                .and_then(|line| line.strip_suffix(",@function"));
            if let Some(symbol) = symbol {
                kinds.insert(symbol, section);
            }
        }
        let (mut functions, mut entry) = (Vec::new(), None);
        for (number, line) in lines.iter().enumerate() {
            let Some((symbol, section)) = line
                .strip_suffix(':')
                .and_then(|symbol| Some((symbol, *kinds.get(symbol)?)))
            else {
                continue;
            };
            // Its place is a contract.
            if section == ".entry" {
                entry = Some(number);
                continue;
            }
            let mut name = format!("{:#}", rustc_demangle::demangle(symbol));
            let way_in = "stage1_multiboot::";
            if program.bin == STAGE1_MULTIBOOT.bin && !name.starts_with(way_in) {
                name.insert_str(0, way_in);
            }
            // Only lines of assembly in the source have rows there, of which the first one is next.
            let mut next = lines[number + 1..].iter().take(2);
            functions.push(Function {
                name,
                line: number,
                naked: next.any(|line| line.contains(".section\t.asm_lines,")),
            });
        }
        Self {
            program,
            functions,
            entry,
            lines: lines.clone(),
        }
    }

    /// The program with its entry so many bytes further.
    ///
    /// # Errors
    /// Always, if all is well: the linker script says that the entry has its place.
    pub fn with_entry_shifted(&self, directory: &Path, bytes: usize) -> Result<PathBuf> {
        let entry = self.entry.context("no entry")?;
        self.with_room(directory, &[(entry, bytes)])
    }

    /// The program with each function as many bytes further as `shift` says, by the function's place in
    /// the list.
    ///
    /// # Errors
    /// When it cannot be assembled or linked: the linker script says why.
    pub fn shifted(&self, directory: &Path, shift: impl Fn(usize) -> usize) -> Result<PathBuf> {
        let functions = self.functions.iter().enumerate();
        let room: Vec<_> = functions
            .map(|(place, function)| (function.line, shift(place)))
            .collect();
        self.with_room(directory, &room)
    }

    /// The program with bytes in front of lines, whose numbers ascend.
    fn with_room(&self, directory: &Path, room: &[(usize, usize)]) -> Result<PathBuf> {
        let mut lines = self.lines.clone();
        for &(line, bytes) in room.iter().rev() {
            lines.insert(line, format!("\t.skip {bytes}, 0xCC"));
        }
        let source = directory.join("shifted.s");
        fs::write(&source, lines.join("\n") + "\n")?;
        let wrapper = directory.join("shifted.rs");
        fs::write(
            &wrapper,
            "#![no_std]\n\
             core::arch::global_asm!(include_str!(\"shifted.s\"), options(att_syntax, raw));\n",
        )?;
        let object = directory.join("shifted.o");
        run(rustc()
            .args(["--edition", "2024", "--crate-type", "lib", "--emit", "obj"])
            .args(["-C", "panic=abort", "--target", target()?, "-o"])
            .args([&object, &wrapper]))?;

        let libraries = PathBuf::from(output(rustc().args([
            "--print",
            "target-libdir",
            "--target",
            target()?,
        ]))?);
        let mut builtins = Vec::new();
        for entry in fs::read_dir(&libraries)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("libcompiler_builtins-") && name.ends_with(".rlib") {
                builtins.push(path);
            }
        }
        let program = directory.join(self.program.bin);
        run(Command::new(linker()?)
            .current_dir(stages::workspace())
            .args(["-flavor", "gnu", "--gc-sections"])
            .arg(&object)
            .args(builtins)
            .args(linker_arguments(
                &stages::workspace().join(self.program.config),
            )?)
            .arg("-o")
            .arg(&program))?;
        Ok(program)
    }
}

/// What a program's configuration has for the linker, behind what those have that it includes.
///
/// # Errors
/// When one of the files cannot be read, or is no TOML.
pub fn linker_arguments(config: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(config)?;
    let table: toml::Table = text
        .parse()
        .with_context(|| format!("{} is no configuration", config.display()))?;
    let strings = |value: Option<&toml::Value>| {
        let values = value.and_then(toml::Value::as_array).into_iter().flatten();
        let strings = values.filter_map(toml::Value::as_str).map(str::to_owned);
        strings.collect::<Vec<_>>()
    };
    let mut arguments = Vec::new();
    for included in strings(table.get("include")) {
        arguments.extend(linker_arguments(&config.with_file_name(included))?);
    }
    let flags = table.get("target").and_then(|it| it.get("cfg(all())"));
    let flags = strings(flags.and_then(|it| it.get("rustflags")));
    let own = flags.iter().filter_map(|it| it.strip_prefix("-Clink-arg="));
    arguments.extend(own.map(str::to_owned));
    Ok(arguments)
}

fn rustc() -> Command {
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

/// Runs a program that says nothing when all is well.
fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// What a program prints.
fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed: {said}");
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

fn host() -> Result<&'static str> {
    static HOST: OnceLock<Option<String>> = OnceLock::new();
    let host = HOST.get_or_init(|| {
        let text = output(rustc().arg("-vV")).ok()?;
        let host = text.lines().find_map(|line| line.strip_prefix("host: "))?;
        Some(host.to_owned())
    });
    host.as_deref()
        .context("rustc does not say what it runs on")
}

/// As `disk-builder` chooses it.
fn target() -> Result<&'static str> {
    Ok(match host()? {
        host @ ("x86_64-unknown-linux-gnu" | "x86_64-unknown-linux-musl") => host,
        _ => "x86_64-unknown-none",
    })
}

/// The linker that comes with the compiler.
fn linker() -> Result<PathBuf> {
    let sysroot = PathBuf::from(output(rustc().args(["--print", "sysroot"]))?);
    let directory = sysroot.join("lib/rustlib").join(host()?).join("bin");
    Ok(directory.join(format!("rust-lld{}", std::env::consts::EXE_SUFFIX)))
}

/// Both programs, and a place for them.
pub struct Workshop {
    /// stage2.
    pub stage2: Assembly,
    /// The way in by Multiboot.
    pub way_in: Assembly,
    kernel: tempfile::NamedTempFile,
    limine_kernel: Vec<u8>,
}

/// Which functions are shifted, and by how many bytes. Functions go by their places in the lists of both
/// programs, one behind the other.
#[derive(Clone, Copy, Debug)]
pub enum Shift {
    /// One, by 1 to [`MOST`] bytes.
    One(usize, usize),
    /// Each that has this remainder when its place is divided by [`PARTS`]: stage2 has no room for all at
    /// once. They are shifted by different numbers of bytes; in the [`MOST`] shifts with the same remainder,
    /// each is shifted by each number.
    Part(usize, usize),
}

/// See [`Shift::Part`].
pub const PARTS: usize = 8;

impl Shift {
    /// All shifts of parts.
    pub fn parts() -> impl Iterator<Item = Self> {
        (0..MOST).flat_map(|number| (0..PARTS).map(move |part| Self::Part(part, number)))
    }

    /// How many bytes a function is shifted by.
    fn bytes(self, place: usize) -> usize {
        match self {
            Self::One(function, bytes) if function == place => bytes,
            // 7 has no factor in common with 15.
            Self::Part(part, number) if place % PARTS == part => (place * 7 + number) % MOST + 1,
            Self::One(..) | Self::Part(..) => 0,
        }
    }
}

impl Workshop {
    /// Builds what all have in common.
    ///
    /// # Errors
    /// When something does not build.
    pub fn new() -> Result<Self> {
        Ok(Self {
            stage2: Assembly::of(STAGE2)?,
            way_in: Assembly::of(STAGE1_MULTIBOOT)?,
            kernel: small_kernel()?,
            limine_kernel: limine_kernel()?,
        })
    }

    /// All functions, those of stage2 first.
    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.stage2.functions.iter().chain(&self.way_in.functions)
    }

    /// The ways to boot that matter.
    fn scenarios(&self, shift: Shift) -> Vec<Scenario> {
        match shift {
            Shift::One(place, _) => {
                let function = self.functions().nth(place);
                function.map_or_else(Vec::new, |function| Scenario::through(&function.name))
            }
            Shift::Part(..) => Scenario::ALL.to_vec(),
        }
    }

    /// Shifts, and boots what comes of it. Returns in how many ways.
    ///
    /// # Errors
    /// What did not go as it should.
    pub fn run(&self, shift: Shift) -> Result<usize> {
        let directory = tempfile::tempdir()?;
        let count = self.stage2.functions.len();
        let stage2 = self
            .stage2
            .shifted(directory.path(), |place| shift.bytes(place))?;
        let way_in = self
            .way_in
            .shifted(directory.path(), |place| shift.bytes(count + place))?;
        let built = Built {
            stages: Stages {
                stage2,
                ..crate::image::stages()?
            },
            way_in,
            directory,
            workshop: self,
        };
        let scenarios = self.scenarios(shift);
        for &scenario in &scenarios {
            built
                .boot(scenario)
                .with_context(|| format!("{scenario:?}"))?;
        }
        Ok(scenarios.len())
    }

    /// What is shifted, in words.
    pub fn name(&self, shift: Shift) -> impl fmt::Display {
        match shift {
            Shift::One(place, bytes) => match self.functions().nth(place) {
                Some(function) => format!("{} by {bytes}", function.name),
                None => format!("no function {place}"),
            },
            Shift::Part(part, number) => {
                format!("every eighth function from number {part} on, {number}")
            }
        }
    }
}

/// The tests' kernel for the Limine protocol, which takes five levels of page tables where they are to be
/// had, and four otherwise.
fn limine_kernel() -> Result<Vec<u8>> {
    // The request for a paging mode, and its fields: preferred, highest and lowest one.
    const ID: [u64; 2] = [0x95C1_A0ED_AB09_44CB, 0xA4E5_CB38_42F7_488A];
    const FIELDS: usize = 4 * size_of::<u64>();

    let mut kernel = fs::read(test_program_file("limine-kernel")?)?;
    let id = ID.map(u64::to_le_bytes).concat();
    let place = kernel.windows(id.len()).position(|bytes| bytes == id);
    let fields = place.context("no request for a paging mode")? + FIELDS;
    let wish = [1_u64, 1, 0].map(u64::to_le_bytes).concat();
    kernel[fields..][..wish.len()].copy_from_slice(&wish);
    Ok(kernel)
}

/// Shifted programs.
struct Built<'a> {
    stages: Stages,
    way_in: PathBuf,
    directory: TempDir,
    workshop: &'a Workshop,
}

impl Built<'_> {
    fn image(&self, kernel: &Path, road: Road) -> Result<Image> {
        Image::build(kernel, |recipe, _| {
            recipe.stages = self.stages.clone();
            recipe.command_line = "exit".into();
            recipe.road = road;
            recipe.unchecked = true;
        })
    }

    fn demo(&self) -> Result<Image> {
        self.image(self.workshop.kernel.path(), Road::Protected)
    }

    fn boot(&self, scenario: Scenario) -> Result<()> {
        match scenario {
            Scenario::Okay => okay(&Machine::new(&self.demo()?.path())),
            Scenario::Direct => {
                let image = self.image(self.workshop.kernel.path(), Road::Direct)?;
                let rom = bad_bios(&[Defect::A20Off, Defect::NoA20Call])?;
                okay(&with_rom(&image, rom.path()))
            }
            Scenario::KernelFault => {
                const UD2: [u8; 2] = [0x0F, 0x0B];
                let mut kernel = Elf::halting();
                let code = &mut kernel.program_headers[0];
                code.data = UD2.to_vec();
                code.memory_size = UD2.len() as u64;
                let image = self.kernel_of_bytes(&kernel.build())?;
                fails(
                    &Machine::new(&image.path()),
                    "error 12A: ",
                    &[
                        "(vector 6)",
                        "RIP is in segment 0 of the kernel (r-x), 0x0 behind its start",
                    ],
                )
            }
            Scenario::LoaderFault => {
                let (image, rom) = (self.demo()?, bad_bios(&[Defect::Overwrites])?);
                fails(
                    &with_rom(&image, rom.path()),
                    "error 5A: ",
                    &["(vector 13)"],
                )
            }
            Scenario::RealModeFault => {
                let (image, rom) = (self.demo()?, bad_bios(&[Defect::InvalidOpcode])?);
                fails(
                    &with_rom(&image, rom.path()),
                    "error 4A: ",
                    &[": vector 06h at C"],
                )
            }
            Scenario::FaultBetweenModes => {
                // The first WRMSR is the gate's.
                const WRMSR: [u8; 2] = [0x0F, 0x30];
                let image = self.demo()?;
                let sectors = image.read(SECTOR_SIZE as u64, 8 * SECTOR_SIZE)?;
                let place = sectors.windows(2).position(|bytes| bytes == WRMSR);
                let place = SECTOR_SIZE + place.context("no WRMSR")?;
                image.write(place as u64, &[0x0F, 0x0B])?;
                image.mend_stage2_checksums()?;
                fails(
                    &Machine::new(&image.path()),
                    "error 4A: ",
                    &[": vector 06h at 0020:"],
                )
            }
            Scenario::Damaged => {
                let image = self.demo()?;
                let place = image.inspect()?.stage2.context("no stage2")?.place;
                let last = (place.lba + place.sectors) * SECTOR_SIZE as u64 - 1;
                image.write(last, &[0x5A])?;
                image.mend_stage2_sum()?;
                for cpu in ["qemu64", "qemu64,+sse4.2"] {
                    let machine = Machine::new(&image.path()).arguments(["-cpu", cpu]);
                    fails(&machine, "error 1C: ", &[])?;
                }
                Ok(())
            }
            Scenario::NoLongMode => {
                let image = self.demo()?;
                let machine = Machine::new(&image.path());
                let machine = machine.arguments(["-cpu", "qemu64,-lm"]);
                fails(&machine, "error 3B: ", &[])
            }
            Scenario::Chain => {
                let image = self.demo()?;
                image.put("/boot/kernel.conf", b"chain drive=81h\n")?;
                let second = Image::raw(test_program("boot-check")?.flat(), &[])?;
                let second = second.path();
                let drive = format!(
                    "id=second,if=none,format=raw,snapshot=on,file={}",
                    second.display()
                );
                let second = ["-drive", &drive, "-device", "ide-hd,drive=second,bus=ide.1"];
                okay(&Machine::new(&image.path()).arguments(second))
            }
            Scenario::Linux => {
                let kernel = put(self.directory.path(), "bzimage", &check_kernel(&[])?)?;
                let image = self.image(&kernel, Road::Protected)?;
                for bits in [16, 32, 64] {
                    let text = format!("protocol linux{bits}\noptions entry={bits}\n");
                    image.put("/boot/kernel.conf", text.as_bytes())?;
                    let mut running = Machine::new(&image.path()).start()?;
                    let transcript = running.wait_for("OKAY\r\n")?;
                    ensure!(!transcript.contains("FAILED"), "{bits}: {transcript}");
                }
                Ok(())
            }
            Scenario::Limine => {
                // The modules that the kernel looks for.
                let mut modules = Vec::new();
                for (name, length) in [("inner.bin", 5000), ("outer.bin", 4096)] {
                    let file = put(self.directory.path(), name, &noise(length))?;
                    let string = format!("this is {name}");
                    modules.push(Module { file, string });
                }
                let kernel = put(
                    self.directory.path(),
                    "limine",
                    &self.workshop.limine_kernel,
                )?;
                let image = Image::build(&kernel, |recipe, _| {
                    recipe.stages = self.stages.clone();
                    recipe.command_line = "a command line".into();
                    recipe.modules = modules;
                })?;
                let machine = Machine::new(&image.path()).arguments(["-smp", "2"]);
                okay(&machine)?;
                okay(&machine.arguments(["-cpu", "max"]))
            }
            Scenario::ByMultiboot => {
                let program = self.directory.path().join("bootpath.elf");
                multiboot::build(
                    &self.way_in,
                    &self.stages.stage2,
                    Road::Protected,
                    &program,
                    false,
                )?;
                let kernel = self.workshop.kernel.path().display();
                let machine = Machine::new(Path::new(""));
                okay(&machine.multiboot(&program, &format!("{kernel} exit")))
            }
        }
    }

    fn kernel_of_bytes(&self, bytes: &[u8]) -> Result<Image> {
        let kernel = put(self.directory.path(), "kernel", bytes)?;
        self.image(&kernel, Road::Protected)
    }
}

fn with_rom(image: &Image, rom: &Path) -> Machine {
    let machine = Machine::new(&image.path()).disk(Disk::Ide);
    machine.arguments(["-option-rom".as_ref(), rom.as_os_str()])
}

fn okay(machine: &Machine) -> Result<()> {
    let mut running = machine.start()?;
    let transcript = running.wait_for("OKAY")?;
    let ending = running.wait()?;
    ensure!(
        ending == Ending::Guest(EXIT_OKAY) && !transcript.contains("FAIL"),
        "{ending:?}\n{transcript}"
    );
    Ok(())
}

fn fails(machine: &Machine, error: &str, facts: &[&str]) -> Result<()> {
    let mut running: Running = machine.start()?;
    let transcript = running.wait_for("press a key to reboot")?;
    for text in [&[error], facts].concat() {
        ensure!(transcript.contains(text), "no {text:?} in\n{transcript}");
    }
    Ok(())
}

/// Runs shifts, several at once. `done` is told of each.
pub fn run_all(
    workshop: &Workshop,
    shifts: &[Shift],
    done: impl Fn(Shift, &Result<usize>) + Sync,
) -> Vec<Result<usize>> {
    crate::parallel::each(shifts, |shift| {
        let result = workshop.run(*shift);
        done(*shift, &result);
        result
    })
}

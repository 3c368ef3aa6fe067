//! Images to boot, and ways to damage them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::mem::offset_of;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use ::boot_path::files::sum;
use ::boot_path::memory::layout;
use anyhow::{Context as _, Result, bail, ensure};
use disk_builder::Road;
use disk_builder::image::{self, Recipe};
use disk_builder::inspect::{self, Inspection};
use disk_builder::multiboot;
use disk_builder::stages::{self, ElfFile, Program, Stages};
use disk_layout::{SECTOR_SIZE, Stage2Header, stage2};
use tempfile::TempDir;

pub use crate::defect::Defect;
use crate::elf::{self, Elf};

/// Builds a program of `tests/programs` and reads it.
///
/// # Errors
/// When it does not build.
pub fn test_program(name: &str) -> Result<Elf> {
    Elf::read(&fs::read(test_program_file(name)?)?)
}

/// Builds a program of `tests/programs`: the path of its ELF file.
///
/// # Errors
/// When it does not build.
pub fn test_program_file(name: &str) -> Result<PathBuf> {
    test_program_built_by(name, name)
}

/// The same with other flags than the program's own: `tests/programs/targets/CONFIG.toml`.
///
/// # Errors
/// When it does not build.
pub fn test_program_built_by(config: &str, name: &str) -> Result<PathBuf> {
    stages::build_program(&Program {
        package: "test-programs",
        bin: name,
        config: &format!("tests/programs/targets/{config}.toml"),
        in_parts: false,
    })
}

/// The two stages, built once.
///
/// # Errors
/// When they do not build.
pub fn stages() -> Result<Stages> {
    static STAGES: OnceLock<Result<Stages, String>> = OnceLock::new();
    once(&STAGES, Stages::find)
}

/// The boot program of a CD, built once.
///
/// # Errors
/// When it does not build.
pub fn stage1_cd() -> Result<ElfFile> {
    static PROGRAM: OnceLock<Result<ElfFile, String>> = OnceLock::new();
    once(&PROGRAM, || ElfFile::of(&stages::STAGE1_CD))
}

/// `bootpath.elf`, built once.
///
/// # Errors
/// When it does not build.
pub fn multiboot_program() -> Result<PathBuf> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&PROGRAM, || {
        // Beside the stages, in a place where cargo deletes nothing.
        let way_in = stages::build_program(&stages::STAGE1_MULTIBOOT)?;
        let output = way_in.with_file_name("bootpath.elf");
        // Another test program may be reading it.
        let mut file = tempfile::NamedTempFile::new_in(output.parent().context("no directory")?)?;
        multiboot::build(
            &way_in.into(),
            &stages()?.stage2,
            Road::default(),
            file.path(),
            false,
        )?;
        file.flush()?;
        file.persist(&output)?;
        Ok(output)
    })
}

/// The demo kernel's ELF file, built once.
///
/// # Errors
/// When it does not build.
pub fn demo_kernel() -> Result<PathBuf> {
    static KERNEL: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&KERNEL, || stages::build_program(&stages::KERNEL))
}

/// The demo kernel as a position-independent program, built once.
///
/// # Errors
/// When it does not build.
pub fn position_independent_kernel() -> Result<PathBuf> {
    static KERNEL: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&KERNEL, || {
        stages::build_program(&Program {
            config: "targets/kernel-pie.toml",
            ..stages::KERNEL
        })
    })
}

/// The demo kernel without debug information, for volumes that have no room for the latter.
///
/// # Errors
/// When it does not build.
pub fn small_kernel() -> Result<tempfile::NamedTempFile> {
    let bytes = elf::without_sections(&fs::read(demo_kernel()?)?)?;
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(&bytes)?;
    Ok(file)
}

/// The C kernel's ELF file, built once.
///
/// # Errors
/// When it does not build.
pub fn c_kernel() -> Result<PathBuf> {
    static KERNEL: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&KERNEL, || {
        image::find_kernel(Some(&stages::workspace().join("examples/c-kernel")))
    })
}

/// The C kernel with its bootstrap for Multiboot 2, built once.
///
/// # Errors
/// When it does not build.
pub fn c_kernel_with_bootstrap() -> Result<PathBuf> {
    const NAME: &str = "kernel-multiboot2.elf";
    static KERNEL: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&KERNEL, || {
        let directory = stages::workspace().join("examples/c-kernel");
        let mut make = Command::new("make");
        make.arg("-C").arg(&directory).args(["--quiet", NAME]);
        let status = make.status().context("cannot run make")?;
        ensure!(status.success(), "make failed");
        Ok(directory.join(NAME))
    })
}

fn once<T: Clone>(
    cell: &OnceLock<Result<T, String>>,
    make: impl FnOnce() -> Result<T>,
) -> Result<T> {
    cell.get_or_init(|| make().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(anyhow::Error::msg)
}

/// An image in a directory of its own, which is deleted with it.
pub struct Image {
    directory: TempDir,
    /// What lies where in it.
    pub built: Option<image::Built>,
}

impl Image {
    /// Builds an image with the demo kernel or another one. `change` may change the recipe; it is
    /// also given a directory to put files in.
    ///
    /// # Errors
    /// When the builder refuses.
    pub fn build(kernel: &Path, change: impl FnOnce(&mut Recipe, &Path)) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut recipe = Recipe::new(kernel, directory.path().join("disk.img"), stages()?);
        change(&mut recipe, directory.path());
        let built = Some(image::build(&recipe)?);
        Ok(Self { directory, built })
    }

    /// The image that is `disk.img` in this directory already.
    pub fn of(directory: TempDir) -> Self {
        let built = None;
        Self { directory, built }
    }

    /// An image with the demo kernel, which ends the machine at its end.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn demo() -> Result<Self> {
        Self::build(&demo_kernel()?, |recipe, _| {
            recipe.command_line = "exit".into()
        })
    }

    /// [`Self::demo`], which is a CD as well.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn demo_cd() -> Result<Self> {
        let stage1_cd = stage1_cd()?;
        Self::build(&demo_kernel()?, |recipe, _| {
            recipe.command_line = "exit".into();
            recipe.stage1_cd = Some(stage1_cd);
        })
    }

    /// The same bytes for every kind of drive: an image with the demo kernel, without debug
    /// information, of the size of a 2.88 MB diskette. `cd`: it is a CD as well.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn for_every_drive(road: Road, cd: bool) -> Result<Self> {
        const DISKETTE: u64 = 2880 << 10; // tells QEMU what drive it takes

        let stage1_cd = if cd { Some(stage1_cd()?) } else { None };
        let image = Self::build(small_kernel()?.path(), |recipe, _| {
            recipe.command_line = "exit".into();
            recipe.road = road;
            recipe.size_mib = Some(2);
            recipe.stage1_cd = stage1_cd;
        })?;
        image.resize(DISKETTE)?;
        Ok(image)
    }

    /// An image with a kernel made of these bytes, which the builder does not check.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn with_kernel(bytes: &[u8]) -> Result<Self> {
        let mut kernel = tempfile::NamedTempFile::new()?;
        kernel.write_all(bytes)?;
        Self::build(kernel.path(), |recipe, _| recipe.unchecked = true)
    }

    /// An image that boots a program of one sector, with `data` from LBA 1 on.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn raw(program: &[u8], data: &[u8]) -> Result<Self> {
        // SeaBIOS wants at least one cylinder.
        const LEAST: u64 = 1 << 20;

        ensure!(
            program.len() <= SECTOR_SIZE - 2,
            "the program does not fit into a sector"
        );
        let image = Self {
            directory: tempfile::tempdir()?,
            built: None,
        };
        let file = File::create(image.path())?;
        file.set_len(LEAST.max((SECTOR_SIZE + data.len()).next_multiple_of(SECTOR_SIZE) as u64))?;
        file.write_all_at(program, 0)?;
        file.write_all_at(&[0x55, 0xAA], SECTOR_SIZE as u64 - 2)?;
        file.write_all_at(data, SECTOR_SIZE as u64)?;
        Ok(image)
    }

    /// The image's file.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("disk.img")
    }

    /// Copies the image.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn copy(&self) -> Result<Self> {
        let copy = Self {
            directory: tempfile::tempdir()?,
            built: self.built.clone(),
        };
        copy_file(&self.path(), &copy.path())?;
        Ok(copy)
    }

    /// Corrects both of stage2's sums: nothing notices the changes in it.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn mend_stage2_checksums(&self) -> Result<()> {
        let place = self.inspect()?.stage2.context("no stage2")?.place;
        let start = place.lba * SECTOR_SIZE as u64;
        let image = self.read(start, place.sectors as usize * SECTOR_SIZE)?;
        let covered = stage2::covered(&image).context("stage2 has an impossible length")?;
        let [a, b] = sum::of_rounds(covered).map(u64::to_le_bytes);
        let offset = start + offset_of!(Stage2Header, check) as u64;
        self.write(offset, &[a, b].concat())?;
        self.mend_stage2_sum()
    }

    /// Corrects the sum that stage1 computes over stage2, so that only stage2's own check can find
    /// the changes.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn mend_stage2_sum(&self) -> Result<()> {
        let place = self.inspect()?.stage2.context("no stage2")?.place;
        let start = place.lba * SECTOR_SIZE as u64;
        let offset = start + offset_of!(Stage2Header, sum) as u64;
        let image = self.read(start, place.sectors as usize * SECTOR_SIZE)?;
        self.write(offset, &stage2::header_sum(&image).to_le_bytes())
    }

    /// Makes the image shorter or, with zeros, longer.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn resize(&self, bytes: u64) -> Result<()> {
        let file = OpenOptions::new().write(true).open(self.path())?;
        file.set_len(bytes).context("cannot resize the image")
    }

    /// What is in the image now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn inspect(&self) -> Result<Inspection> {
        inspect::inspect(&self.path())
    }

    /// The first sector of a file in the boot partition.
    ///
    /// # Errors
    /// When it has none.
    pub fn first_sector(&self, path: &str) -> Result<u64> {
        let inspection = self.inspect()?;
        let file = inspection.files.iter().find(|file| file.path == path);
        let file = file.with_context(|| format!("no {path} in the image"))?;
        Ok(file.extents.first().context("an empty file")?.lba)
    }

    /// Formats the boot partition with mkfs.fat.
    ///
    /// # Errors
    /// When that fails.
    pub fn format(&self, arguments: &[&str]) -> Result<()> {
        let place = self.inspect()?.partition.context("no partition")?.place;
        let volume = tempfile::NamedTempFile::new()?;
        volume
            .as_file()
            .set_len(place.sectors * SECTOR_SIZE as u64)?;
        let arguments = arguments.iter().map(OsStr::new);
        run_tool("mkfs.fat", arguments.chain([volume.path().as_os_str()]))?;
        self.write(place.lba * SECTOR_SIZE as u64, &fs::read(volume.path())?)
    }

    /// Runs one of mtools on the boot partition.
    ///
    /// # Errors
    /// When it fails.
    pub fn mtools<A: AsRef<OsStr>>(
        &self,
        tool: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<()> {
        self.ask_mtools(tool, arguments).map(drop)
    }

    /// Runs one of mtools on the boot partition, and returns what it prints.
    ///
    /// # Errors
    /// When it fails.
    pub fn ask_mtools<A: AsRef<OsStr>>(
        &self,
        tool: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String> {
        let offset = u64::from(disk_layout::PARTITION_LBA) * SECTOR_SIZE as u64;
        let image = format!("{}@@{offset}", self.path().display());
        let arguments = arguments.into_iter().map(|a| a.as_ref().to_owned());
        let image = ["-i".into(), OsString::from(image)];
        run_tool(tool, image.into_iter().chain(arguments))
    }

    /// Writes a file into the boot partition with mtools, over the one that is there, and makes the
    /// directories that are missing.
    ///
    /// # Errors
    /// When that fails.
    pub fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(bytes)?;
        for (end, _) in path.match_indices('/').filter(|(end, _)| *end > 0) {
            // This fails if the directory exists. If it cannot be made, mcopy fails, too.
            let _ = self.mtools("mmd", ["-D", "s", &format!("::{}", &path[..end])]);
        }
        let target = format!("::{path}");
        self.mtools(
            "mcopy",
            ["-o".as_ref(), file.path().as_os_str(), target.as_ref()],
        )
    }

    /// Lengthens a text file by comments, so that it has several clusters.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn lengthen(&self, path: &str) -> Result<()> {
        let text = self.ask_mtools("mtype", [&format!("::{path}")])?;
        let comments = "# A line that says nothing.\n".repeat(100);
        self.put(path, format!("{text}\n{comments}").as_bytes())
    }

    /// Overwrites bytes.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let file = OpenOptions::new().write(true).open(self.path())?;
        file.write_all_at(bytes, offset)
            .context("cannot write to the image")
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// When the file ends before that.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        File::open(self.path())?
            .read_exact_at(&mut bytes, offset)
            .context("the image ends")?;
        Ok(bytes)
    }
}

/// Copies an image, except for its zeros.
///
/// # Errors
/// When that fails.
pub fn copy_file(from: &Path, to: &Path) -> Result<()> {
    const BLOCK: usize = 64 << 10;

    let (source, copy) = (File::open(from)?, File::create(to)?);
    let length = source.metadata()?.len();
    copy.set_len(length)?;
    let mut block = vec![0; BLOCK];
    let zeros = vec![0; BLOCK];
    for offset in (0..length).step_by(BLOCK) {
        let bytes = &mut block[..BLOCK.min((length - offset) as usize)];
        source.read_exact_at(bytes, offset)?;
        if *bytes != zeros[..bytes.len()] {
            copy.write_all_at(bytes, offset)?;
        }
    }
    Ok(())
}

/// Runs a program and returns what it prints. Some systems keep file system tools out of users'
/// search paths.
fn run_tool(name: &str, arguments: impl Iterator<Item: AsRef<OsStr>>) -> Result<String> {
    let arguments: Vec<_> = arguments.collect();
    for directory in ["", "/usr/sbin", "/sbin"] {
        let output = Command::new(Path::new(directory).join(name))
            .args(&arguments)
            .env("MTOOLS_SKIP_CHECK", "1")
            .stdin(Stdio::null())
            .output();
        match output {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot run {name}")),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                ensure!(output.status.success(), "{name} failed: {said}");
                return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
            }
        }
    }
    bail!("{name} is missing")
}

/// An option ROM with these defects, for QEMU's `-option-rom`.
///
/// # Errors
/// When it does not build.
pub fn bad_bios(defects: &[Defect]) -> Result<tempfile::NamedTempFile> {
    option_rom(&Rom {
        defects,
        ..Rom::default()
    })
}

/// An option ROM by which INT 15h E820 reports all memory below 1 MiB as reserved.
///
/// # Errors
/// When it does not build.
pub fn reserved_low_memory() -> Result<tempfile::NamedTempFile> {
    option_rom(&Rom {
        reserves_low_memory: true,
        ..Rom::default()
    })
}

/// An option ROM that leaves only so many KiB of memory below 640 KiB, as PXE stacks and BIOSes with
/// a large EBDA do.
///
/// # Errors
/// When it does not build.
pub fn low_memory(low_memory_kib: u16) -> Result<tempfile::NamedTempFile> {
    option_rom(&Rom {
        low_memory_kib,
        ..Rom::default()
    })
}

/// An option ROM by which so many graphics modes cannot be set, one after the other.
///
/// # Errors
/// When it does not build.
pub fn bad_modes(bad_modes: u8) -> Result<tempfile::NamedTempFile> {
    option_rom(&Rom {
        bad_modes,
        ..Rom::default()
    })
}

/// An option ROM by which INT 13h AH=42h reads no more than so many sectors a call, but reports all
/// of them as read.
///
/// # Errors
/// When it does not build.
pub fn short_reads(most_sectors: u8) -> Result<tempfile::NamedTempFile> {
    option_rom(&Rom {
        most_sectors,
        ..Rom::default()
    })
}

/// The parameters of the option ROM.
#[derive(Default)]
struct Rom<'a> {
    defects: &'a [Defect],
    bad_modes: u8,
    most_sectors: u8,
    reserves_low_memory: bool,
    low_memory_kib: u16,
}

fn option_rom(wanted: &Rom<'_>) -> Result<tempfile::NamedTempFile> {
    const LENGTH: usize = 2;
    const FLAGS: usize = 6;
    const CHECKSUM: usize = 10;
    const BAD_MODES: usize = 11;
    const MOST_SECTORS: usize = 12;
    const RESERVES: usize = 13;
    const LOW_MEMORY: usize = 14;
    const STACK: usize = 16;

    static ROM: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    let mut rom = once(&ROM, || Ok(test_program("bad-bios")?.flat().to_vec()))?;
    rom.resize(usize::from(rom[LENGTH]) * SECTOR_SIZE, 0);
    rom[BAD_MODES] = wanted.bad_modes;
    rom[MOST_SECTORS] = wanted.most_sectors;
    rom[RESERVES] = wanted.reserves_low_memory.into();
    rom[LOW_MEMORY..][..2].copy_from_slice(&wanted.low_memory_kib.to_le_bytes());
    let stack = [layout::STACK.start / 16, layout::STACK.size() / 2];
    for (field, value) in rom[STACK..].chunks_exact_mut(2).zip(stack) {
        field.copy_from_slice(&u16::try_from(value)?.to_le_bytes());
    }
    let bits = wanted.defects.iter().map(|&defect| defect as u32);
    let flags = bits.fold(0, |flags, bit| flags | bit);
    rom[FLAGS..CHECKSUM].copy_from_slice(&flags.to_le_bytes());
    rom[CHECKSUM] = rom.iter().fold(0_u8, |sum, &byte| sum.wrapping_sub(byte));
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(&rom)?;
    Ok(file)
}

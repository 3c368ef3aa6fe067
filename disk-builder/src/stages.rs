//! The bare-metal programs: building them with cargo, and making flat binaries of stage1 and
//! stage2.

use std::env;
use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail, ensure};
use disk_layout::stage2::{CRC_START, MAGIC, MAX_LENGTH, SUMMED, VERSION};
use disk_layout::{ParameterBlock, Road, SECTOR_SIZE, Stage2Header, cd, manifest, mbr, stage2};
use object::elf::{FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::{Endianness, ReadCache};
use zerocopy::{FromBytes as _, FromZeros as _, IntoBytes as _};

use crate::host_file;
use crate::manifest::crc32c;
use crate::signals;

/// A bare-metal program of the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program<'a> {
    /// Cargo package.
    pub package: &'a str,
    /// Its binary.
    pub bin: &'a str,
    /// Cargo's configuration for it, a file of the workspace: flags, with the linker script among them, and
    /// the profile.
    pub config: &'a str,
}

/// Step 1: what is in the MBR.
pub const STAGE1: Program<'static> = Program {
    package: "stage1",
    bin: "stage1",
    config: "targets/stage1.toml",
};
/// Step 1 on a CD: what El Torito boots.
pub const STAGE1_CD: Program<'static> = Program {
    package: "stage1",
    bin: "stage1-cd",
    config: "targets/stage1-cd.toml",
};
/// Step 1 of a program for Multiboot loaders.
pub const STAGE1_MULTIBOOT: Program<'static> = Program {
    package: "stage1",
    bin: "stage1-multiboot",
    config: "targets/stage1-multiboot.toml",
};
/// Steps 2 to 12.
pub const STAGE2: Program<'static> = Program {
    package: "stage2",
    bin: "stage2",
    config: "targets/stage2.toml",
};
/// The demo kernel.
pub const KERNEL: Program<'static> = Program {
    package: "kernel",
    bin: "kernel",
    config: "targets/kernel.toml",
};

/// The directory of the workspace that this program was built from.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// One more flag for cargo, which keeps the paths of the dependencies' sources, and with them the
/// builder's home directory, out of the panic messages of a program. They show a dependency by name
/// and version, whatever registry it came from.
///
/// The flag is in a file of arguments. cargo keeps builds with different flags apart, but not if it
/// sees that a flag remaps paths: each program would then discard what the others are built with.
fn remap_dependencies() -> Result<String> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .unwrap_or_default();
    let mut argument = format!("--remap-path-prefix={}=cargo\n", home.display());
    for registry in fs::read_dir(home.join("registry/src"))
        .into_iter()
        .flatten()
    {
        // The last prefix that matches counts.
        argument += &format!("--remap-path-prefix={}=\n", registry?.path().display());
    }
    let directory = env::var_os(TARGET_DIRECTORY).filter(|_| runs_for_this_workspace());
    let directory = directory.map_or("target".into(), PathBuf::from);
    let directory = workspace().join(directory);
    let path = directory.join("remap-sources");
    if fs::read(&path).ok().as_deref() != Some(argument.as_bytes()) {
        fs::create_dir_all(&directory)?;
        // Another process may read it.
        let mut file = tempfile::NamedTempFile::new_in(&directory)?;
        file.write_all(argument.as_bytes())?;
        file.persist(&path)?;
    }
    Ok(format!(
        "target.'cfg(all())'.rustflags = ['@{}']",
        path.display()
    ))
}

/// Builds a bare-metal program and returns the path of its ELF file. What cargo says goes to
/// standard error.
///
/// # Errors
/// When the workspace is gone, cargo cannot be run, or the program does not build.
pub fn build_program(program: &Program<'_>) -> Result<PathBuf> {
    let root = workspace();
    ensure!(
        root.join(program.config).is_file(),
        "the sources are not at {}: no {}; give prebuilt stages instead (--stages DIR)",
        root.display(),
        program.config
    );
    let mut command = cargo();
    command
        .arg("--config")
        .arg(program.config)
        .arg("--config")
        .arg(remap_dependencies()?)
        .args([
            "build",
            "--release",
            "--message-format=json-render-diagnostics",
        ])
        .args(["--features", "bare-metal", "--target", target()?])
        .args(["--package", program.package, "--bin", program.bin]);
    let output = signals::output_with(command.stderr(Stdio::piped()), pass_on)
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    ensure!(
        output.status.success(),
        "cargo could not build {}",
        program.bin
    );

    // One JSON object a line; an artifact that can be run says where it is.
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == program.bin)
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
        .with_context(|| format!("cargo does not say where it put {}", program.bin))
}

/// Passes on what cargo says: that it waits for another cargo, what it compiles, what is wrong. The
/// line that says it has finished is left out.
fn pass_on(line: &[u8]) {
    if !is_finished(&String::from_utf8_lossy(line)) {
        // There is no one to tell if that fails.
        let _ = io::stderr().write_all(line);
    }
}

/// Is it the line that cargo ends with, in colour or not?
fn is_finished(line: &str) -> bool {
    let mut text = String::new();
    for (number, part) in line.split('\x1B').enumerate() {
        // Behind an escape character, a sequence that chooses a colour ends with `m`.
        text += match part.split_once('m') {
            Some((_, behind)) if number > 0 => behind,
            _ => part,
        };
    }
    text.trim_start().starts_with("Finished ")
}

/// Cargo, in the workspace and without what would change what it builds there.
///
/// This program may have been started by the cargo of another workspace, as the runner of a kernel.
/// Then that cargo's variables are here, and those by which its user set flags, targets and profiles
/// for that kernel.
fn cargo() -> Command {
    let own = runs_for_this_workspace();
    let program = env::var_os("CARGO").filter(|_| own);
    let mut command = Command::new(program.unwrap_or_else(|| "cargo".into()));
    clean(&mut command, own);
    if io::stderr().is_terminal() && env::var_os("CARGO_TERM_COLOR").is_none() {
        // cargo sees no terminal, because its output goes through this program.
        command.env("CARGO_TERM_COLOR", "always");
    }
    command.current_dir(workspace());
    command
}

/// Has no cargo, or that of this workspace, started this program?
fn runs_for_this_workspace() -> bool {
    env::var_os("CARGO_MANIFEST_DIR").is_none_or(|directory| {
        // Both paths may contain symbolic links.
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        real(Path::new(&directory)).starts_with(real(workspace()))
    })
}

/// Where cargo builds, if not in `target/`.
const TARGET_DIRECTORY: &str = "CARGO_TARGET_DIR";

/// Removes the variables that change how cargo or rustc builds. `own`: those for the toolchain and
/// the target directory may stay.
fn clean(command: &mut Command, own: bool) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| is_foreign(name, own)) {
            command.env_remove(name);
        }
    }
}

/// Does a variable belong to what another cargo builds?
fn is_foreign(name: &str, own: bool) -> bool {
    /// What tells cargo where its files are, how to reach a registry, how to look, and how much of the
    /// machine to take.
    const KEPT: [&str; 8] = [
        "CARGO_HOME",
        "CARGO_BUILD_JOBS",
        "CARGO_CACHE_",
        "CARGO_HTTP_",
        "CARGO_LOG",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_TERM_",
    ];
    if ["RUSTUP_TOOLCHAIN", "RUSTC", TARGET_DIRECTORY].contains(&name) {
        return !own;
    }
    let is_cargos = name == "CARGO" || name.starts_with("CARGO_");
    let is_rusts = name == "RUSTFLAGS" || name.starts_with("RUSTC_") || name.starts_with("RUSTDOC");
    (is_cargos && !KEPT.iter().any(|kept| name.starts_with(kept))) || is_rusts
}

/// The target whose ready-made `core` the programs are linked with: the host's own where it will
/// do, so that nothing needs to be installed.
///
/// # Errors
/// When rustc cannot be run.
pub fn target() -> Result<&'static str> {
    static TARGET: OnceLock<Option<String>> = OnceLock::new();
    TARGET
        .get_or_init(|| {
            let own = runs_for_this_workspace();
            let rustc = env::var_os("RUSTC").filter(|_| own);
            let mut command = Command::new(rustc.unwrap_or_else(|| "rustc".into()));
            clean(&mut command, own);
            let output = command.arg("-vV").current_dir(workspace()).output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            let host = text.lines().find_map(|line| line.strip_prefix("host: "))?;
            Some(target_for(host).to_owned())
        })
        .as_deref()
        .context("cannot run rustc to learn the host's target")
}

fn target_for(host: &str) -> &str {
    match host {
        "x86_64-unknown-linux-gnu" | "x86_64-unknown-linux-musl" => host,
        _ => "x86_64-unknown-none",
    }
}

/// The ELF files of the two stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stages {
    /// ELF file of stage1.
    pub stage1: PathBuf,
    /// ELF file of stage2.
    pub stage2: PathBuf,
}

impl Stages {
    /// Builds both stages from the workspace.
    ///
    /// # Errors
    /// Those of [`build_program`].
    pub fn build() -> Result<Self> {
        Ok(Self {
            stage1: build_program(&STAGE1)?,
            stage2: build_program(&STAGE2)?,
        })
    }

    /// The files `stage1` and `stage2` of a directory.
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            stage1: directory.join("stage1"),
            stage2: directory.join("stage2"),
        }
    }
}

/// stage1, ready for the MBR.
pub(crate) struct Stage1 {
    /// The first 440 bytes of the disk, except for the numbers in the BPB area and the parameter
    /// block.
    pub(crate) code: [u8; mbr::CODE_END],
    /// Bytes in use, the BPB area and the parameter block included.
    pub(crate) used: usize,
}

impl Stage1 {
    /// Flattens an ELF file and checks that it leaves the parameter block and, but for its
    /// message, the BPB area free.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let flat = flatten(path, mbr::LOAD_ADDRESS, mbr::CODE_END)?;
        let mut code = [0; mbr::CODE_END];
        code[..flat.len()].copy_from_slice(&flat);
        let is_free = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
        let (body, parameters) = code.split_at(mbr::PARAMETER_BLOCK_OFFSET);
        ensure!(
            is_free(&body[mbr::BPB_AREA.start..mbr::MESSAGE.start])
                && is_free(&body[mbr::MESSAGE.end..mbr::BPB_AREA.end]),
            "{}: stage1 has bytes in the BPB area ({:#x} to {:#x}), which BIOSes overwrite",
            path.display(),
            mbr::BPB_AREA.start,
            mbr::BPB_AREA.end - 1
        );
        ensure!(
            is_free(parameters),
            "{}: stage1 has code in its parameter block (at {:#x})",
            path.display(),
            mbr::PARAMETER_BLOCK_OFFSET
        );
        let end = body
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        ensure!(end > 0, "{}: stage1 is empty", path.display());
        Ok(Self {
            code,
            used: end + size_of::<ParameterBlock>(),
        })
    }
}

/// The boot program of a CD.
pub(crate) struct Stage1Cd {
    /// The part that is used, except for the parameters.
    pub(crate) code: [u8; cd::CODE_END],
    /// Bytes in use, the parameters included.
    pub(crate) used: usize,
}

impl Stage1Cd {
    /// Flattens an ELF file and checks that it keeps clear of its parameters.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let flat = flatten(path, mbr::LOAD_ADDRESS, cd::CODE_END)?;
        let mut code = [0; cd::CODE_END];
        code[..flat.len()].copy_from_slice(&flat);
        let (body, parameters) = code.split_at(cd::PARAMETERS_OFFSET);
        ensure!(
            parameters.iter().all(|&byte| byte == 0),
            "{}: the CD's boot program has code in its parameters (at {:#x})",
            path.display(),
            cd::PARAMETERS_OFFSET
        );
        let end = body.iter().rposition(|&byte| byte != 0);
        let end = end.with_context(|| format!("{}: it is empty", path.display()))?;
        Ok(Self {
            code,
            used: end + 1 + size_of::<cd::Parameters>(),
        })
    }
}

/// stage2, ready for the disk.
pub(crate) struct Stage2 {
    /// Whole sectors, with the header filled once they are [sealed](Self::seal).
    pub(crate) bytes: Vec<u8>,
    /// Bytes in use.
    pub(crate) used: usize,
    /// Where the manifest goes; 0: there is none.
    manifest: usize,
}

impl Stage2 {
    /// Flattens an ELF file, with room behind it for a manifest of so many bytes.
    pub(crate) fn read(
        path: &Path,
        (road, record): (Road, bool),
        manifest: Option<usize>,
    ) -> Result<Self> {
        let mut bytes = flatten(path, stage2::LOAD_ADDRESS, MAX_LENGTH)?;
        let mut start = 0;
        if let Some(length) = manifest {
            start = bytes.len().next_multiple_of(manifest::ALIGNMENT);
            bytes.resize(start + length, 0);
        }
        let used = bytes.len();
        ensure!(
            used <= MAX_LENGTH,
            "{} has no room for the manifest: more than {MAX_LENGTH} bytes",
            path.display()
        );
        bytes.resize(used.next_multiple_of(SECTOR_SIZE).max(SUMMED), 0);
        let length = u32::try_from(bytes.len())?;
        let Some((header, _)) = Stage2Header::mut_from_prefix(&mut bytes)
            .ok()
            .filter(|(header, _)| header.magic == MAGIC)
        else {
            bail!("{}: stage2 does not begin with its header", path.display());
        };
        *header = Stage2Header {
            magic: MAGIC,
            length: length.into(),
            version: VERSION.into(),
            road: road as u8,
            record: record.into(),
            manifest: u32::try_from(start)?.into(),
            ..Stage2Header::new_zeroed()
        };
        Ok(Self {
            bytes,
            used,
            manifest: start,
        })
    }

    /// Puts the manifest into its room, and the checksums into the header.
    pub(crate) fn seal(&mut self, manifest: &[u8]) {
        let bytes = &mut self.bytes;
        bytes[self.manifest..][..manifest.len()].copy_from_slice(manifest);
        let crc = crc32c(0, &bytes[CRC_START..]);
        let offset = core::mem::offset_of!(Stage2Header, crc32c);
        bytes[offset..CRC_START].copy_from_slice(crc.to_le_bytes().as_bytes());
        let sum = stage2::header_sum(bytes);
        let offset = core::mem::offset_of!(Stage2Header, sum);
        bytes[offset..][..size_of_val(&sum)].copy_from_slice(&sum.to_le_bytes());
    }

    pub(crate) fn sectors(&self) -> usize {
        self.bytes.len() / SECTOR_SIZE
    }
}

/// The entry point of an ELF file.
pub(crate) fn entry(path: &Path) -> Result<u32> {
    let file = ReadCache::new(host_file::open(path)?);
    let (header, endian) = header(path, &file)?;
    Ok(u32::try_from(header.e_entry(endian))?)
}

fn header<'a>(
    path: &Path,
    file: &'a ReadCache<File>,
) -> Result<(&'a FileHeader64<Endianness>, Endianness)> {
    let header = FileHeader64::parse(file).and_then(|header| Ok((header, header.endian()?)));
    let header = header.with_context(|| format!("{} is not a 64-bit ELF file", path.display()))?;
    ensure!(
        header.0.is_class_64(),
        "{} is not a 64-bit ELF file",
        path.display()
    );
    Ok(header)
}

/// What an ELF file's segments look like in memory from `base` on, without zeros at the end that
/// the file does not hold.
pub(crate) fn flatten(path: &Path, base: u32, limit: usize) -> Result<Vec<u8>> {
    let name = path.display();
    let cut = || format!("{name} is cut short");
    let file = ReadCache::new(host_file::open(path)?);
    let (header, endian) = header(path, &file)?;
    let mut flat = Vec::new();
    for segment in header.program_headers(endian, &file).with_context(cut)? {
        let length = segment.p_filesz(endian);
        if segment.p_type(endian) != PT_LOAD || length == 0 {
            continue;
        }
        // No more is read than fits.
        ensure!(
            length <= limit as u64,
            "{name} does not fit: more than {limit} bytes"
        );
        let bytes = segment.data(endian, &file).ok().with_context(cut)?;
        let address = segment.p_paddr(endian);
        let start = address
            .checked_sub(u64::from(base))
            .with_context(|| format!("{name} has bytes at {address:#x}, below {base:#x}"))?;
        let end = usize::try_from(start)
            .ok()
            .and_then(|start| start.checked_add(bytes.len()));
        let end = end
            .filter(|&end| end <= limit)
            .with_context(|| format!("{name} does not fit: more than {limit} bytes"))?;
        flat.resize(flat.len().max(end), 0);
        flat[end - bytes.len()..end].copy_from_slice(bytes);
    }
    Ok(flat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_cargo_leaves_is_told_from_what_the_user_wants() {
        for name in [
            "CARGO",
            "CARGO_MANIFEST_DIR",
            "CARGO_PKG_NAME",
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_TARGET_X86_64_UNKNOWN_NONE_RUSTFLAGS",
            "CARGO_UNSTABLE_BUILD_STD",
            "RUSTFLAGS",
            "RUSTC_WRAPPER",
        ] {
            assert!(is_foreign(name, true) && is_foreign(name, false), "{name}");
        }
        for name in ["RUSTUP_TOOLCHAIN", "RUSTC", "CARGO_TARGET_DIR"] {
            assert!(!is_foreign(name, true) && is_foreign(name, false), "{name}");
        }
        for name in [
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_TERM_COLOR",
            "CARGO_REGISTRIES_MINE_INDEX",
            "PATH",
            "RUSTUP_HOME",
        ] {
            assert!(
                !is_foreign(name, true) && !is_foreign(name, false),
                "{name}"
            );
        }
    }

    #[test]
    fn only_cargos_last_line_is_left_out() {
        let last = "    Finished `release` profile [optimized] target(s) in 0.05s\n";
        assert!(is_finished(last));
        assert!(is_finished(
            "\x1B[1m\x1B[92m    Finished\x1B[0m `release` profile\n"
        ));
        for other in [
            "    Blocking waiting for file lock on build directory\n",
            "\x1B[1m\x1B[96m    Blocking\x1B[0m waiting for file lock\n",
            "   Compiling stage2 v0.1.0\n",
            "error: Finished\n",
        ] {
            assert!(!is_finished(other), "{other}");
        }
    }

    #[test]
    fn the_hosts_core_is_used_on_x86_64_linux_only() {
        assert_eq!(
            target_for("x86_64-unknown-linux-gnu"),
            "x86_64-unknown-linux-gnu"
        );
        assert_eq!(
            target_for("x86_64-unknown-linux-musl"),
            "x86_64-unknown-linux-musl"
        );
        assert_eq!(
            target_for("aarch64-unknown-linux-gnu"),
            "x86_64-unknown-none"
        );
        assert_eq!(target_for("x86_64-apple-darwin"), "x86_64-unknown-none");
    }
}

//! Other loaders on the same disks: GRUB and SYSLINUX replace stage1 and stage2, and the files of
//! the boot partition stay. They start kernels, or `bootpath.elf`, which then starts them.
//!
//! Each is set up as its own documentation says, without a menu and without waiting.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail, ensure};
use disk_layout::{PARTITION_LBA, SECTOR_SIZE, mbr};
use tempfile::NamedTempFile;

use crate::image::{Image, multiboot_program};
use crate::linux::Fetched;

/// Another loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// GRUB 2: its core image between the MBR and the first partition.
    Grub,
    /// SYSLINUX: its MBR, and the rest in the boot partition, whose boot sector loads it.
    Syslinux,
}

/// The protocol by which a kernel is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The modules are initial RAM disks, without strings.
    Linux,
    /// The same by its 16-bit entry: GRUB's `linux16`.
    Linux16,
    /// Multiboot 1.
    Multiboot,
    /// Multiboot 2, which SYSLINUX does not support.
    Multiboot2,
}

/// A file of the boot partition, by its path, and the string that goes with it.
pub type FileAndString<'a> = (&'a str, &'a str);

/// What a peer starts.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The protocol.
    pub protocol: Protocol,
    /// The kernel and its command line.
    pub kernel: FileAndString<'a>,
    /// Its modules.
    pub modules: &'a [FileAndString<'a>],
}

impl Start<'_> {
    fn files(&self) -> impl Iterator<Item = &FileAndString<'_>> {
        [&self.kernel].into_iter().chain(self.modules)
    }
}

impl Peer {
    /// Its name and version, if its files and its tool are on this system, or can be fetched.
    pub fn installed(self) -> Option<String> {
        let has_files = match self {
            Self::Grub => grub_directory().is_some(),
            Self::Syslinux => true,
        };
        has_files.then(|| self.version().ok().flatten()).flatten()
    }

    /// Its name and version. `None`: it does not exist for this system.
    ///
    /// # Errors
    /// When it is missing or does not print its version.
    pub fn version(self) -> Result<Option<String>> {
        let (name, output) = match self {
            Self::Grub => ("GRUB", grub_mkimage(|command| command.arg("--version"))?),
            Self::Syslinux => {
                let Some(installer) = Fetched::Syslinux.path()? else {
                    return Ok(None);
                };
                let output = Command::new(installer).arg("--version").output();
                (
                    "SYSLINUX",
                    output.context("cannot run the installer of SYSLINUX")?,
                )
            }
        };
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let is_version = |word: &&str| word.starts_with(|digit: char| digit.is_ascii_digit());
        let version = said.split_whitespace().find(is_version);
        let version = version.with_context(|| format!("no version: {said}"))?;
        Ok(Some(format!("{name} {version}")))
    }

    /// Puts it in the place of stage1 and stage2. `false`: it does not exist for this system.
    ///
    /// # Errors
    /// When it is missing, cannot be installed or does not support this.
    pub fn install(self, image: &Image, start: &Start<'_>) -> Result<bool> {
        match self {
            Self::Grub => grub(image, start).map(|()| true),
            Self::Syslinux => syslinux(image, start),
        }
    }

    /// The same, and lets it start `bootpath.elf` with these modules: the kernel and what belongs
    /// to it.
    ///
    /// # Errors
    /// As [`Self::install`].
    pub fn install_bootpath(
        self,
        image: &Image,
        protocol: Protocol,
        modules: &[FileAndString<'_>],
    ) -> Result<bool> {
        const PROGRAM: &str = "/bootpath.elf";
        image.put(PROGRAM, &fs::read(multiboot_program()?)?)?;
        let start = Start {
            protocol,
            kernel: (PROGRAM, ""),
            modules,
        };
        self.install(image, &start)
    }
}

/// GRUB as `grub-install` leaves it, except that the core image contains the configuration, and
/// only the modules that it needs.
fn grub(image: &Image, start: &Start<'_>) -> Result<()> {
    let directory = grub_directory().context("GRUB for PCs is missing")?;
    let ([kernel, module], of_protocol) = match start.protocol {
        Protocol::Linux => (["linux", "initrd"], "linux"),
        Protocol::Linux16 => (["linux16", "initrd16"], "linux16"),
        Protocol::Multiboot => (["multiboot", "module"], "multiboot"),
        Protocol::Multiboot2 => (["multiboot2", "module2"], "multiboot2"),
    };
    let mut configuration = String::from("set root=(hd0,msdos1)\n");
    for (command, (path, string)) in [kernel]
        .into_iter()
        .chain(std::iter::repeat(module))
        .zip(start.files())
    {
        configuration += &format!("{command} {path} {string}\n");
    }
    configuration += "boot\n";
    let mut configuration_file = NamedTempFile::new()?;
    configuration_file.write_all(configuration.as_bytes())?;

    let core = NamedTempFile::new()?;
    let output = grub_mkimage(|command| {
        command.arg("-d").arg(directory);
        command.args(["-O", "i386-pc", "-p", "/"]);
        command.arg("-c").arg(configuration_file.path());
        command.arg("-o").arg(core.path());
        command.args(["biosdisk", "part_msdos", "fat", "boot", of_protocol])
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "grub-mkimage: {said}");

    // Its first sector reads the second one, which contains a list that says where the rest is:
    // behind it.
    let core = fs::read(core.path())?;
    let room = (u64::from(PARTITION_LBA) - 1) * SECTOR_SIZE as u64;
    ensure!(core.len() as u64 <= room, "GRUB is too large");
    let boot = fs::read(directory.join("boot.img"))?;
    image.write(0, &boot[..mbr::CODE_END])?;
    image.write(SECTOR_SIZE as u64, &core)
}

/// GRUB itself as a kernel, with its own prompt: its core image, which has a header for Multiboot 1.
/// `as_linux`: behind GRUB's setup code for Linux's protocol, as in a `grub.lkrn`. `None`: there is
/// no GRUB for PCs on this system.
///
/// # Errors
/// When `grub-mkimage` fails.
pub fn grub_core(as_linux: bool) -> Result<Option<Vec<u8>>> {
    let Some(directory) = grub_directory() else {
        return Ok(None);
    };
    let core = NamedTempFile::new()?;
    let output = grub_mkimage(|command| {
        command.arg("-d").arg(directory);
        command
            .args(["-O", "i386-pc", "-p", "/", "-o"])
            .arg(core.path());
        command.args(["biosdisk", "normal"])
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "grub-mkimage: {said}");
    let core = fs::read(core.path())?;
    Ok(Some(match as_linux {
        true => [fs::read(directory.join("lnxboot.img"))?, core].concat(),
        false => core,
    }))
}

/// Where GRUB's modules for PCs are.
fn grub_directory() -> Option<&'static Path> {
    const DIRECTORIES: [&str; 3] = [
        "/usr/lib/grub/i386-pc",
        "/usr/lib/grub2/i386-pc",
        "/usr/share/grub2/i386-pc",
    ];
    DIRECTORIES.iter().map(Path::new).find(|path| path.is_dir())
}

/// Runs it with these arguments, under its name on this system.
fn grub_mkimage(arguments: impl Fn(&mut Command) -> &mut Command) -> Result<Output> {
    ["grub-mkimage", "grub2-mkimage"]
        .iter()
        .find_map(|tool| arguments(&mut Command::new(tool)).output().ok())
        .context("grub-mkimage is missing")
}

/// SYSLINUX by its own installer, which writes the boot sector and two files.
fn syslinux(image: &Image, start: &Start<'_>) -> Result<bool> {
    let mut files: Vec<(&str, PathBuf)> = Vec::new();
    let needed = [
        ("syslinux", Fetched::Syslinux),
        ("mbr.bin", Fetched::Mbr),
        ("mboot.c32", Fetched::SyslinuxMboot),
        ("libcom32.c32", Fetched::SyslinuxLibcom32),
    ];
    for (name, file) in needed {
        match file.path()? {
            Some(path) => files.push((name, path)),
            None => return Ok(false),
        }
    }
    let [(_, installer), (_, mbr), modules @ ..] = &files[..] else {
        bail!("no files");
    };

    let mut configuration = String::from("DEFAULT it\nPROMPT 0\nLABEL it\n");
    let (path, string) = start.kernel;
    match start.protocol {
        Protocol::Linux | Protocol::Linux16 => {
            configuration += &format!("LINUX {path}\nAPPEND {string}\n");
            let paths: Vec<&str> = start.modules.iter().map(|(path, _)| *path).collect();
            if !paths.is_empty() {
                configuration += &format!("INITRD {}\n", paths.join(","));
            }
        }
        Protocol::Multiboot => {
            for (name, path) in modules {
                image.put(&format!("/{name}"), &fs::read(path)?)?;
            }
            let words: Vec<String> = start
                .files()
                .map(|(path, string)| format!("{path} {string}"))
                .collect();
            configuration += &format!("KERNEL mboot.c32\nAPPEND {}\n", words.join(" --- "));
        }
        Protocol::Multiboot2 => bail!("SYSLINUX does not have Multiboot 2"),
    }
    image.put("/syslinux.cfg", configuration.as_bytes())?;

    let offset = u64::from(PARTITION_LBA) * SECTOR_SIZE as u64;
    let output = Command::new(installer)
        .args(["--offset", &offset.to_string(), "--install"])
        .arg(image.path())
        .output()
        .context("cannot run the installer of SYSLINUX")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "syslinux: {said}");
    let code = fs::read(mbr)?;
    ensure!(code.len() <= mbr::CODE_END, "SYSLINUX's MBR is too large");
    image.write(0, &code)?;
    Ok(true)
}

//! Linux kernels to boot: the tests' own kernels, Debian's, and an initial RAM disk for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail, ensure};
use disk_builder::stages;

use crate::checksum::checksum;
use crate::image::test_program;

/// Bytes.
const MIB: u32 = 1 << 20;

/// Offsets in the setup header (Linux, Documentation/arch/x86/boot.rst).
pub mod header {
    #![expect(missing_docs, reason = "the names are boot.rst's")]
    pub const SETUP_SECTS: usize = 0x1F1;
    pub const SYSSIZE: usize = 0x1F4;
    pub const JUMP: usize = 0x200;
    pub const VERSION: usize = 0x206;
    pub const LOADFLAGS: usize = 0x211;
    pub const CODE32_START: usize = 0x214;
    pub const INITRD_ADDR_MAX: usize = 0x22C;
    pub const KERNEL_ALIGNMENT: usize = 0x230;
    pub const RELOCATABLE_KERNEL: usize = 0x234;
    pub const XLOADFLAGS: usize = 0x236;
    pub const CMDLINE_SIZE: usize = 0x238;
    pub const PAYLOAD_OFFSET: usize = 0x248;
    pub const PAYLOAD_LENGTH: usize = 0x24C;
    pub const PREF_ADDRESS: usize = 0x258;
    pub const INIT_SIZE: usize = 0x260;
}

/// The bzImage of `tests/programs/src/linux/check.rs`, with some bytes of it changed.
///
/// # Errors
/// When it does not build.
pub fn check_kernel(changes: &[(usize, &[u8])]) -> Result<Vec<u8>> {
    bz_image("linux-check", |_| Vec::new(), changes)
}

/// The same with a payload, followed by the checksum by which the kernel knows whether the payload
/// is complete.
///
/// # Errors
/// When it does not build.
pub fn check_kernel_with_payload(mut payload: Vec<u8>) -> Result<Vec<u8>> {
    payload.extend(checksum(&payload).to_le_bytes());
    bz_image("linux-check", |kernel| append(kernel, &payload), &[])
}

/// The bzImage of `tests/programs/src/bench/linux.rs` with this payload behind its program.
///
/// # Errors
/// When it does not build.
pub fn bench_kernel(payload: &[u8]) -> Result<Vec<u8>> {
    let init_size = (payload.len() as u32).next_multiple_of(MIB) + MIB;
    bz_image(
        "bench-linux",
        |kernel| append(kernel, payload),
        &[(header::INIT_SIZE, &init_size.to_le_bytes())],
    )
}

/// Puts a payload behind the program. Returns the fields of the header that say where it is.
fn append(kernel: &mut Vec<u8>, payload: &[u8]) -> Vec<(usize, u32)> {
    const ALIGNMENT: usize = 4096; // the same as in the benchmark's program

    let offset = kernel.len().next_multiple_of(ALIGNMENT);
    kernel.resize(offset, 0);
    kernel.extend(payload);
    vec![
        (header::PAYLOAD_OFFSET, offset as u32),
        (header::PAYLOAD_LENGTH, payload.len() as u32),
    ]
}

/// A bzImage of `tests/programs`, with some bytes of its header changed. `append` adds to its
/// program, and returns further fields of the header.
fn bz_image(
    name: &str,
    append: impl FnOnce(&mut Vec<u8>) -> Vec<(usize, u32)>,
    changes: &[(usize, &[u8])],
) -> Result<Vec<u8>> {
    let program = test_program(name)?;
    let [setup, kernel] = &program.program_headers[..] else {
        bail!("it has {} segments", program.program_headers.len());
    };
    let mut kernel = kernel.data.clone();
    let mut fields = append(&mut kernel);
    fields.push((header::SYSSIZE, kernel.len().div_ceil(16) as u32));
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(offset, value)| (offset, value.to_le_bytes()))
        .collect();
    let fields = fields.iter().map(|(offset, bytes)| (*offset, &bytes[..]));
    let mut file = [&setup.data[..], &kernel].concat();
    for (offset, bytes) in fields.chain(changes.iter().copied()) {
        file.get_mut(offset..offset + bytes.len())
            .context("behind the end of the file")?
            .copy_from_slice(bytes);
    }
    Ok(file)
}

/// What the tests fetch, each from one of Debian's packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The kernel that Debian installs on PCs.
    Amd64,
    /// The kernel for virtual machines: small, 64 bits.
    Cloud,
    /// A kernel of 32 bits.
    I686,
    /// memtest86+ for long mode.
    MemtestX64,
    /// memtest86+ for protected mode.
    MemtestIa32,
    /// The newest kernel for virtual machines in Debian's backports, compressed by zstd.
    BackportsCloud,
    /// The hypervisor Xen, compressed by gzip.
    Xen,
    /// GNU Mach, compressed by gzip.
    GnuMach,
    /// iPXE as a kernel for Linux's protocol.
    Ipxe,
    /// SYSLINUX's memdisk, which starts its initial RAM disk as a drive.
    Memdisk,
    /// A floppy disk with GRUB.
    RescueFloppy,
    /// Intel's tboot, compressed by gzip.
    Tboot,
    /// A game that is a kernel for Multiboot 1.
    Invaders,
    /// The kernel of Debian's installer.
    Installer,
    /// Its initial RAM disk, with the installer.
    InstallerInitrd,
    /// The linker mold.
    Mold,
    /// SYSLINUX's MBR.
    Mbr,
    /// The program that installs SYSLINUX.
    Syslinux,
    /// SYSLINUX's module that starts Multiboot kernels.
    SyslinuxMboot,
    /// The library that this module needs.
    SyslinuxLibcom32,
}

impl Fetched {
    /// The file's name below `target/kernels`.
    fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "vmlinuz-amd64",
            Self::Cloud => "vmlinuz-cloud-amd64",
            Self::I686 => "vmlinuz-686",
            Self::MemtestX64 => "memtest86+x64.bin",
            Self::MemtestIa32 => "memtest86+ia32.bin",
            Self::BackportsCloud => "vmlinuz-backports-cloud-amd64",
            Self::Xen => "xen",
            Self::GnuMach => "gnumach",
            Self::Ipxe => "ipxe.lkrn",
            Self::Memdisk => "memdisk",
            Self::RescueFloppy => "grub-rescue-floppy.img",
            Self::Tboot => "tboot",
            Self::Invaders => "invaders.exec",
            Self::Installer => "installer-linux",
            Self::InstallerInitrd => "installer-initrd",
            Self::Mold => "mold",
            Self::Mbr => "mbr.bin",
            Self::Syslinux => "syslinux",
            Self::SyslinuxMboot => "mboot.c32",
            Self::SyslinuxLibcom32 => "libcom32.c32",
        }
    }

    /// The file, which is fetched if it does not exist yet. `None`: this system has no apt-get.
    ///
    /// # Errors
    /// When it cannot be fetched.
    pub fn path(self) -> Result<Option<PathBuf>> {
        static FETCHED: OnceLock<Result<bool, String>> = OnceLock::new();
        let path = directory().join(self.name());
        if path.exists() {
            return Ok(Some(path));
        }
        let fetched = FETCHED.get_or_init(|| fetch().map_err(|error| format!("{error:#}")));
        match fetched {
            Ok(true) => {
                ensure!(path.exists(), "{} was not in its package", self.name());
                Ok(Some(path))
            }
            Ok(false) => Ok(None),
            Err(error) => bail!("{error}"),
        }
    }
}

fn directory() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| stages::workspace().join("target"), PathBuf::from);
    target.join("kernels")
}

fn fetch() -> Result<bool> {
    const NO_APT: i32 = 3;
    let script = stages::workspace().join("tests/fetch-kernels.sh");
    let status = Command::new("bash")
        .arg(script)
        .arg(directory())
        .status()
        .context("cannot run bash")?;
    match status.code() {
        Some(0) => Ok(true),
        Some(NO_APT) => {
            eprintln!("skipped: without apt-get there are no kernels to boot");
            Ok(false)
        }
        _ => bail!("tests/fetch-kernels.sh failed ({status})"),
    }
}

/// A file of an initial RAM disk.
pub struct CpioFile<'a> {
    /// Its path, without a slash in front.
    pub name: &'a str,
    /// Its type and permissions, as in `st_mode`.
    pub mode: u32,
    /// What is in it.
    pub data: &'a [u8],
    /// Numbers of a device.
    pub device: (u32, u32),
}

impl<'a> CpioFile<'a> {
    /// A directory.
    pub fn directory(name: &'a str) -> Self {
        Self::file(name, 0o4_0755, &[])
    }

    /// A regular file, if `mode` says so.
    pub fn file(name: &'a str, mode: u32, data: &'a [u8]) -> Self {
        Self {
            name,
            mode,
            data,
            device: (0, 0),
        }
    }
}

/// An archive in the format "newc" (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).
pub fn cpio(files: &[CpioFile<'_>]) -> Vec<u8> {
    let mut archive = Vec::new();
    let trailer = CpioFile::file("TRAILER!!!", 0, &[]);
    for (inode, file) in (1_u32..).zip(files.iter().chain([&trailer])) {
        let (major, minor) = file.device;
        let (data, name) = (file.data.len() as u32, file.name.len() as u32 + 1);
        archive.extend(b"070701");
        // inode, mode, uid, gid, links, mtime, size, device, rdevice, name's length, checksum
        for number in [
            inode, file.mode, 0, 0, 1, 0, data, 0, 0, major, minor, name, 0,
        ] {
            archive.extend(format!("{number:08X}").bytes());
        }
        archive.extend(file.name.bytes());
        archive.push(0);
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(file.data);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

/// The initial RAM disk for Debian's kernels. Its `/init` prints what it sees and switches off.
///
/// # Errors
/// When the program in it does not build.
pub fn initrd(kernel: Fetched) -> Result<Vec<u8>> {
    let init = match kernel {
        Fetched::I686 => elf32(test_program("linux-init-32")?.flat()),
        _ => test_program("linux-init")?.build(),
    };
    let console = CpioFile {
        device: (5, 1),
        ..CpioFile::file("dev/console", 0o2_0600, &[])
    };
    Ok(cpio(&[
        CpioFile::directory("dev"),
        console,
        CpioFile::directory("proc"),
        CpioFile::file("init", 0o10_0755, &init),
    ]))
}

/// An ELF32 file with one segment at 400000h, which begins with the entry point.
fn elf32(program: &[u8]) -> Vec<u8> {
    const HEADERS: u32 = 52 + 32;
    const ADDRESS: u32 = 0x40_0000;
    let size = HEADERS + program.len() as u32;
    let words = |numbers: &[u32]| -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect()
    };
    [
        b"\x7FELF\x01\x01\x01".to_vec(),
        vec![0; 9],
        // ET_EXEC, EM_386, version, entry, program headers, no sections, flags
        words(&[2 | 3 << 16, 1, ADDRESS + HEADERS, 52, 0, 0]),
        // sizes: header, program header; how many; section header
        words(&[52 | 32 << 16, 1 | 40 << 16, 0]),
        // PT_LOAD, offset, addresses, sizes, R X, alignment
        words(&[1, 0, ADDRESS, ADDRESS, size, size, 5, 0x1000]),
        program.to_vec(),
    ]
    .concat()
}

/// Writes a file to a directory; returns its path.
///
/// # Errors
/// When it cannot be written.
pub fn put(directory: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf> {
    let path = directory.join(name);
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

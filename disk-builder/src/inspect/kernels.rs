//! Kernels as their headers describe them, read by the loader's own parsers, and only to be shown.
//! The [path](super::path) decides whether they boot.

use boot_path::entry::protocol::Protocol;
use boot_path::files::file_bytes::FileBytes;
use boot_path::kernel::image;
use boot_path::position::FileOffset;
use boot_path::ways_out::limine::{self, FEATURES};
use boot_path::ways_out::linux::image::LinuxImage;
use boot_path::ways_out::multiboot::header::{self, Version as Multiboot};
use serde::Serialize;

use super::facts::Sectors;

/// The kernel, as its ELF headers describe it.
#[derive(Clone, Debug, Serialize)]
pub struct Kernel {
    /// Virtual address of the entry point.
    pub entry: u64,
    /// Whether it can run at any address.
    pub position_independent: bool,
    /// Size in bytes of the stack that it asks for.
    pub stack_size: u64,
    /// Where it wants all physical memory.
    pub physical_map_base: u64,
    /// Its segments, by address.
    pub segments: Vec<Segment>,
}

/// A segment of the kernel that is loaded.
#[derive(Clone, Debug, Serialize)]
pub struct Segment {
    /// Virtual address.
    pub address: u64,
    /// Bytes in memory.
    pub memory_size: u64,
    /// `p_flags`: 1 executable, 2 writable, 4 readable.
    pub flags: u32,
    /// First byte in the file.
    pub file_offset: u64,
    /// Bytes in the file.
    pub file_size: u64,
    /// The sectors that these lie in, the first [`LISTED`](super::facts::LISTED) pieces; none of a compressed kernel.
    pub extents: Vec<Sectors>,
    /// How many pieces there are.
    pub pieces: u64,
    /// Sectors of all of them.
    pub sectors: u64,
}

/// The kernel that is booted: what it is, by its protocol.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Booted {
    /// The boot protocol, by its name in an entry.
    pub protocol: Option<&'static str>,
    /// The kernel, if it is one for the loader's own protocol.
    pub kernel: Option<Kernel>,
    /// The kernel, if it is one for Multiboot.
    pub multiboot: Option<MultibootKernel>,
    /// The kernel, if it is Linux.
    pub linux: Option<Linux>,
    /// The kernel, if it is one for the Limine protocol.
    pub limine: Option<LimineKernel>,
}

impl Booted {
    /// Reads what the headers of the file say, by the rules of the protocol; nothing if they make
    /// no sense.
    pub(super) fn read(&mut self, protocol: Protocol, file: &mut impl FileBytes) {
        self.protocol = Some(protocol.name());
        match protocol {
            Protocol::Multiboot1 => self.multiboot = MultibootKernel::read(Multiboot::One, file),
            Protocol::Multiboot2 => self.multiboot = MultibootKernel::read(Multiboot::Two, file),
            Protocol::Linux(_) => self.linux = Linux::read(file),
            Protocol::Limine => self.limine = LimineKernel::read(file),
            Protocol::Bootpath => self.kernel = Kernel::read(file),
        }
    }
}

/// A kernel for Multiboot, as its headers describe it.
#[derive(Clone, Debug, Serialize)]
pub struct MultibootKernel {
    /// The specification that it follows.
    pub specification: &'static str,
    /// Where its header is in the file.
    pub header: u64,
    /// Physical address of the entry point.
    pub entry: u64,
    /// Its segments, by physical address.
    pub segments: Vec<PhysicalSegment>,
}

/// A segment of the kernel that goes to a physical address.
#[derive(Clone, Debug, Serialize)]
pub struct PhysicalSegment {
    /// Physical address.
    pub address: u64,
    /// Bytes in memory.
    pub memory_size: u64,
    /// First byte in the file.
    pub file_offset: u64,
    /// Bytes in the file.
    pub file_size: u64,
}

impl MultibootKernel {
    fn read(version: Multiboot, file: &mut impl FileBytes) -> Option<Self> {
        let (header, image) = header::check_file(version, file).ok()?;
        let segments = image.segments().iter().map(|segment| PhysicalSegment {
            address: segment.start.as_u64(),
            memory_size: segment.memory_size,
            file_offset: segment.file_offset.as_u64(),
            file_size: segment.file_size,
        });
        Some(Self {
            specification: version.name(),
            header: header.offset.as_u64(),
            entry: image.entry().as_u64(),
            segments: segments.collect(),
        })
    }
}

/// A Linux kernel, as its setup header describes it.
#[derive(Clone, Debug, Serialize)]
pub struct Linux {
    /// Version of the boot protocol: minor number in the low byte, major number above.
    pub version: u16,
    /// Whether it can be loaded at other places than 1 MiB.
    pub relocatable: bool,
    /// Whether it has a 64-bit entry.
    pub long_mode: bool,
    /// Where it prefers to run; 0: it has no preference.
    pub preferred_address: u64,
    /// Bytes that it needs there; 0: it does not say.
    pub init_size: u32,
}

impl Linux {
    fn read(file: &mut impl FileBytes) -> Option<Self> {
        let size = file.size();
        let image = LinuxImage::read(file.window(FileOffset::ZERO), size).ok()?;
        let header = image.header();
        Some(Self {
            version: header.version.get(),
            relocatable: image.relocatable(),
            long_mode: image.has_64_bit_entry(),
            preferred_address: header.pref_address.get(),
            init_size: header.init_size.get(),
        })
    }
}

/// A kernel for the Limine protocol, as its requests describe it.
#[derive(Clone, Debug, Serialize)]
pub struct LimineKernel {
    /// The base revision that it asks for.
    pub base_revision: u64,
    /// What it asks for.
    pub requests: Vec<String>,
    /// Its lowest virtual address.
    pub address: u64,
    /// Whether it can run at any address.
    pub position_independent: bool,
}

impl LimineKernel {
    fn read(file: &mut impl FileBytes) -> Option<Self> {
        let (image, requests) = limine::check_file(file).ok()??;
        let asked = FEATURES
            .iter()
            .filter(|(feature, _)| requests.has(*feature));
        Some(Self {
            base_revision: requests.revision,
            requests: asked.map(|(feature, _)| format!("{feature:?}")).collect(),
            address: image.virtual_start().as_u64(),
            position_independent: image.position_independent(),
        })
    }
}

impl Kernel {
    fn read(file: &mut impl FileBytes) -> Option<Self> {
        let (image, wishes) = image::check_file(file).ok()?;
        let segments = image.segments().iter().map(|segment| Segment {
            address: segment.virtual_start.as_u64(),
            memory_size: segment.memory_size,
            flags: segment.flags,
            file_offset: segment.file_offset.as_u64(),
            file_size: segment.file_size,
            extents: Vec::new(),
            pieces: 0,
            sectors: 0,
        });
        Some(Self {
            entry: image.entry().as_u64(),
            position_independent: image.position_independent(),
            stack_size: wishes.stack_size,
            physical_map_base: wishes.physical_map_base.as_u64(),
            segments: segments.collect(),
        })
    }
}

//! Reading an image back: what lies where, and whether it is what the loader expects.
//!
//! Partition table, file system, configuration and kernel are read by stage2's own modules, so
//! what is said here is what happens when the image boots.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use boot_path::disk::block_device::{BlockDevice, DiskError, DiskFailure};
use boot_path::disk::fat::{Cache, Extent, ExtentWalker, FatError, Volume as FatVolume};
use boot_path::disk::partition;
use boot_path::entry::entries::{self, Entries, LoaderConf, Timeout, Warning};
use boot_path::entry::entry_file::{self, KernelEntry};
use boot_path::entry::protocol::{LinuxEntry, Protocol};
use boot_path::errors::catalogue::{self, Named, Report};
use boot_path::errors::text::{Shown, is_harmful};
use boot_path::files::file_bytes::{FileBytes, WINDOW};
use boot_path::files::integrity::{Manifest, Role, Sums};
use boot_path::kernel::image;
use boot_path::ways_out::limine::{self, FEATURES, LimineError};
use boot_path::ways_out::linux::image::{LinuxError, LinuxImage};
use boot_path::ways_out::multiboot::header::{self, Version as Multiboot};
use boot_path::ways_out::of_file::protocol_of_file;
use boot_path::ways_out::sums::of_kernel;
use disk_layout::cd::{self as layout, SECTORS_PER_BLOCK};
use disk_layout::stage2::{self as stage2_image, MAGIC, MAX_LENGTH, SUM, VERSION};
use disk_layout::{
    MAX_TRANSFER_SECTORS, Mbr, PARTITION_LBA, ParameterBlock, SECTOR_SIZE, Stage2Header, mbr,
};
use serde::Serialize;
use zerocopy::FromBytes as _;

use crate::cd;
use crate::host_file::{self, Sparse};
use crate::manifest::crc32c;
use crate::packed::{is_packed, unpacked, unpacked_length};

/// Sectors that lie side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sectors {
    /// The first one, counted from the start of the disk in units of 512 bytes.
    pub lba: u64,
    /// How many there are.
    pub sectors: u64,
}

impl Sectors {
    fn new(lba: u64, sectors: u64) -> Self {
        Self { lba, sectors }
    }
}

/// What is in an image.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Length of the image in bytes.
    pub bytes: u64,
    /// The disk signature in the MBR.
    pub disk_signature: u32,
    /// stage2, where stage1's parameter block says that it is.
    pub stage2: Option<Stage2>,
    /// What makes a CD of it, if it is one.
    pub cd: Option<Cd>,
    /// The partition that the loader boots from.
    pub partition: Option<Partition>,
    /// The file system in it.
    pub volume: Option<Volume>,
    /// The files that the loader reads, whatever is chosen: `kernel.conf` or the entries, kernels,
    /// modules.
    pub files: Vec<FileInfo>,
    /// The boot entries in the order of the loader; none where it goes by `kernel.conf`.
    pub entries: Vec<EntryInfo>,
    /// For how long a loader with a menu offers a choice, in seconds, when `loader.conf` says so;
    /// `u32::MAX`: for ever.
    pub timeout: Option<u32>,
    /// The kernel that is booted.
    #[serde(flatten)]
    pub booted: Booted,
    /// Its command line.
    pub command_line: Option<String>,
    /// What the loader leaves out, or ignores, in its own words.
    pub warnings: Vec<String>,
    /// What the loader would refuse, in its own words; empty when the image is good.
    pub problems: Vec<String>,
}

/// stage2 and its header.
#[derive(Clone, Debug, Serialize)]
pub struct Stage2 {
    /// Where it lies.
    #[serde(flatten)]
    pub place: Sectors,
    /// Length in bytes, as its header says.
    pub length: u32,
    /// CRC-32C, as its header says.
    pub crc32c: u32,
    /// Whether that is right.
    pub verified: bool,
    /// Version of the header.
    pub version: u16,
    /// Its road to long mode.
    pub road: &'static str,
    /// Whether it writes its BIOS calls to the serial line.
    pub record: bool,
}

/// ISO 9660 and El Torito.
#[derive(Clone, Debug, Serialize)]
pub struct Cd {
    /// Length of the volume in blocks of 2048 bytes.
    pub blocks: u32,
    /// Its descriptors.
    pub descriptors: Sectors,
    /// The boot catalogue.
    pub catalogue: Sectors,
    /// Path tables and root directory.
    pub directories: Sectors,
    /// The boot program.
    pub program: Sectors,
    /// Whether its sum is right.
    pub verified: bool,
    /// The file in the root directory.
    pub file: Vec<Sectors>,
}

/// The boot partition.
#[derive(Clone, Debug, Serialize)]
pub struct Partition {
    /// Where it lies.
    #[serde(flatten)]
    pub place: Sectors,
    /// Its entry in the table, 1 to 4; 0: the disk has no table.
    pub number: u8,
    /// The type in the table.
    pub kind: u8,
}

/// The file system.
#[derive(Clone, Debug, Serialize)]
pub struct Volume {
    /// 12, 16 or 32.
    pub fat_bits: u8,
    /// Size of a cluster in bytes.
    pub cluster: u32,
    /// How many there are.
    pub clusters: u32,
    /// Boot sector and what else lies in front of the FATs.
    pub reserved: Sectors,
    /// All copies of the FAT.
    pub fats: Sectors,
    /// From the first to the last cluster.
    pub data: Sectors,
}

/// A file in the boot partition.
#[derive(Clone, Debug, Serialize)]
pub struct FileInfo {
    /// Path in the partition.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// Where it lies, in the order of its bytes: the first [`LISTED`] pieces.
    pub extents: Vec<Sectors>,
    /// How many pieces there are.
    pub pieces: u64,
    /// Bytes of what the loader unpacks from it; 0 when it cannot; `None`: it is used as it is.
    pub unpacked: Option<u64>,
    /// What came of the comparison with its checksum; `None`: it has none.
    pub checksum: Option<Checksum>,
}

/// How many pieces of a file are listed: it may have millions.
pub const LISTED: usize = 1000;

/// Where bytes of a file lie.
#[derive(Default)]
struct Places {
    /// The first [`LISTED`] pieces, in the order of the bytes.
    extents: Vec<Sectors>,
    /// How many pieces there are.
    pieces: u64,
    /// Sectors of all of them.
    sectors: u64,
}

impl Places {
    /// Adds a piece.
    fn add(&mut self, place: Sectors) {
        self.pieces += 1;
        self.sectors += place.sectors;
        if self.extents.len() < LISTED {
            self.extents.push(place);
        }
    }
}

/// Whether a file has the checksum that stage2 expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// It has.
    Good,
    /// It has not: the loader would refuse it.
    Wrong,
    /// It is another file than the one that `disk-builder` wrote, and not checked.
    Replaced,
}

/// A boot entry.
#[derive(Clone, Debug, Serialize)]
pub struct EntryInfo {
    /// The name of its file.
    pub name: String,
    /// Whether it is booted when nobody chooses.
    pub is_default: bool,
    /// What a person sees.
    pub title: Option<String>,
    /// The path of the kernel.
    pub kernel: Option<String>,
    /// The protocol that it is booted by, when the entry says so.
    pub protocol: Option<&'static str>,
    /// What is started instead of a kernel.
    pub chain: Option<String>,
    /// The command line; may be empty.
    pub command_line: String,
    /// Modules and initrds.
    pub modules: Vec<String>,
}

/// The kernel, as its ELF headers describe it.
#[derive(Clone, Debug, Serialize)]
pub struct Kernel {
    /// Virtual address of the entry point.
    pub entry: u64,
    /// Whether it can run at any address.
    pub position_independent: bool,
    /// Size in bytes of the stack that it wishes for.
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
    /// The sectors that these lie in, the first [`LISTED`] pieces; none of a compressed kernel.
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
    /// Reads what the file says of itself, as the protocol has it.
    fn read(
        &mut self,
        protocol: Protocol,
        entry: &KernelEntry<'_>,
        file: &mut impl FileBytes,
    ) -> Problem<()> {
        self.protocol = Some(protocol.name());
        match protocol {
            Protocol::Multiboot1 => {
                self.multiboot = Some(MultibootKernel::read(Multiboot::One, file)?);
            }
            Protocol::Multiboot2 => {
                self.multiboot = Some(MultibootKernel::read(Multiboot::Two, file)?);
            }
            Protocol::Linux(wanted) => {
                let image = read_linux(file, wanted, entry.command_line_length());
                self.linux = Some(Linux::of(&image.map_err(|e| say(&e))?));
            }
            Protocol::Limine => self.limine = Some(LimineKernel::read(file)?),
            Protocol::Bootpath => {
                let (image, wishes) = image::check_file(file).map_err(|e| say(&e))?;
                self.kernel = Some(Kernel::of(&image, &wishes));
            }
        }
        Ok(())
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
    /// Reads the headers as the loader does, as far as they say themselves what is wrong: whether
    /// the memory is free only the machine knows.
    fn read(version: Multiboot, file: &mut impl FileBytes) -> Problem<Self> {
        let (header, image) = header::check_file(version, file).map_err(|e| say(&e))?;
        let segments = image.segments().iter().map(|segment| PhysicalSegment {
            address: segment.start,
            memory_size: segment.memory_size,
            file_offset: segment.file_offset,
            file_size: segment.file_size,
        });
        Ok(Self {
            specification: version.name(),
            header: header.offset,
            entry: image.entry(),
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
    /// Where it would like to run; 0: no wish.
    pub preferred_address: u64,
    /// Bytes that it needs there; 0: it does not say.
    pub init_size: u32,
}

impl Linux {
    fn of(image: &LinuxImage) -> Self {
        let header = image.header();
        Self {
            version: header.version.get(),
            relocatable: image.relocatable(),
            long_mode: image.has_64_bit_entry(),
            preferred_address: header.pref_address.get(),
            init_size: header.init_size.get(),
        }
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
    /// Reads the requests as the loader does, as far as they say themselves what is wrong.
    fn read(file: &mut impl FileBytes) -> Problem<Self> {
        let checked = limine::check_file(file).map_err(|e| say(&e))?;
        let (image, requests) = checked.ok_or_else(|| say(&LimineError::Nothing))?;
        let asked = FEATURES
            .iter()
            .filter(|(feature, _)| requests.has(*feature));
        Ok(Self {
            base_revision: requests.revision,
            requests: asked.map(|(feature, _)| format!("{feature:?}")).collect(),
            address: image.virtual_start(),
            position_independent: image.position_independent(),
        })
    }
}

/// Inspects an image.
///
/// # Errors
/// When it cannot be read, or is no disk image at all. What the loader would refuse is no error,
/// but one of the [`Inspection::problems`].
pub fn inspect(image: &Path) -> Result<Inspection> {
    let file = host_file::open_disk(image)?;
    inspect_file(&file).with_context(|| format!("cannot inspect {}", image.display()))
}

/// Inspects an image that is open already.
///
/// # Errors
/// Those of [`inspect`].
pub fn inspect_file(image: &File) -> Result<Inspection> {
    let mut disk = FileDisk::new(image.try_clone()?)?;
    let sector = disk.sectors(0, 1).map_err(|error| refusal(&error))?;
    let mbr = Mbr::read_from_bytes(&sector).map_err(|_| anyhow!("no MBR"))?;
    let mut inspection = Inspection {
        bytes: disk.length,
        disk_signature: mbr.disk_signature.get(),
        stage2: None,
        cd: None,
        partition: None,
        volume: None,
        files: Vec::new(),
        entries: Vec::new(),
        timeout: None,
        booted: Booted::default(),
        command_line: None,
        warnings: Vec::new(),
        problems: Vec::new(),
    };
    let manifest = inspection.read_stage2(&mut disk, &mbr);
    let manifest = manifest.unwrap_or_else(|problem| {
        inspection.problems.push(problem);
        Vec::new()
    });
    let manifest = Manifest::new(&manifest, crc32c);
    if let Err(problem) = inspection.read_partition(&mut disk, &mbr, manifest) {
        inspection.problems.push(problem);
    }
    if let Err(problem) = inspection.read_cd(&mut disk) {
        inspection.problems.push(problem);
    }
    disk.failure
        .map_or(Ok(inspection), |error| Err(error.into()))
}

/// Says why the loader would refuse a kernel, which it boots by a protocol that is given, or by the
/// one that the file looks like: in the loader's own words, with the code.
///
/// # Errors
/// When there is no room for what is compressed in the file.
pub(crate) fn check_kernel(
    kernel: &mut impl FileBytes,
    protocol: Option<Protocol>,
) -> Result<Problem<()>> {
    let mut file = match unpacked(kernel)? {
        Ok(file) => file,
        Err(error) => return Ok(Err(say(&error))),
    };
    let protocol = protocol.unwrap_or_else(|| protocol_of_file(&mut file));
    let verdict = match protocol {
        Protocol::Multiboot1 => MultibootKernel::read(Multiboot::One, &mut file).map(drop),
        Protocol::Multiboot2 => MultibootKernel::read(Multiboot::Two, &mut file).map(drop),
        Protocol::Linux(wanted) => {
            let image = read_linux(&mut file, wanted, 0);
            image.map(drop).map_err(|error| say(&error))
        }
        Protocol::Limine => LimineKernel::read(&mut file).map(drop),
        Protocol::Bootpath => {
            let checked = image::check_file(&mut file);
            checked.map(drop).map_err(|error| say(&error))
        }
    };
    file.check()?;
    Ok(verdict)
}

/// Reads the setup header of a Linux kernel, for the entry that is wanted and for a command line of so
/// many bytes.
fn read_linux(
    file: &mut impl FileBytes,
    wanted: Option<LinuxEntry>,
    command_line: usize,
) -> Result<LinuxImage, LinuxError> {
    let size = file.size();
    let image = LinuxImage::read(file.window(0), size)?;
    image.entry(wanted)?;
    image.check_command_line(command_line)?;
    Ok(image)
}

/// An error of the loader, in its own words.
pub(crate) fn refusal(error: &dyn Named) -> anyhow::Error {
    anyhow!(say(error))
}

fn say(error: &dyn Named) -> String {
    Report(error).to_string()
}

/// A row of the catalogue and the facts, for what the library of stage2 has no error type for.
struct Failure(&'static catalogue::Entry, String);

impl Named for Failure {
    fn entry(&self) -> &'static catalogue::Entry {
        self.0
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

fn failure(entry: &'static catalogue::Entry, facts: impl Into<String>) -> String {
    say(&Failure(entry, facts.into()))
}

/// What the loader says when it stops.
type Problem<T> = Result<T, String>;

impl Inspection {
    /// As JSON, for programs; also fit for a terminal, which obeys more characters than JSON escapes.
    ///
    /// # Errors
    /// None that is known.
    pub fn to_json(&self) -> Result<String> {
        let json = serde_json::to_string_pretty(self)?;
        let mut shown = String::with_capacity(json.len());
        for c in json.chars() {
            // Those of the layout are the only line ends, and all others stand in strings.
            if is_harmful(c) && c != '\n' {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(shown, "\\u{unit:04x}")?;
                }
            } else {
                shown.push(c);
            }
        }
        Ok(shown)
    }

    /// Checks that there are no problems.
    ///
    /// # Errors
    /// The problems.
    pub fn verify(&self) -> Result<()> {
        match self.problems.as_slice() {
            [] => Ok(()),
            problems => bail!("{}", problems.join("; ")),
        }
    }

    /// The file at this path of the boot partition, if the loader reads it.
    pub fn file(&self, path: &str) -> Option<&FileInfo> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Checks what runs first, and returns the manifest, or nothing where there is none.
    fn read_stage2(&mut self, disk: &mut FileDisk, mbr: &Mbr) -> Problem<Vec<u8>> {
        let sum = disk_layout::sum(&mbr.code[mbr::CHECKED]);
        if sum != 0 {
            let facts = format!("its words sum up to {sum:04X}h");
            return Err(failure(&catalogue::STAGE1_DAMAGED, facts));
        }
        let parameters = &mbr.code[mbr::PARAMETER_BLOCK_OFFSET..];
        let parameters = ParameterBlock::read_from_bytes(parameters)
            .map_err(|_| failure(&catalogue::STAGE1_READ, "no parameter block"))?;
        let (lba, sectors) = (parameters.lba.get().into(), parameters.sectors.get().into());
        let most = (MAX_LENGTH / SECTOR_SIZE) as u64;
        let end = u64::from(ParameterBlock::END_LBA);
        if lba == 0 || !(1..=most).contains(&sectors) || lba + sectors > end {
            let facts = format!("the parameter block says LBA {lba}, {sectors} sectors");
            return Err(failure(&catalogue::STAGE1_READ, facts));
        }
        let bytes = disk
            .sectors(lba, sectors as usize)
            .map_err(|error| failure(&catalogue::STAGE1_READ, error.to_string()))?;
        let Some((header, _)) = Stage2Header::ref_from_prefix(&bytes)
            .ok()
            .filter(|(header, _)| header.magic == MAGIC)
        else {
            return Err(failure(&catalogue::STAGE2_SUM, format!("LBA {lba}")));
        };
        let length = header.length.get();
        let covered = stage2_image::covered(&bytes);
        let found = crc32c(0, covered.unwrap_or_default());
        let sum = stage2_image::stage1_sum(&bytes);
        let verified = covered.is_some() && found == header.crc32c.get() && sum == SUM;
        self.stage2 = Some(Stage2 {
            place: Sectors::new(lba, sectors),
            length,
            crc32c: header.crc32c.get(),
            verified,
            version: header.version.get(),
            road: match header.road {
                0 => "protected",
                1 => "direct",
                _ => "unknown",
            },
            record: header.record != 0,
        });
        if !verified {
            let facts = format!(
                "length {length}, CRC-32C {found:08X}h instead of {:08X}h, sum {sum:08X}h",
                header.crc32c.get()
            );
            return Err(failure(&catalogue::STAGE2_CORRUPT, facts));
        }
        if header.version.get() != VERSION {
            return Err(format!(
                "stage2's header has version {}, not {VERSION}",
                header.version.get()
            ));
        }
        let manifest = stage2_image::manifest(&bytes).unwrap_or_default();
        Ok(manifest.to_vec())
    }

    /// A CD's structures, if the image is one: how its BIOS finds the boot program and that stage2,
    /// and how an operating system finds the boot partition.
    fn read_cd(&mut self, disk: &mut FileDisk) -> Problem<()> {
        let before = disk.sector_count().min(PARTITION_LBA.into());
        let bytes = disk.sectors(0, before as usize).map_err(|e| say(&e))?;
        let blocks = cd::Blocks(&bytes);
        if !blocks.is_cd() {
            return Ok(());
        }
        let found = blocks.read()?;
        let place = |first: u32, last: u32| {
            let unit = SECTORS_PER_BLOCK as u64;
            Sectors::new(u64::from(first) * unit, u64::from(last - first + 1) * unit)
        };
        let cd = Cd {
            blocks: found.volume,
            descriptors: place(layout::PRIMARY_BLOCK, layout::TERMINATOR_BLOCK),
            catalogue: place(found.catalogue, found.catalogue),
            directories: place(layout::PATH_TABLE_BLOCKS[0], layout::ROOT_BLOCK),
            program: place(found.program, found.program),
            verified: found.sum == 0,
            file: found
                .file
                .iter()
                .map(|&(block, bytes)| {
                    let sectors = u64::from(bytes).div_ceil(SECTOR_SIZE as u64);
                    Sectors::new(place(block, block).lba, sectors)
                })
                .collect(),
        };
        let cd = self.cd.insert(cd);

        if found.sum != 0 {
            let facts = format!("the words of the CD's program sum up to {:04X}h", found.sum);
            return Err(failure(&catalogue::STAGE1_DAMAGED, facts));
        }
        let parameters = &found.parameters;
        let (block, count) = (parameters.block.get(), parameters.blocks.get());
        let unit = SECTORS_PER_BLOCK as u64;
        if self.stage2.as_ref().is_some_and(|stage2| {
            stage2.place.lba != u64::from(block) * unit
                || stage2.place.sectors.div_ceil(unit) != u64::from(count)
        }) {
            let facts = format!("the CD's program looks at block {block}, for {count} blocks");
            return Err(failure(&catalogue::STAGE1_READ, facts));
        }
        if u64::from(cd.blocks) * SECTORS_PER_BLOCK as u64 > disk.sector_count() {
            return Err(format!(
                "the CD has {} blocks, more than the image",
                cd.blocks
            ));
        }
        if let Some(partition) = &self.partition {
            let mut lba = partition.place.lba;
            for section in &cd.file {
                if section.lba != lba {
                    break;
                }
                lba += section.sectors;
            }
            if lba != partition.place.lba + partition.place.sectors {
                return Err("the file on the CD is not the boot partition".into());
            }
        }
        Ok(())
    }

    /// Steps 7 to 10, in the order in which the loader takes them.
    fn read_partition(
        &mut self,
        disk: &mut FileDisk,
        mbr: &Mbr,
        manifest: Manifest<'_>,
    ) -> Problem<()> {
        let partition = partition::find(disk).map_err(|e| say(&e))?;
        let entry = usize::from(partition.number)
            .checked_sub(1)
            .map(|n| mbr.partitions[n]);
        self.partition = Some(Partition {
            place: Sectors::new(partition.first_lba, partition.sectors),
            number: partition.number,
            kind: entry.map_or(0, |entry| entry.kind),
        });
        let end = partition.first_lba.saturating_add(partition.sectors);
        if end > disk.sector_count() {
            let facts = format!("the partition ends at LBA {end}");
            self.problems.push(failure(&catalogue::DISK_RANGE, facts));
        }

        let mut buffer = vec![0; 3 * usize::from(MAX_TRANSFER_SECTORS) * SECTOR_SIZE];
        let mut cache = Cache::new(&mut buffer);
        let fat = match FatVolume::open_any(disk, &mut cache, &partition) {
            Ok((fat, None)) => fat,
            // Nobody should be content with half of what is there twice.
            Ok((_, Some((error, _)))) | Err(error) => return Err(say(&error)),
        };
        let boot_sector = disk.sectors(partition.first_lba, 1).map_err(|e| say(&e))?;
        self.volume = Some(Volume::of(&boot_sector, partition.first_lba));
        let mut reader = Reader {
            disk,
            cache,
            fat,
            manifest,
        };

        let entries = self.read_entries(&mut reader)?;
        let mut found = Entries::default();
        for (path, bytes) in &entries {
            let warning = found.add(path, bytes);
            self.warnings
                .extend(warning.map(|warning| warning.to_string()));
        }
        let rest = found.rest();
        self.warnings
            .extend(rest.map(|warning| warning.to_string()));
        if found.is_empty() {
            return self.read_configuration(&mut reader);
        }
        self.choose_entry(&mut reader, &found)
    }

    /// `/boot/kernel.conf`, and what it names.
    fn read_configuration(&mut self, reader: &mut Reader<'_, '_>) -> Problem<()> {
        let text = self
            .read_file(reader, entry_file::PATH_ENTRY)?
            .unwrap_or_default();
        let entry = entry_file::parse(&text).map_err(|e| say(&e))?;
        if !text.is_empty() {
            self.command_line = Some(command_line(&entry));
        }
        self.booted = self.read_entry(reader, &entry)?;
        Ok(())
    }

    /// The files that are entries, or should be: paths and bytes.
    fn read_entries(&mut self, reader: &mut Reader<'_, '_>) -> Problem<Vec<(String, Vec<u8>)>> {
        let mut entries = Vec::new();
        for (name, file) in reader.list(entries::DIRECTORY)? {
            if entries::is_entry(&name) {
                let path = format!("{}/{name}", entries::DIRECTORY);
                // Further ones are left out, whatever is in them.
                let bytes = match entries.len() < entries::MAX_CANDIDATES {
                    true => self.read_text(reader, &path, &file)?,
                    false => Vec::new(),
                };
                entries.push((path, bytes));
            }
        }
        Ok(entries)
    }

    /// What all of them name, and which one is booted.
    fn choose_entry(&mut self, reader: &mut Reader<'_, '_>, found: &Entries<'_>) -> Problem<()> {
        let conf = self
            .read_file(reader, entries::PATH_LOADER)?
            .unwrap_or_default();
        let (conf, error) = LoaderConf::parse(&conf);
        if let Some(error) = error {
            self.warnings
                .push(Warning::in_loader_conf(error).to_string());
        }
        self.timeout = conf.timeout().map(|timeout| match timeout {
            Timeout::Seconds(seconds) => seconds,
            Timeout::Forever => u32::MAX,
        });
        let choice = found.choose(conf.default_entry()).map_err(|e| say(&e))?;
        if let Some(pattern) = choice.unmatched {
            self.warnings.push(Warning::no_default(pattern).to_string());
        }
        for item in found.items() {
            let is_default = item.path == choice.item.path;
            let text = &item.text;
            self.entries.push(EntryInfo {
                name: item.name().to_owned(),
                is_default,
                title: text.title().map(str::to_owned),
                kernel: text.kernel().map(str::to_owned),
                protocol: text.protocol().map(Protocol::name),
                chain: text.chain().map(|target| target.to_string()),
                command_line: command_line(text),
                modules: text
                    .modules()
                    .map(|module| module.path.to_owned())
                    .collect(),
            });
            let booted = self.read_entry(reader, text)?;
            if is_default {
                self.command_line = Some(command_line(text));
                self.booted = booted;
            }
        }
        Ok(())
    }

    /// The bytes of a file for people; `None`: there is none, and there need not be.
    fn read_file(&mut self, reader: &mut Reader<'_, '_>, path: &str) -> Problem<Option<Vec<u8>>> {
        match reader.find(path)? {
            Some(file) => self.read_text(reader, path, &file).map(Some),
            None if reader.manifest.entry(path, Sums::Whole).is_some() => {
                Err(failure(&catalogue::ENTRY_MISSING, path))
            }
            None => Ok(None),
        }
    }

    fn read_text(
        &mut self,
        reader: &mut Reader<'_, '_>,
        path: &str,
        file: &boot_path::disk::fat::File,
    ) -> Problem<Vec<u8>> {
        let places = reader.places(file, 0, file.size)?;
        let bytes = reader.bytes(file, MOST_OF_TEXT)?;
        let manifest = reader.manifest;
        let of = (Role::Text, Sums::Whole);
        self.add_file(manifest, of, path, file, (places, None), || {
            Ok(Some((crc32c(0, &bytes), 0)))
        })?;
        Ok(bytes)
    }

    /// The kernel and the modules of an entry: those are there, and this one can be booted.
    fn read_entry(
        &mut self,
        reader: &mut Reader<'_, '_>,
        entry: &KernelEntry<'_>,
    ) -> Problem<Booted> {
        let mut booted = Booted::default();
        // Linux does it itself, and Limine's modules are files as they are.
        let mut unpacks_modules = false;
        if entry.chain().is_none() {
            let path = entry.kernel().unwrap_or(entry_file::PATH_KERNEL);
            match reader.find(path)? {
                Some(file) => {
                    let protocol = self.read_kernel(reader, entry, (path, &file), &mut booted)?;
                    unpacks_modules = protocol.is_some_and(|protocol| {
                        !matches!(protocol, Protocol::Limine | Protocol::Linux(_))
                    });
                }
                None => self.add_problem(failure(&catalogue::ENTRY_NO_KERNEL, path)),
            }
        }
        for module in entry.modules() {
            match reader.find(module.path)? {
                Some(file) => self.read_module(reader, (module.path, &file), unpacks_modules)?,
                None => self.add_problem(failure(&catalogue::ENTRY_NO_MODULE, module.path)),
            }
        }
        Ok(booted)
    }

    /// Reads a kernel; returns its protocol, unless it cannot be unpacked.
    fn read_kernel(
        &mut self,
        reader: &mut Reader<'_, '_>,
        entry: &KernelEntry<'_>,
        (path, file): (&str, &boot_path::disk::fat::File),
        booted: &mut Booted,
    ) -> Problem<Option<Protocol>> {
        let places = reader.places(file, 0, file.size)?;
        let manifest = reader.manifest;
        let mut bytes = reader.open(file);
        let packed = is_packed(&mut bytes);
        let by_protocol =
            |file: &mut dyn FnMut() -> Protocol| entry.protocol().unwrap_or_else(file);
        let mut protocol = None;
        let mut sums = Sums::Whole;
        if !packed {
            let found = by_protocol(&mut || protocol_of_file(&mut bytes));
            bytes.check()?;
            protocol = Some(found);
            sums = found.sums();
        }
        let mut length = packed.then_some(0);
        let unpacked = unpacked(&mut bytes).map_err(|error| format!("{error:#}"))?;
        let verdict = match unpacked {
            Ok(mut file) => {
                if packed {
                    length = Some(file.size());
                }
                let protocol = *protocol
                    .get_or_insert_with(|| by_protocol(&mut || protocol_of_file(&mut file)));
                let verdict = booted.read(protocol, entry, &mut file);
                file.check().map_err(|error| format!("{error:#}"))?;
                verdict
            }
            Err(error) => Err(say(&error)),
        };
        bytes.check()?;
        self.add_file(
            manifest,
            (Role::Kernel, sums),
            path,
            file,
            (places, length),
            || {
                let checksums = of_kernel(&mut bytes, sums, crc32c).ok();
                bytes.check()?;
                Ok(checksums.map(|(headers, bytes)| (bytes, headers)))
            },
        )?;
        if let Err(problem) = verdict {
            self.add_problem(problem);
        } else if let (Some(kernel), false) = (&mut booted.kernel, packed) {
            for segment in &mut kernel.segments {
                let (offset, size) = (segment.file_offset, segment.file_size);
                let places = reader.places(file, offset, size)?;
                segment.extents = places.extents;
                segment.pieces = places.pieces;
                segment.sectors = places.sectors;
            }
        }
        Ok(protocol)
    }

    /// Reads a module, which the loader may unpack.
    fn read_module(
        &mut self,
        reader: &mut Reader<'_, '_>,
        (path, file): (&str, &boot_path::disk::fat::File),
        unpacks: bool,
    ) -> Problem<()> {
        let places = reader.places(file, 0, file.size)?;
        let manifest = reader.manifest;
        let mut bytes = reader.open(file);
        let mut length = None;
        let mut verdict = Ok(());
        if unpacks && is_packed(&mut bytes) {
            let unpacked = unpacked_length(&mut bytes);
            bytes.check()?;
            length = Some(unpacked.unwrap_or(0));
            verdict = unpacked.map(drop);
        }
        let of = (Role::Module, Sums::Whole);
        self.add_file(manifest, of, path, file, (places, length), || {
            let mut crc = 0;
            bytes.pieces(0, u64::MAX, |piece| crc = crc32c(crc, piece));
            bytes.check()?;
            Ok(Some((crc, 0)))
        })?;
        if let Err(error) = verdict {
            self.add_problem(say(&error));
        }
        Ok(())
    }

    /// Notes a file, which several entries may name, and, when it is the one in the manifest, compares
    /// its checksums: of its bytes and, of a kernel, of its headers. There are none of a kernel that
    /// cannot be booted.
    fn add_file(
        &mut self,
        manifest: Manifest<'_>,
        (role, sums): (Role, Sums),
        path: &str,
        file: &boot_path::disk::fat::File,
        (places, unpacked): (Places, Option<u64>),
        checksums: impl FnOnce() -> Problem<Option<(u32, u32)>>,
    ) -> Problem<()> {
        if self.file(path).is_some() {
            return Ok(());
        }
        let compared = match manifest.own(role, sums, path, file) {
            Ok(Some(expected)) => match checksums()? {
                Some((bytes, headers)) => expected
                    .headers(headers)
                    .and_then(|()| expected.bytes(bytes))
                    .map(|()| Some(Checksum::Good)),
                // Its headers say what is wrong with it.
                None => Ok(Some(Checksum::Wrong)),
            },
            Ok(None) => Ok(manifest.entry(path, sums).map(|_| Checksum::Replaced)),
            Err(damage) => Err(damage),
        };
        let checksum = compared.unwrap_or_else(|damage| {
            self.problems.push(say(&damage));
            Some(Checksum::Wrong)
        });
        self.files.push(FileInfo {
            path: path.to_owned(),
            size: file.size,
            extents: places.extents,
            pieces: places.pieces,
            unpacked,
            checksum,
        });
        Ok(())
    }

    /// Notes a problem that several entries may have.
    fn add_problem(&mut self, problem: String) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(crate) fn fmt_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, at: Sectors, what: fmt::Arguments<'_>| {
            writeln!(f, "{:>10} {:>10}  {what}", at.lba, at.sectors)
        };
        writeln!(f, "{:>10} {:>10}  what", "LBA", "sectors")?;
        line(
            f,
            Sectors::new(0, 1),
            format_args!(
                "MBR: stage1 and partition table, disk {:08X}h",
                self.disk_signature
            ),
        )?;
        let state = |verified| if verified { "good" } else { "WRONG" };
        if let Some(cd) = &self.cd {
            line(
                f,
                cd.descriptors,
                format_args!("CD: volume descriptors, {} blocks of 2048 bytes", cd.blocks),
            )?;
            line(f, cd.catalogue, format_args!("CD: boot catalogue"))?;
            line(
                f,
                cd.directories,
                format_args!("CD: path tables, root directory"),
            )?;
            let state = state(cd.verified);
            line(f, cd.program, format_args!("CD: boot program ({state})"))?;
        }
        if let Some(stage2) = &self.stage2 {
            let state = state(stage2.verified);
            line(
                f,
                stage2.place,
                format_args!(
                    "stage2: {} road{}, CRC-32C {:08X}h ({state})",
                    stage2.road,
                    if stage2.record { ", recorded" } else { "" },
                    stage2.crc32c
                ),
            )?;
        }
        if let Some(partition) = &self.partition {
            let what = format_args!(
                "partition {}: type {:02X}h",
                partition.number, partition.kind
            );
            line(f, partition.place, what)?;
        }
        if let Some(volume) = &self.volume {
            line(
                f,
                volume.reserved,
                format_args!("  boot sector, FAT{}", volume.fat_bits),
            )?;
            line(f, volume.fats, format_args!("  file allocation tables"))?;
            let (count, size) = (volume.clusters, volume.cluster);
            line(
                f,
                volume.data,
                format_args!("  {count} clusters of {size} bytes"),
            )?;
        }
        for file in &self.files {
            let checksum = match file.checksum {
                Some(Checksum::Good) => ", checksum good",
                Some(Checksum::Wrong) => ", checksum WRONG",
                Some(Checksum::Replaced) => ", replaced",
                None => "",
            };
            let unpacked = file.unpacked.map(|size| format!(", {size} unpacked"));
            let unpacked = unpacked.unwrap_or_default();
            if file.extents.is_empty() {
                line(
                    f,
                    Sectors::new(0, 0),
                    format_args!("    {} (empty{checksum})", Shown::new(&file.path)),
                )?;
            }
            for (number, extent) in file.extents.iter().enumerate() {
                match number {
                    0 => line(
                        f,
                        *extent,
                        format_args!(
                            "    {} ({} bytes{unpacked}{checksum})",
                            Shown::new(&file.path),
                            file.size
                        ),
                    )?,
                    // A badly fragmented file would fill many screens.
                    8 => {
                        let more = file.pieces - number as u64;
                        writeln!(f, "{:>21}      and {more} pieces more", "")?;
                        break;
                    }
                    _ => line(f, *extent, format_args!("      continued"))?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_table(f)?;
        for entry in &self.entries {
            entry.fmt(f)?;
        }
        if let Some(command_line) = &self.command_line {
            writeln!(f, "command line: {}", Shown::new(command_line))?;
        }
        if let Some(linux) = &self.booted.linux {
            writeln!(
                f,
                "kernel: Linux, protocol {}.{:02}{}{}, {} KiB at {:#x}",
                linux.version >> 8,
                linux.version & 0xFF,
                if linux.relocatable {
                    ", relocatable"
                } else {
                    ""
                },
                if linux.long_mode {
                    ", 64-bit entry"
                } else {
                    ""
                },
                linux.init_size.div_ceil(1024),
                linux.preferred_address,
            )?;
        }
        if let Some(kernel) = &self.booted.kernel {
            let kind = if kernel.position_independent {
                ", position-independent"
            } else {
                ""
            };
            writeln!(
                f,
                "kernel: entry {:#x}{kind}, stack {} KiB, physical map at {:#x}",
                kernel.entry,
                kernel.stack_size / 1024,
                kernel.physical_map_base
            )?;
            for segment in &kernel.segments {
                let letter = |bit, letter| {
                    if segment.flags & bit != 0 {
                        letter
                    } else {
                        '-'
                    }
                };
                write!(
                    f,
                    "  {:#018x} {}{}{} {:>10} bytes, {:>10} from the file at {:#x}",
                    segment.address,
                    letter(4, 'r'),
                    letter(2, 'w'),
                    letter(1, 'x'),
                    segment.memory_size,
                    segment.file_size,
                    segment.file_offset
                )?;
                match segment.extents.as_slice() {
                    [] => writeln!(f)?,
                    [only] => writeln!(f, ": LBA {}, {} sectors", only.lba, only.sectors)?,
                    [first, ..] => writeln!(
                        f,
                        ": LBA {}, {} sectors in {} pieces",
                        first.lba, segment.sectors, segment.pieces
                    )?,
                }
            }
        }
        if let Some(kernel) = &self.booted.multiboot {
            writeln!(
                f,
                "kernel: {}, header at {:#x} of the file, entry {:#x}",
                kernel.specification, kernel.header, kernel.entry
            )?;
            for segment in &kernel.segments {
                writeln!(
                    f,
                    "  {:#010x} {:>10} bytes, {:>10} from the file at {:#x}",
                    segment.address, segment.memory_size, segment.file_size, segment.file_offset
                )?;
            }
        }
        if let Some(kernel) = &self.booted.limine {
            let kind = if kernel.position_independent {
                ", position-independent"
            } else {
                ""
            };
            writeln!(
                f,
                "kernel: Limine protocol, base revision {}, from {:#x}{kind}\n  asks for {}",
                kernel.base_revision,
                kernel.address,
                kernel.requests.join(", ")
            )?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {}", Shown::new(warning))?;
        }
        for problem in &self.problems {
            writeln!(f, "{}", Shown::new(problem))?;
        }
        if self.problems.is_empty() {
            writeln!(f, "no problems found")?;
        }
        Ok(())
    }
}

impl fmt::Display for EntryInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.is_default { "*" } else { " " };
        write!(f, "entry {mark} {}", Shown::new(&self.name))?;
        if let Some(title) = &self.title {
            write!(f, " ({})", Shown::new(title))?;
        }
        match (&self.kernel, &self.chain) {
            (Some(kernel), _) => write!(f, ": {}", Shown::new(kernel))?,
            (None, Some(chain)) => write!(f, ": chain {}", Shown::new(chain))?,
            (None, None) => {}
        }
        if let Some(protocol) = self.protocol {
            write!(f, " by {protocol}")?;
        }
        for module in &self.modules {
            write!(f, ", {}", Shown::new(module))?;
        }
        match self.command_line.as_str() {
            "" => writeln!(f),
            text => writeln!(f, ": {}", Shown::new(text)),
        }
    }
}

/// Of a file for people, one byte more than the loader reads: it shows that there are more.
const MOST_OF_TEXT: u64 = entry_file::MAX_FILE as u64 + 1;

fn command_line(entry: &KernelEntry<'_>) -> String {
    entry.options().collect::<Vec<_>>().join(" ")
}

impl Volume {
    /// By a boot sector that stage2 has accepted.
    fn of(boot_sector: &[u8], start: u64) -> Self {
        // Offsets: Microsoft, "FAT: General Overview of On-Disk Format", section "Boot Sector and
        // BPB".
        let number = |offset: usize, length: usize| {
            let bytes = &boot_sector[offset..offset + length];
            bytes
                .iter()
                .rev()
                .fold(0_u64, |number, &byte| number << 8 | u64::from(byte))
        };
        let or = |short: u64, long: u64| if short != 0 { short } else { long };
        // In sectors of the volume, which may be larger than ours.
        let scale = number(0x0B, 2) / SECTOR_SIZE as u64;
        let per_cluster = number(0x0D, 1);
        let reserved = number(0x0E, 2);
        let fats = number(0x10, 1) * or(number(0x16, 2), number(0x24, 4));
        let root = (number(0x11, 2) * 32).div_ceil(number(0x0B, 2).max(1));
        let data = reserved + fats + root;
        let clusters =
            or(number(0x13, 2), number(0x20, 4)).saturating_sub(data) / per_cluster.max(1);
        Self {
            fat_bits: match clusters {
                _ if number(0x16, 2) == 0 => 32,
                0..4085 => 12,
                _ => 16,
            },
            cluster: (per_cluster * number(0x0B, 2)) as u32,
            clusters: clusters as u32,
            reserved: Sectors::new(start, reserved * scale),
            fats: Sectors::new(start + reserved * scale, fats * scale),
            data: Sectors::new(start + data * scale, clusters * per_cluster * scale),
        }
    }
}

impl Kernel {
    fn of(image: &image::KernelImage, wishes: &image::Wishes) -> Self {
        let segments = image.segments().iter().map(|segment| Segment {
            address: segment.virtual_start,
            memory_size: segment.memory_size,
            flags: segment.flags,
            file_offset: segment.file_offset,
            file_size: segment.file_size,
            extents: Vec::new(),
            pieces: 0,
            sectors: 0,
        });
        Self {
            entry: image.entry(),
            position_independent: image.position_independent(),
            stack_size: wishes.stack_size,
            physical_map_base: wishes.physical_map_base,
            segments: segments.collect(),
        }
    }
}

/// The boot partition's files.
struct Reader<'a, 'c> {
    disk: &'a mut FileDisk,
    cache: Cache<'c>,
    fat: FatVolume,
    manifest: Manifest<'c>,
}

impl<'c> Reader<'_, 'c> {
    fn find(&mut self, path: &str) -> Problem<Option<boot_path::disk::fat::File>> {
        let found = self.fat.find(self.disk, &mut self.cache, path);
        found.map_err(|error| say(&error))
    }

    /// The names of the files in a directory, and the files.
    fn list(&mut self, path: &str) -> Problem<Vec<(String, boot_path::disk::fat::File)>> {
        let (disk, cache) = (&mut *self.disk, &mut self.cache);
        let directory = self.fat.directory(disk, cache, path).map_err(|e| say(&e))?;
        let Some(mut directory) = directory else {
            return Ok(Vec::new());
        };
        let mut files = Vec::new();
        while let Some(listed) = directory.next(disk, cache).map_err(|e| say(&e))? {
            files.push((listed.name.as_str().to_owned(), listed.file));
        }
        Ok(files)
    }

    /// The sectors with these bytes of a file. The whole chain of the file is looked at.
    fn places(
        &mut self,
        file: &boot_path::disk::fat::File,
        offset: u64,
        length: u64,
    ) -> Problem<Places> {
        const SIZE: u64 = SECTOR_SIZE as u64;
        let end = offset.saturating_add(length).min(file.size);
        let mut places = Places::default();
        let mut walker = self.fat.extents(file);
        while let Some(extent) = walker
            .next(self.disk, &mut self.cache)
            .map_err(|e| say(&e))?
        {
            let from = extent.file_offset.max(offset);
            let to = (extent.file_offset + extent.length).min(end);
            if from < to {
                let first = (extent.disk_offset + (from - extent.file_offset)) / SIZE;
                let behind = (extent.disk_offset + (to - extent.file_offset)).div_ceil(SIZE);
                places.add(Sectors::new(first, behind - first));
            }
        }
        Ok(places)
    }

    /// Opens a file whose chain is good: see [`places`](Self::places).
    fn open<'r>(&'r mut self, file: &boot_path::disk::fat::File) -> VolumeFile<'r, 'c> {
        VolumeFile {
            walker: self.fat.extents(file),
            fat: &self.fat,
            disk: &mut *self.disk,
            cache: &mut self.cache,
            file: *file,
            extent: NOWHERE,
            buffer: Vec::new(),
            start: 0,
            problem: None,
        }
    }

    /// The first `limit` bytes of a file, or all of a shorter one.
    fn bytes(&mut self, file: &boot_path::disk::fat::File, limit: u64) -> Problem<Vec<u8>> {
        let length = file.size.min(limit);
        let mut bytes = vec![0; length as usize];
        let range = boot_path::disk::stream::Range {
            file_offset: 0,
            length,
            destination: 0,
        };
        boot_path::disk::stream::stream(
            self.disk,
            &mut self.cache,
            &self.fat,
            file,
            &[range],
            &mut |at, piece| bytes[at as usize..][..piece.len()].copy_from_slice(piece),
        )
        .map_err(|e| say(&e))?;
        Ok(bytes)
    }
}

/// No bytes.
const NOWHERE: Extent = Extent {
    file_offset: 0,
    disk_offset: 0,
    length: 0,
};

/// A file in the boot partition whose bytes can be looked at.
struct VolumeFile<'r, 'c> {
    disk: &'r mut FileDisk,
    cache: &'r mut Cache<'c>,
    fat: &'r FatVolume,
    file: boot_path::disk::fat::File,
    walker: ExtentWalker<'r>,
    /// Where the walker was last.
    extent: Extent,
    /// What was read last, and from where in the file.
    buffer: Vec<u8>,
    start: u64,
    /// Why something could not be read.
    problem: Option<String>,
}

/// Bytes of a file that are read in one go.
const CHUNK: u64 = 256 << 10;

impl VolumeFile<'_, '_> {
    /// Whether everything could be read that was asked for.
    fn check(&mut self) -> Problem<()> {
        self.problem.take().map_or(Ok(()), Err)
    }

    /// The piece of the file that a byte is in.
    fn extent(&mut self, offset: u64) -> Problem<Extent> {
        if offset < self.extent.file_offset {
            self.walker = self.fat.extents(&self.file);
            self.extent = NOWHERE;
        }
        while offset - self.extent.file_offset >= self.extent.length {
            let next = self.walker.next(self.disk, self.cache);
            let next = next.map_err(|error| say(&error))?;
            let (end, size) = (offset + 1, self.file.size);
            self.extent = next.ok_or_else(|| say(&FatError::BehindFile { end, size }))?;
        }
        Ok(self.extent)
    }

    fn fill(&mut self, offset: u64, length: u64) -> Problem<()> {
        self.buffer.resize(length as usize, 0);
        self.start = offset;
        let mut done = 0;
        while done < length {
            let at = offset + done;
            let extent = self.extent(at)?;
            let skip = at - extent.file_offset;
            let count = (extent.length - skip).min(length - done);
            let piece = &mut self.buffer[done as usize..][..count as usize];
            self.disk
                .read_bytes(extent.disk_offset + skip, piece)
                .map_err(|error| say(&error))?;
            done += count;
        }
        Ok(())
    }
}

impl FileBytes for VolumeFile<'_, '_> {
    fn size(&self) -> u64 {
        self.file.size
    }

    fn window(&mut self, offset: u64) -> &[u8] {
        let left = self.file.size.saturating_sub(offset);
        let least = left.min(WINDOW as u64);
        let end = self.start + self.buffer.len() as u64;
        if (offset < self.start || offset + least > end)
            && let Err(problem) = self.fill(offset, left.min(CHUNK))
        {
            self.problem.get_or_insert(problem);
            self.buffer.clear();
        }
        &self.buffer[(offset - self.start).min(self.buffer.len() as u64) as usize..]
    }
}

/// An image as the disk that it will be.
struct FileDisk {
    image: Sparse,
    length: u64,
    buffer: Vec<u8>,
    /// What the host says when it cannot read the file.
    failure: Option<io::Error>,
}

impl FileDisk {
    fn new(image: File) -> Result<Self> {
        let image = Sparse::new(image);
        let length = image.length()?;
        if length < SECTOR_SIZE as u64 {
            bail!("it is too short for a disk image: {length} bytes");
        }
        Ok(Self {
            image,
            length,
            buffer: Vec::new(),
            failure: None,
        })
    }

    fn sectors(&mut self, lba: u64, count: usize) -> Result<Vec<u8>, DiskError> {
        self.read(lba, count).map(<[u8]>::to_vec)
    }

    /// Reads bytes, which need not be whole sectors.
    fn read_bytes(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), DiskError> {
        /// How the first hard disk goes by.
        const DRIVE: u8 = 0x80;
        const SIZE: u64 = SECTOR_SIZE as u64;
        let error = |cause| DiskError {
            cause,
            lba: offset / SIZE,
            drive: DRIVE,
        };
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.length / SIZE * SIZE) {
            return Err(error(DiskFailure::OutOfRange));
        }
        self.image.read_exact_at(offset, bytes).map_err(|failure| {
            self.failure = Some(failure);
            // INT 13h: uncorrectable error.
            error(DiskFailure::Status(0x10))
        })
    }
}

impl BlockDevice for FileDisk {
    fn sector_size(&self) -> usize {
        SECTOR_SIZE
    }

    fn sector_count(&self) -> u64 {
        self.length / SECTOR_SIZE as u64
    }

    fn max_transfer(&self) -> usize {
        MAX_TRANSFER_SECTORS.into()
    }

    fn read(&mut self, lba: u64, count: usize) -> Result<&[u8], DiskError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(count * SECTOR_SIZE, 0);
        let offset = lba.saturating_mul(SECTOR_SIZE as u64);
        let read = self.read_bytes(offset, &mut buffer);
        self.buffer = buffer;
        read.map(|()| self.buffer.as_slice())
    }
}

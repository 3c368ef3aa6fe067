//! Building an image.
//!
//! ```text
//! LBA 0      MBR: stage1, its parameter block, the partition table
//! LBA 1      stage2
//! LBA 2048   the boot partition, FAT: /boot/kernel.conf, /boot/kernel.elf, /boot/modules/…
//!            or /loader/loader.conf, /loader/entries/…, /boot/kernels/…, /boot/modules/…
//! ```
//!
//! In an image that is a CD as well, the CD's structures lie in between: see [`disk_layout::cd`].
//!
//! The same input gives the same bytes: there are no times of the host in the image, and its serial
//! numbers are a checksum of what is in it. The files lie in one piece each, in the order in which the loader
//! reads them. Blocks of zeros are left out of the file (it is sparse).

use std::fmt;
use std::fs;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use boot_path::entry::entries;
use boot_path::entry::protocol::Protocol;
use boot_path::entry::target::Target;
use boot_path::files::integrity::Role;
use disk_layout::stage2 as stage2_image;
use disk_layout::{PARTITION_LBA, ParameterBlock, Road, SECTOR_SIZE, iso9660, mbr};
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
use mbrman::{BOOT_ACTIVE, CHS, MBRHeader, MBRPartitionEntry};
use zerocopy::IntoBytes as _;

use crate::cd;
use crate::files::{self, Source};
use crate::geometry::{Geometry, HEADS, Kind, SECTORS_PER_TRACK};
use crate::inspect::{self, Chains, Inspection};
use crate::manifest::{Manifest, crc32c};
use crate::output::{self, OEM_NAME, Output};
use crate::signals;
use crate::sparse::{Partition, SparseFile};
use crate::stages::{self, Stage1, Stage1Cd, Stage2, Stages};

/// LBA of stage2, on a disk that is nothing else.
const STAGE2_LBA: u16 = 1;

/// A file for the kernel besides itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The file on the host.
    pub file: PathBuf,
    /// A text that the kernel gets with it; may be empty.
    pub string: String,
}

/// A file in `/loader/entries`, and what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The file's name, without `.conf`.
    pub name: String,
    /// What a person sees.
    pub title: Option<String>,
    /// By what entries are sorted first.
    pub sort_key: Option<String>,
    /// The kernel.
    pub kernel: PathBuf,
    /// Whether other loaders may boot it as well: the key is then `linux`, which is that of the
    /// specification, and not `kernel`.
    pub linux: bool,
    /// The boot sector that is started instead of a kernel: but for title and sort key, nothing else
    /// is of consequence then.
    pub chain: Option<Target>,
    /// The protocol to boot it by; `None`: what it looks like.
    pub protocol: Option<Protocol>,
    /// The kernel's command line; may be empty.
    pub command_line: String,
    /// Modules and initrds, in the order in which the kernel sees them.
    pub modules: Vec<Extra>,
}

impl Entry {
    /// An entry with nothing but a kernel.
    pub fn new(name: impl Into<String>, kernel: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            title: None,
            sort_key: None,
            kernel: kernel.into(),
            linux: false,
            chain: None,
            protocol: None,
            command_line: String::new(),
            modules: Vec::new(),
        }
    }
}

/// What comes with a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extra {
    /// A module, and its text.
    Module(Module),
    /// An initrd, by the key of the specification.
    Initrd(PathBuf),
}

/// What an image is made of.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The kernel, when there are no `entries`.
    pub kernel: PathBuf,
    /// The image: a file that is replaced when the new one is complete, if it is an image, too.
    pub output: PathBuf,
    /// Replaces a file that is no image as well.
    pub force: bool,
    /// ELF files of the two stages.
    pub stages: Stages,
    /// The command line of `kernel`; may be empty.
    pub command_line: String,
    /// Modules of `kernel`, in the order in which it sees them.
    pub modules: Vec<Module>,
    /// The protocol to boot `kernel` by; `None`: what it looks like.
    pub protocol: Option<Protocol>,
    /// The boot sector that is started instead of `kernel`: the four above are of no consequence then.
    pub chain: Option<Target>,
    /// Boot entries. Where there are some, the five above are of no consequence.
    pub entries: Vec<Entry>,
    /// Which entry is booted: its name, or a pattern. `None`: the first of `entries`.
    pub default: Option<String>,
    /// `timeout` of `loader.conf`, in seconds: for loaders that offer a choice. This one boots at once.
    pub timeout: Option<u32>,
    /// Where the loader prints what is no error, as in `loader.conf`; `None`: wherever it can.
    pub console: Option<String>,
    /// stage2's road to long mode.
    pub road: Road,
    /// Writes each BIOS call of stage2 to the serial line.
    pub record: bool,
    /// Size of the image in MiB; `None`: what suits the content.
    pub size_mib: Option<u32>,
    /// ELF file of the boot program that makes it a CD as well.
    pub stage1_cd: Option<PathBuf>,
    /// Takes the kernel as it is, even when the loader will refuse it.
    pub unchecked: bool,
    /// Gives stage2 the checksums of what it will load.
    pub checksums: bool,
}

impl Recipe {
    /// An image with nothing but a kernel.
    pub fn new(kernel: impl Into<PathBuf>, output: impl Into<PathBuf>, stages: Stages) -> Self {
        Self {
            kernel: kernel.into(),
            output: output.into(),
            force: false,
            stages,
            command_line: String::new(),
            modules: Vec::new(),
            protocol: None,
            chain: None,
            entries: Vec::new(),
            default: None,
            timeout: None,
            console: None,
            road: Road::default(),
            record: false,
            size_mib: None,
            stage1_cd: None,
            unchecked: false,
            checksums: true,
        }
    }

    /// The files that the image is made from.
    fn inputs(&self) -> Vec<PathBuf> {
        let Stages { stage1, stage2 } = &self.stages;
        let modules = self.modules.iter().map(|module| &module.file);
        let entries = self.entries.iter().flat_map(|entry| {
            let extras = entry.modules.iter().map(|extra| match extra {
                Extra::Module(module) => &module.file,
                Extra::Initrd(file) => file,
            });
            [&entry.kernel].into_iter().chain(extras)
        });
        [&self.kernel, stage1, stage2]
            .into_iter()
            .chain(&self.stage1_cd)
            .chain(modules)
            .chain(entries)
            .cloned()
            .collect()
    }
}

/// What was built. Its `Display` is for people: sizes, and a table of what lies where.
#[derive(Clone, Debug)]
pub struct Built {
    /// Bytes of the MBR that stage1 uses, of the 440 that there are.
    pub stage1_bytes: usize,
    /// Bytes of the CD's boot program that are used, of the 1024 that there are.
    pub stage1_cd_bytes: Option<usize>,
    /// Bytes of stage2, without what it is filled up with.
    pub stage2_bytes: usize,
    /// What the loader's own reader finds in the image.
    pub inspection: Inspection,
}

impl fmt::Display for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "stage1: {}/{} bytes", self.stage1_bytes, mbr::CODE_END)?;
        if let Some(bytes) = self.stage1_cd_bytes {
            let most = disk_layout::cd::CODE_END;
            writeln!(f, "stage1 on a CD: {bytes}/{most} bytes")?;
        }
        writeln!(
            f,
            "stage2: {} bytes, {} sectors (max {} bytes)",
            self.stage2_bytes,
            self.stage2_bytes
                .max(stage2_image::SUMMED)
                .div_ceil(SECTOR_SIZE),
            stage2_image::MAX_LENGTH
        )?;
        self.inspection.fmt_table(f)
    }
}

/// The kernel that is meant by a path: a file is itself; in a directory `make` makes
/// `kernel.elf`; without a path it is the demo kernel, which is built. A makefile finds this
/// repository, and `bootpath.h` in it, by the variable `BOOTPATH`.
///
/// # Errors
/// When there is no such file, or it cannot be made.
pub fn find_kernel(path: Option<&Path>) -> Result<PathBuf> {
    let Some(path) = path else {
        return stages::build_program(&stages::KERNEL);
    };
    let data = fs::metadata(path).with_context(|| format!("cannot open {}", path.display()))?;
    if !data.is_dir() {
        return Ok(path.to_owned());
    }
    let mut make = Command::new("make");
    make.arg("-C")
        .arg(path)
        .env("BOOTPATH", stages::workspace())
        .stdout(io::stderr());
    let status = signals::status(&mut make);
    let status = status.with_context(|| format!("cannot run make in {}", path.display()))?;
    ensure!(status.success(), "make failed in {}", path.display());
    Ok(path.join("kernel.elf"))
}

/// Builds the image.
///
/// # Errors
/// When a file cannot be read or written, when the loader would refuse the kernel or its command
/// line, or when it does not all fit.
pub fn build(recipe: &Recipe) -> Result<Built> {
    let content = output::Content::Image;
    let output = Output::new(&recipe.output, content, recipe.force, recipe.inputs())?;
    let stage1 = Stage1::read(&recipe.stages.stage1)?;
    let stage1_cd = recipe.stage1_cd.as_deref().map(Stage1Cd::read);
    let stage1_cd = stage1_cd.transpose()?;
    let stage2_lba = match stage1_cd {
        Some(_) => cd::STAGE2_LBA,
        None => STAGE2_LBA,
    };
    let files = files::of(recipe)?;
    let mut manifest = recipe.checksums.then(|| manifest(&files)).transpose()?;
    let how = (recipe.road, recipe.record);
    let room = manifest.as_ref().map(Manifest::length);
    let mut stage2 = Stage2::read(&recipe.stages.stage2, how, room)?;
    let geometry = Geometry::choose(&files::content(&files), recipe.size_mib)?;

    let inspection = output.write(|file| {
        let cannot = || format!("cannot write {}", recipe.output.display());
        let disk = SparseFile::new(file.try_clone()?, geometry.image_bytes);
        let mut disk = disk.with_context(cannot)?;
        let start = u64::from(PARTITION_LBA) * SECTOR_SIZE as u64;
        let length = u64::from(geometry.partition_sectors) * SECTOR_SIZE as u64;
        let partition = Partition::new(&mut disk, start, length);
        let mut volume = Volume::format(partition, &geometry).with_context(cannot)?;
        let content = volume
            .fill(&files, manifest.as_mut())
            .with_context(cannot)?;
        // Only now it is known what the checksums are of what was just read.
        let manifest = manifest.as_ref().map(Manifest::bytes).transpose()?;
        stage2.seal(&manifest.unwrap_or_default());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&stage1.code);
        crc.update(&stage2.bytes);
        if let Some(program) = &stage1_cd {
            crc.update(&program.code);
        }
        crc.combine(&content);
        // Zero means that there is no number.
        let serial_number = crc.finalize().max(1);
        volume.finish(serial_number).with_context(cannot)?;
        let mut put = |offset: u64, bytes: &[u8]| disk.write_at(offset, bytes).with_context(cannot);
        put(u64::from(stage2_lba) * SECTOR_SIZE as u64, &stage2.bytes)?;
        if let Some(program) = &stage1_cd {
            let blocks = cd::blocks(&geometry, program, &stage2.bytes)?;
            put(iso9660::DESCRIPTORS as u64, blocks.as_flattened())?;
        }
        let sectors = u16::try_from(stage2.sectors())?;
        let boot_sector = boot_sector(&stage1, (stage2_lba, sectors), &geometry, serial_number)?;
        put(0, &boot_sector)?;
        disk.flush().with_context(cannot)?;

        let inspection = inspect::inspect_file(file, Chains::Later)?;
        if !recipe.unchecked {
            check(&inspection, &files)?;
        }
        Ok(inspection)
    })?;
    Ok(Built {
        stage1_bytes: stage1.used,
        stage1_cd_bytes: stage1_cd.map(|program| program.used),
        stage2_bytes: stage2.used,
        inspection,
    })
}

/// Checks that the loader boots all that is in the image.
fn check(inspection: &Inspection, files: &[Source]) -> Result<()> {
    let Some(refusal) = inspection.refusals.first() else {
        let verified = inspection.verify();
        return verified.context("the new image is not what it should be");
    };
    let mut files = files.iter();
    let kernel = files.find(|source| Some(&source.path) == refusal.kernel.as_ref());
    let kernel = kernel.map_or("the new image", |source| &source.host_name);
    let problem = anyhow!("{kernel} cannot be booted: {}", refusal.problem);
    Err(match &refusal.entry {
        Some(entry) => problem.context(format!("entry {entry} is not possible")),
        None => problem,
    })
}

/// The checksums of all files, as far as they are not made while the files are written.
fn manifest(files: &[Source]) -> Result<Manifest> {
    let mut manifest = Manifest::default();
    let entries = files.iter().filter_map(|source| {
        let name = source.path.strip_prefix(entries::DIRECTORY)?;
        name.strip_prefix('/')
    });
    manifest.add_directory(entries::DIRECTORY, entries)?;
    for source in files {
        let path = &source.path;
        match &source.content {
            files::Content::Text(text) => manifest.add_text(path, text)?,
            files::Content::File(_, size) if source.role != Role::Kernel => {
                manifest.add(path, *size)?;
            }
            files::Content::File(..) => {
                if let Some(mut file) = source.open()? {
                    manifest.add_kernel(path, &mut file, &source.protocols)?;
                    source.check(&mut file)?;
                }
            }
        }
    }
    Ok(manifest)
}

/// The boot partition while it is being made.
struct Volume<'a> {
    partition: Partition<'a>,
    geometry: Geometry,
}

impl<'a> Volume<'a> {
    fn format(mut partition: Partition<'a>, geometry: &Geometry) -> Result<Self> {
        let options = FormatVolumeOptions::new()
            .total_sectors(geometry.volume_sectors)
            .bytes_per_cluster(geometry.cluster)
            .drive_num(0x80)
            .heads(HEADS.into())
            .sectors_per_track(SECTORS_PER_TRACK.into())
            .volume_label(*b"BOOTPATH   ");
        fatfs::format_volume(&mut partition, options).context("cannot format the partition")?;
        partition.set_data_start(u64::from(geometry.data_start) * SECTOR_SIZE as u64)?;
        let mut volume = Self {
            partition,
            geometry: *geometry,
        };
        if geometry.kind == Kind::Fat32 {
            // How many clusters are free (all but the root directory) and where to look for the
            // first one: fatfs leaves it open, but keeps it up to date when it is there.
            const FREE_CLUSTERS: u64 = SECTOR_SIZE as u64 + 488;
            let numbers = [(geometry.clusters - 1).to_le_bytes(), 3_u32.to_le_bytes()];
            volume.patch(FREE_CLUSTERS, numbers.as_flattened())?;
        }
        Ok(volume)
    }

    fn mount(&mut self) -> Result<FileSystem<&mut Partition<'a>>> {
        self.partition.seek(SeekFrom::Start(0))?;
        let options = FsOptions::new().time_provider(&NoTime);
        let fs = FileSystem::new(&mut self.partition, options)?;
        ensure!(
            fs.cluster_size() == self.geometry.cluster
                && fs.fat_type() == fat_type(self.geometry.kind),
            "the file system has not the layout that was computed for it"
        );
        Ok(fs)
    }

    /// Creates a directory, as the next thing on the volume after `before` clusters.
    ///
    /// fatfs gives `.` and `..` long names too and lets `..` point to the root directory by its
    /// number, where the specification wants neither; that is put right here.
    fn create_directory(&mut self, path: &str, before: u32) -> Result<()> {
        const ENTRY: usize = 32;
        const DOT: &[u8; 11] = b".          ";
        const DOT_DOT: &[u8; 11] = b"..         ";

        let fs = self.mount()?;
        fs.root_dir().create_dir(path)?;
        fs.unmount()?;

        let start = u64::from(self.geometry.data_start) * SECTOR_SIZE as u64
            + u64::from(before) * u64::from(self.geometry.cluster);
        let mut entries = [0; 4 * ENTRY];
        self.partition.seek(SeekFrom::Start(start))?;
        self.partition.read_exact(&mut entries)?;
        let [_, dot, _, dot_dot] = entries.as_chunks::<ENTRY>().0 else {
            bail!("a directory has four entries at first");
        };
        ensure!(
            dot.starts_with(DOT) && dot_dot.starts_with(DOT_DOT),
            "the directory {path} is not where it should be"
        );
        let (dot, mut dot_dot) = (*dot, *dot_dot);
        if !path.trim_start_matches('/').contains('/') {
            // The two halves of the number of the first cluster.
            dot_dot[20..22].fill(0);
            dot_dot[26..28].fill(0);
        }
        let entries = [dot, dot_dot, [0; ENTRY], [0; ENTRY]];
        self.patch(start, entries.as_flattened())?;
        Ok(())
    }

    /// Creates the directories and empty files first, so that the directories are complete before
    /// the first file begins, and then writes each file in one piece. Returns the CRC-32 of them all, and
    /// tells the manifest what it did not know.
    fn fill(
        &mut self,
        files: &[Source],
        mut manifest: Option<&mut Manifest>,
    ) -> Result<crc32fast::Hasher> {
        // The root directory of FAT32 is a cluster like any other.
        let root_clusters = u32::from(self.geometry.kind == Kind::Fat32);
        for (before, directory) in (root_clusters..).zip(files::directories(files)) {
            self.create_directory(&directory, before)?;
        }
        let fs = self.mount()?;
        let root = fs.root_dir();
        for source in files {
            root.create_file(&source.path)?;
        }
        let mut all = crc32fast::Hasher::new();
        for source in files {
            let mut target = root.open_file(&source.path)?;
            let mut crc = 0;
            source.pieces(|piece| {
                all.update(piece);
                crc = crc32c(crc, piece);
                Ok(target.write_all(piece)?)
            })?;
            if let Some(manifest) = &mut manifest {
                if source.role == Role::Module {
                    manifest.set_crc(&source.path, crc);
                }
                set_time(&mut target, &source.path, manifest);
            }
            target.flush()?;
        }
        drop(root);
        fs.unmount()?;
        Ok(all)
    }

    /// Fills in what fatfs does not know: where the partition is on the disk, and its number.
    fn finish(mut self, serial_number: u32) -> Result<()> {
        const HIDDEN_SECTORS: u64 = 0x1C;
        let (boot_sectors, volume_id): (&[u64], u64) = match self.geometry.kind {
            Kind::Fat32 => (&[0, 6], 0x43),
            _ => (&[0], 0x27),
        };
        for sector in boot_sectors {
            let start = sector * SECTOR_SIZE as u64;
            self.patch(start + HIDDEN_SECTORS, &PARTITION_LBA.to_le_bytes())?;
            self.patch(start + volume_id, &serial_number.to_le_bytes())?;
        }
        self.partition.finish()?;
        Ok(())
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.partition.seek(SeekFrom::Start(offset))?;
        self.partition.write_all(bytes)
    }
}

/// Gives a file that was written the time by which the loader knows it.
fn set_time<T: io::Read + io::Write + io::Seek>(
    file: &mut fatfs::File<'_, T>,
    path: &str,
    manifest: &Manifest,
) {
    if let Some(stamp) = manifest.stamp(path) {
        let mut moment = fatfs::TimeProvider::get_current_date_time(&NoTime);
        (moment.date.month, moment.date.day) = (stamp.month, stamp.day);
        let time = &mut moment.time;
        (time.hour, time.min, time.sec) = (stamp.hour, stamp.minute, stamp.second);
        #[expect(deprecated, reason = "a clock for all files cannot tell them apart")]
        file.set_modified(moment);
    }
}

fn fat_type(kind: Kind) -> fatfs::FatType {
    match kind {
        Kind::Fat12 => fatfs::FatType::Fat12,
        Kind::Fat16 => fatfs::FatType::Fat16,
        Kind::Fat32 => fatfs::FatType::Fat32,
    }
}

/// The clock of the files: it stands still at the first moment that FAT knows. (Of those in the
/// manifest, the time of the last change is another one.)
#[derive(Debug)]
struct NoTime;

impl fatfs::TimeProvider for NoTime {
    fn get_current_date(&self) -> fatfs::Date {
        fatfs::Date {
            year: 1980,
            month: 1,
            day: 1,
        }
    }

    fn get_current_date_time(&self) -> fatfs::DateTime {
        let time = fatfs::Time {
            hour: 0,
            min: 0,
            sec: 0,
            millis: 0,
        };
        fatfs::DateTime {
            date: self.get_current_date(),
            time,
        }
    }
}

/// LBA 0; `lba` and `sectors` are stage2's.
fn boot_sector(
    stage1: &Stage1,
    (lba, sectors): (u16, u16),
    geometry: &Geometry,
    signature: u32,
) -> Result<Vec<u8>> {
    let mut header = MBRHeader::new(signature.to_le_bytes());
    header.bootstrap_code = stage1.code;
    header.bootstrap_code[mbr::BPB_AREA].copy_from_slice(&parameter_dummy(geometry));
    let mut parameters = ParameterBlock {
        sectors: sectors.into(),
        lba: lba.into(),
        adjustment: 0.into(),
    };
    let code = &mut header.bootstrap_code;
    code[mbr::PARAMETER_BLOCK_OFFSET..].copy_from_slice(parameters.as_bytes());
    parameters.adjustment = 0_u16
        .wrapping_sub(disk_layout::sum(&code[mbr::CHECKED]))
        .into();
    code[mbr::PARAMETER_BLOCK_OFFSET..].copy_from_slice(parameters.as_bytes());
    let last = PARTITION_LBA + (geometry.partition_sectors - 1);
    header.partition_1 = MBRPartitionEntry {
        boot: BOOT_ACTIVE,
        first_chs: chs(PARTITION_LBA),
        sys: geometry.kind.partition_type(),
        last_chs: chs(last),
        starting_lba: PARTITION_LBA,
        sectors: geometry.partition_sectors,
    };
    let mut sector = io::Cursor::new(Vec::with_capacity(SECTOR_SIZE));
    header.write_into(&mut sector)?;
    Ok(sector.into_inner())
}

/// Cylinder, head and sector of an LBA; the last ones that can be said for those too large.
fn chs(lba: u32) -> CHS {
    CHS::from_lba_exact(lba, 1023, HEADS, SECTORS_PER_TRACK).unwrap_or(CHS::new(
        1023,
        HEADS - 1,
        SECTORS_PER_TRACK,
    ))
}

/// What the BPB area holds on disk.
///
/// Some BIOSes look there for the geometry of a USB stick, so it names the one which the
/// partition table is written in. But nobody is to take the disk for one large FAT volume, as tools do
/// that find a whole parameter block: it says that there are no FATs and no reserved sectors.
fn parameter_dummy(geometry: &Geometry) -> [u8; mbr::BPB_AREA.end - mbr::BPB_AREA.start] {
    let sectors = u32::try_from(geometry.image_bytes / SECTOR_SIZE as u64).unwrap_or(u32::MAX);
    let mut area = [0; mbr::BPB_AREA.end - mbr::BPB_AREA.start];
    // Offsets in the sector: Microsoft, "FAT: General Overview of On-Disk Format", section "Boot
    // Sector and BPB".
    let mut put = |offset: usize, bytes: &[u8]| {
        area[offset - mbr::BPB_AREA.start..][..bytes.len()].copy_from_slice(bytes);
    };
    put(0x03, &OEM_NAME);
    put(0x0B, &(SECTOR_SIZE as u16).to_le_bytes()); // bytes per sector
    put(0x15, &[0xF8]); // media: fixed disk
    put(0x18, &u16::from(SECTORS_PER_TRACK).to_le_bytes());
    put(0x1A, &u16::from(HEADS).to_le_bytes());
    put(0x20, &sectors.to_le_bytes()); // total sectors
    put(0x24, &[0x80]); // drive number
    area
}

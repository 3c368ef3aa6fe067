//! The boot partition: a FAT volume with the files, one behind the other.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::rc::Rc;

use anyhow::{Context as _, Result, bail, ensure};
use boot_path::files::integrity::Role;
use disk_layout::{PARTITION_LBA, SECTOR_SIZE};
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};

use super::files::{self, Source};
use crate::geometry::{Geometry, Kind};
use crate::manifest::{Manifest, crc32c};
use crate::progress::Progress;
use crate::sparse::Partition;
use boot_path::ways_out::sums::Both;

/// The boot partition while it is being made.
pub(super) struct Volume<'a> {
    partition: Partition<'a>,
    geometry: Geometry,
}

impl<'a> Volume<'a> {
    pub(super) fn format(mut partition: Partition<'a>, geometry: &Geometry) -> Result<Self> {
        let options = FormatVolumeOptions::new()
            .total_sectors(geometry.volume_sectors)
            .bytes_per_cluster(geometry.cluster)
            .drive_num(0x80)
            .heads(geometry.tracks.heads.into())
            .sectors_per_track(geometry.tracks.sectors.into())
            .volume_label(*b"BOOTPATH   ");
        fatfs::format_volume(&mut partition, options).context("cannot format the partition")?;
        partition.set_data_start(u64::from(geometry.data_start) * SECTOR_SIZE as u64)?;
        let mut volume = Self {
            partition,
            geometry: *geometry,
        };
        if geometry.kind == Kind::Fat32 {
            // The number of free clusters (all but the root directory), and where to look for the
            // first one: fatfs leaves both out, but keeps them up to date once they are there.
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
    /// fatfs gives `.` and `..` long names too, and lets `..` point to the root directory by its
    /// number. The specification wants neither, so both are corrected here.
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
    /// the first file begins, and then writes each file in one piece. Returns the CRC-32 of them
    /// all, and adds the missing checksums to the manifest.
    pub(super) fn fill(
        &mut self,
        files: &[Source],
        mut manifest: Option<&mut Manifest>,
        progress: &Rc<dyn Progress>,
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
            let mut sums = Both::new(crc32c);
            source.pieces(progress, |piece| {
                all.update(piece);
                sums.add(piece);
                Ok(target.write_all(piece)?)
            })?;
            if let Some(manifest) = &mut manifest {
                if source.role == Role::Module {
                    manifest.set_sums(&source.path, sums.end());
                }
                set_time(&mut target, &source.path, manifest);
            }
            target.flush()?;
        }
        drop(root);
        fs.unmount()?;
        Ok(all)
    }

    /// Fills in what fatfs does not know: where the partition is on the disk, and its serial
    /// number.
    pub(super) fn finish(mut self, serial_number: u32) -> Result<()> {
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

/// Gives a written file the time stamp by which the loader recognises it.
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

/// The clock of the files. It always shows the earliest time that FAT can express. (Files in the
/// manifest have another time of last change.)
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

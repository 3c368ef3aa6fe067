//! How large the image is and how the boot partition is formatted.

use anyhow::{Context as _, Result, bail};
use disk_layout::{PARTITION_LBA, SECTOR_SIZE};

/// Sectors in a MiB.
const MIB: u64 = (1 << 20) / SECTOR_SIZE as u64;

/// The heads of a disk and the sectors of a track, in which the partition table counts.
///
/// BIOSes that guess them from the partition table take those of the partition's last sector, and
/// are right if it is the last one of a cylinder. Some rely on that: for the disk that a CD
/// emulates, there is nothing else to go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tracks {
    pub(crate) heads: u8,
    pub(crate) sectors: u8,
}

impl Tracks {
    /// What BIOSes assume for disks of any size ("LBA assist").
    const OF_A_LARGE_DISK: Self = Self {
        heads: 255,
        sectors: 63,
    };
    /// Those with which each MiB is a cylinder.
    const OF_A_SMALL_DISK: Self = Self {
        heads: 64,
        sectors: 32,
    };

    /// On a small disk, what is left behind the last large cylinder would be too much to lose.
    fn of_a_disk(sectors: u64) -> Self {
        if sectors < 8 * Self::OF_A_LARGE_DISK.cylinder() {
            Self::OF_A_SMALL_DISK
        } else {
            Self::OF_A_LARGE_DISK
        }
    }

    /// Sectors of a cylinder.
    const fn cylinder(self) -> u64 {
        self.heads as u64 * self.sectors as u64
    }
}

const _: () = assert!(Tracks::OF_A_SMALL_DISK.cylinder() == MIB);

/// The largest disk that an MBR can describe, in MiB.
const MAX_MIB: u64 = u32::MAX as u64 / MIB;

/// The largest file that FAT can hold, in bytes.
pub(crate) const MAX_FILE: u64 = u32::MAX as u64;

/// Cluster counts at which one kind of FAT ends and the next begins (Microsoft, "FAT: General
/// Overview of On-Disk Format", section "FAT Type Determination"), and the distance to keep from
/// them, because many drivers are off by a few clusters.
const FAT16_CLUSTERS: u64 = 4085;
const FAT32_CLUSTERS: u64 = 65525;
const MARGIN: u64 = 16;

/// Bytes of a directory entry on disk.
const DIRECTORY_ENTRY: u64 = 32;
/// Entries in the root directory of FAT12 and FAT16; every driver accepts 512.
const ROOT_ENTRIES: u64 = 512;

/// The kinds of FAT, by the width of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Fat12 = 12,
    Fat16 = 16,
    Fat32 = 32,
}

impl Kind {
    /// Partition type: FAT12; FAT16 and FAT32 that are addressed by LBA.
    pub(crate) fn partition_type(self) -> u8 {
        match self {
            Self::Fat12 => 0x01,
            Self::Fat16 => 0x0E,
            Self::Fat32 => 0x0C,
        }
    }
}

/// What the partition has to hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    /// Sizes in bytes of the files.
    files: Vec<u64>,
    /// Sizes in bytes of the directories.
    directories: Vec<u64>,
}

impl Content {
    pub(crate) fn file(&mut self, size: u64) {
        self.files.push(size);
    }

    /// A directory (not the root) with these names.
    pub(crate) fn directory<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        // Thirteen UTF-16 units fit into one entry of a long name; one entry more has the short
        // name. "." and ".." are two.
        let entries: u64 = names
            .into_iter()
            .map(|name| 1 + (name.encode_utf16().count() as u64).div_ceil(13))
            .sum();
        self.directories.push((2 + entries) * DIRECTORY_ENTRY);
    }

    fn payload(&self) -> u64 {
        self.files
            .iter()
            .fold(0, |sum, size| sum.saturating_add(*size))
    }

    /// Clusters of `cluster` bytes that everything takes, the root directory included.
    pub(crate) fn clusters(&self, cluster: u32) -> u64 {
        let sizes = self.files.iter().chain(&self.directories);
        sizes
            .map(|size| size.div_ceil(u64::from(cluster)))
            .fold(1, u64::saturating_add)
    }
}

/// The layout of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Length of the image in bytes.
    pub(crate) image_bytes: u64,
    pub(crate) tracks: Tracks,
    /// Length of the partition in sectors.
    pub(crate) partition_sectors: u32,
    /// Length of the file system in sectors: up to a few clusters less.
    pub(crate) volume_sectors: u32,
    pub(crate) kind: Kind,
    /// Size of a cluster in bytes.
    pub(crate) cluster: u32,
    /// How many there are.
    pub(crate) clusters: u32,
    /// First sector behind the FATs and the fixed root directory, counted in the volume.
    pub(crate) data_start: u32,
}

impl Geometry {
    /// The layout for an image of `size` MiB, or of the size that suits the content.
    pub(crate) fn choose(content: &Content, size: Option<u32>) -> Result<Self> {
        match size {
            Some(size) => Self::of_size(content, size.into()),
            None => Self::automatic(content),
        }
    }

    /// The smallest FAT32 volume at a cluster size that keeps the FAT short: following a chain of
    /// 8,192 clusters means reading 64 sectors of FAT. A cluster is never larger than 4 KiB,
    /// because FAT32 has at least 65,525 clusters.
    fn automatic(content: &Content) -> Result<Self> {
        const CHAIN: u64 = 8192;
        let payload = content.payload();
        let cluster = match payload.div_ceil(CHAIN) {
            0..=1024 => 1024,
            1025..=2048 => 2048,
            _ => 4096,
        };
        // Room for a kernel that grows.
        let mut room = content.clone();
        room.file(payload / 8 + (1 << 20));
        let clusters = room.clusters(cluster).max(FAT32_CLUSTERS + MARGIN);
        let sectors = clusters.saturating_mul(u64::from(cluster) / SECTOR_SIZE as u64);
        (sectors / MIB..=MAX_MIB)
            .find_map(|mib| Self::fit(&room, mib, Kind::Fat32, cluster))
            .with_context(|| format!("{payload} bytes do not fit on any disk with an MBR"))
    }

    fn of_size(content: &Content, mib: u64) -> Result<Self> {
        if mib > MAX_MIB {
            bail!("{mib} MiB is more than an MBR can describe ({MAX_MIB} MiB)");
        }
        if let Some(geometry) = Self::any_that_fits(content, mib) {
            return Ok(geometry);
        }
        let needed = (content.payload() / MIB / SECTOR_SIZE as u64..=MAX_MIB)
            .find(|&mib| Self::any_that_fits(content, mib).is_some())
            .context("the files do not fit on any disk with an MBR")?;
        bail!(
            "an image of {mib} MiB is too small: --size {needed} is the least that the files fit into"
        )
    }

    /// FAT32 with clusters of the usual size if possible, else with smaller ones, else FAT16, else
    /// FAT12.
    fn any_that_fits(content: &Content, mib: u64) -> Option<Self> {
        let usual = match mib {
            0..=8192 => 4096,
            8193..=16384 => 8192,
            16385..=32768 => 16384,
            _ => 32768,
        };
        let halves = std::iter::successors(Some(usual), |cluster| Some(cluster / 2));
        let doubles = || std::iter::successors(Some(512), |cluster| Some(cluster * 2));
        let fat32 = halves
            .take_while(|&cluster| cluster >= 512)
            .map(|c| (Kind::Fat32, c));
        let fat16 = doubles()
            .take_while(|&cluster| cluster <= 32768)
            .map(|c| (Kind::Fat16, c));
        let fat12 = doubles()
            .take_while(|&cluster| cluster <= 4096)
            .map(|c| (Kind::Fat12, c));
        fat32
            .chain(fat16)
            .chain(fat12)
            .find_map(|(kind, cluster)| Self::fit(content, mib, kind, cluster))
    }

    /// This very layout, if it exists and has room.
    fn fit(content: &Content, mib: u64, kind: Kind, cluster: u32) -> Option<Self> {
        let image_sectors = mib * MIB;
        let tracks = Tracks::of_a_disk(image_sectors);
        let end = image_sectors - image_sectors % tracks.cylinder();
        let partition = end
            .min(u64::from(u32::MAX))
            .checked_sub(u64::from(PARTITION_LBA))?;
        let per_cluster = u64::from(cluster) / SECTOR_SIZE as u64;
        let (reserved, root) = match kind {
            Kind::Fat32 => (8, 0),
            _ => (1, ROOT_ENTRIES * DIRECTORY_ENTRY / SECTOR_SIZE as u64),
        };

        // Sectors that each of the two FATs needs, as fatfs has it: n of them describe
        // n * (entries in a sector) clusters, two of which do not exist, and take 2 * n sectors.
        let per_fat_sector = u64::from(cluster) * 8 / kind as u64 + 2;
        let fat_for = |total: u64| {
            let rest = total.checked_sub(reserved + root)?;
            Some((rest + 2 * per_cluster).div_ceil(per_fat_sector))
        };
        let mut total = partition;
        let mut fat = fat_for(total)?;
        // FAT32: clusters on 4 KiB boundaries, as flash and host file systems like them.
        if kind == Kind::Fat32 && fat % 4 != 0 {
            fat -= fat % 4;
            total = (fat * per_fat_sector + reserved).checked_sub(2 * per_cluster)?;
        }
        let data_start = reserved + 2 * fat + root;
        let clusters = total.checked_sub(data_start)? / per_cluster;

        let range = match kind {
            Kind::Fat12 => 1..FAT16_CLUSTERS - MARGIN,
            Kind::Fat16 => FAT16_CLUSTERS + MARGIN..FAT32_CLUSTERS - MARGIN,
            Kind::Fat32 => FAT32_CLUSTERS + MARGIN..1 << 28,
        };
        // fatfs refuses volumes with hardly any clusters.
        if !range.contains(&clusters)
            || total <= reserved + root + 8
            || clusters < content.clusters(cluster)
        {
            return None;
        }
        Some(Self {
            image_bytes: image_sectors * SECTOR_SIZE as u64,
            tracks,
            partition_sectors: u32::try_from(partition).ok()?,
            volume_sectors: u32::try_from(total).ok()?,
            kind,
            cluster,
            clusters: u32::try_from(clusters).ok()?,
            data_start: u32::try_from(data_start).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(sizes: &[u64]) -> Content {
        let mut content = Content::default();
        sizes.iter().for_each(|&size| content.file(size));
        content.directory(["kernel.elf"]);
        content
    }

    #[test]
    fn small_kernels_get_small_images_and_large_ones_short_chains() {
        let automatic = |size| Geometry::choose(&files(&[size]), None).unwrap();
        let size = |size| automatic(size).image_bytes >> 20;
        for (payload, cluster, limit) in [
            (0, 1024, 80),
            (8 << 20, 1024, 80),
            (16 << 20, 2048, 150),
            (64 << 20, 4096, 280),
        ] {
            let geometry = automatic(payload);
            assert_eq!(
                (geometry.kind, geometry.cluster),
                (Kind::Fat32, cluster),
                "{payload}"
            );
            assert!(size(payload) <= limit, "{payload}: {} MiB", size(payload));
        }
        assert!(size(1 << 30) > 1024);
    }

    #[test]
    fn every_size_from_2_mib_on_has_a_layout() {
        let content = files(&[1000]);
        for mib in (2..600).chain([4096, 8192, 8193, 20000, 40000, 1 << 20, MAX_MIB as u32]) {
            let geometry = Geometry::choose(&content, Some(mib)).unwrap();
            assert_eq!(geometry.image_bytes, u64::from(mib) << 20);
            let end = u64::from(PARTITION_LBA) + u64::from(geometry.partition_sectors);
            assert!(end <= geometry.image_bytes / 512);
            assert_eq!(end % geometry.tracks.cylinder(), 0, "{mib} MiB");
            let large = geometry.tracks == Tracks::OF_A_LARGE_DISK;
            assert_eq!(large, mib > 62, "{mib} MiB");
            assert!(geometry.volume_sectors <= geometry.partition_sectors);
            // Rounding loses little.
            assert!(
                u64::from(geometry.volume_sectors) * 10 > geometry.image_bytes / 512 * 8 - 20480
            );
            if geometry.kind == Kind::Fat32 {
                assert_eq!(geometry.data_start % 8, 0);
            }
        }
        let kind = |mib| Geometry::choose(&content, Some(mib)).unwrap().kind;
        assert_eq!(kind(2), Kind::Fat12);
        assert_eq!(kind(8), Kind::Fat16);
        assert_eq!(kind(40), Kind::Fat32);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_size_that_does() {
        let content = files(&[10 << 20]);
        let message = Geometry::choose(&content, Some(5)).unwrap_err().to_string();
        assert_eq!(
            message,
            "an image of 5 MiB is too small: --size 12 is the least that the files fit into"
        );
        assert!(Geometry::choose(&content, Some(11)).is_err());
        Geometry::choose(&content, Some(12)).unwrap();
        assert!(Geometry::choose(&files(&[0]), Some(1)).is_err());
        assert!(Geometry::choose(&files(&[0]), Some(0)).is_err());
        assert!(Geometry::choose(&files(&[0]), Some(u32::MAX)).is_err());
        assert!(Geometry::choose(&files(&[u64::MAX, u64::MAX]), None).is_err());
    }

    #[test]
    fn long_names_take_more_room_in_a_directory() {
        let mut content = Content::default();
        content.directory(["a", "thirteen_char", "fourteen_chars"]);
        assert_eq!(content.directories, [(2 + 2 + 2 + 3) * 32]);
    }
}

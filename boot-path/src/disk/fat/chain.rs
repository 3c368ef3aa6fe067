//! Chains of clusters.

use crate::disk::block_device::BlockDevice;
use crate::disk::fat::cache::{Cache, Purpose};
use crate::disk::fat::error::FatError;
use crate::disk::fat::geometry::{Geometry, Kind};
use crate::disk::fat::volume::Volume;
use crate::position::{DiskOffset, FileOffset};

/// Bytes of a file that are contiguous on the disk, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where they begin in the file.
    pub file_offset: FileOffset,
    /// Where they begin on the disk.
    pub disk_offset: DiskOffset,
    /// Number of bytes, at least 1.
    pub length: u64,
}

/// Follows a chain of clusters, one contiguous piece at a time. It stores no pieces, so their
/// number does not matter.
pub struct ExtentWalker<'v> {
    pub(super) volume: &'v Volume,
    /// The root directory of FAT12 and FAT16, which is not a chain.
    pub(super) fixed: Option<Extent>,
    pub(super) first: u32,
    /// The cluster of `position`.
    pub(super) cluster: u32,
    pub(super) position: FileOffset,
    /// Where the file ends, or a directory of the largest size.
    pub(super) end: FileOffset,
    /// Where the walk stops.
    pub(super) stop: FileOffset,
    pub(super) is_file: bool,
}

impl ExtentWalker<'_> {
    /// Ends the walk at byte `stop` of the file: the rest of the chain is neither read nor checked.
    #[must_use]
    pub fn until(mut self, stop: FileOffset) -> Self {
        self.stop = self.end.min(stop);
        self
    }

    /// The next piece, or `None` at the end.
    ///
    /// # Errors
    /// [`FatError`], when the disk or the chain is damaged. Do not call this again afterwards.
    pub fn next<D: BlockDevice + ?Sized>(
        &mut self,
        device: &mut D,
        cache: &mut Cache<'_>,
    ) -> Result<Option<Extent>, FatError> {
        if self.position >= self.stop {
            return Ok(self.fixed.take());
        }
        let geometry = &self.volume.geometry;
        let first = self.cluster;
        if !geometry.is_cluster(first) {
            return Err(FatError::FirstCluster(first));
        }
        let cluster_size = 1u64 << geometry.cluster_shift;
        // A file of one cluster has no chain to follow: its entry in the FAT says nothing that the
        // directory does not, and need not be read. Other systems do not read it either.
        if self.is_file && self.end.as_u64() <= cluster_size {
            self.stop = FileOffset::ZERO;
            return Ok(Some(self.extent(first, FileOffset::ZERO, self.end)));
        }
        let wanted = (self.stop - self.position).div_ceil(cluster_size);
        let limit = (u64::from(first) + wanted - 1).min(geometry.last_cluster.into()) as u32;

        let mut last = first;
        let link = loop {
            let (reached, link) = self.volume.follow(device, cache, last, limit)?;
            last = reached;
            if let Some(link) = link {
                break link;
            }
        };

        let file_offset = self.position;
        self.position += u64::from(last - first + 1) << geometry.cluster_shift;
        if geometry.kind.ends().contains(&link) {
            if self.is_file && self.position < self.end {
                return Err(FatError::ChainShort(self.first));
            }
            self.stop = FileOffset::ZERO;
        } else if !geometry.is_cluster(link) {
            return Err(FatError::Link {
                cluster: last,
                link,
            });
        } else if self.position >= self.end {
            if !self.is_file {
                return Err(FatError::ChainLong(self.first));
            }
            self.check_rest(device, cache, link)?;
            self.stop = FileOffset::ZERO;
        } else {
            self.cluster = link;
        }
        let end = self.position.min(self.end);
        Ok(Some(self.extent(first, file_offset, end)))
    }

    /// The bytes of the file between two places, from the start of a cluster on.
    fn extent(&self, cluster: u32, file_offset: FileOffset, end: FileOffset) -> Extent {
        let Geometry {
            data,
            cluster_shift,
            ..
        } = self.volume.geometry;
        Extent {
            file_offset,
            disk_offset: self.volume.start + data + (u64::from(cluster - 2) << cluster_shift),
            length: end - file_offset,
        }
    }

    /// Checks the clusters behind the end of a file, from `cluster` on. Systems allocate them
    /// ahead, or leave them behind when a file shrinks, and every system reads such a file. But the
    /// chain must end: one that turns back shows that its links cannot be trusted.
    ///
    /// Brent's algorithm finds a ring without memory, and a ring of few clusters in few steps.
    #[cold]
    fn check_rest<D: BlockDevice + ?Sized>(
        &self,
        device: &mut D,
        cache: &mut Cache<'_>,
        mut cluster: u32,
    ) -> Result<(), FatError> {
        let geometry = &self.volume.geometry;
        let mut left = MAX_CHAIN >> geometry.cluster_shift;
        let mut mark = cluster;
        let (mut steps, mut until) = (0u64, 1);
        while left > 0 {
            let (last, link) = self
                .volume
                .follow(device, cache, cluster, geometry.last_cluster)?;
            left = left.saturating_sub(u64::from(last - cluster + 1));
            let Some(link) = link else {
                cluster = last;
                continue;
            };
            if geometry.kind.ends().contains(&link) {
                return Ok(());
            }
            if !geometry.is_cluster(link) {
                return Err(FatError::Link {
                    cluster: last,
                    link,
                });
            }
            if link == mark {
                break;
            }
            steps += 1;
            if steps == until {
                (mark, steps, until) = (link, 0, until * 2);
            }
            cluster = link;
        }
        Err(FatError::ChainLong(self.first))
    }
}

/// The most bytes that the clusters behind the end of a file may have: as many as a file.
const MAX_CHAIN: u64 = 1 << 32;

impl Volume {
    /// Follows a chain from `cluster` on as long as each cluster is followed by its neighbour, at
    /// most to `limit` and to the end of the FAT entries in memory. Returns the last cluster
    /// reached and, unless the entries in memory ended there, its successor.
    fn follow<D: BlockDevice + ?Sized>(
        &self,
        device: &mut D,
        cache: &mut Cache<'_>,
        cluster: u32,
        limit: u32,
    ) -> Result<(u32, Option<u32>), FatError> {
        let fat = self.start + self.geometry.fat;
        let end = self.end();
        let index = u64::from(cluster);
        Ok(match self.geometry.kind {
            Kind::Fat32 => {
                // The upper four bits are reserved.
                let links = cache
                    .bytes(device, fat + index * 4, end, Purpose::Table)?
                    .as_chunks()
                    .0
                    .iter();
                run(
                    cluster,
                    limit,
                    links.map(|&link| u32::from_le_bytes(link) & 0x0FFF_FFFF),
                )
            }
            Kind::Fat16 => {
                let links = cache
                    .bytes(device, fat + index * 2, end, Purpose::Table)?
                    .as_chunks()
                    .0
                    .iter();
                run(
                    cluster,
                    limit,
                    links.map(|&link| u16::from_le_bytes(link).into()),
                )
            }
            Kind::Fat12 => {
                // An entry has one and a half bytes and may lie across two windows.
                let first = index * 3 / 2;
                let bytes = cache.bytes(device, fat + first, end, Purpose::Table)?;
                if let [low] = *bytes {
                    let behind = cache.bytes(device, fat + first + 1, end, Purpose::Table)?;
                    let high = *behind.first().unwrap_or(&0);
                    run(
                        cluster,
                        limit,
                        Some(fat12_link(cluster, [low, high])).into_iter(),
                    )
                } else {
                    let links = (cluster..).map_while(|cluster| {
                        let skip = (u64::from(cluster) * 3 / 2 - first) as usize;
                        let pair = bytes.get(skip..)?.first_chunk()?;
                        Some(fat12_link(cluster, *pair))
                    });
                    run(cluster, limit, links)
                }
            }
        })
    }
}

/// The hot loop: `links` are the FAT entries of `cluster`, `cluster + 1`, …
#[inline]
fn run(cluster: u32, limit: u32, links: impl Iterator<Item = u32>) -> (u32, Option<u32>) {
    let mut last = cluster;
    for link in links {
        if link != last + 1 || last >= limit {
            return (last, Some(link));
        }
        last = link;
    }
    (last, None)
}

/// The FAT12 entry of `cluster`, from the two bytes that it shares with a neighbour.
fn fat12_link(cluster: u32, pair: [u8; 2]) -> u32 {
    let both = u32::from(u16::from_le_bytes(pair));
    if cluster.is_multiple_of(2) {
        both & 0xFFF
    } else {
        both >> 4
    }
}

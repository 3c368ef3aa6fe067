//! What lies where on the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use anyhow::{Context as _, Result, ensure};
use disk_builder::inspect::{FileInfo, Inspection, Sectors, Volume};
use disk_layout::parts::{Part, Place};
use disk_layout::{PartitionEntry, SECTOR_SIZE, mbr};
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::{Endianness, elf};
use zerocopy::FromBytes as _;

use super::Kind;
use super::kind::{MULTIBOOT1_MAGIC, MULTIBOOT2_MAGIC};
use super::region::Region;
use crate::image::Image;
use crate::linux::header;

const SECTOR: u64 = SECTOR_SIZE as u64;

/// The bytes of the disk that belong to each region. Every byte belongs to exactly one.
pub(super) type Regions = BTreeMap<Region, Vec<Range<u64>>>;

/// Finds the regions of an undamaged image.
///
/// # Errors
/// When the builder does not make such images.
pub(super) fn regions(kind: Kind, image: &Image) -> Result<Regions> {
    let inspection = image.inspect()?;
    let mut disk = Disk {
        image,
        kind,
        marks: Vec::new(),
    };
    disk.mark_mbr()?;
    disk.mark_stage2(&inspection)?;
    let volume = inspection.volume.as_ref().context("no volume")?;
    disk.mark_volume(volume, &inspection.files)?;
    for file in &inspection.files {
        disk.mark_file(file, &inspection)?;
    }
    Ok(disk.regions(inspection.bytes))
}

/// The disk whose regions are being found.
struct Disk<'a> {
    image: &'a Image,
    kind: Kind,
    /// Later marks lie on top of earlier ones.
    marks: Vec<(Region, Range<u64>)>,
}

impl Disk<'_> {
    fn mark(&mut self, region: Region, range: Range<u64>) {
        self.marks.push((region, range));
    }

    /// The visible parts of the marks. What no mark covers is unused.
    fn regions(&self, bytes: u64) -> Regions {
        let marks = self.marks.iter();
        let mut borders: BTreeSet<u64> = [0, bytes].into();
        borders.extend(marks.flat_map(|(_, range)| [range.start, range.end]));
        let borders: Vec<u64> = borders.into_iter().collect();
        let mut regions = Regions::new();
        for border in borders.windows(2) {
            let (start, end) = (border[0], border[1]);
            let mut marks = self.marks.iter().rev();
            let mark = marks.find(|(_, range)| range.contains(&start));
            let region = mark.map_or(Region::Unused, |(region, _)| *region);
            let ranges = regions.entry(region).or_default();
            match ranges.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => ranges.push(start..end),
            }
        }
        regions
    }

    fn mark_mbr(&mut self) -> Result<()> {
        // `mov dx, 0x3FB`: printing begins with the line control register.
        const PRINTING: [u8; 3] = [0xBA, 0xFB, 0x03];

        let sector = self.image.read(0, SECTOR_SIZE)?;
        let mut windows = sector.windows(PRINTING.len());
        let printing = windows.position(|bytes| bytes == PRINTING);
        let printing = printing.context("stage1 does not print")? as u64;
        let (bpb, checked) = (mbr::BPB_AREA, mbr::CHECKED.start as u64);
        self.mark(Region::MbrEntry, 0..printing);
        self.mark(Region::MbrBpbArea, bpb.start as u64..bpb.end as u64);
        self.mark(Region::MbrPrinting, printing..checked);
        self.mark(Region::MbrChecked, checked..mbr::CODE_END as u64);
        self.mark(Region::MbrRest, mbr::CODE_END as u64..SECTOR - 2);
        let entry = size_of::<PartitionEntry>() as u64;
        let table = mbr::PARTITION_TABLE_OFFSET as u64;
        self.mark(Region::MbrTable, table..table + entry);
        self.mark(Region::MbrSignature, SECTOR - 2..SECTOR);
        if self.kind == Kind::Chain {
            let second = table + entry..table + 2 * entry;
            let words = self.image.read(second.start + 8, 4)?;
            let lba = u32::from_le_bytes(words.as_slice().try_into()?);
            let start = u64::from(lba) * SECTOR;
            self.mark(Region::MbrChained, second);
            self.mark(Region::ChainedSector, start..start + SECTOR);
        }
        Ok(())
    }

    fn mark_stage2(&mut self, inspection: &Inspection) -> Result<()> {
        let place = bytes(inspection.stage2.as_ref().context("no stage2")?.place);
        let built = self.image.built.as_ref().context("not built")?;
        let used = place.start + built.stage2_bytes as u64;
        self.mark(Region::Stage2Filling, place.clone());
        self.mark(Region::Stage2, place.start..used);
        for &part in Part::ALL {
            let entry = place.start + part.place_offset() as u64;
            let entry = self.image.read(entry, size_of::<Place>())?;
            let (entry, _) = Place::ref_from_prefix(&entry).ok().context("no table")?;
            let region = match self.kind.part() == Some(part) {
                true => Region::Stage2Way,
                false => Region::Stage2Parts,
            };
            let start = place.start + u64::from(entry.sector.get()) * SECTOR;
            self.mark(region, start..start + u64::from(entry.length.get()));
        }
        Ok(())
    }

    /// Reserved sectors, FATs and directories.
    fn mark_volume(&mut self, volume: &Volume, files: &[FileInfo]) -> Result<()> {
        const ENTRY: usize = 32;

        let reserved = bytes(volume.reserved);
        // The BPB ends where the boot code begins; the signature is needed too.
        let bpb_end = reserved.start + mbr::BPB_AREA.end as u64;
        let signature = reserved.start + SECTOR - 2;
        self.mark(Region::ReservedSectors, reserved.clone());
        self.mark(Region::BootSector, reserved.start..bpb_end);
        self.mark(Region::BootSector, signature..signature + 2);

        // Each directory has one cluster, and all of them lie in front of the files, which lie in one
        // piece each. The last one ends where the free clusters begin.
        ensure!(volume.fat_bits == 32, "FAT{}", volume.fat_bits);
        let cluster = u64::from(volume.cluster);
        let data = bytes(volume.data);
        let mut end = data.start;
        let mut directories = BTreeSet::from([""]);
        for file in files {
            end = end.max(place(file)?.end.next_multiple_of(cluster));
            let slashes = file.path.match_indices('/');
            directories.extend(slashes.map(|(slash, _)| &file.path[..slash]));
        }
        for number in 0..directories.len() as u64 {
            let start = data.start + number * cluster;
            let entries = self.image.read(start, cluster as usize)?;
            let entries = entries.chunks_exact(ENTRY);
            // And the entry that ends the directory.
            let used = entries.take_while(|entry| entry[0] != 0).count() + 1;
            self.mark(Region::Directories, start..start + (used * ENTRY) as u64);
        }
        let fats = bytes(volume.fats);
        let length = (fats.end - fats.start) / 2;
        let clusters = 2 + (end - data.start).div_ceil(cluster);
        for (region, start) in [
            (Region::FirstFat, fats.start),
            (Region::SecondFat, fats.start + length),
        ] {
            self.mark(region, start..start + clusters * 4);
        }
        Ok(())
    }

    fn mark_file(&mut self, file: &FileInfo, inspection: &Inspection) -> Result<()> {
        let place = place(file)?;
        let region = match file.path.as_str() {
            "/boot/kernel.conf" => Region::Configuration,
            "/boot/kernel.elf" if file.unpacked.is_some() => Region::KernelPacked,
            "/boot/kernel.elf" => Region::KernelRest,
            _ if file.unpacked.is_some() => Region::ModulesPacked,
            _ => Region::Modules,
        };
        self.mark(region, place.clone());
        if region == Region::KernelRest {
            let bytes = self.image.read(place.start, file.size as usize)?;
            let parts = match inspection.booted.linux {
                Some(_) => parts_of_linux(&bytes)?,
                None => parts_of_elf(&bytes, self.kind)?,
            };
            for (region, part) in parts {
                self.mark(region, place.start + part.start..place.start + part.end);
            }
        }
        Ok(())
    }
}

fn bytes(place: Sectors) -> Range<u64> {
    place.lba * SECTOR..(place.lba + place.sectors) * SECTOR
}

fn place(file: &FileInfo) -> Result<Range<u64>> {
    let path = &file.path;
    ensure!(file.extents.len() == 1, "{path} is not in one piece");
    let start = file.extents[0].lba * SECTOR;
    Ok(start..start + file.size)
}

/// Parts of a kernel's file, later ones on top. Bytes in no part are not loaded.
type Parts = Vec<(Region, Range<u64>)>;

fn parts_of_elf(file: &[u8], kind: Kind) -> Result<Parts> {
    let parsed = ElfFile64::<Endianness>::parse(file)?;
    let (endian, head) = (parsed.endian(), parsed.elf_header());
    let mut parts = Parts::new();
    let range = |(start, length): (u64, u64)| start..start + length;
    if matches!(kind, Kind::Multiboot1 | Kind::Multiboot2) && head.e_shnum(endian) > 0 {
        let size = u64::from(head.e_shnum(endian)) * u64::from(head.e_shentsize(endian));
        parts.push((Region::KernelSymbols, range((head.e_shoff(endian), size))));
        for section in parsed.elf_section_table().iter() {
            if let Some(place) = section.file_range(endian) {
                parts.push((Region::KernelSymbols, range(place)));
            }
        }
    }
    for header in parsed.elf_program_headers() {
        let region = match header.p_type(endian) {
            elf::PT_LOAD => Region::KernelBytes,
            elf::PT_NOTE => Region::KernelHeaders,
            _ => continue,
        };
        parts.push((region, range(header.file_range(endian))));
    }
    let table = u64::from(head.e_phnum(endian)) * u64::from(head.e_phentsize(endian));
    parts.push((Region::KernelHeaders, 0..head.e_phoff(endian) + table));
    parts.extend(header_of(kind, file)?.map(|range| (Region::KernelProtocol, range)));
    Ok(parts)
}

/// The header, or what replaces it, by which the loader recognises a kernel's protocol.
fn header_of(kind: Kind, file: &[u8]) -> Result<Option<Range<u64>>> {
    /// The markers around Limine's requests.
    const START: [u64; 2] = [0xF6B8_F4B3_9DE7_D1AE, 0xFAB9_1A69_40FC_B9CF];
    const END: [u64; 2] = [0xADC0_E053_1BB1_0D03, 0x9572_709F_3176_4C62];
    const WORDS_1: usize = 12;

    let find = |bytes: &[u8]| {
        let mut windows = file.windows(bytes.len());
        let place = windows.position(|window| window == bytes);
        place.with_context(|| format!("no header of {}", kind.title()))
    };
    let marker = |words: [u64; 2]| find(words.map(u64::to_le_bytes).as_flattened());
    let range = match kind {
        Kind::Multiboot1 => {
            let start = find(&MULTIBOOT1_MAGIC.to_le_bytes())?;
            start..start + 4 * WORDS_1
        }
        Kind::Multiboot2 => {
            let start = find(&MULTIBOOT2_MAGIC.to_le_bytes())?;
            let length = file.get(start + 8..start + 12).context("cut short")?;
            start..start + u32::from_le_bytes(length.try_into()?) as usize
        }
        Kind::Limine => marker(START)?..marker(END)? + size_of_val(&END),
        Kind::Bootpath | Kind::Linux | Kind::Chain => return Ok(None),
    };
    Ok(Some(range.start as u64..range.end as u64))
}

fn parts_of_linux(file: &[u8]) -> Result<Parts> {
    let word = |offset: usize| {
        let bytes = file.get(offset..offset + 4).context("no setup header")?;
        Ok::<_, anyhow::Error>(u64::from(u32::from_le_bytes(bytes.try_into()?)))
    };
    let header_end = (header::JUMP + 2) as u64 + u64::from(file[header::JUMP + 1]);
    let setup = (1 + u64::from(file[header::SETUP_SECTS])) * SECTOR;
    let payload = setup + word(header::PAYLOAD_OFFSET)?;
    let payload = payload..payload + word(header::PAYLOAD_LENGTH)?;
    Ok(vec![
        (Region::KernelBytes, 0..file.len() as u64),
        (
            Region::KernelProtocol,
            header::SETUP_SECTS as u64..header_end,
        ),
        (Region::KernelPayload, payload),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each byte of each image belongs to one region, and to the right one.
    #[test]
    fn every_byte_is_somewhere() -> Result<()> {
        for kind in Kind::ALL {
            let image = kind.image(true)?;
            let regions = regions(kind, &image)?;
            let mut ranges: Vec<_> = regions.values().flatten().cloned().collect();
            ranges.sort_by_key(|range| range.start);
            let mut end = 0;
            for range in &ranges {
                ensure!(range.start == end && range.end > end, "{kind:?}: {range:?}");
                end = range.end;
            }
            ensure!(end == image.inspect()?.bytes, "{kind:?}");
            let has = |region| regions.contains_key(&region);
            ensure!(has(Region::Unused) && has(Region::Directories), "{kind:?}");
            ensure!(has(Region::Stage2Way) == kind.part().is_some());
            ensure!(has(Region::ChainedSector) == (kind == Kind::Chain));
            ensure!(has(Region::KernelPayload) == (kind == Kind::Linux));
            ensure!(has(Region::KernelPacked) == (kind == Kind::Multiboot1));
            ensure!(has(Region::KernelSymbols) == (kind == Kind::Multiboot2));
            let protocol = [Kind::Limine, Kind::Multiboot2, Kind::Linux].contains(&kind);
            ensure!(has(Region::KernelProtocol) == protocol, "{kind:?}");
        }
        Ok(())
    }
}

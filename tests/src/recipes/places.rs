//! Where the places that recipes name are in a good image. A new [`Place`] is a new arm of `offsets`.

use anyhow::{Context as _, Result, bail, ensure};
use boot_path::entry::entry_file::PATH_KERNEL;
use disk_builder::inspect::Part;
use disk_layout::{SECTOR_SIZE, mbr, parts, stage2 as stage2_image};
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol as _};

use super::good_image::GoodImage;
use super::words::Place;

pub(super) const SECTOR: u64 = SECTOR_SIZE as u64;

impl GoodImage {
    /// The offset of a place that exists once.
    pub(super) fn offset(&self, place: Place) -> Result<u64> {
        match self.offsets(place)?[..] {
            [offset] => Ok(offset),
            ref offsets => bail!("{place} is at {offsets:?}"),
        }
    }

    /// The offsets of a place in the good image in bytes, one for each copy.
    pub(super) fn offsets(&self, place: Place) -> Result<Vec<u64>> {
        let kernel = || self.offset(Place::File(PATH_KERNEL));
        let elf = || ElfFile64::<Endianness>::parse(self.kernel.as_slice());
        let one = match place {
            Place::Mbr => 0,
            Place::PartitionEntry => mbr::PARTITION_TABLE_OFFSET as u64,
            Place::Stage2 => self.stage2_start()?,
            Place::Part(name) => self.part(|part| part.name == name)?.place.lba * SECTOR,
            Place::Function(name) => match self.function(name)? {
                address if address < u64::from(parts::START) => {
                    self.stage2_start()? + address - u64::from(stage2_image::LOAD_ADDRESS)
                }
                address => {
                    let behind = |part: &Part| address.checked_sub(part.address.into());
                    let part = self.part(|part| {
                        behind(part).is_some_and(|it| it < part.place.sectors * SECTOR)
                    })?;
                    part.place.lba * SECTOR + address - u64::from(part.address)
                }
            },
            Place::Volume => {
                const BACKUP: u64 = 6;
                let partition = self.inspection.partition.as_ref();
                let start = partition.context("no partition")?.place.lba * SECTOR;
                return Ok(vec![start, start + BACKUP * SECTOR]);
            }
            Place::Link(path, number) => return self.links(path, number),
            Place::File(path) => {
                let [extent] = self.extents(path)? else {
                    bail!("{path} lies in several pieces");
                };
                extent.lba * SECTOR
            }
            Place::ProgramHeader(number) => {
                let elf = elf()?;
                let header = elf.elf_header();
                let size = u64::from(header.e_phentsize(elf.endian()));
                kernel()? + header.e_phoff(elf.endian()) + number * size
            }
            Place::Section(name) => {
                let elf = elf()?;
                let section = elf.section_by_name(name);
                let section = section.with_context(|| format!("no section {name}"))?;
                kernel()? + section.file_range().context("an empty section")?.0
            }
            Place::EntryPoint => {
                let elf = elf()?;
                let endian = elf.endian();
                let entry = elf.elf_header().e_entry(endian);
                let offset = elf.elf_program_headers().iter().find_map(|header| {
                    let (offset, size) = header.file_range(endian);
                    let behind = entry.wrapping_sub(header.p_vaddr(endian));
                    (header.p_type(endian) == object::elf::PT_LOAD && behind < size)
                        .then_some(offset + behind)
                });
                kernel()? + offset.context("the entry point is in no segment")?
            }
        };
        Ok(vec![one])
    }

    fn stage2_start(&self) -> Result<u64> {
        let stage2 = self.inspection.stage2.as_ref().context("no stage2")?;
        Ok(stage2.place.lba * SECTOR)
    }

    /// A part of stage2.
    fn part(&self, is_it: impl Fn(&Part) -> bool) -> Result<&Part> {
        let stage2 = self.inspection.stage2.as_ref().context("no stage2")?;
        let part = stage2.parts.iter().find(|part| is_it(part));
        part.context("stage2 has no such part")
    }

    /// The address of a function of stage2 in memory.
    pub(super) fn function(&self, path: &str) -> Result<u64> {
        let elf = ElfFile64::<Endianness>::parse(self.stage2.as_slice())?;
        let mut addresses = elf.symbols().filter_map(|symbol| {
            let name = rustc_demangle::demangle(symbol.name().ok()?);
            // The name without the hash.
            (format!("{name:#}") == path).then(|| symbol.address())
        });
        let address = addresses.next();
        let address = address.with_context(|| format!("stage2 has no function {path} any more"))?;
        ensure!(addresses.next().is_none(), "stage2 has several {path}");
        Ok(address)
    }

    fn extents(&self, path: &str) -> Result<&[disk_builder::inspect::Sectors]> {
        let mut files = self.inspection.files.iter();
        let file = files.find(|file| file.path == path);
        Ok(&file.with_context(|| format!("no {path}"))?.extents)
    }

    /// The FAT entries of a cluster, one in each copy of the FAT. The cluster belongs to a file in
    /// one piece.
    fn links(&self, path: &'static str, number: usize) -> Result<Vec<u64>> {
        const COPIES: u64 = 2;
        const FIRST_CLUSTER: u64 = 2;
        const ENTRY: u64 = 4;

        let volume = self.inspection.volume.as_ref().context("no file system")?;
        ensure!(volume.fat_bits == 32, "FAT{}", volume.fat_bits);
        let first = self.offset(Place::File(path))? / SECTOR - volume.data.lba;
        let cluster = FIRST_CLUSTER + first * SECTOR / u64::from(volume.cluster) + number as u64;
        let copy = volume.fats.sectors / COPIES;
        let offset = |number| (volume.fats.lba + number * copy) * SECTOR + cluster * ENTRY;
        Ok((0..COPIES).map(offset).collect())
    }
}

//! LBA 0 and the sectors behind it: stage1, the partition table, stage2.

use std::fs::{self, File};
use std::io::Read as _;

use crate::support::{self, Load, Workshop, build, elf, kernel, noise, refusal, sectors, stage1};
use boot_path::files::sum;
use disk_builder::Road;
use disk_builder::image::Recipe;
use disk_builder::inspect::Sectors;
use disk_layout::{Mbr, PARTITION_LBA, ParameterBlock, Stage2Header, mbr, parts, stage2};
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes as _, IntoBytes as _};

#[test]
fn the_mbr_holds_stage1_and_one_active_partition() {
    let workshop = Workshop::new();
    let recipe = workshop.recipe(&kernel(1000));
    let built = build(&recipe);
    assert_eq!(built.stage1_bytes, 0x5A + 100 + size_of::<ParameterBlock>());

    let sector = sectors(&recipe.output, 0, 1);
    let header = Mbr::read_from_bytes(&sector).unwrap();
    assert_eq!(header.signature.get(), mbr::BOOT_SIGNATURE);
    assert_ne!(header.disk_signature.get(), 0);
    assert_eq!(header.code[..3], [0xEB, 0x58, 0x90]);
    assert_eq!(header.code[0x5A..0x5A + 100], [0xF4; 100]);
    let parameters =
        ParameterBlock::read_from_bytes(&header.code[mbr::PARAMETER_BLOCK_OFFSET..]).unwrap();
    assert_eq!((parameters.lba.get(), parameters.sectors.get()), (1, 64));

    let image_sectors = fs::metadata(&recipe.output).unwrap().len() / 512;
    let [first, rest @ ..] = header.partitions;
    assert_eq!((first.status, first.kind), (0x80, 0x0C));
    assert_eq!(first.first_lba.get(), PARTITION_LBA);
    assert!(u64::from(PARTITION_LBA + first.sectors.get()) <= image_sectors);
    // Cylinder 0, head 32, sector 33; and the last sector of a cylinder.
    assert_eq!(first.first_chs, [32, 33, 0]);
    assert_eq!((first.last_chs[0], first.last_chs[1] & 63), (254, 63));
    let cylinder = u32::from(first.last_chs[1] & 0xC0) << 2 | u32::from(first.last_chs[2]);
    assert_eq!(
        (cylinder + 1) * 255 * 63,
        PARTITION_LBA + first.sectors.get()
    );
    assert!(
        rest.iter()
            .all(|entry| entry.kind == 0 && entry.status == 0)
    );

    let mut file = File::open(&recipe.output).unwrap();
    let read = mbrman::MBR::read_from(&mut file, 512).unwrap();
    assert_eq!(read.iter().filter(|(_, p)| p.is_used()).count(), 1);
    assert!(read[1].is_active());

    // A geometry for BIOSes that look for one, but nothing that anybody takes for a FAT volume.
    assert_eq!(sector[0x0B..0x0D], 512u16.to_le_bytes());
    assert_eq!(sector[0x18..0x1C], [63, 0, 255, 0]);
    assert!(!::boot_path::disk::fat::is_boot_sector(&sector));
    assert_eq!(sector[0x0E..0x11], [0; 3]);
}

/// A cylinder of a small disk is a MiB, and so is the gap in front of the partition.
#[test]
fn small_disks_end_with_a_cylinder() {
    let workshop = Workshop::new();
    for mib in [2, 62] {
        let mut recipe = workshop.recipe(&kernel(1000));
        recipe.size_mib = Some(mib);
        build(&recipe);
        let sector = sectors(&recipe.output, 0, 1);
        let header = Mbr::read_from_bytes(&sector).unwrap();
        let partition = header.partitions[0];
        assert_eq!(partition.first_chs, [0, 1, 1]);
        assert_eq!(partition.last_chs, [63, 32, mib as u8 - 1]);
        assert_eq!(sector[0x18..0x1C], [32, 0, 64, 0]);
        let volume = sectors(&recipe.output, PARTITION_LBA.into(), 1);
        assert_eq!(volume[0x18..0x1C], [32, 0, 64, 0]);
    }
}

#[test]
fn large_disks_end_with_the_largest_chs() {
    let workshop = Workshop::new();
    let mut recipe = workshop.recipe(&kernel(1000));
    recipe.size_mib = Some(9000);
    build(&recipe);
    let header = Mbr::read_from_bytes(&sectors_of_large(&recipe)).unwrap();
    assert_eq!(header.partitions[0].last_chs, [254, 0xC0 | 63, 0xFF]);
}

/// LBA 0 without reading all the rest.
fn sectors_of_large(recipe: &Recipe) -> [u8; 512] {
    let mut sector = [0; 512];
    File::open(&recipe.output)
        .unwrap()
        .read_exact(&mut sector)
        .unwrap();
    sector
}

#[test]
fn stage2_is_padded_and_its_header_filled() {
    let workshop = Workshop::new();
    for (road, byte, record, used, length) in [
        (Road::Protected, 0, false, 5000, 32_768),
        (Road::Direct, 1, true, 70_000, 70_144),
    ] {
        workshop.file("stage2", &support::stage2(used));
        let recipe = Recipe {
            road,
            record,
            checksums: false,
            ..workshop.recipe(&kernel(1000))
        };
        let built = build(&recipe);
        assert_eq!(built.stage2_bytes, used);
        let bytes = sectors(&recipe.output, 1, length as u64 / 512);
        let (header, _) = Stage2Header::ref_from_prefix(&bytes).unwrap();
        assert_eq!(header.magic, stage2::MAGIC);
        assert_eq!(header.length.get() as usize, length);
        assert_eq!(header.version.get(), stage2::VERSION);
        assert_eq!((header.road, header.record), (byte, record.into()));
        assert_eq!(header.manifest.get(), 0);
        assert_eq!(header.error, [0; 4]);
        // The manifest's sum, but for the length at its end.
        let mut rest = bytes[0x680..].to_vec();
        assert_eq!(
            header.check.map(U64::get),
            sum::of_rounds(rest.as_chunks().0)
        );
        rest[0] ^= 1;
        assert_ne!(
            header.check.map(U64::get),
            sum::of_rounds(rest.as_chunks().0)
        );
        // As stage1 computes it.
        let sum = bytes[..0x8000]
            .as_chunks()
            .0
            .iter()
            .rev()
            .fold(0_u32, |sum, &doubleword| {
                sum.rotate_left(1)
                    .wrapping_add(u32::from_le_bytes(doubleword))
            });
        assert_eq!(sum, 1);
        let mbr = sectors(&recipe.output, 0, 1);
        let code = mbr[mbr::CHECKED].as_chunks().0.iter();
        let words = code.map(|&word| u16::from_le_bytes(word));
        assert_eq!(words.fold(0, u16::wrapping_add), 0);
        let mut expected = noise(used);
        let mut table = parts::Table::EMPTY;
        table.lba = 1.into();
        expected[parts::TABLE_OFFSET..][..size_of_val(&table)].copy_from_slice(table.as_bytes());
        assert!(bytes[40..used] == expected[40..]);
        assert!(bytes[used..].iter().all(|&byte| byte == 0));
        let behind = 1 + length as u64 / 512;
        assert_eq!(sectors(&recipe.output, behind, 1), [0; 512]);
    }
}

#[test]
fn stages_that_cannot_work_are_refused() {
    let workshop = Workshop::new();
    let mut recipe = workshop.recipe(&kernel(1000));
    let with_stage1 = |bytes: &[u8]| {
        workshop.file("stage1", bytes);
        refusal(&recipe)
    };
    let base = u64::from(mbr::LOAD_ADDRESS);
    let raw = |bytes: &[u8]| elf(base, &[Load(base, 7, bytes, 0)]);
    assert!(with_stage1(&stage1(&[0x90; 348])).contains("parameter block"));
    assert!(with_stage1(&stage1(&[0x90; 351])).contains("more than 440 bytes"));
    assert!(with_stage1(&raw(&[0x90; 4])).contains("BPB area"));
    assert!(with_stage1(&raw(&[])).contains("empty"));
    assert!(with_stage1(b"flat").contains("not a 64-bit ELF"));
    let below = elf(base, &[Load(base - 1, 7, &[0xF4], 0)]);
    assert!(with_stage1(&below).contains("below 0x7c00"));
    workshop.file("stage1", &stage1(&[0x90; 344]));
    assert_eq!(build(&recipe).stage1_bytes, 440);

    workshop.file("stage2", &support::stage2(stage2::MAX_LENGTH + 1));
    assert!(refusal(&recipe).contains("more than 107520 bytes"));
    workshop.file("stage2", &elf(0, &[Load(0x8000, 7, &[1; 100], 0)]));
    assert!(refusal(&recipe).contains("header"));
    workshop.file("stage2", &support::stage2(stage2::MAX_LENGTH - 14));
    assert!(refusal(&recipe).contains("no room for the manifest"));
    recipe.checksums = false;
    workshop.file("stage2", &support::stage2(stage2::MAX_LENGTH));
    assert_eq!(
        build(&recipe).inspection.stage2.unwrap().place,
        Sectors {
            lba: 1,
            sectors: (stage2::MAX_LENGTH / 512) as u64
        }
    );
}

//! Volumes as mkfs.fat and mtools make them with any of their options, and as Windows, macOS,
//! Atari's tools and cameras leave them: each is read, and only what breaks FAT's specification is
//! named.

use boot_path::disk::fat::{Cache, FatError, View, Volume};
use boot_path::disk::partition;

use crate::disks::*;
use crate::partition::mbr;

const FILE: &str = "A file of the owner.bin";
const MIB: usize = 1024;

/// Opens the volume by what the loader opens it by; returns the file's bytes, and what is wrong.
fn read(volume: Vec<u8>) -> Result<(Option<Vec<u8>>, Option<String>), FatError> {
    let mut disk = MemoryDisk::new(volume, 512);
    let mut memory = vec![0; 5 * 16 * 1024];
    let mut cache = Cache::new(&mut memory);
    let partition = whole(&disk);
    let volume = Volume::open_any(&mut disk, &mut cache, &partition, &mut |error, view| {
        panic!("{error:?}, {view:?}")
    })?;
    let file = volume.find(&mut disk, &mut cache, FILE)?;
    let bytes = file.map(|file| stream_file(&mut disk, &mut cache, &volume, &file).unwrap());
    Ok((bytes, volume.defect().map(|defect| defect.to_string())))
}

fn check(volume: Vec<u8>, bytes: &[u8], defect: Option<&str>, name: &str) {
    let (found, named) = read(volume).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    assert!(found.as_deref() == Some(bytes), "{name}: another file");
    let text = defect.map(|it| format!("the boot sector is not as FAT's must be, {it}"));
    assert_eq!(named, text, "{name}");
}

#[test]
fn mkfs_fat_with_any_options() {
    #[rustfmt::skip]
    let all: &[(usize, &[&str], Option<&str>)] = &[
        (4 * MIB, &["-F", "12"], None),
        (4 * MIB, &["-F", "12", "-f", "1"], None),
        (4 * MIB, &["-F", "12", "-f", "4", "-r", "112", "-R", "9"], None),
        (4 * MIB, &["-F", "12", "-a", "-h", "63", "-g", "255/63"], None),
        (4 * MIB, &["-F", "12", "-M", "0xF0", "-n", "KERNEL", "-i", "0BADCAFE"], None),
        (4 * MIB, &["-F", "12", "--mbr=yes"], None),
        (4 * MIB, &["-F", "12", "-I", "-D", "0"], None),
        (4 * MIB, &["-A"], Some("signature: 0")),
        (16 * MIB, &["-F", "12", "-s", "128"], None),
        (16 * MIB, &["-F", "12", "-S", "1024", "-s", "128"], None),
        (16 * MIB, &["-F", "12", "-S", "4096", "-s", "32"], None),
        (16 * MIB, &["-F", "16", "-s", "1"], None),
        (16 * MIB, &["-F", "16", "-s", "2", "-f", "1", "-r", "4096"], None),
        (36 * MIB, &["-F", "16", "-S", "4096", "-s", "2"], None),
        (36 * MIB, &["-F", "32", "-s", "1", "-f", "1"], None),
        (36 * MIB, &["-F", "32", "-s", "1", "-b", "0", "-R", "4"], None),
        (36 * MIB, &["-F", "32", "--mbr=yes", "-a"], None),
    ];
    for (kib, arguments, defect) in all {
        let mut volume = mkfs(*kib, arguments);
        let bytes = content(*kib as u32, 300_001);
        mcopy(&mut volume, FILE, &bytes);
        check(volume, &bytes, *defect, &arguments.join(" "));
    }
}

/// A volume of this kind with a file.
fn with_file(bits: &str) -> (Vec<u8>, Vec<u8>) {
    let kib = if bits == "32" { 36 } else { 16 } * MIB;
    let mut volume = mkfs(
        kib,
        &["-F", bits, "-s", if bits == "12" { "16" } else { "1" }],
    );
    let bytes = content(7, 70_000);
    mcopy(&mut volume, FILE, &bytes);
    (volume, bytes)
}

/// Bytes that are written over a volume: what they are, in which kinds of FAT, and where.
type Pieces = (
    &'static str,
    &'static [&'static str],
    &'static [(usize, &'static [u8])],
);

/// What other systems write into a volume, byte by byte. Nothing of it breaks the specification,
/// or no driver looks at it.
#[test]
fn what_others_leave_in_a_volume() {
    #[rustfmt::skip]
    let all: &[Pieces] = &[
        ("Windows' name", &["12", "16", "32"], &[(3, b"MSDOS5.0")]),
        ("macOS' name", &["12", "16", "32"], &[(3, b"BSD  4.4")]),
        ("no name", &["12", "16", "32"], &[(3, &[0; 8])]),
        ("a near jump", &["12", "16", "32"], &[(0, &[0xE9, 0x3B, 0x00])]),
        ("a jump without NOP", &["12", "16", "32"], &[(0, &[0xEB, 0x3C, 0x00])]),
        ("no jump", &["12", "16", "32"], &[(0, &[0; 3])]),
        ("another media byte than in the FAT", &["12", "16", "32"], &[(21, &[0xF0])]),
        ("no geometry", &["12", "16", "32"], &[(24, &[0; 4])]),
        ("a wrong number of hidden sectors", &["12", "16", "32"], &[(28, &[0xFF; 4])]),
        ("a dirty volume of Windows", &["12", "16"], &[(37, &[1])]),
        ("a dirty volume of Windows", &["32"], &[(65, &[1])]),
        ("no extended boot signature", &["12", "16"], &[(38, &[0; 24])]),
        ("no extended boot signature", &["32"], &[(66, &[0; 24])]),
        ("no FSInfo", &["32"], &[(512, &[0; 512])]),
        ("no sector for FSInfo", &["32"], &[(48, &[0xFF, 0xFF])]),
        ("no backup", &["32"], &[(50, &[0; 2]), (6 * 512, &[0; 512])]),
    ];
    for bits in ["12", "16", "32"] {
        let (volume, bytes) = with_file(bits);
        for (name, _, pieces) in all.iter().filter(|(_, kinds, _)| kinds.contains(&bits)) {
            let mut volume = volume.clone();
            for (offset, piece) in *pieces {
                volume[*offset..][..piece.len()].copy_from_slice(piece);
            }
            check(volume, &bytes, None, &format!("FAT{bits}, {name}"));
        }
        // Both counts of sectors, as some cameras fill them in.
        let mut both = volume.clone();
        let count = u16::from_le_bytes([both[19], both[20]]);
        if count != 0 {
            both[32..34].copy_from_slice(&count.to_le_bytes());
            check(both, &bytes, None, &format!("FAT{bits}, both counts"));
        }
        // Entry 1 of the FAT says that the volume was not unmounted, and that it has bad sectors.
        let mut dirty = volume;
        let reserved = usize::from(dirty[14]) * 512;
        match bits {
            "16" => dirty[reserved + 3] &= 0x3F,
            _ => dirty[reserved + 7] &= 0xF3,
        }
        if bits != "12" {
            check(dirty, &bytes, None, &format!("FAT{bits}, dirty"));
        }
    }
}

/// A mark by which FAT is told from anything else is missing: others read such a volume, and one
/// line says what is wrong with it.
#[test]
fn a_boot_sector_without_a_mark_is_read_and_named() {
    for bits in ["12", "16"] {
        let (volume, bytes) = with_file(bits);
        for (at, piece, defect) in [
            (510, &[0, 0][..], "signature: 0"),
            (510, &[0x54, 0xAA], "signature: 43604"),
            (21, &[0], "media byte: 0"),
            (21, &[0xF7], "media byte: 247"),
        ] {
            let mut volume = volume.clone();
            volume[at..][..piece.len()].copy_from_slice(piece);
            let name = format!("FAT{bits}, {defect}");
            check(volume.clone(), &bytes, Some(defect), &name);
            check_in_partition(&volume, &name);
            // A second one: that is no boot sector of FAT.
            for (at, bad) in [(0, 0x33), (21, 0xF7), (510, 0)] {
                let mut volume = volume.clone();
                volume[at] = bad;
                let is_another = (at == 0) || !defect.starts_with(if at == 21 { "m" } else { "s" });
                let refused = matches!(read(volume), Err(FatError::NotFat { .. }));
                assert_eq!(refused, is_another, "{name}, {at}");
            }
            // Another file system that leaves the boot sector in place.
            let mut ext4 = volume;
            ext4[0x438..0x43D].copy_from_slice(b"\x53\xEF\x01\0\x01");
            assert!(matches!(read(ext4), Err(FatError::Foreign(_))), "{name}");
        }
    }
    // FAT32 has a better boot sector.
    let (mut volume, _) = with_file("32");
    volume[510] = 0;
    let mut disk = MemoryDisk::new(volume, 512);
    let mut memory = vec![0; 5 * 16 * 1024];
    let mut by = None;
    let partition = whole(&disk);
    let volume = Volume::open_any(
        &mut disk,
        &mut Cache::new(&mut memory),
        &partition,
        &mut |_, view| by = Some(view),
    );
    assert_eq!((by, volume.unwrap().defect()), (Some(View::ALL[2]), None));
}

/// It is found among other partitions, and its second FAT can be read.
fn check_in_partition(volume: &[u8], name: &str) {
    let entries = [(1, 0x80, 0x83, 8, 8), (2, 0, 0x0C, 64, 40_000)];
    let mut bytes = vec![0; 64 * 512];
    bytes[..512].copy_from_slice(&mbr(&entries));
    bytes.extend_from_slice(volume);
    let mut disk = MemoryDisk::new(bytes, 512);
    let partition = partition::find(&mut disk).unwrap();
    assert_eq!(partition.number, 2, "{name}");
    let mut memory = vec![0; 5 * 16 * 1024];
    let mut cache = Cache::new(&mut memory);
    let volume = Volume::open_any(&mut disk, &mut cache, &partition, &mut |_, _| panic!()).unwrap();
    let second = volume
        .by_view(&mut disk, &mut cache, &partition, View::ALL[1])
        .unwrap();
    assert!(second != volume && second.defect() == volume.defect());
    let file = volume.find(&mut disk, &mut cache, FILE).unwrap().unwrap();
    assert!(second.same_places(&volume, &mut disk, &mut cache, &file));
}

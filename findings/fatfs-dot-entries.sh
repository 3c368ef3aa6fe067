#!/usr/bin/env bash
# The crate fatfs 0.3.6 gives the entries `.` and `..` of a new directory long names, which FAT's specification has for
# neither, and lets `..` name the root directory of FAT32 by its cluster number instead of 0. Linux, mtools and the crate
# itself read such a directory; fsck.fat 4.2 calls it damaged.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
needs cargo "cargo 1."
debian dosfstools 4.2-1

program <<'EOT'
fatfs = "=0.3.6"
EOT
cat >src/main.rs <<'EOT'
use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};

fn main() {
    let mut disk = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open("disk.img").unwrap();
    disk.set_len(64 << 20).unwrap();
    fatfs::format_volume(&mut disk, FormatVolumeOptions::new().fat_type(FatType::Fat32)).unwrap();
    let volume = FileSystem::new(&mut disk, FsOptions::new()).unwrap();
    volume.root_dir().create_dir("boot").unwrap();
    volume.unmount().unwrap();
}
EOT
cargo run --quiet
python3 - <<'PY' >seen.txt
import struct
disk = open("disk.img", "rb").read()
reserved, = struct.unpack_from("<H", disk, 14)
fats, size = disk[16], struct.unpack_from("<I", disk, 36)[0]
cluster = disk[13] * 512
second = (reserved + fats * size) * 512 + cluster  # cluster 3
for at in range(second, second + 4 * 32, 32):
    entry = disk[at:at + 32]
    if entry[11] == 0x0F:
        print("long name")
    else:
        print(entry[:11].decode().rstrip(), struct.unpack_from("<H", entry, 26)[0])
PY
expect "the first entries" "long name, . 3, long name, .. 2" "$(paste -sd, seen.txt | sed 's/,/, /g')"
debian/sbin/fsck.fat -n disk.img >fsck.txt || true
expect "fsck.fat, of the first slot" "  Expected a valid '.' entry in this slot." "$(sed -n 3p fsck.txt)"
expect "fsck.fat, of what it would do to the root directory" \
    "  Truncating second to 0 bytes because first is FAT32 root dir." "$(grep root fsck.txt)"

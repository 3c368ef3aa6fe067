#!/usr/bin/env bash
# mkfs.fat 4.2 makes FAT32 of 16 MiB when it is told to, with a warning that it has few clusters, and puts the number of
# sectors into the 16-bit field, which the specification wants to be 0 on FAT32. fsck.fat takes that for a good volume. The
# crate fatfs 0.3.6 refuses it because of that field. mtools 4.0.32 shows its parameters by minfo, but reads no file of it:
# for less than 65,525 clusters it looks for a FAT of 16 bits. What decides the width of a FAT is not the same for any two.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
needs cargo "cargo 1."
debian dosfstools 4.2-1 mtools 4.0.33-1+really4.0.32-1

truncate -s 16M disk.img
debian/sbin/mkfs.fat -F 32 -s 1 disk.img >mkfs.txt 2>&1
expect "mkfs.fat" "WARNING: Number of clusters for 32 bit FAT is less then suggested minimum." "$(grep WARNING mkfs.txt)"
# BPB_TotSec16, BPB_FATSz16, BPB_TotSec32.
expect "16 bits of sectors, of FAT; 32 bits of sectors" "32768 0 0" \
    "$(python3 -c 'import struct; d = open("disk.img", "rb").read(512); print(*struct.unpack_from("<H", d, 19), *struct.unpack_from("<H", d, 22), *struct.unpack_from("<I", d, 32))')"
expect "fsck.fat's status" 0 "$(debian/sbin/fsck.fat -n disk.img >fsck.txt && echo 0)"

echo text >file
expect "minfo" "Big fatlen=252" "$(debian/usr/bin/minfo -i disk.img :: | grep Big)"
expect "mcopy" "Error reading FAT" "$(debian/usr/bin/mcopy -i disk.img file ::/file 2>&1 | head -n 1)"

program <<'EOT'
fatfs = "=0.3.6"
EOT
cat >src/main.rs <<'EOT'
fn main() {
    let disk = std::fs::OpenOptions::new().read(true).write(true).open("disk.img").unwrap();
    match fatfs::FileSystem::new(disk, fatfs::FsOptions::new()) {
        Ok(volume) => println!("{:?}", volume.fat_type()),
        Err(error) => println!("{error}"),
    }
}
EOT
expect "fatfs" "Invalid total_sectors_16 value in BPB (should be zero for FAT32)" "$(cargo run --quiet)"

#!/usr/bin/env bash
# The code in a FAT volume's boot sector finds its volume by BPB_HiddSec, the sectors in front of it on the disk. Who makes
# a volume inside an image file and says where it begins would think that the field says so too: mkfs.fat 4.2 with
# --offset 2048 and mformat 4.0.32 with image@@1M both leave 0 there (mkfs.fat has -h for it, mformat -H).
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
debian dosfstools 4.2-1 mtools 4.0.33-1+really4.0.32-1

hidden() { python3 -c 'import struct; d = open("disk.img", "rb").read(); print(*struct.unpack_from("<I", d, (1 << 20) + 28))'; }
fresh() { rm -f disk.img; truncate -s 64M disk.img; }

fresh; debian/sbin/mkfs.fat --offset 2048 disk.img >/dev/null
expect "mkfs.fat --offset 2048" 0 "$(hidden)"
fresh; debian/sbin/mkfs.fat --offset 2048 -h 2048 disk.img >/dev/null
expect "mkfs.fat --offset 2048 -h 2048" 2048 "$(hidden)"
fresh; debian/usr/bin/mformat -i disk.img@@1M -T 100000 -s 63 -h 16 ::
expect "mformat -i disk.img@@1M" 0 "$(hidden)"
fresh; debian/usr/bin/mformat -i disk.img@@1M -T 100000 -s 63 -h 16 -H 2048 ::
expect "mformat -i disk.img@@1M -H 2048" 2048 "$(hidden)"

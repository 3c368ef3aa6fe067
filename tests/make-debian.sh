#!/usr/bin/env bash
# A whole Debian 12 on a disk with a BIOS partition table, as docs/hardware.md says it: make-debian.sh DIRECTORY
#
# DIRECTORY/loader.img is an image of disk-builder's, whose boot code the disk gets. Writes DIRECTORY/disk.img:
# a FAT partition with the kernel that kernel-install put there, and root on ext4; and DIRECTORY/kernels, the
# version of that kernel, and that of a newer one, whose package is in the /var/tmp of the new system.
#
# Needs no rights, no loop device and no mount; the packages come from where the apt of this machine has them.
# BOOTPATH_NO_INSTALL=1 forbids fetching them.
set -euo pipefail

directory=$(realpath -- "$1")
sources=$(realpath -- "$(dirname -- "${BASH_SOURCE[0]}")")/../examples/kernel-updates
PATH=$PATH:/usr/sbin:/sbin

if [[ ${BOOTPATH_NO_INSTALL-} = 1 ]]; then
    echo "to fetch: a Debian 12, by mmdebstrap, about 100 MB" >&2
    exit 1
fi

# Each of the machine's sources for Debian 12, as a line of sources.list.
mirror=$(apt-get indextargets --format "deb \$(SITE) \$(CODENAME) \$(COMPONENT)" 'Created-By: Packages' 'Origin: Debian' |
    grep -E ' bookworm(-updates|-security)? main$' | sort -u) || {
    echo "The apt of this machine has no Debian 12 (bookworm) among its sources, or never ran apt-get update" >&2
    exit 1
}

# inside ROOT: what is done in the new system, before anything of it has run.
cat >"$directory/customize" <<'END'
set -eu
root=$1 directory=$2 sources=$3
cp -r "$sources/common/." "$sources/debian/." "$root"
# In a checkout of another user's, or unpacked by another program, they may have lost it.
chmod 755 "$root"/etc/kernel/*.d/* "$root"/etc/initramfs/post-update.d/*
mkdir "$root/efi"
echo debian >"$root/etc/kernel/entry-token"
echo 'root=LABEL=root ro console=ttyS0 quiet' >"$root/etc/kernel/cmdline"
# In an emulator, it may be minutes before a device is there.
options=umask=0077,nofail,x-systemd.device-timeout=0
printf '%s\n' 'LABEL=root / ext4 errors=remount-ro 0 1' "LABEL=BOOT /efi vfat $options 0 2" >"$root/etc/fstab"
echo debian >"$root/etc/hostname"
echo '127.0.0.1 localhost debian' >"$root/etc/hosts"
chroot "$root" passwd --quiet --delete root

# The two newest kernels for virtual machines.
kernels=$(chroot "$root" apt-cache search --names-only '^linux-image-6\.1\.0-[0-9]+-cloud-amd64$' |
    cut -d ' ' -f 1 | sort -V | tail -n 2)
[ "$(echo "$kernels" | wc -l)" = 2 ] || { echo "fewer than two kernels to be had: $kernels" >&2; exit 1; }
old=$(echo "$kernels" | head -n 1) new=$(echo "$kernels" | tail -n 1)
BOOTPATH_STAGE=1 DEBIAN_FRONTEND=noninteractive chroot "$root" \
    apt-get -qq install --yes --no-install-recommends "$old"
chroot "$root" sh -c 'cd /var/tmp && apt-get -qq -o APT::Sandbox::User= download "$1"' sh "$new"
# From here on, no more drivers than this machine needs: it makes initrds in an emulator.
echo MODULES=dep >"$root/etc/initramfs-tools/conf.d/modules"
printf '%s\n' "${old#linux-image-}" "${new#linux-image-}" >"$directory/kernels"
mv "$root/efi" "$directory/efi"
mkdir "$root/efi"
END

rm -rf -- "$directory/efi"
mmdebstrap --variant=minbase --format=tar --include=dosfstools,initramfs-tools,kmod,systemd-sysv,udev,zstd \
    --customize-hook="sh '$directory/customize' \"\$1\" '$directory' '$sources'" \
    bookworm "$directory/root.tar" - <<<"$mirror"

# The owners in the archive are for the ext4 alone.
truncate --size=1500M "$directory/root.img"
# shellcheck disable=SC2016 # the inner shell expands it
fakeroot sh -euc '
    mkdir "$1/root"
    tar --extract --file "$1/root.tar" --directory "$1/root" --numeric-owner
    mke2fs -q -F -t ext4 -L root -d "$1/root" "$1/root.img"
    rm -r "$1/root" "$1/root.tar"
' sh "$directory"
rm -f -- "$directory/boot.img"
mkfs.fat -C -F 32 -n BOOT "$directory/boot.img" $((256 << 10))
# The directory of the entries has the size that it gets when the plugin makes it on a mounted FAT.
mmd -i "$directory/boot.img" ::/loader ::/loader/entries
mkdir "$directory/room"
for number in {1..8}; do : >"$directory/room/$(printf '%0200d' "$number")"; done
mcopy -i "$directory/boot.img" "$directory"/room/* ::/loader/entries
mdel -i "$directory/boot.img" '::/loader/entries/*'
mcopy -i "$directory/boot.img" "$directory"/efi/loader/entries/* ::/loader/entries
mcopy -s -i "$directory/boot.img" "$directory/efi/debian" ::/

rm -f -- "$directory/disk.img"
truncate --size=1800M "$directory/disk.img"
sfdisk --quiet "$directory/disk.img" <<'END'
label: dos
start=1MiB, size=256MiB, type=c, bootable
type=83
END
dd if="$directory/boot.img" of="$directory/disk.img" 'conv=notrunc,sparse' bs=1M seek=1 status=none
dd if="$directory/root.img" of="$directory/disk.img" 'conv=notrunc,sparse' bs=1M seek=257 status=none
# The loader: the code in front of the partition table, and what lies between that and the first partition.
dd if="$directory/loader.img" of="$directory/disk.img" conv=notrunc bs=440 count=1 status=none
dd if="$directory/loader.img" of="$directory/disk.img" conv=notrunc bs=512 skip=1 seek=1 count=2047 status=none
rm -r -- "$directory"/{boot.img,root.img,efi,room,customize}

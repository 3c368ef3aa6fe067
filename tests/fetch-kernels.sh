#!/usr/bin/env bash
# Kernels and SYSLINUX for the tests, out of Debian's packages: fetch-kernels.sh DIRECTORY
#
# Needs apt-get and dpkg-deb, a Debian 12 among apt's sources, and no rights: the lists of packages, those for
# i386 and the backports' among them, and the packages go below DIRECTORY. What is there already stays.
# Exit status 3: there is no apt-get.
set -euo pipefail

directory=$(mkdir -p -- "$1" && realpath -- "$1")
if ! command -v apt-get dpkg-deb >/dev/null; then exit 3; fi
if [[ ${BOOTPATH_NO_INSTALL-} = 1 ]]; then
    echo "to fetch: Debian's linux-image-cloud-amd64, linux-image-amd64, linux-image-686, memtest86+, syslinux, syslinux-common," \
        "xen-hypervisor-4.17-amd64, gnumach-image-1.8-486, ipxe, grub-rescue-pc, tboot, grub-invaders, mold," \
        "debian-installer-12-netboot-amd64, and linux-image-cloud-amd64 of the backports" >&2
    exit 1
fi

apt=$directory/apt
mkdir -p "$apt/lists/partial" "$apt/archives/partial"
options=(-qq -o APT::Architectures::=amd64 -o APT::Architectures::=i386 -o APT::Sandbox::User=
    -o "Dir::State=$apt" -o Dir::State::status=/dev/null -o "Dir::Cache=$apt" -o Acquire::Languages=none
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
apt-get "${options[@]}" update || echo "apt-get update failed in part; going on" >&2

# fetch PACKAGE (FILE NAME)…: files of a package, by patterns, to DIRECTORY/NAME.
fetch() {
    local package=$1 work number missing=
    for ((number = 3; number <= $#; number += 2)); do
        if [[ ! -e $directory/${!number} ]]; then missing=1; fi
    done
    if [[ ! $missing ]]; then return; fi
    work=$(mktemp -d "$directory/work.XXXXXX")
    (cd "$work" && apt-get "${options[@]}" download "$package")
    shift
    while (($#)); do
        dpkg-deb --fsys-tarfile "$work"/*.deb | tar --extract --directory "$work" --wildcards "$1"
        # The name appears when the file is whole.
        find "$work" -path "$work/${1#./}" -type f -exec mv -- {} "$directory/$2" \;
        shift 2
    done
    rm -r -- "$work"
}

# fetch_kernel PACKAGE NAME: the kernel of the package that one without files stands for.
fetch_kernel() {
    local package
    if [[ -e $directory/$2 ]]; then return; fi
    package=$(apt-cache "${options[@]}" depends "$1" | sed -n 's/^ *Depends: \(linux-image-[^ ]*\).*/\1/p')
    package=${package%%$'\n'*} # the first one
    if [[ ! $package ]]; then echo "no kernel's package behind $1" >&2; exit 1; fi
    fetch "$package" './boot/vmlinuz-*' "$2"
}

fetch_kernel linux-image-cloud-amd64 vmlinuz-cloud-amd64
fetch_kernel linux-image-amd64 vmlinuz-amd64
fetch_kernel linux-image-686:i386 vmlinuz-686
fetch memtest86+ './boot/memtest86+x64.bin' memtest86+x64.bin './boot/memtest86+ia32.bin' memtest86+ia32.bin
fetch syslinux ./usr/bin/syslinux syslinux
fetch syslinux-common ./usr/lib/syslinux/mbr/mbr.bin mbr.bin \
    ./usr/lib/syslinux/modules/bios/mboot.c32 mboot.c32 \
    ./usr/lib/syslinux/modules/bios/libcom32.c32 libcom32.c32 \
    ./usr/lib/syslinux/memdisk memdisk
fetch xen-hypervisor-4.17-amd64 './boot/xen-4.17-amd64.gz' xen
fetch gnumach-image-1.8-486 './boot/gnumach-1.8-486.gz' gnumach
fetch ipxe ./boot/ipxe.lkrn ipxe.lkrn
fetch grub-rescue-pc ./usr/lib/grub-rescue/grub-rescue-floppy.img grub-rescue-floppy.img
fetch mold ./usr/bin/mold mold
fetch tboot ./boot/tboot.gz tboot
fetch grub-invaders ./boot/invaders.exec invaders.exec
installer=./usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64
fetch debian-installer-12-netboot-amd64 "$installer/linux" installer-linux "$installer/initrd.gz" installer-initrd

# The backports are not among everyone's sources. They are where the release is.
release=$(apt-get "${options[@]}" indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1)
if [[ ! $release ]]; then echo "no Debian 12 among apt's sources" >&2; exit 1; fi
mkdir -p "$apt/backports/lists/partial"
keyring=$(find /usr/share/keyrings -name 'debian-archive-keyring.*' -print -quit)
echo "deb [signed-by=$keyring] $release bookworm-backports main" > "$apt/backports.list"
options+=(-o "Dir::Etc::SourceList=$apt/backports.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State=$apt/backports")
apt-get "${options[@]}" update || echo "apt-get update failed in part; going on" >&2
fetch_kernel linux-image-cloud-amd64 vmlinuz-backports-cloud-amd64

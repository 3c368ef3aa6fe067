#!/usr/bin/env bash
# Kernels and SYSLINUX for the tests, out of Debian's packages: fetch-kernels.sh DIRECTORY
#
# Needs apt-get and dpkg-deb, a Debian among apt's sources, and no rights: the lists of packages, those for
# i386 among them, and the packages go below DIRECTORY. Exit status 3: there is no apt-get.
set -euo pipefail

directory=$(mkdir -p -- "$1" && realpath -- "$1")
if ! command -v apt-get dpkg-deb >/dev/null; then exit 3; fi
if [[ ${BOOTPATH_NO_INSTALL-} = 1 ]]; then
    echo "to fetch: Debian's linux-image-cloud-amd64, linux-image-amd64, linux-image-686, memtest86+, syslinux, syslinux-common" >&2
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
    local package=$1 work
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
    ./usr/lib/syslinux/modules/bios/libcom32.c32 libcom32.c32

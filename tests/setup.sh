# shellcheck shell=bash
# For run.sh: looks for the programs that it needs and installs what is missing.

# What is looked for (a command, or a file of Bochs, SeaBIOS or GRUB), what for, and the package that has it in the
# order of $managers.
managers=(apt-get dnf pacman zypper apk brew)
packages='
cc                  run   build-essential gcc             gcc          gcc        build-base gcc
qemu-system-x86_64  run   qemu-system-x86 qemu-system-x86 qemu-desktop qemu-x86 qemu-system-x86_64 qemu
mkfs.fat            test,debian dosfstools      dosfstools      dosfstools   dosfstools dosfstools dosfstools
sfdisk              test,debian fdisk           util-linux      util-linux   util-linux sfdisk     util-linux
mcopy               test,break,bench,peers,compare,debian mtools mtools       mtools       mtools     mtools     mtools
mke2fs              debian e2fsprogs      e2fsprogs       e2fsprogs    e2fsprogs  e2fsprogs  e2fsprogs
mmdebstrap          debian mmdebstrap     mmdebstrap      mmdebstrap   mmdebstrap mmdebstrap mmdebstrap
fakeroot            debian fakeroot       fakeroot        fakeroot     fakeroot   fakeroot   fakeroot
ld                  run   binutils        binutils        binutils     binutils   binutils   x86_64-elf-binutils
make                run   make            make            make         make       make       make
bochs               test  bochs           bochs           bochs        bochs      bochs      bochs
BIOS-bochs-latest   test  bochsbios       bochs-bios      bochs        bochs      bochs      bochs
bios-microvm.bin    test  seabios         seabios-bin     seabios      qemu-microvm seabios   qemu
VGABIOS-lgpl-latest test  vgabios         vgabios         bochs        bochs      bochs      bochs
i386-pc/boot.img    test,peers grub-pc-bin     grub2-pc-modules grub        grub2-i386-pc grub-bios i686-elf-grub
c++                 fuzz  g++             gcc-c++         gcc          gcc-c++    g++        gcc
gdb                 test,gdb gdb             gdb             gdb          gdb        gdb        gdb
'

# mkfs.fat is in one of these.
PATH=$PATH:/usr/sbin:/sbin

is_there() {
    local directory
    command -v "$1" >/dev/null && return
    for directory in "${BXSHARE-}" {/usr,/usr/local,/opt/homebrew}/share/{bochs,seabios,qemu} \
        /usr/{lib,share}/grub{,2}; do
        [[ -e $directory/$1 ]] && return
    done
    return 1
}

# install_missing ACTION: returns when all is there, else ends the script.
install_missing() {
    local manager='' index name purpose row candidates missing=() install=() sudo=() less=() action=$1
    if [[ $action = machines || $action = kernels ]]; then action=test; fi
    if ! command -v cargo >/dev/null; then
        echo "cargo is missing: install Rust 1.95 or newer from https://rustup.rs" >&2
        exit 1
    fi
    for index in "${!managers[@]}"; do
        command -v "${managers[index]}" >/dev/null && manager=${managers[index]} && break
    done
    while read -r name purpose row; do
        [[ $name ]] && [[ $purpose = run || ,$purpose, = *,"$action",* ]] || continue
        is_there "$name" && continue
        missing+=("$name")
        read -ra candidates <<<"$row"
        install+=("${candidates[index]}")
    done <<<"$packages"
    ((${#missing[@]})) || return 0

    echo "missing: ${missing[*]}" >&2
    if [[ ! $manager ]]; then
        echo "No package manager that this script knows (${managers[*]}): please install them." >&2
        exit 1
    fi
    if [[ $manager != brew && $EUID != 0 ]]; then sudo=(sudo); fi
    # What Debian recommends with QEMU is its window.
    if [[ ! ${DISPLAY-}${WAYLAND_DISPLAY-} ]]; then less=(--no-install-recommends); fi
    case $manager in
    apt-get) install=(apt-get install --yes "${less[@]}" "${install[@]}") ;;
    dnf) install=(dnf install --assumeyes "${install[@]}") ;;
    pacman) install=(pacman --sync --refresh --needed --noconfirm "${install[@]}") ;;
    zypper) install=(zypper --non-interactive install "${install[@]}") ;;
    apk) install=(apk add "${install[@]}") ;;
    brew) install=(brew install "${install[@]}") ;;
    esac
    install=("${sudo[@]}" "${install[@]}")
    if [[ ${BOOTPATH_NO_INSTALL-} = 1 ]]; then
        echo "to install: ${install[*]}" >&2
        exit 1
    fi
    if ((${#sudo[@]})) && ! command -v sudo >/dev/null; then
        echo "sudo is missing; as root, run: ${install[*]:1}" >&2
        exit 1
    fi
    echo "installing: ${install[*]}" >&2
    if [[ $manager = apt-get ]]; then "${sudo[@]}" apt-get update || echo "apt-get update failed; trying without it" >&2; fi
    if ! "${install[@]}"; then
        echo "That failed; please install them by hand." >&2
        exit 1
    fi
}

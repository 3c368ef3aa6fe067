#!/usr/bin/env bash
# Builds the boot loader, a kernel and a disk image, and boots it in QEMU.
#
#   ./run.sh [--headless] [--kernel FILE] [--road protected|direct] [-- QEMU-ARGUMENT…]
#   ./run.sh --record FILE      the same, headless; what the BIOS was asked and answered goes to FILE
#   ./run.sh test     all checks and tests
#   ./run.sh machines [NAME…]   the same image on many machines, or on those with such names
#   ./run.sh kernels  [WORD…]   kernels by each protocol and on each way in, or those with such a word
#   ./run.sh compare  FILE… [--module "PATH[ TEXT]"]… [--cmdline TEXT] [--protocol NAME] [--timeout SECONDS]:
#                     how far each kernel file gets by Bootpath, by GRUB and by QEMU's -kernel
#   ./run.sh break    CODE|all   provokes an error on purpose and shows what a user sees; or all of them
#   ./run.sh bench    [WORD…]   how fast it boots, next to the least that the BIOS allows; or, of the tables that
#                     decide, the rows that have all of these words: own, plain, limine, multiboot1, multiboot2,
#                     qemu64, sse4.2, listed, unlisted, 64KiB, 4MiB, 16MiB, 64MiB, calls, modules, entries
#   ./run.sh bench peers   how fast it boots Linux, next to SYSLINUX and GRUB; with BLESS=1 in the environment,
#                     docs/peers.md gets these tables
#   ./run.sh bench wall   [WORD…]   real time next to SYSLINUX's, on each kind of disk; or the rows with these
#                     words: ahci, nvme, virtio, usb, ide, 4MiB, 64MiB
#   ./run.sh bench slow   [WORD…]   real time on a disk of 1 MB/s, for 64 KiB by each protocol, or these rows
#   ./run.sh bench steps  [WORD…]   the instructions of each step, for its own kernel of 64 KiB, or for these rows
#   ./run.sh bench before COMMIT… [WORD…]   the loaders of these commits, which are built, next to today's, to
#                     SYSLINUX and to GRUB: the first table or these rows of it; instructions of each step; slow
#   ./run.sh fuzz     [TARGET…] [SECONDS] [--keep]: any bytes for whatever reads bytes
#   ./run.sh flip     [--kernel KIND] [COUNT] [SEED] [--no-checksums]: COUNT boots with one wrong bit on the
#                     disk each, for one kind of kernel or for all: bootpath, limine, multiboot1, multiboot2,
#                     linux, chain
#   ./run.sh flip     --kernel KIND --at BYTE BIT: one boot with this bit of this byte wrong
#   ./run.sh verdicts [COUNT] [SEED]: COUNT boots of good and bad images; is each what the host says it is?
#   ./run.sh verdicts --image NAME [SEED]: one boot, of the image of this name
#   ./run.sh shift    [all|WORD…]: boots with functions 1 to 15 bytes further: every eighth at once, or
#                     each naked function alone, or those with such words in their paths
#   ./run.sh debian [--again] [WORD…]: a whole Debian boots, is upgraded, and loses its power meanwhile; with
#                     --again, the Debian of the last time. It takes half an hour
#   ./run.sh gdb      the same boot, stopped at stage1's first instruction, in gdb
#
# The serial line is this terminal; with a display, the screen is a window. --headless opens none
# and tells the demo kernel to report when it is done. It ends by itself when the loader stops with an
# error. What is missing is installed, unless BOOTPATH_NO_INSTALL=1 is set.
#
# Exit status: 0, the kernel reported success; 1, nothing was booted, or a test failed; 2, wrong usage;
# 10, the kernel reported failure; 11, it reported nothing and was gone (the window was closed, too);
# 12, the loader stopped with an error; 14, QEMU did not start; 130, Ctrl-C.
set -eo pipefail # no -u: an empty array counts as unset in the bash of macOS

# refuse WHAT: the command line is wrong.
refuse() { echo "run.sh: $1; ./run.sh --help shows what there is" >&2; exit 2; }

usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; }
disk_builder() { cargo run --quiet --no-default-features --package disk-builder -- "$@"; }

say() { echo "+ $*" >&2; "$@"; }

# The bare-metal programs have flags of their own, and the host's core where that will do.
clippy_bare_metal() {
    local config bin package target
    target=$(rustc -vV | sed -n 's/^host: //p')
    case $target in x86_64-*-linux-gnu | x86_64-*-linux-musl) ;; *) target=x86_64-unknown-none ;; esac
    for config in targets/*.toml tests/programs/targets/*.toml; do
        bin=$(basename "$config" .toml) bin=${bin%-pie} package=${bin%%-*}
        if [[ $bin = fuzz ]]; then continue; fi # those are programs of the host
        if [[ $config = tests/* ]]; then package=test-programs; fi
        say cargo clippy --config "$config" --quiet --release --features bare-metal \
            --target "$target" --package "$package" --bin "$bin" -- --deny warnings
    done
}

check_and_test() {
    # A machine that builds once needs 3 GB less.
    if [[ ${CI-} ]]; then export CARGO_INCREMENTAL=0; fi
    say cargo fmt --all --check
    say cargo clippy --quiet --workspace --all-targets -- --deny warnings
    # The workspace has the handoff with all of its features; a kernel chooses.
    for features in '' serial x86_64; do
        say cargo clippy --quiet --package bootpath-handoff --features "$features" --all-targets -- --deny warnings
    done
    # This script runs it without what only an installed program needs.
    say cargo clippy --quiet --package disk-builder --no-default-features --all-targets -- --deny warnings
    clippy_bare_metal
    RUSTDOCFLAGS='--deny warnings' say cargo doc --quiet --workspace --no-deps
    say cargo test --workspace --no-fail-fast
}

debug() {
    local stage1 stage2 kernel
    stage1=$(disk_builder program stage1)
    stage2=$(disk_builder program stage2)
    kernel=${kernel_file:-$(disk_builder program kernel)}
    set -m # QEMU in a process group of its own: gdb's Ctrl-C is not for it
    disk_builder run --gdb "${run[@]}" "$image" -- "${qemu[@]}" </dev/null &
    trap 'kill -- -$! 2>/dev/null || true' EXIT
    # gdb does not tell 16-bit code from 64-bit code: its registers are right everywhere, its
    # disassembly only from step 5 on. `disk-builder listing stage1` shows what is there before.
    gdb --quiet --symbols="$stage1" --eval-command='set confirm off' \
        --eval-command='target remote localhost:1234' --eval-command='hbreak *start' \
        --eval-command="add-symbol-file $stage2" --eval-command="add-symbol-file $kernel" \
        --eval-command='continue'
}

action=run kernel_file='' cmdline='' record='' run=(--display) qemu=() bench=() build=() fuzz=() flip=() verdicts=() machines=() break=() kernels=() shifts=() compare=() debian=() from=$PWD
case ${1-} in
test | gdb) action=$1; shift ;;
bench)
    action=$1; shift
    case ${1-} in peers | before) action=peers ;; esac # these need GRUB as well
    while [[ ${1-} && $1 != -* ]]; do bench+=("$1"); shift; done
    ;;
fuzz) action=$1 fuzz=("${@:2}"); shift $# ;;
flip) action=$1 flip=("${@:2}"); shift $# ;;
verdicts) action=$1 verdicts=("${@:2}"); shift $# ;;
shift) action=$1 shifts=("${@:2}"); shift $# ;;
machines) action=$1 machines=("${@:2}"); shift $# ;;
compare) action=$1 compare=("${@:2}"); shift $# ;;
debian) action=$1 debian=("${@:2}"); shift $# ;;
break) action=$1 break=("${@:2}"); shift $# ;;
kernels) action=$1 kernels=("${@:2}"); shift $# ;;
esac
while (($#)); do
    case $1 in
    --headless) cmdline=exit run=() ;;
    --kernel)
        [[ ${2-} ]] || refuse "--kernel needs a file"
        kernel_file=$(realpath -- "$2"); build+=(--kernel "$kernel_file"); shift
        ;;
    --record)
        [[ ${2-} ]] || refuse "--record needs a file"
        # Not in one assignment: that would have the status of its last command alone.
        record=$(basename -- "$2"); directory=$(cd -- "$(dirname -- "$2")" && pwd)
        record=$directory/$record
        : >>"$record" # before anything is built: can it be written?
        cmdline=exit run=() build+=(--record); shift
        ;;
    --road) [[ ${2-} ]] || refuse "--road needs protected or direct"; build+=(--road "$2"); shift ;;
    --) shift; qemu+=("$@"); break ;;
    -h | --help) usage; exit ;;
    *) refuse "unknown word '$1'" ;;
    esac
    shift
done

cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
. tests/setup.sh
install_missing "$action"

image=${CARGO_TARGET_DIR:-target}/bootpath.img
case $action in
test) check_and_test ;;
fuzz) cargo run --quiet --package machine-tests --bin fuzz -- "${fuzz[@]}" ;;
flip) cargo run --quiet --package machine-tests --bin flip -- "${flip[@]}" ;;
verdicts) cargo run --quiet --package machine-tests --bin verdicts -- "${verdicts[@]}" ;;
shift) cargo run --quiet --package machine-tests --bin shift -- "${shifts[@]}" ;;
kernels) cargo run --quiet --package machine-tests --bin kernels -- "${kernels[@]}" ;;
# Paths on the command line are those of the caller.
compare)
    workspace=$PWD
    cd -- "$from"
    cargo run --quiet --manifest-path "$workspace/Cargo.toml" --package machine-tests --bin compare -- "${compare[@]}"
    ;;
debian) cargo run --quiet --package machine-tests --bin debian -- "${debian[@]}" ;;
machines) cargo run --quiet --package machine-tests --bin machines -- "${machines[@]}" ;;
break) cargo run --quiet --package machine-tests --bin break -- "${break[@]}" ;;
bench | peers) cargo run --quiet --release --package machine-tests --bin bench -- "${bench[@]}" "${qemu[@]}" ;;
*)
    disk_builder build "${build[@]}" --cmdline "$cmdline" --output "$image"
    if [[ $action = gdb ]]; then
        debug
    elif [[ $record ]]; then
        disk_builder run "$image" -- "${qemu[@]}" | tee /dev/stderr | disk_builder transcript >"$record" || {
            # Of the run first, whatever became of its record.
            for status in "${PIPESTATUS[@]}"; do ((status == 0)) || exit "$status"; done
        }
    else
        disk_builder run "${run[@]}" "$image" -- "${qemu[@]}"
    fi
    ;;
esac

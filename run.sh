#!/usr/bin/env bash
# Builds the boot loader, a kernel and a disk image, and boots it in QEMU.
#
#   ./run.sh [--headless] [--kernel FILE] [--road protected|direct] [-- QEMU-ARGUMENT…]
#   ./run.sh --record FILE      the same, headless; what the BIOS was asked and answered goes to FILE
#   ./run.sh test     all checks and tests
#   ./run.sh machines [NAME…]   the same image on many machines, or on those with such names
#   ./run.sh kernels  [WORD…]   kernels by each protocol and on each way in, or those with such a word
#   ./run.sh break    CODE|all   provokes an error on purpose and shows what a user sees; or all of them
#   ./run.sh bench    how fast it boots, next to the least that the BIOS allows
#   ./run.sh bench peers   how fast it boots Linux, next to SYSLINUX and GRUB
#   ./run.sh fuzz     [TARGET…] [SECONDS] [--keep]: any bytes for whatever reads bytes
#   ./run.sh flip     [COUNT] [SEED]: boots with one wrong bit on the disk each
#   ./run.sh gdb      the same boot, stopped at stage1's first instruction, in gdb
#
# The serial line is this terminal; with a display, the screen is a window. --headless opens none
# and tells the demo kernel to switch off when it is done. The exit status is 0 when the kernel says
# that all is well. What is missing is installed, unless BOOTPATH_NO_INSTALL=1 is set.
set -eo pipefail # no -u: an empty array counts as unset in the bash of macOS

usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; }
disk_builder() { cargo run --quiet --package disk-builder -- "$@"; }

say() { echo "+ $*" >&2; "$@"; }

# The bare-metal programs have flags of their own, and the host's core where that will do.
clippy_bare_metal() {
    local config bin package target
    target=$(rustc -vV | sed -n 's/^host: //p')
    case $target in x86_64-*-linux-gnu | x86_64-*-linux-musl) ;; *) target=x86_64-unknown-none ;; esac
    for config in targets/*.toml; do
        bin=$(basename "$config" .toml) bin=${bin%-pie} package=test-programs
        if [[ $bin = fuzz ]]; then continue; fi # those are programs of the host
        if [[ -d ${bin%%-*} ]]; then package=${bin%%-*}; fi
        say cargo clippy --config "$config" --quiet --release --features bare-metal \
            --target "$target" --package "$package" --bin "$bin" -- --deny warnings
    done
}

check_and_test() {
    say cargo fmt --all --check
    say cargo clippy --quiet --workspace --all-targets -- --deny warnings
    clippy_bare_metal
    say cargo test --workspace --no-fail-fast
}

debug() {
    local stage1 stage2 kernel
    stage1=$(disk_builder program stage1)
    stage2=$(disk_builder program stage2)
    kernel=${kernel_file:-$(disk_builder program kernel)}
    set -m # QEMU in a process group of its own: gdb's Ctrl-C is not for it
    disk_builder run "$image" -- -S -s "${qemu[@]}" </dev/null &
    trap 'kill -- -$! 2>/dev/null || true' EXIT
    # gdb does not tell 16-bit code from 64-bit code: its registers are right everywhere, its
    # disassembly only from step 5 on. `disk-builder listing stage1` shows what is there before.
    gdb --quiet --symbols="$stage1" --eval-command='set confirm off' \
        --eval-command='target remote localhost:1234' --eval-command='hbreak *start' \
        --eval-command="add-symbol-file $stage2" --eval-command="add-symbol-file $kernel" \
        --eval-command='continue'
}

action=run kernel_file='' cmdline='' record='' qemu=() build=() fuzz=() flip=() machines=() break=() kernels=()
case ${1-} in
test | gdb) action=$1; shift ;;
bench) action=$1; shift; if [[ ${1-} = peers ]]; then action=peers; shift; fi ;;
fuzz) action=$1 fuzz=("${@:2}"); shift $# ;;
flip) action=$1 flip=("${@:2}"); shift $# ;;
machines) action=$1 machines=("${@:2}"); shift $# ;;
break) action=$1 break=("${@:2}"); shift $# ;;
kernels) action=$1 kernels=("${@:2}"); shift $# ;;
esac
while (($#)); do
    case $1 in
    --headless) cmdline=exit qemu=(-display none) ;;
    --kernel) kernel_file=$(realpath -- "${2:?--kernel needs a file}"); build+=(--kernel "$kernel_file"); shift ;;
    --record)
        record=$(cd -- "$(dirname -- "${2:?--record needs a file}")" && pwd)/$(basename -- "$2")
        cmdline=exit qemu=(-display none) build+=(--record); shift
        ;;
    --road) build+=(--road "${2:?--road needs protected or direct}"); shift ;;
    --) shift; qemu+=("$@"); break ;;
    -h | --help) usage; exit ;;
    *) usage >&2; exit 2 ;;
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
kernels) cargo run --quiet --package machine-tests --bin kernels -- "${kernels[@]}" ;;
machines) cargo run --quiet --package machine-tests --bin machines -- "${machines[@]}" ;;
break) cargo run --quiet --package machine-tests --bin break -- "${break[@]}" ;;
bench) cargo run --quiet --release --package machine-tests --bin bench -- "${qemu[@]}" ;;
peers) cargo run --quiet --release --package machine-tests --bin bench -- peers ;;
*)
    disk_builder build "${build[@]}" --cmdline "$cmdline" --output "$image"
    if [[ $record ]]; then
        disk_builder run "$image" -- "${qemu[@]}" | tee /dev/stderr | disk_builder transcript >"$record" || exit 1
    elif [[ $action = gdb ]]; then debug; else disk_builder run "$image" -- "${qemu[@]}" || exit 1; fi
    ;;
esac

#!/usr/bin/env bash
# Makes the packages of disk-builder and of what it is made of, as a registry takes them, and builds each from
# its package: target/packages/*.crate.
#
# The package of disk-builder contains the loader, built here, because the sources of the loader's bare-metal
# programs are not a package; and files of this repository that it writes into new kernels. They are in its
# folder `beside`, which is in no checkout.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

packages=(disk-layout boot-path bootpath-handoff host-machine disk-builder)
target=$(realpath -m -- "${CARGO_TARGET_DIR:-target}")
stage=$target/packages/source
rm -rf -- "$target/packages"
mkdir -p -- "$stage"

# The files of the checkout as they are now, and nothing that was built.
git ls-files -z | tar --null --files-from=- --create | tar --extract --directory="$stage"
beside=$stage/disk-builder/beside
mkdir -p -- "$beside/loader"
for program in stage1 stage1-cd stage1-multiboot stage2; do
    cargo run --quiet --package disk-builder -- program "$program" --output "$beside/loader/$program"
done
xargs cp --recursive --parents --target-directory="$beside" <disk-builder/for-kernels.txt
for package in disk-layout boot-path handoff host-machine disk-builder; do
    cp -- LICENSE-APACHE LICENSE-MIT "$stage/$package/"
done

cd -- "$stage"
export CARGO_TARGET_DIR=$target/packages/target
cargo package "${packages[@]/#/--package=}"
cd -- "$target/packages"
mv -- target/package/*.crate .
ls -l -- *.crate

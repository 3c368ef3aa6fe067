#!/usr/bin/env bash
# `strip` in a profile of cargo is no step behind linking only: it is one of the things that functions' names are made
# of. The linker sorts by them, and LLVM's outliner numbers by them, so that code that was stripped by the profile is not
# the code that was built without. The same stripping by a linker flag leaves all names alone. cargo 1.95.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
needs cargo "cargo 1.95"

program </dev/null
cat >src/main.rs <<'RUST'
#[inline(never)]
fn one(x: i32) -> i32 {
    std::hint::black_box(x) + 1
}

fn main() {
    std::process::exit(one(-1))
}
RUST
# name SETTING FLAGS: the linker's name of the function, hash included.
name() {
    RUSTFLAGS=$2 cargo --config 'profile.release.debug = true' --config "$1" build --quiet --release --target-dir "$folder/built"
    nm built/release/finding | awk '/3one17h/ { print $3 }'
    rm -rf built
}
plain=$(name 'profile.release.strip = "none"' '')
by_profile=$(name 'profile.release.strip = "debuginfo"' '')
by_linker=$(name 'profile.release.strip = "none"' '-Clink-arg=-Wl,--strip-debug')

expect "stripped by the linker, the name is" "$plain" "$by_linker"
expect "stripped by the profile, it is" "another one" "$([[ $by_profile = "$plain" ]] || echo another one)"

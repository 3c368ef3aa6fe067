#!/usr/bin/env bash
# -Ttext=0x100000 links a kernel without a script to 1 MiB by GNU ld, gold, mold and LLVM's lld up to 19. The lld that comes
# with Rust 1.95 (LLVM 22) refuses it, because the text lies below the image base, which nobody has set: 400000h for 32 bits.
# --image-base=0x100000 is what it wants; lld 19 takes both.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
debian lld-19 1:19.1.7-3~deb12u1 libllvm19 1:19.1.7-3~deb12u1
directory=$(rustc --print target-libdir)/../bin/gcc-ld
PATH=$directory:$PATH needs ld.lld "LLD 22."

printf '.globl _start\n_start: hlt\n.data\n.long 1\n' | as --32 -o kernel.o -
# says LINKER ARGUMENT…: how it ends, and where the text is.
says() {
    "$@" -m elf_i386 -o kernel.elf kernel.o 2>errors.txt || { grep -o "smaller than image base.*" errors.txt | head -n 1; return; }
    readelf -SW kernel.elf | awk '/ \.text / { sub(/.*\.text/, ""); print $2 }'
}
export LD_LIBRARY_PATH=$folder/debian/usr/lib/x86_64-linux-gnu:$folder/debian/usr/lib/llvm-19/lib
old=$folder/debian/usr/lib/llvm-19/bin/ld.lld

expect "lld 19, -Ttext" 00100000 "$(says "$old" -Ttext=0x100000)"
expect "lld 22, -Ttext" "smaller than image base (0x400000); specify --image-base" "$(says "$directory/ld.lld" -Ttext=0x100000)"
expect "lld 22, --image-base" "001010d4" "$(says "$directory/ld.lld" --image-base=0x100000)"

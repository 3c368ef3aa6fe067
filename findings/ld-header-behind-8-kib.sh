#!/usr/bin/env bash
# Multiboot 1 has a loader look for the header in the first 8192 bytes of the file. GNU ld 2.40, without a linker script,
# puts a header that has a section of its own at byte 8192 of the smallest kernel there is: behind the page of the file's
# headers and the page of the code, in the segment of read-only data. It says nothing. gold and mold put it before the code.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
needs ld "2.40"
needs ld.gold "2.40"
debian mold 1.10.1+dfsg-1

cat >kernel.s <<'ASM'
.section .multiboot, "a"
.long 0x1BADB002, 0, -0x1BADB002
.text
.globl _start
_start: hlt
.data
.long 1
ASM
as --32 -o kernel.o kernel.s
# place LINKER ARGUMENT…: where in the file the header is.
place() { "$@" -m elf_i386 -o kernel.elf kernel.o && LC_ALL=C grep -abo $'\x02\xb0\xad\x1b' kernel.elf | cut -d : -f 1; }

expect "GNU ld" 8192 "$(place ld)"
expect "GNU ld, -Ttext" 8192 "$(place ld -Ttext=0x100000)"
expect "GNU ld, one page for all of it" 117 "$(place ld -z noseparate-code)"
expect "gold" 117 "$(place ld.gold)"
expect "mold" 320 "$(place debian/usr/bin/mold)"

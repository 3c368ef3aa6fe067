#!/usr/bin/env bash
# A linker script that begins with `. = 1M` says where a kernel is loaded. GNU gold 1.16 (binutils 2.40) puts a segment in
# front of it: the file's own headers, one page below, at FF000h in the BIOS's area. GNU ld makes one at 1 MiB from the same
# script; but with -Ttext=0x100000 instead of a script it does as gold does. A loader that refuses segments in memory which
# is not RAM refuses such kernels, whose code never looks at these bytes.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
needs ld.gold "2.40"
needs ld "2.40"

cat >kernel.s <<'ASM'
.section .multiboot, "a"
.long 0x1BADB002, 0, -0x1BADB002
.text
.globl _start
_start: hlt
.data
.long 1
ASM
cat >kernel.ld <<'LD'
ENTRY(_start)
SECTIONS {
    . = 1M;
    .text : { KEEP(*(.multiboot)) *(.text) }
    .data : { *(.data) }
}
LD
as --32 -o kernel.o kernel.s
# Physical address, offset in the file and flags of the first segment that is loaded.
first() { readelf -lW kernel.elf | awk '$1 == "LOAD" { print $4, $2, $7; exit }'; }

ld.gold -m elf_i386 -T kernel.ld -o kernel.elf kernel.o
expect "gold, script" "0x000ff000 0x000000 R" "$(first)"
ld -m elf_i386 -T kernel.ld -o kernel.elf kernel.o
expect "GNU ld, script" "0x00100000 0x001000 RWE" "$(first)"
ld -m elf_i386 -Ttext=0x100000 -o kernel.elf kernel.o
expect "GNU ld, -Ttext" "0x000ff000 0x000000 R" "$(first)"

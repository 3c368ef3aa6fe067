#!/usr/bin/env bash
# EDD 3.0 lets a disk address packet be 24 bytes long and name a 64-bit flat address, when its 32-bit far address is
# FFFF:FFFF. SeaBIOS 1.16.2 calls itself EDD 3.0 (AH=41h: version 30h), takes such a packet, returns with CF clear and
# the right count, and has written to the linear address of FFFF:FFFF, 10FFEFh, into whatever is there above 1 MiB.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
needs qemu-system-x86_64 "version 7.2"
debian seabios 1.16.2-1

python3 -c 'open("disk.img", "wb").write(bytes(512) + b"\xA5" * 512 * 2047)'
boot_sector <<'ASM'
body:
    mov $0x4100, %ax
    mov $0x55aa, %bx
    mov drive, %dl
    int $0x13
    call show
    mov $packet, %si
    mov drive, %dl
    mov $0x4200, %ax
    int $0x13
    call show
    mov $packet, %si            # the count
    mov $4, %cx
    call dump
    mov $0x9000, %si            # the flat address
    mov $2, %cx
    call dump
    push %ds                    # 10FFEFh is FFFF:FFFF with A20 enabled
    mov $0xffff, %ax
    mov %ax, %ds
    mov 0xffff, %al
    pop %ds
    call byte
    jmp end
packet: .byte 24, 0
    .word 1, 0xffff, 0xffff
    .quad 1, 0x9000
ASM
seen=$(boot -machine q35 -bios debian/usr/share/seabios/bios-256k.bin -drive format=raw,file=disk.img)
mapfile -t lines <<<"$seen"
expect "AH=41h, version" 30 "${lines[0]:0:2}"
expect "AH=42h, AH and CF" "00 0" "${lines[1]:0:2} ${lines[1]: -1}"
expect "size, reserved, count" 18000100 "${lines[2]}"
expect "at the flat address" 0000 "${lines[3]}"
expect "at 10FFEFh" A5 "${lines[4]}"

#!/usr/bin/env bash
# SeaBIOS 1.16.2 keeps the last cylinder of a disk from those who ask for its geometry: INT 13h AH=08h gives a highest
# cylinder that is one too low, and AH=15h counts its sectors out. Both belong to a time when that cylinder was for
# diagnostics. AH=02h reads it all the same, and AH=48h counts it: so a loader that bounds its reads by AH=08h or AH=15h
# misses the end of the disk.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
needs qemu-system-x86_64 "version 7.2"
debian seabios 1.16.2-1

# 4 cylinders of 16 heads and 63 sectors, and a rest that is in none. Each sector is full of its number's low byte.
python3 - <<'PY'
with open("disk.img", "wb") as disk:
    for sector in range(4096):
        disk.write(bytes([sector & 0xFF]) * 512)
PY
boot_sector <<'ASM'
body:
    mov $0x0800, %ax
    mov drive, %dl
    xor %di, %di
    int $0x13
    call show
    mov $0x1500, %ax
    mov drive, %dl
    int $0x13
    call show
    mov $0x0201, %ax            # cylinder 3, head 0, sector 1
    mov $0x0301, %cx
    mov $0, %dh
    mov drive, %dl
    mov $0x9000, %bx
    int $0x13
    call show
    mov $0x9000, %si
    mov $2, %cx
    jmp dump
ASM
seen=$(boot -machine q35 -bios debian/usr/share/seabios/bios-256k.bin -drive format=raw,file=disk.img)
mapfile -t lines <<<"$seen"
# CH: highest cylinder; CL: sectors per track; DH: highest head.
expect "AH=08h, CX and DX" "023F 0F01" "$(cut -d' ' -f3,4 <<<"${lines[0]}")"
# 0BD0h = 3024 = 3 × 16 × 63, of 4032 = 4 × 16 × 63.
expect "AH=15h, CX:DX" "0000 0BD0" "$(cut -d' ' -f3,4 <<<"${lines[1]}")"
expect "AH=02h of cylinder 3, CF" 0 "$(cut -d' ' -f7 <<<"${lines[2]}")"
expect "the low byte of its first sector's number, 3024" D0D0 "${lines[3]}"

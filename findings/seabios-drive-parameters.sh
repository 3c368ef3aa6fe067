#!/usr/bin/env bash
# INT 13h AH=48h says in its first word how many bytes of the result are valid. SeaBIOS 1.16.2, offered 66 bytes, says 30
# for a SCSI disk and writes all 66 of them, the device path of EDD 3.0 included, whose key and checksum are good. A
# caller that goes by the size never sees the path. For a disk on AHCI the size is 26, and 26 bytes are written.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
needs qemu-system-x86_64 "version 7.2"
debian seabios 1.16.2-1

truncate -s 64M disk.img
boot_sector <<'ASM'
body:
    mov $0x9000, %di            # a buffer of EEh bytes
    mov $0x80, %cx
    mov $0xee, %al
    rep stosb
    movw $66, 0x9000
    mov $0x9000, %si
    mov $0x4800, %ax
    mov drive, %dl
    int $0x13
    mov $0x9000, %si
    mov $0x80, %cx
    jmp dump
ASM
# The size that is said; how many bytes are no longer EEh, up to the last one; the key of the device path; the sum of path.
summary() {
    boot -machine q35 -bios debian/usr/share/seabios/bios-256k.bin "$@" | python3 -c '
answer = bytes.fromhex(input())
written = len(answer.rstrip(b"\xEE"))
path = answer[30:66]
key = int.from_bytes(path[:2], "little")
print(f"says {answer[0]}, writes {written}, key {key:04X}h, sum {sum(path) % 256}")'
}
expect "SCSI" "says 30, writes 66, key BEDDh, sum 0" \
    "$(summary -drive if=none,id=d,format=raw,file=disk.img -device virtio-scsi-pci -device scsi-hd,drive=d)"
expect "AHCI" "says 26, writes 26" "$(summary -drive format=raw,file=disk.img | cut -d, -f1,2)"

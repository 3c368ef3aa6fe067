#!/usr/bin/env bash
# A small SCSI disk or USB stick in QEMU 7.2 has 64 sectors a track for SeaBIOS 1.16.2, which does not fit into the six
# bits that INT 13h AH=08h has for it: CL bits 5:0 are 0, with CF clear. A loader that divides by it faults, and there is
# no way to address the disk by cylinder, head and sector. The same image on an IDE or AHCI disk has 63.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
needs qemu-system-x86_64 "version 7.2"
debian seabios 1.16.2-1

truncate -s 2M disk.img
boot_sector <<'ASM'
body:
    mov $0x0800, %ax
    mov drive, %dl
    xor %di, %di
    int $0x13
    jmp show
ASM
sectors_per_track() {
    local line
    line=$(boot -machine q35 -bios debian/usr/share/seabios/bios-256k.bin "$@")
    read -r ax _ cx _ _ _ carry <<<"$line"
    echo "$((0x$cx & 0x3F)), AH ${ax:0:2}, CF $carry"
}
drive=(-drive if=none,id=d,format=raw,file=disk.img)
expect "SCSI" "0, AH 00, CF 0" "$(sectors_per_track "${drive[@]}" -device virtio-scsi-pci -device scsi-hd,drive=d)"
expect "USB" "0, AH 00, CF 0" "$(sectors_per_track "${drive[@]}" -device qemu-xhci -device usb-storage,drive=d)"
expect "AHCI" "63, AH 00, CF 0" "$(sectors_per_track -drive format=raw,file=disk.img)"
truncate -s 64M disk.img
expect "SCSI, 64 MiB" "63, AH 00, CF 0" "$(sectors_per_track "${drive[@]}" -device virtio-scsi-pci -device scsi-hd,drive=d)"

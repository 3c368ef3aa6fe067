#!/usr/bin/env bash
# SeaBIOS 1.16.2 does not start every disk that it can read: a disk of fewer than 1008 sectors, which is one cylinder of
# 16 heads and 63 sectors, is passed over on AHCI, virtio, SCSI, USB and NVMe. The same 1007 sectors boot on IDE. So the
# smallest image of a boot loader that boots everywhere has 504 KiB, whatever is in it.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
needs qemu-system-x86_64 "version 7.2"
debian seabios 1.16.2-1

boot_sector <<'ASM'
body:
    mov $1, %al
    call digit
    jmp end
ASM
drive=(-machine q35 -drive if=none,id=d,format=raw,file=disk.img)
on() {
    case $1 in
    IDE) boot -machine pc -drive format=raw,file=disk.img ;;
    AHCI) boot -machine q35 -drive format=raw,file=disk.img ;;
    virtio) boot "${drive[@]}" -device virtio-blk-pci,drive=d ;;
    SCSI) boot "${drive[@]}" -device virtio-scsi-pci -device scsi-hd,drive=d ;;
    USB) boot "${drive[@]}" -device qemu-xhci -device usb-storage,drive=d ;;
    NVMe) boot "${drive[@]}" -device nvme,serial=x,drive=d ;;
    esac
}
# A machine that finds nothing to boot stays there.
seconds=10
for controller in IDE AHCI virtio SCSI USB NVMe; do
    truncate -s $((512 * 1008)) disk.img
    expect "$controller, 1008 sectors" 1 "$(on $controller 2>/dev/null)"
    truncate -s $((512 * 1007)) disk.img
    expect "$controller, 1007 sectors" "$([[ $controller = IDE ]] && echo 1)" "$(on $controller 2>/dev/null)"
done

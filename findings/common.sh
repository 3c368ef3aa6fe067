# shellcheck shell=bash
# For the scripts beside it: a temporary folder, pinned packages in it, and comparing what was seen.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
cd -- "$folder"

# expect WHAT WANTED SEEN: ends the script with status 1 when the behaviour is another one.
expect() {
    if [[ $2 = "$3" ]]; then
        printf 'as found: %s: %s\n' "$1" "$3"
    else
        printf 'CHANGED: %s: %s, was %s\n' "$1" "$3" "$2" >&2
        exit 1
    fi
}

# debian PACKAGE VERSION…: unpacks packages of Debian into ./debian.
debian() {
    while (($#)); do
        apt-get download -qq "$1=$2" 2>/dev/null || { echo "Debian's $1 $2 cannot be had" >&2; exit 2; }
        dpkg-deb -x "$1"_*.deb debian
        echo "package: $1 $2"
        shift 2
    done
}

# needs COMMAND VERSION: for what a folder cannot hold.
needs() {
    local version
    version=$("$1" --version | head -n 1)
    [[ $version = *"$2"* ]] || { echo "this is about $1 $2, here is: $version" >&2; exit 2; }
    echo "program: $version"
}

# program: makes a Rust program here, with the dependencies on standard input; its source goes to src/main.rs.
program() {
    mkdir src
    {
        printf '[package]\nname = "finding"\nversion = "0.1.0"\nedition = "2024"\n[workspace]\n[dependencies]\n'
        cat
    } >Cargo.toml
}

# boot_sector: makes disk.img's first sector of standard input, which is the function `body` (16 bits, AT&T syntax).
# `call show` prints AX BX CX DX SI DI and CF to port E9h; `dump` prints CX bytes from SI on.
boot_sector() {
    {
        cat <<'ASM'
.code16
.globl _start
_start: ljmp $0, $1f
1:  xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7c00, %sp
    mov %dl, drive
    sti
    cld
    call body
    mov $0x10, %al
    mov $0xf4, %dx
    out %al, %dx
2:  hlt
    jmp 2b
drive: .byte 0
byte: push %ax
    shr $4, %al
    call digit
    pop %ax
digit: push %ax
    and $15, %al
    cmp $10, %al
    sbb $0x69, %al
    das
    out %al, $0xe9
    pop %ax
    ret
word: xchg %al, %ah
    call byte
    xchg %al, %ah
    call byte
    push %ax
    mov $' ', %al
    out %al, $0xe9
    pop %ax
    ret
end: mov $10, %al
    out %al, $0xe9
    ret
show: pushf
    push %di
    push %si
    push %dx
    push %cx
    push %bx
    push %ax
    mov $6, %di
3:  pop %ax
    call word
    dec %di
    jnz 3b
    pop %ax
    and $1, %al
    call digit
    jmp end
dump: lodsb
    call byte
    loop dump
    jmp end
ASM
        cat
        echo '.org 510; .word 0xaa55'
    } >sector.S
    as --32 -o sector.o sector.S
    ld -m elf_i386 -Ttext=0x7c00 --oformat=binary -o sector.bin sector.o
    dd if=sector.bin of=disk.img conv=notrunc status=none
}

# boot QEMU-ARGUMENT…: what the boot sector prints.
boot() {
    rm -f e9.txt
    timeout "${seconds:-60}" qemu-system-x86_64 -display none -debugcon file:e9.txt -device isa-debug-exit,iobase=0xf4,iosize=4 \
        -no-reboot "$@" </dev/null || true
    cat e9.txt
}

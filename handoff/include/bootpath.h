/*
 * What a kernel finds when Bootpath hands the machine over. Generated from handoff/src/lib.rs: do
 * not edit. The whole contract is written up in docs/handoff.md.
 *
 *     _Noreturn void _start(const struct bootpath_boot_info *info);
 */

#ifndef BOOTPATH_H
#define BOOTPATH_H

#include <stdint.h>

// Name of the ELF notes by which a kernel tells the loader its wishes.
#define BOOTPATH_NOTE_NAME "Bootpath"

// An ELF note as it lies in the section .note.bootpath.
struct bootpath_note {
    uint32_t name_size;
    uint32_t description_size;
    uint32_t type;
    char name[12];
    uint64_t value;
};

// Tells the loader a wish, at file scope: BOOTPATH_WISH(BOOTPATH_NOTE_STACK_SIZE, 128 * 1024);
// The linker script must keep the section .note.bootpath and name it in a PT_NOTE header.
#define BOOTPATH_WISH(TYPE, VALUE)                                                                 \
    static const struct bootpath_note BOOTPATH_WISH_NAME(__LINE__)                                 \
        __attribute__((used, section(".note.bootpath"), aligned(8))) = {                           \
            sizeof BOOTPATH_NOTE_NAME, sizeof(uint64_t), TYPE, BOOTPATH_NOTE_NAME, VALUE}
#define BOOTPATH_WISH_NAME(LINE) BOOTPATH_WISH_JOIN(bootpath_wish_, LINE)
#define BOOTPATH_WISH_JOIN(A, B) A##B

// `BootInfo::magic`: the ASCII letters `BOOTPATH`, first letter in the lowest byte.
#define BOOTPATH_MAGIC 5211862482042179394

// `BootInfo::version`. It grows when a field changes its meaning; fields that are only added at
// the end show in `BootInfo::size`.
#define BOOTPATH_VERSION 1

// Note type: the size of the stack in bytes (u64). 4 KiB to 16 MiB; rounded up to whole pages.
#define BOOTPATH_NOTE_STACK_SIZE 1

// Note type: the virtual address at which all physical memory is mapped (u64). Canonical, aligned
// to 1 GiB, not 0.
#define BOOTPATH_NOTE_PHYSICAL_MAP_BASE 2

// Note type: a set of flags (u64), see `FLAG_…`.
#define BOOTPATH_NOTE_FLAGS 3

// In `NOTE_FLAGS`: segments that are writable and executable are accepted.
#define BOOTPATH_FLAG_ALLOW_WRITABLE_CODE 1

// In `NOTE_FLAGS`: the IDT is empty at the start, and a fault resets the machine instead of
// being reported by the loader.
#define BOOTPATH_FLAG_NO_FAULT_REPORTS 2

// I/O port at which a kernel tells `disk-builder run` how it ends: that of QEMU's device
// `isa-debug-exit`, which no device of a PC uses. Writing a doubleword to it ends QEMU.
#define BOOTPATH_EXIT_PORT 244

// What a kernel writes to `EXIT_PORT` to report success; every other value reports failure. QEMU
// turns the value into an exit status of its own (33), which keeps 7 bits.
#define BOOTPATH_EXIT_SUCCESS 16

// What a kernel writes to `EXIT_PORT` to report failure, if it has nothing else to say.
#define BOOTPATH_EXIT_FAILURE 17

// Where all physical memory is mapped when the kernel does not wish otherwise.
#define BOOTPATH_DEFAULT_PHYSICAL_MAP_BASE 18446603336221196288ull

// The smallest stack that a kernel may wish for, in bytes.
#define BOOTPATH_STACK_SIZE_MIN (4 * 1024)

// The largest stack that a kernel may wish for, in bytes.
#define BOOTPATH_STACK_SIZE_MAX ((16 * 1024) * 1024)

// Size of the stack in bytes when the kernel does not wish otherwise.
#define BOOTPATH_DEFAULT_STACK_SIZE (64 * 1024)

// In `BootInfo::cpu_features`: pages may be marked not executable (and are).
#define BOOTPATH_CPU_NX (1 << 0)

// In `BootInfo::cpu_features`: 1 GiB pages.
#define BOOTPATH_CPU_1GIB_PAGES (1 << 1)

// In `BootInfo::cpu_features`: five-level paging (not switched on).
#define BOOTPATH_CPU_LA57 (1 << 2)

// In `BootInfo::cpu_features`: the time-stamp counter runs at a constant rate.
#define BOOTPATH_CPU_INVARIANT_TSC (1 << 3)

// In `BootInfo::cpu_features`: the instruction RDRAND.
#define BOOTPATH_CPU_RDRAND (1 << 4)

// In `BootInfo::cpu_features`: the instruction RDSEED.
#define BOOTPATH_CPU_RDSEED (1 << 5)

// In `BootInfo::cpu_features`: x2APIC.
#define BOOTPATH_CPU_X2APIC (1 << 6)

// In `BootInfo::cpu_features`: a hypervisor is present.
#define BOOTPATH_CPU_HYPERVISOR (1 << 7)

// In `BootInfo::cpu_features`: SMEP.
#define BOOTPATH_CPU_SMEP (1 << 8)

// In `BootInfo::cpu_features`: SMAP.
#define BOOTPATH_CPU_SMAP (1 << 9)

// Length of `BootInfo::timeline`.
#define BOOTPATH_TIMELINE_LENGTH 16

// Bytes in the `BootInfo` of the first loader with today's `BOOTPATH_VERSION`: no loader passes
// a shorter one.
#define BOOTPATH_FIRST_SIZE 456

// What a `Display` is.
enum bootpath_display_kind
#if __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // __STDC_VERSION__ >= 202311L
 {
    // There is none.
    BOOTPATH_DISPLAY_KIND_NONE = 0,
    // VGA text: two bytes a character, code page 437 and attribute.
    BOOTPATH_DISPLAY_KIND_TEXT = 1,
    // Pixels. No kernel gets this from today's loader.
    BOOTPATH_DISPLAY_KIND_FRAMEBUFFER = 2,
};
#if __STDC_VERSION__ >= 202311L
typedef enum bootpath_display_kind bootpath_display_kind;
#else
typedef uint32_t bootpath_display_kind;
#endif // __STDC_VERSION__ >= 202311L

// What a `MemoryRegion` holds. A kind that a kernel does not know must be treated as reserved.
enum bootpath_memory_kind
#if __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // __STDC_VERSION__ >= 202311L
 {
    // Free RAM.
    BOOTPATH_MEMORY_KIND_USABLE = 1,
    // RAM that holds the loader's data: page tables, stack, GDT and IDT, `BootInfo` and what it
    // points to. Free as soon as the kernel needs none of them any more.
    BOOTPATH_MEMORY_KIND_RECLAIMABLE = 2,
    // The kernel's segments.
    BOOTPATH_MEMORY_KIND_KERNEL = 3,
    // A module.
    BOOTPATH_MEMORY_KIND_MODULE = 4,
    // ACPI tables; free once they have been read.
    BOOTPATH_MEMORY_KIND_ACPI_RECLAIMABLE = 5,
    // ACPI non-volatile storage: to be kept over sleep.
    BOOTPATH_MEMORY_KIND_ACPI_NVS = 6,
    // Video memory.
    BOOTPATH_MEMORY_KIND_FRAMEBUFFER = 7,
    // Must not be touched: it belongs to the firmware, or is not RAM.
    BOOTPATH_MEMORY_KIND_RESERVED = 8,
    // RAM that the firmware found to be faulty.
    BOOTPATH_MEMORY_KIND_BAD = 9,
};
#if __STDC_VERSION__ >= 202311L
typedef enum bootpath_memory_kind bootpath_memory_kind;
#else
typedef uint32_t bootpath_memory_kind;
#endif // __STDC_VERSION__ >= 202311L

// Text in UTF-8. A zero byte follows it, which `length` does not count.
struct bootpath_text {
    // First byte (virtual address), never null.
    const char *start;
    // Length in bytes.
    uint64_t length;
};

// One range of physical memory.
struct bootpath_memory_region {
    // First byte (physical address).
    uint64_t start;
    // Length in bytes, never 0.
    uint64_t length;
    // A `MemoryKind`, as a number: a newer loader may know more kinds.
    uint32_t kind;
    // Zero.
    uint32_t reserved;
};

// One PT_LOAD of the kernel, as it lies in memory.
struct bootpath_kernel_segment {
    // First byte (virtual address).
    uint64_t virtual_start;
    // First byte (physical address).
    uint64_t physical_start;
    // Length in bytes (`p_memsz`).
    uint64_t length;
    // `p_flags`: 1 executable, 2 writable, 4 readable.
    uint32_t flags;
    // Zero.
    uint32_t reserved;
};

// Where the kernel is.
struct bootpath_kernel {
    // Lowest virtual address of its segments.
    uint64_t virtual_base;
    // Physical address of the byte at `virtual_base`.
    uint64_t physical_base;
    // Bytes from `virtual_base` to the end of the highest segment.
    uint64_t size;
    // What was added to the ELF's addresses; 0 unless it is position-independent.
    uint64_t slide;
    // Virtual address of the entry point.
    uint64_t entry;
    // The segments, sorted by address.
    const struct bootpath_kernel_segment *segments;
    // How many there are.
    uint64_t segment_count;
    // Lowest virtual address of the stack; the page below it is not mapped.
    uint64_t stack_bottom;
    // Size of the stack in bytes.
    uint64_t stack_size;
};

// A file that was loaded for the kernel.
struct bootpath_module {
    // First byte (virtual address, in the physical map), aligned to 4 KiB.
    const uint8_t *start;
    // First byte (physical address).
    uint64_t physical_start;
    // Length in bytes.
    uint64_t length;
    // Its path in the boot partition.
    struct bootpath_text path;
    // The string that was given with it; may be empty.
    struct bootpath_text string;
};

// The screen.
struct bootpath_display {
    // A `DisplayKind`, as a number.
    uint32_t kind;
    // Bits of a pixel; 16 in text mode (character and attribute).
    uint32_t bits_per_pixel;
    // First byte (physical address; it is in the physical map).
    uint64_t address;
    // Columns or pixels.
    uint32_t width;
    // Rows or lines.
    uint32_t height;
    // Bytes from one row or line to the next.
    uint32_t pitch;
    // Row of the first free line in text mode: the kernel may print from there.
    uint32_t cursor_row;
};

// The disk that the machine was booted from. All of it is zero if there was none, because another
// loader had loaded the kernel and its modules.
struct bootpath_boot_disk {
    // Drive number that INT 13h knows it by.
    uint8_t drive;
    // Drive number that the BIOS passed to the MBR; it may be a wrong one.
    uint8_t bios_drive;
    // Number of the boot partition, 1 to 4; from 5 on: a logical partition; 0: the whole disk is one
    // volume.
    uint8_t partition;
    // Zero.
    uint8_t reserved;
    // The MBR's disk signature.
    uint32_t signature;
    // First sector of the boot partition, in logical sectors.
    uint64_t partition_lba;
    // Length of the boot partition, in logical sectors.
    uint64_t partition_sectors;
    // Bytes in a logical sector; 0: there is no disk.
    uint32_t sector_size;
    // How many reads (INT 13h calls) stage2 made, up to the handoff.
    uint32_t reads;
};

// The initial image of thread-local storage (PT_TLS).
struct bootpath_tls_template {
    // First byte of the initialised part (virtual address); 0: the kernel has no PT_TLS.
    uint64_t start;
    // Bytes of the initialised part.
    uint64_t file_size;
    // Bytes in all; what goes beyond `file_size` is zero.
    uint64_t memory_size;
    // Alignment in bytes, a power of two.
    uint64_t alignment;
};

// Everything that the loader knows. It lies in reclaimable memory and may be copied; the pointers
// in it are virtual addresses in the physical map.
struct bootpath_boot_info {
    // `BOOTPATH_MAGIC`.
    uint64_t magic;
    // `BOOTPATH_VERSION`.
    uint32_t version;
    // Bytes in this structure.
    uint32_t size;
    // Name and version of the loader.
    struct bootpath_text loader;
    // The kernel's command line; may be empty.
    struct bootpath_text command_line;
    // All that the firmware reported and the loader used: sorted by address, no overlap.
    const struct bootpath_memory_region *memory_map;
    // Number of regions.
    uint64_t memory_map_count;
    // Virtual address at which physical address 0 is mapped.
    uint64_t physical_map_base;
    // Bytes from there to the end of the highest mapped region.
    uint64_t physical_map_size;
    // Where the kernel and its stack are.
    struct bootpath_kernel kernel;
    // The modules, in the order of the entry.
    const struct bootpath_module *modules;
    // Number of modules.
    uint64_t module_count;
    // The screen.
    struct bootpath_display display;
    // Physical address of the ACPI root pointer (RSDP); 0: not found.
    uint64_t rsdp;
    // Physical address of the SMBIOS 2.x entry point (`_SM_`); 0: not found.
    uint64_t smbios;
    // Physical address of the SMBIOS 3.x entry point (`_SM3_`); 0: not found.
    uint64_t smbios3;
    // The disk that the machine was booted from.
    struct bootpath_boot_disk boot_disk;
    // The initial image of thread-local storage.
    struct bootpath_tls_template tls;
    // What the CPU can do: `CPU_…`.
    uint64_t cpu_features;
    // The time-stamp counter at the start of each step of the boot path, by the number of the
    // step (1 is stage1's first instruction, 12 the handoff); 0: not taken.
    uint64_t timeline[BOOTPATH_TIMELINE_LENGTH];
    // From RDSEED or RDRAND, else from the jitter of clocks: then it is not secret.
    uint8_t random_seed[32];
};

#endif  /* BOOTPATH_H */

/*
 * The kernel's entry for Bootpath's own handoff: docs/handoff.md. The loader has done everything
 * that takes assembly.
 */
#include <bootpath.h>

#include "kernel.h"

#define STACK_SIZE (32 * 1024)
#define PHYSICAL_MAP_BASE 0xffff900000000000

BOOTPATH_WISH(BOOTPATH_NOTE_STACK_SIZE, STACK_SIZE);
BOOTPATH_WISH(BOOTPATH_NOTE_PHYSICAL_MAP_BASE, PHYSICAL_MAP_BASE);

static size_t copy_memory_map(const struct bootpath_boot_info *info, struct memory_region *regions) {
    static const char *const kinds[] = {
        [BOOTPATH_MEMORY_KIND_USABLE] = "usable",
        [BOOTPATH_MEMORY_KIND_RECLAIMABLE] = "reclaimable",
        [BOOTPATH_MEMORY_KIND_KERNEL] = "kernel",
        [BOOTPATH_MEMORY_KIND_MODULE] = "module",
        [BOOTPATH_MEMORY_KIND_ACPI_RECLAIMABLE] = "ACPI reclaimable",
        [BOOTPATH_MEMORY_KIND_ACPI_NVS] = "ACPI NVS",
        [BOOTPATH_MEMORY_KIND_FRAMEBUFFER] = "framebuffer",
        [BOOTPATH_MEMORY_KIND_RESERVED] = "reserved",
        [BOOTPATH_MEMORY_KIND_BAD] = "bad",
    };
    size_t count = 0;
    for (uint64_t i = 0; i < info->memory_map_count && count < MEMORY_REGIONS; i++) {
        const struct bootpath_memory_region *region = &info->memory_map[i];
        bool known = region->kind && region->kind < sizeof kinds / sizeof *kinds;
        regions[count++] = (struct memory_region){
            .start = region->start,
            .length = region->length,
            .kind = known ? kinds[region->kind] : "unknown, hence reserved",
            .usable = region->kind == BOOTPATH_MEMORY_KIND_USABLE,
        };
    }
    return count;
}

/* Whether a physical address is in a region of this kind. */
static bool is_of_kind(const struct bootpath_boot_info *info, uint64_t address, uint32_t kind) {
    for (uint64_t i = 0; i < info->memory_map_count; i++) {
        const struct bootpath_memory_region *region = &info->memory_map[i];
        if (address >= region->start && address - region->start < region->length)
            return region->kind == kind;
    }
    return false;
}

/* A write through the physical map changes the variable at the kernel's own address. */
static bool physical_map_works(const struct bootpath_boot_info *info) {
    for (uint64_t i = 0; i < info->kernel.segment_count; i++) {
        const struct bootpath_kernel_segment *segment = &info->kernel.segments[i];
        uint64_t offset = (uint64_t)&initialised - segment->virtual_start;
        if (offset < segment->length) {
            uint64_t alias = info->physical_map_base + segment->physical_start + offset;
            *(volatile uint32_t *)alias = 0xcafe;
            return initialised == 0xcafe;
        }
    }
    return false;
}

_Noreturn void _start(const struct bootpath_boot_info *info) {
    uint64_t cr4;
    __asm__ volatile("movq %%cr4, %0" : "=r"(cr4));
    uint64_t frame = (uint64_t)__builtin_frame_address(0);

    if (info->magic != BOOTPATH_MAGIC || info->version != BOOTPATH_VERSION)
        for (;;)
            __asm__ volatile("cli; hlt"); /* nobody to tell */

    static struct memory_region memory[MEMORY_REGIONS];
    struct boot boot = {
        .protocol = "its own handoff",
        .loader = info->loader.start,
        .command_line = info->command_line.start,
        .memory = memory,
        .memory_count = copy_memory_map(info, memory),
    };
    const struct bootpath_display *display = &info->display;
    if (display->kind == BOOTPATH_DISPLAY_KIND_TEXT && display->pitch == 2 * display->width) {
        boot.screen.cells = (volatile uint16_t *)(info->physical_map_base + display->address);
        boot.screen.columns = display->width;
        boot.screen.rows = display->height;
        boot.screen.row = display->cursor_row;
    }
    kernel_start(&boot);

    const struct bootpath_kernel *kernel = &info->kernel;
    uint64_t own_physical = kernel->physical_base + ((uint64_t)_start - kernel->virtual_base);
    check("size of BootInfo", info->size >= sizeof *info);
    check("CR4: OSFXSR, OSXMMEXCPT", (cr4 & 0x600) == 0x600);
    check("stack size", kernel->stack_size == STACK_SIZE);
    check("stack", frame - kernel->stack_bottom < kernel->stack_size);
    check("base of the physical map", info->physical_map_base == PHYSICAL_MAP_BASE);
    check("physical map", physical_map_works(info));
    check("kernel's memory", is_of_kind(info, own_physical, BOOTPATH_MEMORY_KIND_KERNEL));
    check("entry", kernel->entry == (uint64_t)_start);
    kernel_end(&boot);
}

/* A test: a kernel that checks something, and ends by reporting success. Another file in this folder
 * is another test. */
#include <bootpath.h>
#include <stdbool.h>

#include "console.h"
#include "machine.h"
#include "panic.h"

static void memory_map_is_sorted(const struct bootpath_boot_info *boot) {
    uint64_t end_before = 0;
    for (uint64_t i = 0; i < boot->memory_map_count; i++) {
        const struct bootpath_memory_region *region = &boot->memory_map[i];
        ASSERT(region->start >= end_before);
        end_before = region->start + region->length;
    }
    print("memory map is sorted: ok\n");
}

static void memory_map_knows_the_kernel(const struct bootpath_boot_info *boot) {
    uint64_t address = boot->kernel.physical_base;
    bool knows = false;
    for (uint64_t i = 0; i < boot->memory_map_count; i++) {
        const struct bootpath_memory_region *region = &boot->memory_map[i];
        if (address >= region->start && address - region->start < region->length)
            knows = region->kind == BOOTPATH_MEMORY_KIND_KERNEL;
    }
    ASSERT(knows);
    print("memory map knows the kernel: ok\n");
}

_Noreturn void _start(const struct bootpath_boot_info *boot) {
    console_init(boot);
    memory_map_is_sorted(boot);
    memory_map_knows_the_kernel(boot);
    end(BOOTPATH_EXIT_SUCCESS);
}
